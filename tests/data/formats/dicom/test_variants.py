# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The same trouble in files of several vendors, one file for each slice and one for all of them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from monai_stcnnt import errors
from monai_stcnnt.data import list_images, read_series, write_dicom_series
from monai_stcnnt.data.formats.dicom import listing
from tests.data.conftest import NORMAL, ORIGIN
from tests.data.formats.dicom.test_listing import VALUES, MakeFiles, set_by

__all__: list[str] = []

Choose = Callable[[int, int], dict[str, Any]]
Build = Callable[..., Path]
PLACES = {  # where an enhanced file has what a classic one has at its top: sequence, attribute
    "ImageType": ("MRImageFrameTypeSequence", "FrameType"),
    "ComplexImageComponent": ("MRImageFrameTypeSequence", "ComplexImageComponent"),
    "EchoTime": ("MREchoSequence", "EffectiveEchoTime"),
    "ImagePositionPatient": ("PlanePositionSequence", "ImagePositionPatient"),
    "ImageOrientationPatient": ("PlaneOrientationSequence", "ImageOrientationPatient"),
    "TemporalPositionIdentifier": ("FrameContentSequence", "TemporalPositionIndex"),
    "RescaleIntercept": ("PixelValueTransformationSequence", "RescaleIntercept"),
    "DiffusionBValue": ("MRDiffusionSequence", "DiffusionBValue"),
    "TriggerTime": ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
}


@pytest.fixture(params=["classic", "enhanced"])
def build(request: pytest.FixtureRequest, make_dicom: MakeFiles, make_enhanced: MakeFiles) -> Build:
    """Give a function that writes a folder in which frames have the attributes that are chosen."""

    def choose_in_groups(choose: Choose) -> Callable[[int, int, Dataset], None]:
        def change(time: int, place: int, groups: Dataset) -> None:
            for name, value in choose(time, place).items():
                sequence, keyword = PLACES[name]
                if sequence not in groups:
                    setattr(groups, sequence, [Dataset()])
                setattr(groups[sequence].value[0], keyword, value)

        return change

    def make(values: np.ndarray, choose: Choose, **options: Any) -> Path:  # noqa: ANN401 - of the fixtures
        if request.param == "classic":
            return make_dicom("in", values, change=set_by(choose), **options)
        return make_enhanced("in/all.dcm", values, change=choose_in_groups(choose), **options).parent

    return make


def images_in(folder: Path) -> dict[str, tuple[str, int]]:
    """Kind and number of frames of every image."""
    found: dict[str, tuple[str, int]] = {}
    for summary in list_images(folder):
        found[summary.series] = summary.kind, summary.shape[3] if summary.shape else 0
        assert bool(summary.refused) == (summary.kind not in ("magnitude", "complex"))
        if not summary.refused:
            read_series(folder, series=summary.series or None)
    return found


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (("M_FFE\\M\\FFE", "B0 MAP\\B0\\UNSPECIFIED"), ("magnitude", "derived")),  # Philips
        (("SW_M\\SW_M", "SW_P\\SW_P"), ("magnitude", "derived")),
        (("M_SE\\M\\SE", "ADC_SE\\ADC\\SE"), ("magnitude", "derived")),
        (("DIFFUSION\\NONE", "DIFFUSION\\ADC\\NORM"), ("magnitude", "derived")),  # Siemens
        (("ASL\\NONE", "ASL\\SUBTRACTION"), ("magnitude", "derived")),
        (("PERFUSION\\NONE", "PERFUSION\\MEAN_RELCBF"), ("magnitude", "derived")),
        (("M\\NORM", "M\\FM3_2\\NORM"), ("magnitude",)),
        (("MPG", "ADC"), ("magnitude", "derived")),  # Canon
        (("M\\DIFFUSION", "ADC\\DIFFUSION"), ("magnitude", "derived")),  # UIH
        (("M_PCA\\M\\PCA", "VELOCITY MAP\\P\\PCA"), ("magnitude", "velocity")),
    ],
)
def test_what_is_no_magnitude_is_an_image_of_its_own(
    build: Build, kinds: tuple[str, str], expected: tuple[str, ...]
) -> None:
    def choose(time: int, _: int) -> dict[str, Any]:
        return {"ImageType": ["ORIGINAL", "PRIMARY", *kinds[time == 2].split("\\")], "TriggerTime": 0}

    images = images_in(build(VALUES[:3], choose))
    frames = {"magnitude": 2 if len(expected) > 1 else 3}
    assert images == {f"8-{kind}" if len(expected) > 1 else "": (kind, frames.get(kind, 1)) for kind in expected}


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (("DIXON\\WATER", "DIXON\\FAT", "DIXON\\IN_PHASE", "DIXON\\OPP_PHASE"), "water fat in_phase opp_phase"),
        (("W\\W", "F\\F", "IP\\IP", "OP\\OP"), "w f ip op"),
        (("W 1", "W1", "F", "IP"), "w1 w1-2 f ip"),
    ],
)
def test_contrasts_have_keys_of_their_own(build: Build, words: tuple[str, ...], keys: str) -> None:
    def choose(time: int, _: int) -> dict[str, Any]:
        return {"ImageType": ["ORIGINAL", "PRIMARY", *words[time].split("\\")], "TriggerTime": 0}

    images = images_in(build(VALUES, choose))
    assert images == {f"8-{key}": ("magnitude", 1) for key in keys.split()}


