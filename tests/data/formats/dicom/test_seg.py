# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Segmentation objects hold the mask where the images are, one per phase, and refer to the images of that phase."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from monai_stcnnt import errors
from monai_stcnnt.data.formats.dicom.seg import write_dicom_seg
from monai_stcnnt.data.formats.dicom.slabs import read_dicom
from monai_stcnnt.data.formats.nifti import read_nifti
from monai_stcnnt.data.formats.nifti_writer import write_nifti
from monai_stcnnt.data.formats.registry import read_series
from monai_stcnnt.data.record import SeriesRecord

__all__: list[str] = []

highdicom = pytest.importorskip("highdicom")
# MONAI tells of a decoder that is not installed whenever a loader is made.
pytestmark = pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader")

MakeFiles = Callable[..., Path]
VALUES = np.arange(4 * 3 * 6 * 5).reshape(4, 3, 6, 5)
NAMES = {0: "background", 1: "LV", 2: "myocardium", 5: "fat"}
MASK = np.random.default_rng(0).choice([0, 1, 2, 5], VALUES.shape, p=[0.7, 0.1, 0.1, 0.1])[None]
_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def written(folder: Path) -> list[Any]:
    """Objects of a folder in the order of their names."""
    return [highdicom.seg.segread(file) for file in sorted(folder.iterdir())]


def phase_uids(record: SeriesRecord, time: int) -> list[str]:
    """SOPInstanceUIDs of the images of a phase, in the order of the slices."""
    files = [record.metadata["dicom_files"][file] for file, _ in record.metadata["dicom_frames"][time]]
    return [str(pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID) for file in files]


def referenced(dataset: Dataset) -> set[str]:
    """SOPInstanceUIDs that an object refers to anywhere."""
    found = []
    dataset.walk(lambda _, element: found.append(str(element.value)) if element.keyword == "ReferencedSOPInstanceUID" else None)  # fmt: skip  # noqa: E501
    return set(found)


def numbered(mask: np.ndarray, names: dict[int, str]) -> np.ndarray:
    """Values replaced by segment numbers."""
    values = sorted({0, *names})
    return np.searchsorted(values, mask)


def check_cine(folder: Path, record: SeriesRecord, mask: np.ndarray, names: dict[int, str]) -> Any:  # noqa: ANN401
    """Compare the one object with all phases of the mask, by the images that its frames refer to and by time."""
    (item,) = written(folder)
    phases = [phase_uids(record, time) for time in range(mask.shape[1])]
    assert referenced(item) == {uid for uids in phases for uid in uids}
    for time, uids in enumerate(phases):
        found = item.get_pixels_by_source_instance(uids, combine_segments=True, assert_missing_frames_are_empty=True)
        np.testing.assert_array_equal(found, numbered(mask[0, time], names))
    for frame, group in zip(item.pixel_array, item.PerFrameFunctionalGroupsSequence, strict=True):
        segment, time, place = group.FrameContentSequence[0].DimensionIndexValues
        assert group.FrameContentSequence[0].TemporalPositionIndex == time
        np.testing.assert_array_equal(frame, numbered(mask[0, time - 1, place - 1], names) == segment)
    return item


def check_phases(folder: Path, record: SeriesRecord, mask: np.ndarray, names: dict[int, str]) -> None:
    """Compare every object with its phase of the mask: values, references, geometry."""
    objects = written(folder)
    assert len(objects) == mask.shape[1]
    for time, item in enumerate(objects):
        uids = phase_uids(record, time)
        assert referenced(item) == set(uids)
        expected = numbered(mask[0, time], names)
        found = item.get_pixels_by_source_instance(uids, combine_segments=True, assert_missing_frames_are_empty=True)
        np.testing.assert_array_equal(found, expected)
        volume = item.get_volume(combine_segments=True)
        affine = _RAS @ volume.affine[:, [2, 1, 0, 3]]
        inverse = np.linalg.inv(record.affine) @ affine
        np.testing.assert_allclose(np.abs(inverse[:3, :3]), np.eye(3), atol=1e-4)
        assert set(np.unique(volume.array)) == set(np.unique(expected))


def test_cine_becomes_one_object_with_time(make_dicom: MakeFiles, tmp_path: Path) -> None:
    record = read_dicom(make_dicom("in", VALUES))
    mask = MASK.copy()
    mask[0, 1], mask[0, 2, 0] = 0, 0
    folder = write_dicom_seg(record.with_array(mask), tmp_path / "out", class_names=NAMES)
    assert [file.name for file in folder.iterdir()] == ["SEG00001.dcm"]
    item = check_cine(folder, record, mask, NAMES)
    assert [index.DimensionDescriptionLabel for index in item.DimensionIndexSequence][1] == "Temporal Position Index"
    assert item.ContentDescription == "segmentation of 4 frames"


