# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders as people have them: what is no frame of an image is an image of its own, what is no image is skipped."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    MRSpectroscopyStorage,
    RawDataStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from monai_stcnnt import errors
from monai_stcnnt.data import list_images, read_series
from monai_stcnnt.data.formats.dicom.listing import list_dicom_series

__all__: list[str] = []

MakeFiles = Callable[..., Path]
VALUES = np.random.default_rng(0).integers(1, 4096, (4, 3, 5, 6))


def set_by(choose: Callable[[int, int], dict[str, Any]]) -> Callable[[int, int, Dataset], None]:
    """Change that sets attributes by time and slice."""

    def change(time: int, place: int, dataset: Dataset) -> None:
        for name, value in choose(time, place).items():
            if value is None:
                delattr(dataset, name)
            elif isinstance(value, tuple):
                dataset.add_new(name, *value)
            else:
                setattr(dataset, name, value)

    return change


def kinds_in(folder: Path) -> dict[str, str]:
    return {summary.series: summary.kind for summary in list_images(folder)}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["W", "F", "IP", "OP"], ["8-w", "8-f", "8-ip", "8-op"]),
        (["DIXON\\WATER", "DIXON\\FAT", "DIXON\\IN_PHASE", "DIXON\\OPP_PHASE"],
         ["8-water", "8-fat", "8-in_phase", "8-opp_phase"]),
    ],
)  # fmt: skip
def test_contrasts_are_images_of_their_own(make_dicom: MakeFiles, words: list[str], expected: list[str]) -> None:
    kinds = [["ORIGINAL", "PRIMARY", *word.split("\\"), "FFE"] for word in words]
    folder = make_dicom("in", VALUES, change=set_by(lambda time, _: {"ImageType": kinds[time], "TriggerTime": None}))
    assert sorted(kinds_in(folder)) == sorted(expected)
    for time, key in enumerate(expected):
        np.testing.assert_array_equal(read_series(folder, series=key).array[0, 0], VALUES[time])


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "ADC", "NONE"]}, ["magnitude", "derived"]),
        ({"ImageType": ["DERIVED", "PRIMARY", "ASL", "SUBTRACTION"]}, ["magnitude", "derived"]),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "SW_P", "SW_P"]}, ["magnitude", "derived"]),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "VELOCITY MAP", "P"]}, ["magnitude", "velocity"]),
        ({"RescaleType": "Hz"}, ["magnitude", "derived"]),
        ({"SmallestImagePixelValue": ("SS", -216), "LargestImagePixelValue": ("SS", 216)}, ["magnitude", "derived"]),
    ],
)
def test_what_is_no_magnitude_is_told_and_left_alone(
    make_dicom: MakeFiles, change: dict[str, Any], kinds: list[str]
) -> None:
    folder = make_dicom("in", VALUES, change=set_by(lambda time, _: change if time == 3 else {}))
    found = list_images(folder)
    assert sorted(summary.kind for summary in found) == sorted(kinds)
    [other] = [summary for summary in found if summary.kind != "magnitude"]
    assert "is not a magnitude" in other.refused
    np.testing.assert_array_equal(read_series(folder).array[0], VALUES[:3])
    with pytest.raises(errors.NotAnImageError, match="is not a magnitude"):
        read_series(folder, series=other.series)


def test_components_of_ge_stand_in_a_private_attribute(make_dicom: MakeFiles) -> None:
    def change(time: int, _: int, dataset: Dataset) -> None:
        dataset.Manufacturer, dataset.ImageType = "GE MEDICAL SYSTEMS", ["ORIGINAL", "PRIMARY", "OTHER"]
        dataset.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x2F, "SS", time)

    folder = make_dicom("in", VALUES, change=change)
    assert set(kinds_in(folder)) == {"8-magnitude", "8-phase", "8-real", "8-imaginary"}
    np.testing.assert_array_equal(read_series(folder, series="8-real+8-imaginary").array[:, 0], VALUES[2:])