def test_derived_frames_are_no_frames_of_original_ones(build: Build) -> None:
    def choose(time: int, _: int) -> dict[str, Any]:
        return {"ImageType": ["DERIVED" if time == 3 else "ORIGINAL", "PRIMARY", "OTHER"], "TriggerTime": 0}

    assert images_in(build(VALUES, choose)) == {"8-1": ("magnitude", 3), "8-derived": ("magnitude", 1)}


@pytest.mark.parametrize("words", ["T1\\NONE", "M_FFE\\T1\\FFE", "M\\T2", "PERFUSION\\NONE"])
def test_a_derived_series_is_read_again(build: Build, tmp_path: Path, words: str) -> None:
    folder = build(VALUES, lambda *_: {"ImageType": ["ORIGINAL", "PRIMARY", *words.split("\\")]})
    record = read_series(folder)
    np.testing.assert_array_equal(read_series(write_dicom_series(record, tmp_path / "out")).array, record.array)


def test_a_volume_with_values_below_zero_is_a_map(build: Build) -> None:
    def choose(time: int, _: int) -> dict[str, Any]:
        return {"RescaleIntercept": -3000 * time, "TriggerTime": 0}

    assert images_in(build(VALUES[:2], choose)) == {"8-derived": ("derived", 1), "8-magnitude": ("magnitude", 1)}


def test_four_components(build: Build) -> None:
    components = ("MAGNITUDE", "PHASE", "REAL", "IMAGINARY")
    images = images_in(build(VALUES, lambda t, _: {"ComplexImageComponent": components[t], "TriggerTime": 0}))
    assert {key: kind for key, (kind, _) in images.items()} == {f"8-{c.lower()}": c.lower() for c in components}


def test_echo_times_that_jitter(build: Build) -> None:
    images = images_in(build(VALUES[:2], lambda t, z: {"EchoTime": (4.92, 7.38)[t] + 0.002 * z, "TriggerTime": 0}))
    assert images == {"8-e1": ("magnitude", 1), "8-e2": ("magnitude", 1)}


def test_planes_of_a_localizer(build: Build) -> None:
    planes = ([1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1])
    images = images_in(build(VALUES[:1], lambda _, z: {"ImageOrientationPatient": planes[z]}))
    assert images == {f"8-{name}": ("magnitude", 1) for name in ("tra", "cor", "sag")}


def test_planes_that_follow_the_head(build: Build, caplog: pytest.LogCaptureFixture) -> None:
    def choose(time: int, place: int) -> dict[str, Any]:
        position = ORIGIN + 8 * place * NORMAL + 0.3 * time * np.array([0.2, 0.3, 1])
        return {"ImagePositionPatient": list(np.round(position, 4)), "TemporalPositionIdentifier": time + 1}

    folder = build(VALUES, choose)
    assert images_in(folder) == {"": ("magnitude", 4)}
    assert "planes move by up to 0.9 mm" in caplog.text