@pytest.mark.parametrize(("slices", "uid"), [(3, None), (3, "1.2.3.4"), (1, None)])
def test_cine_of_one_class(make_dicom: MakeFiles, tmp_path: Path, slices: int, uid: str | None) -> None:
    values = np.random.default_rng(0).integers(1, 4096, (4, slices, 5, 6))

    def change(_: int, __: int, dataset: Dataset) -> None:
        if uid is not None:
            dataset.SOPInstanceUID = uid

    record = read_dicom(make_dicom("in", values, change=change))
    [file] = write_dicom_seg(record.with_array(record.array > 2000), tmp_path / "out", class_names={1: "a"}).iterdir()
    dataset = pydicom.dcmread(file)
    groups = dataset.PerFrameFunctionalGroupsSequence
    indices = [tuple(group.FrameContentSequence[0].DimensionIndexValues) for group in groups]
    assert sorted(indices) == [(1, time + 1, place + 1) for time, place in np.ndindex(4, slices)]
    found = {index: plane for index, plane in zip(indices, dataset.pixel_array, strict=True)}
    for time, place in np.ndindex(4, slices):
        np.testing.assert_array_equal(found[1, time + 1, place + 1], record.array[0, time, place] > 2000)


def test_slices_with_a_series_each_are_referred_to_by_series(make_dicom: MakeFiles, tmp_path: Path) -> None:
    def change(_: int, place: int, dataset: Dataset) -> None:
        dataset.SeriesInstanceUID, dataset.SeriesNumber = f"1.2.3.9.{place}", 10 + place

    record = read_series(make_dicom("in", VALUES, change=change), series="stack")
    folder = write_dicom_seg(record.with_array(MASK), tmp_path / "out", class_names=NAMES)
    item = check_cine(folder, record, MASK, NAMES)
    series = {one.SeriesInstanceUID: len(one.ReferencedInstanceSequence) for one in item.ReferencedSeriesSequence}
    assert series == {f"1.2.3.9.{place}": 4 for place in range(3)}


def test_cine_becomes_one_object_per_phase(make_dicom: MakeFiles, tmp_path: Path) -> None:
    record = read_dicom(make_dicom("in", VALUES))
    folder = write_dicom_seg(record.with_array(MASK), tmp_path / "out", class_names=NAMES, per_frame=True)
    assert [file.name for file in sorted(folder.iterdir())] == [f"SEG{i:05d}.dcm" for i in (1, 2, 3, 4)]
    check_phases(folder, record, MASK, NAMES)
    objects = written(folder)
    assert [item.InstanceNumber for item in objects] == [1, 2, 3, 4]
    assert len({item.SeriesInstanceUID for item in objects}) == 1
    assert len({item.SOPInstanceUID for item in objects}) == 4
    assert objects[2].ContentDescription == "segmentation of frame 3 of 4 at 80 ms"
    for item in objects:
        assert item.SegmentationType == "BINARY"
        assert item.SeriesDescription == "cine segmentation"


@pytest.mark.parametrize("slices", [1, 3])
def test_geometry_is_that_of_the_images(make_dicom: MakeFiles, tmp_path: Path, slices: int) -> None:
    record = read_dicom(make_dicom("in", VALUES[:1, :slices], spacing=11.5))
    mask = np.ones_like(record.array)
    (item,) = written(write_dicom_seg(record.with_array(mask), tmp_path / "out", class_names={1: "x"}))
    volume = item.get_volume(combine_segments=True)
    assert volume.array.shape == (slices, 6, 5)
    step = volume.affine[:, 0]
    np.testing.assert_allclose(_RAS @ volume.affine[:, [2, 1]], record.affine[:, :2], atol=1e-5)
    direction = np.sign((_RAS @ step)[:3] @ record.affine[:3, 2])
    np.testing.assert_allclose(direction * (_RAS @ step), record.affine[:, 2], atol=1e-5)
    first = volume.affine[:, 3] + (0 if direction > 0 else slices - 1) * step
    np.testing.assert_allclose(_RAS @ first, record.affine[:, 3], atol=1e-5)