def test_modalities_apart_from_mr_are_refused(make_dicom: MakeFiles) -> None:
    make_dicom("in/mr", VALUES)
    change = set_by(lambda *_: {"Modality": "CT", "SOPClassUID": CTImageStorage, "SeriesInstanceUID": "1.2.3.9"})
    folder = make_dicom("in/ct", VALUES, change=change).parent
    assert [bool(summary.refused) for summary in list_images(folder)] == [False, True]
    np.testing.assert_array_equal(read_series(folder).array[0], VALUES)


@pytest.mark.parametrize(
    "uid", [RawDataStorage, SecondaryCaptureImageStorage, SegmentationStorage, MRSpectroscopyStorage]
)
def test_files_that_are_no_images_are_skipped(
    make_dicom: MakeFiles, caplog: pytest.LogCaptureFixture, uid: str
) -> None:
    folder = make_dicom("in", VALUES)
    [*_, file] = sorted(folder.iterdir())
    other = pydicom.dcmread(file)
    other.SOPClassUID = other.file_meta.MediaStorageSOPClassUID = UID(uid)
    other.SOPInstanceUID = "1.2.3.8.999"
    del other.ImagePositionPatient
    other.save_as(folder / "other.dcm")
    for name, content in (("README.txt", b"1.2.840.10008.5.1.4"), ("a.img", bytes(400)), ("b.json", b"{}")):
        (folder / name).write_bytes(content)
    with caplog.at_level("INFO"):
        np.testing.assert_array_equal(read_series(folder).array[0], VALUES)
    assert "4 files are not images" in caplog.text


def test_a_bad_file_refuses_its_own_series_only(make_dicom: MakeFiles) -> None:
    make_dicom("in/good", VALUES)
    bad = set_by(lambda *_: {"SeriesInstanceUID": "1.2.3.9", "SeriesNumber": 9, "PhotometricInterpretation": "RGB"})
    folder = make_dicom("in/bad", VALUES, change=bad).parent
    assert [(s.series, bool(s.refused)) for s in list_images(folder)] == [("8", False), ("9", True)]
    np.testing.assert_array_equal(read_series(folder, series="8").array[0], VALUES)
    with pytest.raises(errors.NotAnImageError, match="color"):
        read_series(folder, series="9")
    [file, *_] = sorted((folder / "bad").iterdir())
    file.write_bytes(b"\0" * 300)
    np.testing.assert_array_equal(read_series(folder, series="8").array[0], VALUES)
    (folder / "good" / "x.dcm").write_bytes(b"\0" * 300)
    with pytest.raises(errors.UnreadableFileError, match=r"x\.dcm is damaged"):
        read_series(folder, series="8")


def test_copies_are_taken_once_and_one_uid_is_no_copy(make_dicom: MakeFiles) -> None:
    folder = make_dicom("in", VALUES, change=set_by(lambda *_: {"SOPInstanceUID": "1.2.3"}))
    np.testing.assert_array_equal(read_series(folder).array[0], VALUES)
    shutil.copytree(folder, folder / "backup")
    np.testing.assert_array_equal(read_series(folder).array[0], VALUES)
    file = next(path for path in sorted((folder / "backup").iterdir()))
    dataset = pydicom.dcmread(file)
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.save_as(file)
    with pytest.raises(errors.SeriesMismatchError, match="but differ") as caught:
        read_series(folder)
    assert "emove" not in str(caught.value)


def test_files_without_preamble(make_dicom: MakeFiles) -> None:
    folder = make_dicom("in", VALUES)
    for file in folder.iterdir():
        dataset = pydicom.dcmread(file)
        del dataset.file_meta
        dataset.preamble = None
        dataset.save_as(file, implicit_vr=True, little_endian=True, enforce_file_format=False)
        assert file.read_bytes()[128:132] != b"DICM"
    np.testing.assert_array_equal(read_series(folder).array[0], VALUES)


def test_keys_never_collide(make_dicom: MakeFiles) -> None:
    for number in range(30):
        change = set_by(lambda *_, number=number: {"SeriesInstanceUID": f"1.2.3.9.{number}"})
        make_dicom(f"in/{number}", VALUES[:1, :1], change=change)
    keys = [series.key for series in list_dicom_series(make_dicom("in/more", VALUES[:1, :1]).parent)]
    assert len(set(keys)) == 31
    assert {"8a", "8z", "8aa", "8ae"} <= set(keys)


