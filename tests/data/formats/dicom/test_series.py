# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM frames come to their place by position and time, and what does not make one image is refused by name."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom import config
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import UID, MRImageStorage

from monai_stcnnt import errors
from monai_stcnnt.data.formats.dicom.listing import list_dicom_series
from monai_stcnnt.data.formats.dicom.slabs import read_dicom
from monai_stcnnt.data.formats.registry import format_of, read_series
from monai_stcnnt.data.record import SeriesRecord

__all__: list[str] = []

MakeFiles = Callable[..., Path]
VALUES = np.arange(7 * 3 * 4 * 5).reshape(7, 3, 4, 5)


def delete(name: str) -> Callable[[int, int, Dataset], None]:
    """Change that removes an attribute."""
    return lambda _, __, dataset: delattr(dataset, name)


def test_stack_of_a_cine_is_sorted_by_position_and_trigger_time(make_dicom: MakeFiles) -> None:
    record = read_dicom(make_dicom("in", VALUES))
    np.testing.assert_array_equal(record.array[0], VALUES)
    np.testing.assert_allclose(record.frame_times, 40.0 * np.arange(7))
    assert record.metadata["ordered_by"] == "trigger"
    assert record.to_spatial().shape == (5, 4, 3, 7)


def test_affine_puts_voxels_where_the_header_says(make_dicom: MakeFiles) -> None:
    record = read_dicom(make_dicom("in", VALUES))
    np.testing.assert_allclose(record.spacing, [1.25, 1.5, 8.0], rtol=1e-6)
    headers = [pydicom.dcmread(file, stop_before_pixels=True) for file in (make_dicom("in", VALUES)).iterdir()]
    for header in headers:
        place = ((header.InstanceNumber - 1) % 3, 2, 3)
        lps = (
            np.array(header.ImagePositionPatient)
            + 3 * 1.25 * np.array(header.ImageOrientationPatient[:3])
            + 2 * 1.5 * np.array(header.ImageOrientationPatient[3:])
        )
        np.testing.assert_allclose(
            record.affine @ [place[2], place[1], place[0], 1], [-lps[0], -lps[1], lps[2], 1], atol=1e-5
        )


def test_slice_order_follows_the_normal_whatever_the_numbers(make_dicom: MakeFiles) -> None:
    backwards = make_dicom("in", VALUES[:1], spacing=-8.0)
    record = read_dicom(backwards)
    np.testing.assert_array_equal(record.array[0], VALUES[:1, ::-1])
    assert np.linalg.det(record.affine) == pytest.approx(
        np.linalg.det(read_dicom(make_dicom("other", VALUES[:1])).affine), rel=1e-5
    )


@pytest.mark.parametrize(("times", "slices", "ndim"), [(1, 1, 2), (1, 3, 3), (7, 1, 4), (7, 3, 4)])
def test_axes_of_the_image(make_dicom: MakeFiles, times: int, slices: int, ndim: int) -> None:
    record = read_dicom(make_dicom("in", VALUES[:times, :slices]))
    assert record.to_spatial().ndim == ndim
    assert record.spacing[2] == pytest.approx(8 if slices > 1 else 6)


def by_attribute(name: str, value: Callable[[int, int], object]) -> Callable[[int, int, Dataset], None]:
    """Change that leaves nothing but one attribute to order frames by."""

    def change(time: int, place: int, dataset: Dataset) -> None:
        del dataset.TriggerTime
        dataset.InstanceNumber = 1 + (time * 5) % 7 * 3 + place
        setattr(dataset, name, value(time, place))

    return change


@pytest.mark.parametrize(
    ("attribute", "value", "ordered_by", "times"),
    [
        ("AcquisitionTime", lambda t, z: f"1200{t * 2 + z * 0.1:09.6f}", "acquisition", 2000.0 * np.arange(7)),
        ("AcquisitionDateTime", lambda t, _: f"20240131235959.{t}", "acquisition", 100.0 * np.arange(7)),
        ("TemporalPositionIdentifier", lambda t, _: t + 1, "index", np.full(7, np.nan)),
        ("ContentTime", lambda t, _: f"1200{t:02d}", "content", 1000.0 * np.arange(7)),
    ],
)
def test_what_orders_frames_in_time(
    make_dicom: MakeFiles, attribute: str, value: Callable[[int, int], object], ordered_by: str, times: np.ndarray
) -> None:
    record = read_dicom(make_dicom("in", VALUES, change=by_attribute(attribute, value)))
    assert record.metadata["ordered_by"] == ordered_by
    np.testing.assert_array_equal(record.array[0], VALUES)
    np.testing.assert_allclose(record.frame_times, times, atol=1e-3)