def test_frame_without_any_class_gets_an_empty_object(make_dicom: MakeFiles, tmp_path: Path) -> None:
    record = read_dicom(make_dicom("in", VALUES))
    mask = MASK.copy()
    mask[0, 1] = 0
    folder = write_dicom_seg(record.with_array(mask), tmp_path / "out", class_names=NAMES, per_frame=True)
    check_phases(folder, record, mask, NAMES)
    empty = written(folder)[1]
    assert not empty.pixel_array.any()
    assert empty.number_of_segments == 3


def test_classes_have_names_and_codes(make_dicom: MakeFiles, tmp_path: Path) -> None:
    record = read_dicom(make_dicom("in", VALUES[:1]))
    names = {3: "Right_Ventricle", 1: "LV cavity", 2: "myo", 4: "LV myocardium", 7: "fat", 9: "scar"}
    codes = {"scar": ("12402003", "SCT", "Scar")}
    mask = np.zeros_like(record.array)
    mask[0, 0, 0, 0, 0] = 9
    folder = write_dicom_seg(
        record.with_array(mask), tmp_path / "out", class_names=names, codes=codes, algorithm="a network",
        algorithm_version="1.2",
    )  # fmt: skip
    (item,) = written(folder)
    described = [item.get_segment_description(number) for number in item.segment_numbers]
    assert [segment.segment_label for segment in described] == [names[value] for value in sorted(names)]
    assert [segment.segmented_property_type.value for segment in described] == [
        "87878005", "74281007", "53085002", "49848007", "85756007", "12402003"
    ]  # fmt: skip
    assert {segment.algorithm_identification.name for segment in described} == {"a network"}
    assert {segment.algorithm_identification.version for segment in described} == {"1.2"}
    assert (item.pixel_array == 1).sum() == 1