def test_echoes_with_jitter(make_dicom: MakeFiles) -> None:
    def choose(time: int, place: int) -> dict[str, Any]:
        return {"EchoTime": 5.0 * (time + 1) + 0.002 * place, "TriggerTime": None}

    folder = make_dicom("in", VALUES[:2], change=set_by(choose))
    assert list(kinds_in(folder)) == ["8-e1", "8-e2"]
    np.testing.assert_array_equal(read_series(folder, series="8-e2").array[0, 0], VALUES[1])


def test_planes_of_a_localizer(make_dicom: MakeFiles) -> None:
    axes = [[1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1]]
    change = set_by(lambda _, place: {"ImageOrientationPatient": axes[place], "ImagePositionPatient": [0, 0, 0]})
    folder = make_dicom("in", VALUES[:1], change=change)
    assert set(kinds_in(folder)) == {"8-tra", "8-cor", "8-sag"}
    np.testing.assert_array_equal(read_series(folder, series="8-cor").array[0, 0, 0], VALUES[0, 1])


def moved(time: int, place: int) -> dict[str, Any]:
    """Positions of planes that follow a head, 0.3 mm along and across in every volume."""
    normal = np.cross([0.6, 0.8, 0.0], [0.0, 0.0, -1.0])
    position = np.array([-50.0, 20, 10]) + (8 * place + 0.3 * time) * normal + [0, 0, 0.3 * time]
    return {"ImagePositionPatient": [round(float(v), 4) for v in position], "AcquisitionNumber": time + 1}


def test_planes_that_follow_the_head(make_dicom: MakeFiles) -> None:
    folder = make_dicom("in", VALUES, change=set_by(moved))
    [summary] = list_images(folder)
    assert "the planes move by up to" in summary.remarks[0]
    np.testing.assert_array_equal(read_series(folder).array[0], VALUES)


def test_a_last_volume_that_was_aborted_is_left_out(make_dicom: MakeFiles) -> None:
    folder = make_dicom("in", VALUES, change=lambda time, place, _: time < 3 or place == 0)
    [summary] = list_images(folder)
    assert summary.remarks == ("the last volume has 1 of 3 slices, and is left out",)
    np.testing.assert_array_equal(read_series(folder).array[0], VALUES[:3])


def test_positions_that_were_rounded(make_dicom: MakeFiles) -> None:
    def choose(_: int, place: int) -> dict[str, Any]:
        return {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [0, 0, round(1.25 * place, 1)]}

    record = read_series(make_dicom("in", VALUES[:, :3], change=set_by(choose)))
    np.testing.assert_allclose(record.spacing[2], 1.25, atol=0.03)


def test_volumes_after_midnight(make_dicom: MakeFiles) -> None:
    clocks = ["235955", "235957", "235959", "000001"]
    change = set_by(lambda time, _: {"AcquisitionTime": clocks[time], "TriggerTime": None})
    record = read_series(make_dicom("in", VALUES, change=change))
    np.testing.assert_array_equal(record.array[0], VALUES)
    np.testing.assert_allclose(record.frame_times, [0, 2000, 4000, 6000])


@pytest.mark.parametrize(
    ("attributes", "step"),
    [
        ({"ScanningSequence": "EP", "RepetitionTime": 2000}, 2000),
        ({"ScanningSequence": ["EP", "SE"], "RepetitionTime": 2000, "MRAcquisitionType": "3D"}, None),
        ({"ScanningSequence": "GR", "RepetitionTime": 4, "NumberOfTemporalPositions": 4}, None),
    ],
)
def test_a_repetition_is_a_frame_time_where_a_volume_is_one(
    make_dicom: MakeFiles, attributes: dict[str, Any], step: float | None
) -> None:
    change = set_by(lambda *_: {"TriggerTime": None, **attributes})
    times = read_series(make_dicom("in", VALUES, change=change)).frame_times
    expected = np.full(4, np.nan) if step is None else step * np.arange(4)
    np.testing.assert_allclose(times, expected)