def test_positions_that_were_rounded(build: Build) -> None:
    def choose(_: int, place: int) -> dict[str, Any]:
        return {"ImagePositionPatient": list(np.round(ORIGIN + 1.25 * place * NORMAL, 1))}

    record = read_series(build(np.repeat(VALUES, 4, 1), choose))
    np.testing.assert_allclose(record.spacing[2], 1.25, atol=0.02)


def test_an_enhanced_last_volume_that_was_aborted(make_enhanced: MakeFiles, caplog: pytest.LogCaptureFixture) -> None:
    file = make_enhanced("in.dcm", VALUES)
    dataset = pydicom.dcmread(file)
    dataset.NumberOfFrames = VALUES.shape[0] * VALUES.shape[1] - 1
    dataset.PerFrameFunctionalGroupsSequence = list(dataset.PerFrameFunctionalGroupsSequence)[:-1]
    dataset.PixelData = dataset.PixelData[: 60 * dataset.NumberOfFrames]
    dataset.save_as(file)
    assert read_series(file).array.shape[1:3] == (3, 3)
    assert "the last volume has 2 of 3 slices" in caplog.text


@pytest.mark.parametrize("count", [0, 1, 20])
@pytest.mark.parametrize("inner", [None, 0, 1])
def test_functional_groups_that_tell_nothing(make_dicom: MakeFiles, count: int, inner: int | None) -> None:
    def change(_: int, __: int, dataset: Dataset) -> None:
        groups = [Dataset() for _ in range(count)]
        for group in groups if inner is not None else ():
            group.FrameContentSequence = [Dataset() for _ in range(inner or 0)]
        dataset.PerFrameFunctionalGroupsSequence = groups

    np.testing.assert_array_equal(read_series(make_dicom("in", VALUES, change=change)).array[0], VALUES)


def philips(labels: int, phases: int, dynamics: int, make_dicom: MakeFiles, clock: bool = True) -> tuple[Path, Any]:
    """Arterial spin labeling as classic files: instance numbers tell nothing, labels stand in a private attribute."""
    parts = labels * phases
    values = np.random.default_rng(1).integers(1, 4000, (parts * dynamics, 2, 5, 6))
    numbers = np.random.default_rng(2).permutation(parts * dynamics * 2)

    def change(time: int, place: int, dataset: Dataset) -> None:
        dynamic, part = divmod(time, parts)
        label, phase = divmod(part, phases)
        dataset.Manufacturer, dataset.MRAcquisitionType, dataset.RepetitionTime = "Philips", "2D", 4234
        dataset.EchoPlanarPulseSequence = "YES"
        dataset.TriggerTime, dataset.TemporalPositionIdentifier = 300 + 250 * phase, dynamic + 1
        dataset.InstanceNumber = int(numbers[2 * time + place])
        dataset.ContentTime = f"1650{numbers[2 * time + place] % 60:02d}"
        dataset.add_new(0x20010010, "LO", "Philips Imaging DD 001")
        dataset.add_new(0x20011008, "IS", phase + 1)
        dataset.add_new(0x20050010, "LO", "Philips MR Imaging DD 001")
        if clock:
            dataset.add_new(0x200510A0, "FL", 33.87 * dynamic)
        if labels > 1:
            dataset.add_new(0x20050014, "LO", "Philips MR Imaging DD 005")
            dataset.add_new(0x20051429, "CS", ("CONTROL", "LABEL")[label])

    return make_dicom("in", values, change=change), values


@pytest.mark.parametrize(
    ("labels", "phases", "times"),
    [
        (2, 1, (0, 16935, 33870, 50805)),  # 3D pCASL: label and control take half of a dynamic each
        (1, 2, (0, 250, 33870, 34120)),
        (2, 2, (0, 250, 16935, 17185, 33870, 34120, 50805, 51055)),  # multi-phase
    ],
)
def test_labels_and_phases_within_dynamics(
    make_dicom: MakeFiles, tmp_path: Path, labels: int, phases: int, times: tuple[float, ...]
) -> None:
    folder, values = philips(labels, phases, 2, make_dicom)
    record = read_series(folder)
    assert record.metadata["ordered_by"] == "dynamics"
    np.testing.assert_array_equal(record.array[0], values)
    np.testing.assert_allclose(record.frame_times, times, atol=0.1)
    again = read_series(write_dicom_series(record, tmp_path / "derived"))
    np.testing.assert_array_equal(again.array, record.array)
    np.testing.assert_allclose(again.frame_times, times, atol=0.1)