def test_instance_number_is_the_last_resort_and_repetition_time_the_step(make_dicom: MakeFiles) -> None:
    def change(_: int, __: int, dataset: Dataset) -> None:
        del dataset.TriggerTime
        dataset.ScanningSequence = "EP"

    record = read_dicom(make_dicom("in", VALUES, change=change, frame_time=2000))
    assert record.metadata["ordered_by"] == "instance"
    np.testing.assert_array_equal(record.array[0], VALUES)
    np.testing.assert_allclose(record.frame_times, 2000.0 * np.arange(7))


def test_trigger_times_that_start_anew_give_way_to_acquisition_time(make_dicom: MakeFiles) -> None:
    def change(time: int, _: int, dataset: Dataset) -> None:
        dataset.TriggerTime = time % 4 * 40 + time
        dataset.AcquisitionTime = f"1200{time * 0.04:09.6f}"

    record = read_dicom(make_dicom("in", VALUES, change=change))
    np.testing.assert_array_equal(record.array[0], VALUES)
    np.testing.assert_allclose(record.frame_times, 40.0 * np.arange(7), atol=1e-3)


def test_rescale_slope_is_applied_frame_by_frame(make_dicom: MakeFiles) -> None:
    def change(time: int, place: int, dataset: Dataset) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = 1 + time / 4, -place

    record = read_dicom(make_dicom("in", VALUES, change=change))
    slope, intercept = 1 + np.arange(7)[:, None, None, None] / 4, -np.arange(3)[None, :, None, None]
    np.testing.assert_allclose(record.array[0], VALUES * slope + intercept)


def test_enhanced_file_is_sorted_as_well(make_enhanced: MakeFiles) -> None:
    path = make_enhanced("in.dcm", VALUES)
    record = read_series(path)
    np.testing.assert_array_equal(record.array[0], 2 * VALUES + np.arange(7)[:, None, None, None])
    np.testing.assert_allclose(record.frame_times, 40.0 * np.arange(7))
    np.testing.assert_allclose(record.spacing, [1.25, 1.5, 8.0], rtol=1e-6)


def test_classic_and_enhanced_have_the_same_geometry(make_dicom: MakeFiles, make_enhanced: MakeFiles) -> None:
    classic, enhanced = read_dicom(make_dicom("in", VALUES)), read_dicom(make_enhanced("in.dcm", VALUES))
    np.testing.assert_allclose(classic.affine, enhanced.affine, atol=1e-6)