def test_empty_functional_groups_do_not_make_an_enhanced_file(make_dicom: MakeFiles) -> None:
    change = set_by(lambda *_: {"PerFrameFunctionalGroupsSequence": [Dataset()]})
    np.testing.assert_array_equal(read_series(make_dicom("in", VALUES, change=change)).array[0], VALUES)


def test_pixels_that_are_padded(make_dicom: MakeFiles) -> None:
    change = set_by(lambda time, place: {"PixelData": VALUES[time, place].astype("<u2").tobytes() + bytes(128)})
    np.testing.assert_array_equal(read_series(make_dicom("in", VALUES, change=change)).array[0], VALUES)


def slices_apart(folder: str, make_dicom: MakeFiles, gaps: tuple[float, ...] = (8, 8, 8)) -> Path:
    """A stack of four slices with one series each, numbered from the apex up, times a little later in every slice."""
    place = 0.0
    for number, gap in enumerate((0.0, *gaps)):
        place += gap
        position = np.array([-50.0, 20, 10]) + place * np.cross([0.6, 0.8, 0.0], [0.0, 0.0, -1.0])

        def change(time: int, _: int, dataset: Dataset, number: int = number, position: np.ndarray = position) -> None:
            dataset.SeriesInstanceUID, dataset.SeriesNumber = f"1.2.3.9.{number}", 20 - number
            dataset.SOPInstanceUID = f"1.2.3.9.{number}.{time + 1}"
            dataset.ImagePositionPatient = [round(float(v), 5) for v in position]
            dataset.ProtocolName, dataset.TriggerTime = f"sax {number}", 40 * time + number

        make_dicom(f"{folder}/{number}", VALUES[:, number % 3, None] + number, change=change)
    return make_dicom(f"{folder}/scout", VALUES[:1, :1]).parent


def test_slices_with_a_series_each_make_a_stack(make_dicom: MakeFiles) -> None:
    folder = slices_apart("in", make_dicom)
    *_, stack = list_images(folder, stacks=True)
    assert (stack.series, stack.members, stack.shape) == ("stack", ("17", "18", "19", "20"), (6, 5, 4, 4))
    assert len(list_images(folder)) == 5
    record = read_series(folder, series="stack")
    np.testing.assert_allclose(record.spacing[2], 8, atol=1e-4)
    for number in range(4):
        np.testing.assert_array_equal(record.array[0, :, number], VALUES[:, number % 3] + number)
    np.testing.assert_allclose(record.frame_times, [0, 40, 80, 120])
    np.testing.assert_allclose(record.metadata["slice_times"][1], [40, 41, 42, 43])


def test_slices_at_odd_distances_make_no_stack(make_dicom: MakeFiles) -> None:
    folder = slices_apart("in", make_dicom, (8, 12, 8))
    assert not any(summary.members for summary in list_images(folder, stacks=True))
    with pytest.raises(errors.SeriesSelectionError, match="stack"):
        read_series(folder, series="stack")


def test_of_a_slice_that_was_imaged_again_the_last_series_counts(make_dicom: MakeFiles) -> None:
    folder = slices_apart("in", make_dicom)

    def again(time: int, _: int, dataset: Dataset) -> None:
        dataset.SeriesInstanceUID, dataset.SeriesNumber = "1.2.3.9.7", 27
        dataset.SOPInstanceUID = f"1.2.3.9.7.{time + 1}"
        dataset.ImagePositionPatient = pydicom.dcmread(next((folder / "1").iterdir())).ImagePositionPatient
        dataset.ProtocolName, dataset.TriggerTime = "sax 1", 40 * time

    make_dicom("in/again", VALUES[:, :1] + 50, change=again)
    stack = list_images(folder, stacks=True)[-1]
    assert stack.members == ("17", "18", "20", "27")
    np.testing.assert_array_equal(read_series(folder, series="stack").array[0, :, 1], VALUES[:, 0] + 50)


def test_series_in_one_place_make_no_stack(make_dicom: MakeFiles) -> None:
    folder = slices_apart("in", make_dicom, (0, 0, 0))
    assert not any(summary.members for summary in list_images(folder, stacks=True))