def test_patient_is_kept_and_told_nowhere_else(
    make_dicom: MakeFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def change(_: int, __: int, dataset: Dataset) -> None:
        dataset.SpecificCharacterSet = "ISO_IR 100"
        dataset.PatientName, dataset.PatientSex, dataset.StudyDate = "Müller", "U", "20260101"
        dataset.StudyID = "7"
        dataset.private_block(0x0029, "VENDOR", create=True).add_new(1, "LO", "private")

    record = read_dicom(make_dicom("in", VALUES, change=change))
    with caplog.at_level(logging.DEBUG):
        folder = write_dicom_seg(record.with_array(MASK), tmp_path / "out", class_names=NAMES)
    assert "Müller" not in caplog.text
    assert "SECRET" not in caplog.text
    for file in folder.iterdir():
        item = pydicom.dcmread(file)
        assert (item.PatientName, item.PatientID, item.PatientSex) == ("Müller", "SECRET-ID-42", "U")
        assert (item.StudyInstanceUID, item.StudyDate, item.StudyID) == ("1.2.3.1", "20260101", "7")
        assert item.FrameOfReferenceUID == "1.2.3.2"
        assert item.PatientBirthDate in ("", None)
        assert not any(element.tag.is_private for element in item)


def test_every_run_makes_new_uids_unless_a_seed_is_given(make_dicom: MakeFiles, tmp_path: Path) -> None:
    labels = read_dicom(make_dicom("in", VALUES[:2])).with_array(MASK[:, :2])
    folders = [write_dicom_seg(labels, tmp_path / name, class_names=NAMES, uid_seed=seed) for name, seed in
               [("a", None), ("b", None), ("c", "x"), ("d", "x"), ("e", "y")]]  # fmt: skip
    uids = [{item.SOPInstanceUID for item in written(folder)} for folder in folders]
    assert not uids[0] & uids[1]
    assert uids[2] == uids[3]
    assert not uids[2] & uids[4]
    for first, second in zip(sorted(folders[2].iterdir()), sorted(folders[3].iterdir()), strict=True):
        assert first.read_bytes() == second.read_bytes()


def test_mask_of_another_file_takes_the_source(make_dicom: MakeFiles, tmp_path: Path) -> None:
    folder = make_dicom("in", VALUES)
    record = read_dicom(folder)
    mask = read_nifti(write_nifti(record.with_array(MASK), tmp_path / "mask.nii.gz"))
    for name, labels in (("record", mask), ("array", MASK)):
        out = write_dicom_seg(labels, tmp_path / name, class_names=NAMES, source=folder)
        check_cine(out, record, MASK, NAMES)


@pytest.mark.parametrize("per_frame", [False, True])
def test_enhanced_volume(make_enhanced: MakeFiles, tmp_path: Path, per_frame: bool) -> None:
    path = make_enhanced("in.dcm", VALUES[:1], spacing=-8.0)
    if per_frame:
        dataset = pydicom.dcmread(path)
        (shared,) = dataset.SharedFunctionalGroupsSequence
        for groups in dataset.PerFrameFunctionalGroupsSequence:
            groups.update({element.tag: element for element in shared})
        dataset.SharedFunctionalGroupsSequence = [Dataset()]
        dataset.save_as(path)
    record = read_dicom(path)
    (item,) = written(write_dicom_seg(record.with_array(MASK[:, :1]), tmp_path / "out", class_names=NAMES))
    volume = item.get_volume(combine_segments=True)
    inverse = np.linalg.inv(record.affine) @ _RAS @ volume.affine[:, [2, 1, 0, 3]]
    np.testing.assert_allclose(np.abs(inverse[:3, :3]), np.eye(3), atol=1e-4)
    frames = [int(number) + 1 for _, number in record.metadata["dicom_frames"][0]]
    assert frames == [3, 2, 1]
    assert referenced(item) == {"1.2.3.8.1"}
    found = item.get_pixels_by_source_frame("1.2.3.8.1", frames, combine_segments=True)
    np.testing.assert_array_equal(found, numbered(MASK[0, 0], NAMES))


def without(name: str) -> Callable[[int, int, Dataset], None]:
    """Change that removes an attribute."""
    return lambda _, __, dataset: delattr(dataset, name)


def test_sources_that_cannot_be_referred_to_are_refused(
    make_dicom: MakeFiles, make_enhanced: MakeFiles, make_nifti: MakeFiles, tmp_path: Path
) -> None:
    moved = read_dicom(make_dicom("moved", VALUES))
    affine = moved.affine.copy()
    affine[:3, 3] += 5
    cases = [
        (read_dicom(make_dicom("bare", VALUES, change=without("FrameOfReferenceUID"))), "lacks FrameOfReferenceUID"),
        (read_dicom(make_enhanced("in.dcm", VALUES)), "enhanced file"),
        (read_nifti(make_nifti("in.nii", VALUES.transpose(3, 2, 1, 0).astype(np.float32))), "read from DICOM"),
        (SeriesRecord(moved.array, affine, moved.frame_times, moved.metadata), "geometry"),
    ]
    out = tmp_path / "out"
    for record, message in cases:
        with pytest.raises(errors.OutputNotWritableError, match=message):
            write_dicom_seg(record.with_array(MASK), out, class_names=NAMES)
    with pytest.raises(errors.OutputNotWritableError, match="geometry of the mask"):
        write_dicom_seg(cases[-1][0].with_array(MASK), out, class_names=NAMES, source=moved)
    assert not out.exists()


def test_headers_that_highdicom_refuses_are_refused_by_name(make_dicom: MakeFiles, tmp_path: Path) -> None:
    def change(_: int, __: int, dataset: Dataset) -> None:
        dataset.SOPClassUID = "1.2.3.4"

    record = read_dicom(make_dicom("in", VALUES, change=change))
    with pytest.raises(errors.OutputNotWritableError, match="KeyError"):
        write_dicom_seg(record.with_array(MASK), tmp_path / "out", class_names=NAMES)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("names", "values", "message"),
    [
        ({1: "LV"}, [0, 1, 2, 5], "without a class name: 2, 5"),
        (NAMES, [0, 0.5], "without a class name: 0.5"),
        (NAMES, [0, -1], "without a class name: -1"),
        (NAMES, [0, np.nan], "without a class name: nan"),
        ({}, [0], "cannot be used"),
        ({0: "background"}, [0], "cannot be used"),
        ({1: ""}, [0, 1], "cannot be used"),
        ({1: "x" * 65}, [0, 1], "cannot be used"),
        ({-1: "x"}, [0, -1], "cannot be used"),
    ],
)
def test_values_without_a_name_are_refused(
    make_dicom: MakeFiles, tmp_path: Path, names: dict[int, str], values: list[float], message: str
) -> None:
    record = read_dicom(make_dicom("in", VALUES[:1]))
    mask = np.resize(np.array(values), record.array.shape)
    with pytest.raises(errors.LabelValueError, match=message):
        write_dicom_seg(record.with_array(mask), tmp_path / "out", class_names=names)