@pytest.mark.parametrize(("dynamics", "clock"), [(1, True), (3, False)])
def test_times_within_dynamics_are_not_invented(make_dicom: MakeFiles, dynamics: int, clock: bool) -> None:
    folder, values = philips(2, 1, dynamics, make_dicom, clock)
    record = read_series(folder)
    np.testing.assert_array_equal(record.array[0], values)
    assert np.isnan(record.frame_times).all()


def test_instance_numbers_that_mix_diffusion_weightings(make_dicom: MakeFiles) -> None:
    numbers = np.random.default_rng(2).permutation(12)

    def change(time: int, place: int, dataset: Dataset) -> None:
        dataset.Manufacturer, dataset.TriggerTime, dataset.InstanceNumber = "Philips", 0, int(numbers[3 * time + place])
        dataset.DiffusionBValue = 1000.0 * (time > 0)
        dataset.add_new(0x20050014, "LO", "Philips MR Imaging DD 005")
        dataset.add_new(0x20051413, "IS", (1, 1, 2, 3)[time])

    record = read_series(make_dicom("in", VALUES, change=change))
    np.testing.assert_array_equal(record.array[0], VALUES)
    np.testing.assert_array_equal(record.metadata["b_values"], [0, 1000, 1000, 1000])


@pytest.mark.parametrize("attributes", [{}, {"SmallestImagePixelValue": -2000, "LargestImagePixelValue": 4095}])
def test_what_lies_outside_of_the_image_is_zero(make_dicom: MakeFiles, attributes: dict[str, int]) -> None:
    def change(time: int, place: int, dataset: Dataset) -> None:
        stored = VALUES[time, place].copy()
        stored[0] = -2000
        dataset.PixelRepresentation, dataset.PixelPaddingValue = 1, -2000
        for name, value in attributes.items():
            setattr(dataset, name, value)
        dataset.add_new("PixelData", "OW", stored.astype("<i2").tobytes())

    folder = make_dicom("in", VALUES, change=change)
    assert images_in(folder) == {"": ("magnitude", 4)}
    values = VALUES.copy()
    values[:, :, 0] = 0
    np.testing.assert_array_equal(read_series(folder).array[0], values)


def test_images_of_one_uid_become_images_of_several(make_dicom: MakeFiles, tmp_path: Path) -> None:
    folder = make_dicom("in", VALUES, change=set_by(lambda *_: {"SOPInstanceUID": "1.2.3.4"}))
    record = read_series(folder)
    np.testing.assert_array_equal(record.array[0], VALUES)
    derived = write_dicom_series(record, tmp_path / "out", uid_seed="a")
    uids = {str(pydicom.dcmread(file).SOPInstanceUID) for file in derived.iterdir()}
    assert len(uids) == VALUES.shape[0] * VALUES.shape[1]
    np.testing.assert_array_equal(read_series(derived).array[0], VALUES)


def test_the_number_of_tiles_in_a_file_that_does_not_tell_representations(make_dicom: MakeFiles) -> None:
    def change(_: int, __: int, dataset: Dataset) -> None:
        dataset.Manufacturer, dataset.ImageType = "SIEMENS", ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
        dataset.SpacingBetweenSlices = 4
        dataset.add_new(0x0019100A, "UN", (3).to_bytes(2, "little"))
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        dataset.set_original_encoding(is_implicit_vr=True, is_little_endian=True)

    record = read_series(make_dicom("in", VALUES[:1, :1, :4].repeat(2, 3)[..., :12], change=change))
    assert record.array.shape == (1, 1, 3, 2, 6)
    np.testing.assert_array_equal(record.array[0, 0, 1], VALUES[0, 0, :2].repeat(2, 1)[:, 6:])
    np.testing.assert_allclose(record.spacing[2], 4)