def test_other_dimensions_of_an_enhanced_file_order_frames(make_enhanced: MakeFiles) -> None:
    def change(time: int, place: int, groups: Dataset) -> None:
        del groups.CardiacSynchronizationSequence
        groups.FrameContentSequence = [Dataset()]
        groups.FrameContentSequence[0].DimensionIndexValues = [place + 1, 1 + time % 2, 1 + time // 2]

    path = make_enhanced("in.dcm", VALUES[:6], change=change)
    dataset = pydicom.dcmread(path)
    pointers = (0x00209057, 0x00209128, 0x00189087)  # in-stack position, temporal position, b value
    dataset.DimensionIndexSequence = [Dataset() for _ in pointers]
    for item, pointer in zip(dataset.DimensionIndexSequence, pointers, strict=True):
        item.DimensionIndexPointer = pointer
    dataset.save_as(path)
    record = read_dicom(path)
    assert record.metadata["ordered_by"] == "dimensions"
    assert np.isnan(record.frame_times).all()
    np.testing.assert_array_equal(record.array[0], (2 * VALUES + np.arange(7)[:, None, None, None])[:6])


def as_series(number: int, uid: str, component: str = "M", echo: float = 1.5) -> Callable[[int, int, Dataset], None]:
    """Change that makes another series, part or echo."""

    def change(_: int, __: int, dataset: Dataset) -> None:
        dataset.SeriesNumber, dataset.SeriesInstanceUID, dataset.EchoTime = number, uid, echo
        dataset.SOPInstanceUID = f"{uid}.{component == 'M'}.{int(echo * 10)}.{dataset.InstanceNumber}".replace("True", "1").replace("False", "2")  # fmt: skip  # noqa: E501
        dataset.ImageType = ["ORIGINAL", "PRIMARY", component, "ND"]
        if component == "P":
            dataset.RescaleSlope, dataset.RescaleIntercept = 2, -4096

    return change


def test_several_series_are_listed_and_one_is_asked_for(make_dicom: MakeFiles) -> None:
    folder = make_dicom("in/a", VALUES[:1], change=as_series(8, "1.2.8")).parent
    make_dicom("in/b", VALUES[1:2], change=as_series(9, "1.2.9"))
    make_dicom("in/c", VALUES[2:3], change=as_series(9, "1.2.10"))
    assert [series.key for series in list_dicom_series(folder)] == ["8", "9a", "9b"]
    with pytest.raises(errors.SeriesSelectionError, match=r"8 \(magnitude, 3 frames of 5 x 4.*9a.*9b") as caught:
        read_dicom(folder)
    assert "Secret" not in str(caught.value)
    assert "SECRET" not in str(caught.value)
    choices: list[tuple[str | int, int]] = [("8", 0), (8, 0), ("9b", 1), ("9a", 2), ("1.2.9", 1)]
    for series, expected in choices:
        np.testing.assert_array_equal(read_series(folder, series=series).array[0, 0], VALUES[expected])
    for series in (9, "7"):
        with pytest.raises(errors.SeriesSelectionError):
            read_series(folder, series=series)


def test_echoes_are_told_apart(make_dicom: MakeFiles) -> None:
    folder = make_dicom("in/a", VALUES[:1], change=as_series(8, "1.2.8", echo=1.5)).parent
    make_dicom("in/b", VALUES[1:2], change=as_series(8, "1.2.8", echo=3.0))
    assert [series.key for series in list_dicom_series(folder)] == ["8-e1", "8-e2"]
    np.testing.assert_array_equal(read_dicom(folder, series="8-e2").array[0], VALUES[1:2])


def test_echo_times_that_differ_by_slice_make_one_stack(make_dicom: MakeFiles) -> None:
    def change(_: int, place: int, dataset: Dataset) -> None:
        dataset.EchoTime = 1.5 + place / 100

    np.testing.assert_array_equal(read_dicom(make_dicom("in", VALUES, change=change)).array[0], VALUES)


@pytest.mark.parametrize("uids", [("1.2.8", "1.2.8"), ("1.2.8", "1.2.9")])
@pytest.mark.parametrize(("low", "slope", "turn"), [(-4096, 2, 4096), (-3142, 1.535, 3142), (-3.1416, 0.001535, np.pi)])
def test_magnitude_and_phase_become_complex(
    make_dicom: MakeFiles, uids: tuple[str, str], low: float, slope: float, turn: float
) -> None:
    phase = np.linspace(0, 4095, VALUES.size).round().reshape(VALUES.shape)

    def change(time: int, place: int, dataset: Dataset) -> None:
        as_series(9, uids[1], "P")(time, place, dataset)
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, low

    folder = make_dicom("in/m", VALUES, change=as_series(8, uids[0])).parent
    make_dicom("in/p", phase, change=change)
    record = read_dicom(folder)
    expected = VALUES * np.exp(1j * (phase * slope + low) * np.pi / turn)
    np.testing.assert_allclose(record.array[0] + 1j * record.array[1], expected, atol=VALUES.max() * 1e-3)
    assert record.kind == "complex"
    listed = [series.key for series in list_dicom_series(folder)]
    np.testing.assert_array_equal(read_dicom(folder, series=listed[0]).array[0], VALUES)
    np.testing.assert_array_equal(read_dicom(folder, series="+".join(listed[::-1])).array, record.array)
    with pytest.raises(errors.NotAnImageError, match="phase image"):
        read_dicom(folder, series=listed[1])


def test_real_and_imaginary_part_become_complex(make_dicom: MakeFiles) -> None:
    folder = make_dicom("in/r", VALUES, change=as_series(8, "1.2.8", "R")).parent
    make_dicom("in/i", VALUES[::-1], change=as_series(9, "1.2.9", "I"))
    np.testing.assert_array_equal(read_dicom(folder).array, np.stack([VALUES, VALUES[::-1]]))


def test_phase_of_unknown_scale_is_refused(make_dicom: MakeFiles) -> None:
    def change(time: int, place: int, dataset: Dataset) -> None:
        as_series(9, "1.2.9", "P")(time, place, dataset)
        dataset.RescaleIntercept = -100

    folder = make_dicom("in/m", VALUES, change=as_series(8, "1.2.8")).parent
    make_dicom("in/p", VALUES, change=change)
    with pytest.raises(errors.PhaseRangeError, match="a whole turn"):
        read_dicom(folder)


def test_parts_that_do_not_fit_are_refused(make_dicom: MakeFiles) -> None:
    folder = make_dicom("in/m", VALUES, change=as_series(8, "1.2.8")).parent
    make_dicom("in/p", VALUES, change=as_series(9, "1.2.9", "P"), spacing=9.0)
    with pytest.raises(errors.SeriesMismatchError, match="size or position"):
        read_dicom(folder)
    with pytest.raises(errors.SeriesSelectionError, match="not the two parts"):
        read_dicom(folder, series="8+8")


def leave_out(left_out: tuple[int, int]) -> Callable[[int, int, Dataset], bool]:
    """Change that leaves one file out."""
    return lambda time, place, _: (time, place) != left_out


def set_where(condition: Callable[[int, int], bool], **attributes: object) -> Callable[[int, int, Dataset], None]:
    """Change of some files' attributes."""

    def change(time: int, place: int, dataset: Dataset) -> None:
        if condition(time, place):
            for name, value in attributes.items():
                setattr(dataset, name, value)

    return change


def second(_: int, place: int) -> bool:
    """Files of the second slice."""
    return place == 1


def everywhere(_: int, __: int) -> bool:
    """All files."""
    return True


@pytest.mark.parametrize(
    ("slices", "change", "error", "message"),
    [
        (3, leave_out((2, 1)), errors.SeriesMismatchError, "slice 2 has 6"),
        (1, leave_out((3, 0)), errors.SeriesMismatchError, "missing after frame 3"),
        (3, set_where(second, ImagePositionPatient=[-54.6, 27.2, 10]), errors.GeometryError, "on a line"),
        (3, set_where(second, PixelSpacing=[2, 2]), errors.SeriesMismatchError, "pixel spacings"),
        (3, set_where(second, Rows=2, Columns=10), errors.SeriesMismatchError, "different sizes"),
        (
            3,
            set_where(second, ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
            errors.SeriesSelectionError,
            "several series",
        ),
        (
            3,
            set_where(everywhere, ImageOrientationPatient=[1, 0, 0, 1, 0, 0]),
            errors.GeometryError,
            "impossible orientation",
        ),
        (3, set_where(everywhere, PixelSpacing=[0, 1]), errors.GeometryError, "spacing"),
        (3, set_where(everywhere, RescaleSlope=0), errors.UnreadableFileError, "rescale slope"),
        (3, set_where(everywhere, PhotometricInterpretation="RGB", SamplesPerPixel=3), errors.NotAnImageError, "color"),
        (
            3,
            set_where(everywhere, TriggerTime=0, InstanceNumber=1),
            errors.SeriesMismatchError,
            "nothing in their headers",
        ),
        (3, set_where(everywhere, PixelData=b"\0" * 8), errors.UnreadableFileError, "8 bytes of pixels"),
        (3, set_where(everywhere, Rows=3), errors.UnreadableFileError, "not those of 1 x 3 x 5"),
        (3, set_where(everywhere, Rows=2), errors.UnreadableFileError, "not those of 1 x 2 x 5"),
        (3, set_where(everywhere, ImageType=["ORIGINAL", "PRIMARY", "P", "ND"]), errors.NotAnImageError, "phase image"),
        (3, set_where(everywhere, ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"]), errors.GeometryError, "mosaic"),
        (3, set_where(everywhere, NumberOfFrames=2), errors.GeometryError, "several frames"),
        (3, delete("ImagePositionPatient"), errors.GeometryError, "position"),
        (3, delete("ImageOrientationPatient"), errors.GeometryError, "orientation"),
        (3, delete("PixelSpacing"), errors.GeometryError, "spacing"),
    ],
)
def test_what_does_not_make_one_image_is_refused(
    make_dicom: MakeFiles,
    caplog: pytest.LogCaptureFixture,
    slices: int,
    change: Callable[[int, int, Dataset], object],
    error: type[Exception],
    message: str,
) -> None:
    folder = make_dicom("in", VALUES[:, :slices], change=change)
    with pytest.raises(error, match=message) as caught:
        read_dicom(folder)
    assert str(folder) in str(caught.value)
    assert "secret" not in (str(caught.value) + caplog.text).lower()


@pytest.mark.filterwarnings("ignore:Invalid value for VR DS")
@pytest.mark.parametrize(("name", "value"), [("SpacingBetweenSlices", "nan"), ("SliceThickness", "inf")])
def test_a_length_that_is_no_number_is_refused(make_dicom: MakeFiles, name: str, value: str) -> None:
    folder = make_dicom("in", VALUES[:, :1], change=set_where(everywhere, **{name: value}))
    with pytest.raises(errors.GeometryError, match=f"{name} {value}"):
        read_dicom(folder)


def test_a_mosaic_is_known_without_the_word_in_its_type(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "dicom_siemens_mosaic_fmri" / "dicom"
    path = sorted(folder.iterdir())[0]
    dataset = pydicom.dcmread(path)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    dataset.save_as(tmp_path / "one.dcm")
    assert read_dicom(tmp_path / "one.dcm").array.shape == (1, 1, 51, 86, 86)


def test_missing_slice_is_refused(make_dicom: MakeFiles) -> None:
    values = np.concatenate([VALUES, VALUES], axis=1)
    folder = make_dicom("in", values, change=lambda _, place, __: place != 3)
    with pytest.raises(errors.SeriesMismatchError, match=r"slices are missing.*after slice 3"):
        read_dicom(folder)


def test_uneven_slices_are_refused(make_dicom: MakeFiles) -> None:
    def change(_: int, place: int, dataset: Dataset) -> None:
        dataset.ImagePositionPatient = [-50 + 0.8 * 8 * place, 20 - 0.6 * 8 * place + (place == 1) * 2.0, 10]

    with pytest.raises(errors.GeometryError, match="not equally spaced"):
        read_dicom(make_dicom("in", VALUES, change=change))


def test_a_single_file_is_a_single_image(make_dicom: MakeFiles) -> None:
    file = sorted(make_dicom("in", VALUES).iterdir())[0]
    record = read_series(file)
    assert record.array.shape == (1, 1, 1, 4, 5)
    found = format_of(file)
    assert found is not None
    assert found.name == "dicom"


def test_other_files_in_the_folder_are_passed_over(make_dicom: MakeFiles) -> None:
    folder = make_dicom("in", VALUES)
    (folder / "notes.txt").write_text("text")
    (folder / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (folder / ".hidden.dcm").write_bytes(b"\0" * 128 + b"DICM")
    np.testing.assert_array_equal(read_series(folder).array[0], VALUES)


@pytest.mark.parametrize("name", ["x.dcm", "x"])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_damaged_beginning_is_not_passed_over(make_dicom: MakeFiles, name: str, share: float) -> None:
    folder = make_dicom("in", VALUES[:, :1])
    file = sorted(folder.iterdir())[3].rename(folder / name)
    content = file.read_bytes()
    file.write_bytes((b"\0" * 132 + content[132:])[: int(share * len(content))])
    if share == 0 and name == "x":
        with pytest.raises(errors.SeriesMismatchError, match="missing"):  # an empty file may be anything
            read_series(folder)
    else:
        with pytest.raises(errors.UnreadableFileError, match=f"{name} is damaged at its beginning"):
            read_series(folder)


@pytest.mark.parametrize("sop_class", [MRImageStorage, "1.2.840.10008.5.1.4.1.1.999", ""])
def test_file_that_ends_within_its_header_is_not_passed_over(make_dicom: MakeFiles, sop_class: str) -> None:
    folder = make_dicom("in", VALUES[:, :1])
    file = sorted(folder.iterdir())[3]
    without_pixels(file, sop_class)
    with pytest.raises(errors.UnreadableFileError, match=f"{file.name} should be an image"):
        read_series(folder)


@pytest.mark.parametrize("sop_class", ["1.2.840.10008.5.1.4.1.1.88.22", "1.3.12.2.1107.5.9.1"])
def test_reports_and_private_objects_are_passed_over(make_dicom: MakeFiles, sop_class: str) -> None:
    folder = make_dicom("in", VALUES)
    report = folder / "report.dcm"
    shutil.copy(sorted(folder.iterdir())[0], report)
    without_pixels(report, sop_class)
    np.testing.assert_array_equal(read_series(folder).array[0], VALUES)


def without_pixels(file: Path, sop_class: str) -> None:
    """Take the pixels from a file and change what it says it is."""
    dataset = pydicom.dcmread(file)
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(dataset, keyword)
    with config.disable_value_validation():
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UID(sop_class)
        dataset.save_as(file, enforce_file_format=False)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.95, 0.99])
def test_truncated_file_is_refused(make_dicom: MakeFiles, share: float) -> None:
    folder = make_dicom("in", VALUES)
    file = sorted(folder.iterdir())[3]
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises((errors.UnreadableFileError, errors.GeometryError, errors.SeriesMismatchError)):
        read_series(folder)
    with pytest.raises((errors.UnreadableFileError, errors.GeometryError, errors.NotAnImageError)):
        read_series(file)


def test_folders_without_images(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(errors.EmptyImageError):
        read_series(tmp_path)
    with pytest.raises(errors.MissingFileError):
        read_dicom(tmp_path / "absent")


@pytest.mark.parametrize("enhanced", [False, True])
def test_mutated_files_give_an_image_or_a_named_error(
    make_dicom: MakeFiles,
    make_enhanced: MakeFiles,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    enhanced: bool,
) -> None:
    if enhanced:
        original = make_enhanced("in.dcm", VALUES[:2, :2]).read_bytes()
    else:
        original = sorted(make_dicom("in", VALUES[:1, :1]).iterdir())[0].read_bytes()
    generator = np.random.default_rng(0)
    outcomes: set[type] = set()
    messages: list[str] = []
    path = tmp_path / "mutated.dcm"
    for _ in range(150):
        data = bytearray(original)
        for position in generator.integers(132, len(data), size=3):
            data[position] = generator.integers(0, 256)
        path.write_bytes(bytes(data))
        try:
            outcomes.add(type(read_series(path, check=False)))
        except errors.StcnntError as error:
            outcomes.add(type(error))
            messages.append(str(error))
    assert "secret" not in "".join([caplog.text, *messages]).lower()
    assert SeriesRecord in outcomes
    assert errors.UnreadableFileError in outcomes


@pytest.mark.parametrize("name", ["MR_small_RLE", "MR_small_jp2klossless", "MR_small_jpeg_ls_lossless", "MR_small_bigendian", "MR_small_expb"])  # fmt: skip  # noqa: E501
def test_transfer_syntaxes_give_the_same_image(name: str) -> None:
    pytest.importorskip("gdcm")
    reference, other = (get_testdata_file(f"{n}.dcm", download=False) for n in ("MR_small", name))
    assert reference is not None
    assert other is not None
    first, second = read_series(str(reference)), read_series(str(other))
    np.testing.assert_array_equal(first.array, second.array)
    np.testing.assert_array_equal(first.affine, second.affine)


def canonical(values: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values ``(x, y, z, t)`` and affine in the nearest RAS order."""
    image = nib.as_closest_canonical(nib.Nifti1Image(values.astype(np.float64), affine))
    return np.asarray(image.dataobj), image.affine


@pytest.mark.parametrize(
    ("folder", "reference", "series", "constant", "frame_time"),
    [
        ("dicom_ge_fmri_repeats/dicom_run4_first6vols", "ref_run4.nii.gz", None, 1, 5000),
        ("dicom_philips_classic_phantom/dicom", "ref.nii.gz", None, 180.90, 2000),
        ("fmri_studyforrest/dicom_first2vols", "bold_vol1-16.nii.gz", None, 1, 2000),
        ("dwi_canon_classic/dicom_first2vols", "own_conversion.nii.gz", None, 1, None),
        ("dicom_siemens_mosaic_fmri/dicom", "ref.nii.gz", None, 1, 1300),
        ("brain_t1_siemens_xa30_enhanced/dicom_nonorm", "ref_nonorm.nii.gz", None, 1, None),
        ("complex_siemens_xa30_fieldmap/dicom_mag", "ref_mag_e1.nii.gz", "8-e1", 1, None),
        ("complex_siemens_xa30_fieldmap/dicom_mag", "ref_mag_e2.nii.gz", "8-e2", 1, None),
        ("asl_philips_enhanced/pcasl_source_enhanced.dcm.gz", "ref.nii.gz", None, 21762.2, None),
    ],
)
def test_references_of_the_sample_scans(
    shared_data: Path, tmp_path: Path, folder: str, reference: str, series: str | None, constant: float,
    frame_time: float | None,
) -> None:  # fmt: skip
    path = shared_data / folder
    if path.suffix == ".gz":
        with gzip.open(path) as packed, open(tmp_path / "in.dcm", "wb") as file:
            shutil.copyfileobj(packed, file)
        path = tmp_path / "in.dcm"
    record = read_series(path, series=series)
    expected = nib.load((shared_data / folder).parent / reference)
    assert isinstance(expected, nib.Nifti1Image)
    values, affine = canonical(record.array[0].transpose(3, 2, 1, 0), record.affine)
    truth = np.asarray(expected.dataobj, np.float64).reshape((*expected.shape, 1)[:4])
    truth, truth_affine = canonical(truth, expected.affine)
    frames = min(values.shape[3], truth.shape[3])
    np.testing.assert_allclose(affine, truth_affine, atol=1e-3)
    if constant == 1:
        np.testing.assert_array_equal(values[..., :frames], truth[..., :frames])
    else:
        ratio = truth.sum() / values.sum()
        assert ratio == pytest.approx(constant, rel=1e-4)
        np.testing.assert_allclose(values * ratio, truth, atol=1e-3 * truth.max())
    if frame_time is not None:
        assert record.frame_time == pytest.approx(frame_time)
        assert record.frame_time / 1000 == pytest.approx(float(expected.header["pixdim"][4]))


def test_cine_of_the_sample_scans(shared_data: Path) -> None:
    record = read_series(shared_data / "cine_sax_bivme" / "dicom_one_slice_Se2")
    assert record.array.shape == (1, 25, 1, 208, 256)
    assert record.frame_time == pytest.approx(33.16, abs=0.01)
    np.testing.assert_allclose(record.spacing, [1.40625, 1.40625, 6])
    truth = np.asarray(nib.load(shared_data / "cine_sax_bivme" / "cine_sax.nii.gz").dataobj)  # type: ignore[attr-defined]
    mine = record.to_spatial()[:, :, 0]
    crops = [mine[start : start + 216] for start in range(41)]
    slices = [np.array_equal(crop, truth[:, :, z]) for crop in crops for z in range(6)]
    assert sum(slices) == 1


@pytest.mark.parametrize(
    ("folder", "error"),
    [
        ("dicom_enhanced_small", errors.GeometryError),
        ("complex_siemens_xa30_fieldmap/dicom_phase", errors.NotAnImageError),
        ("complex_siemens_xa30_fieldmap/dicom_mag", errors.SeriesSelectionError),
        ("complex_siemens_xa30_fieldmap", errors.SeriesSelectionError),
    ],
)
def test_sample_scans_that_are_refused(shared_data: Path, folder: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        read_series(shared_data / folder)


def test_volumes_in_several_enhanced_files(shared_data: Path) -> None:
    record = read_series(shared_data / "dicom_siemens_xa30_fmri_enhanced" / "dicom")
    assert record.array.shape == (1, 2, 33, 64, 64)
    assert record.frame_time == pytest.approx(1000)


@pytest.mark.parametrize(
    ("attributes", "rate"),
    [({"HeartRate": 72}, 72), ({"NominalInterval": 800}, 75), ({"HeartRate": 0}, np.nan), ({}, np.nan)],
)
def test_the_heart_rate_is_what_the_header_tells(
    make_dicom: MakeFiles, attributes: dict[str, int], rate: float
) -> None:
    def tell(_: int, __: int, dataset: Dataset) -> None:
        for name, value in attributes.items():
            setattr(dataset, name, value)

    assert read_dicom(make_dicom("in", VALUES, change=tell)).metadata["heart_rate"] == pytest.approx(rate, nan_ok=True)