def test_other_shapes_are_refused(make_dicom: MakeFiles, tmp_path: Path) -> None:
    record = read_dicom(make_dicom("in", VALUES))
    out = tmp_path / "out"
    for bad in (MASK[:, :2], MASK[0], np.concatenate([MASK, MASK]), MASK[..., 1:]):
        with pytest.raises(errors.LayoutError, match="the mask has the shape"):
            write_dicom_seg(bad, out, class_names=NAMES, source=record)
    with pytest.raises(errors.LayoutError, match="Give its source"):
        write_dicom_seg(MASK, out, class_names=NAMES)
    cropped = SeriesRecord(MASK[..., 1:], record.affine, record.frame_times, record.metadata)
    with pytest.raises(errors.OutputNotWritableError, match="size"):
        write_dicom_seg(cropped, out, class_names=NAMES)


def test_highdicom_is_asked_for_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(errors.OutputNotWritableError, match=r"pip install .monai-stcnnt\[dicom\]"):
        write_dicom_seg(MASK, tmp_path / "out", class_names=NAMES)


def test_folder_is_complete_or_absent(make_dicom: MakeFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = read_dicom(make_dicom("in", VALUES)).with_array(MASK)
    out = tmp_path / "out"
    save, calls = Dataset.save_as, []

    def fail_at_the_third(self: Dataset, *args: object, **kwargs: object) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        save(self, *args, **kwargs)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Dataset, "save_as", fail_at_the_third)
        with pytest.raises(errors.OutputNotWritableError, match="No space left"):
            write_dicom_seg(labels, out, class_names=NAMES, per_frame=True)
    assert not out.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    write_dicom_seg(labels, out, class_names=NAMES)
    with pytest.raises(errors.OutputNotWritableError, match="exists already"):
        write_dicom_seg(labels, out, class_names=NAMES)


def test_segmentation_is_not_read_as_an_image(make_dicom: MakeFiles, tmp_path: Path) -> None:
    labels = read_dicom(make_dicom("in", VALUES)).with_array(MASK)
    folder = write_dicom_seg(labels, tmp_path / "out", class_names=NAMES)
    with pytest.raises(errors.NotAnImageError, match="Segmentation Storage"):
        read_series(folder)


def test_cine_of_the_sample_scans(shared_data: Path, tmp_path: Path) -> None:
    scans = shared_data / "cine_sax_bivme"
    record = read_series(scans / "dicom_one_slice_Se2")
    image = np.asarray(nib.load(scans / "cine_sax.nii.gz").dataobj)  # type: ignore[attr-defined]
    labels = np.asarray(nib.load(scans / "cine_sax_label.nii.gz").dataobj)  # type: ignore[attr-defined]
    mine = record.to_spatial()[:, :, 0]
    crops = [(start, place) for start in range(41) for place in range(6)]
    start, place = next((s, z) for s, z in crops if np.array_equal(mine[s : s + 216], image[:, :, z]))
    mask = np.zeros_like(record.array)
    mask[0, :, 0, :, start : start + 216] = labels[:, :, place].transpose(2, 1, 0)
    names = {1: "RV", 2: "MYO", 3: "LV"}
    check_cine(write_dicom_seg(record.with_array(mask), tmp_path / "one", class_names=names), record, mask, names)
    folder = write_dicom_seg(record.with_array(mask), tmp_path / "out", class_names=names, per_frame=True)
    check_phases(folder, record, mask, names)
    volume = written(folder)[7].get_volume(combine_segments=True)
    np.testing.assert_allclose(_RAS @ volume.affine[:, [2, 1, 3]], record.affine[:, [0, 1, 3]], atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(volume.affine[:3, 0]), 6, atol=1e-4)


def test_mosaic_of_the_sample_scans_is_refused(shared_data: Path, tmp_path: Path) -> None:
    record = read_series(shared_data / "dicom_siemens_mosaic_fmri" / "dicom")
    with pytest.raises(errors.OutputNotWritableError, match="mosaic"):
        write_dicom_seg(record.with_array(np.ones_like(record.array)), tmp_path / "out", class_names={1: "brain"})


def test_enhanced_volume_of_the_sample_scans(shared_data: Path, tmp_path: Path) -> None:
    record = read_series(shared_data / "complex_siemens_xa30_fieldmap" / "dicom_mag", series="8-e1")
    mask = record.array > np.percentile(record.array, 80)
    (item,) = written(write_dicom_seg(mask, tmp_path / "out", class_names={1: "head"}, source=record))
    frames = [int(number) + 1 for _, number in record.metadata["dicom_frames"][0]]
    (uid,) = referenced(item)
    found = item.get_pixels_by_source_frame(uid, frames, combine_segments=True, assert_missing_frames_are_empty=True)
    np.testing.assert_array_equal(found, mask[0, 0])