def test_slices_of_a_uih_mosaic_become_images_of_their_own(make_dicom: MakeFiles, tmp_path: Path) -> None:
    positions = [list(np.round(ORIGIN + 4 * place * NORMAL, 4)) for place in range(3)]

    def change(time: int, _: int, dataset: Dataset) -> None:
        dataset.Manufacturer, dataset.ImageType = "UIH", ["ORIGINAL", "PRIMARY", "M", "VFRAME"]
        dataset.TriggerTime, dataset.AcquisitionDate, dataset.AcquisitionTime = 0, "20200101", "101010"
        slices = [Dataset() for _ in positions]
        for item, position in zip(slices, positions, strict=True):
            item.ImagePositionPatient = position
            item.AcquisitionTime = f"1010{10 + 3 * time:02d}.5"
        block = dataset.private_block(0x0065, "Image Private Header", create=True)
        block.add_new(0x50, "DS", 3)
        block.add_new(0x51, "SQ", slices)

    folder = make_dicom("in", VALUES[:, :1, :4].repeat(2, 3)[..., :12], change=change)
    record = read_series(folder)
    assert record.array.shape == (1, 4, 3, 2, 6)
    np.testing.assert_allclose(record.frame_times, [0, 3000, 6000, 9000], atol=0.1)
    again = read_series(write_dicom_series(record, tmp_path / "out"))
    np.testing.assert_array_equal(again.array, record.array)
    np.testing.assert_allclose(again.affine, record.affine, atol=1e-3)
    np.testing.assert_allclose(again.frame_times, record.frame_times, atol=0.1)


def test_a_vendor_s_own_file_with_rows_and_columns_but_no_pixels(make_dicom: MakeFiles) -> None:
    folder = make_dicom("in", VALUES)

    def change(_: int, __: int, dataset: Dataset) -> None:
        dataset.SOPClassUID, dataset.Rows, dataset.Columns = "1.3.46.670589.11.0.0.12.2", 512, 512
        dataset.add_new("PixelData", "OW", b"")

    [file] = make_dicom("raw", VALUES[:1, :1], change=change).iterdir()
    file.rename(folder / "raw.dcm")
    [summary] = list_images(folder)
    assert (summary.refused, summary.skipped) == ("", 1)


def test_a_series_has_one_modality(make_dicom: MakeFiles) -> None:
    folder = make_dicom("in", VALUES, change=set_by(lambda t, _: {"Modality": "CT" if t == 2 else "MR"}))
    with pytest.raises(errors.SeriesMismatchError, match="different modalities: CT"):
        read_series(folder)


def test_a_color_image_is_refused_and_no_failure(make_dicom: MakeFiles) -> None:
    color = {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3, "SeriesInstanceUID": "1.2.9", "SeriesNumber": 9}
    make_dicom("in/color", VALUES[:1, :1], change=set_by(lambda *_: color))
    first, second = list_images(make_dicom("in", VALUES))
    assert (first.kind, first.refused) == ("magnitude", "")
    assert (second.kind, "color" in second.refused) == ("derived", True)


def test_a_folder_is_listed_once_for_all_its_series(
    make_dicom: MakeFiles, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    looked_at: list[Path] = []
    look_into = listing._look_into

    def counted(file: Path, found: Any) -> None:  # noqa: ANN401 - a class of the module
        looked_at.append(file)
        look_into(file, found)

    monkeypatch.setattr(listing, "_look_into", counted)
    folder = make_dicom(
        "in", VALUES[:2], change=set_by(lambda t, _: {"SeriesInstanceUID": f"1.2.{t}", "SeriesNumber": t})
    )
    assert [one.series for one in list_images(folder)] == ["0", "1"]
    for series in ("0", "1"):
        assert read_series(folder, series=series).array.shape[1] == 1
    assert len(looked_at) == 6
    (folder / "000.dcm").touch()
    read_series(folder, series="0")
    assert len(looked_at) == 12


def test_there_are_at_most_fifteen_modules_for_dicom() -> None:
    assert len([file for file in Path(listing.__file__).parent.iterdir() if file.suffix == ".py"]) <= 15
