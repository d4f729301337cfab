# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM segmentation objects for masks, through highdicom: ``pip install "monai-stcnnt[dicom]"``.

A volume and a cine become one object each, the cine with time as a dimension, see
:mod:`~monai_stcnnt.data.formats.dicom.seg_cine`. Readers that know places but no time can have one object per phase,
all in one series. Every frame of an object refers to the image that it lies on.
"""

from __future__ import annotations

import copy
import datetime
import importlib
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.valuerep import format_number_as_ds

from monai_stcnnt.data.formats.dicom.frames import DicomFrame, frame_groups
from monai_stcnnt.data.formats.dicom.headers import quiet_pydicom
from monai_stcnnt.data.formats.dicom.seg_cine import join_phases, refer_to_series
from monai_stcnnt.data.formats.dicom.slabs import read_dicom
from monai_stcnnt.data.formats.dicom.writer import new_uid, source_frames
from monai_stcnnt.data.paths import write_aside
from monai_stcnnt.data.record import SeriesRecord
from monai_stcnnt.errors import LabelValueError, LayoutError, OutputNotWritableError

__all__ = ["SegmentCode", "write_dicom_seg"]

logger = logging.getLogger(__name__)

SegmentCode = tuple[str, str, str]
"""Code value, coding scheme and meaning, such as ``("87878005", "SCT", "Left ventricle")``."""

_TISSUE: SegmentCode = ("85756007", "SCT", "Tissue")
_STRUCTURE: SegmentCode = ("91723000", "SCT", "Anatomical Structure")
_CODES: dict[str, SegmentCode] = {
    **dict.fromkeys(
        ("left ventricle", "lv", "lv cavity", "lv blood pool", "left ventricular cavity"),
        ("87878005", "SCT", "Left ventricle"),
    ),
    **dict.fromkeys(("myocardium", "myo"), ("74281007", "SCT", "Myocardium")),
    **dict.fromkeys(
        ("left ventricular myocardium", "lv myocardium", "lv myo", "myocardium of left ventricle"),
        ("49848007", "SCT", "Myocardium of left ventricle"),
    ),
    **dict.fromkeys(
        ("right ventricle", "rv", "rv cavity", "rv blood pool", "right ventricular cavity"),
        ("53085002", "SCT", "Right ventricle"),
    ),
    **dict.fromkeys(("left atrium", "la"), ("82471001", "SCT", "Left atrium")),
    **dict.fromkeys(("right atrium", "ra"), ("73829009", "SCT", "Right atrium")),
}  # fmt: skip

# What an object cannot do without, and what it must have but may leave empty.
_REQUIRED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID", "FrameOfReferenceUID")
_PERSONAL = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
_REFUSALS = (ValueError, TypeError, KeyError, AttributeError, IndexError)


def write_dicom_seg(
    labels: SeriesRecord | np.ndarray,
    folder: str | Path,
    *,
    class_names: Mapping[int, str],
    source: SeriesRecord | str | Path | None = None,
    codes: Mapping[str, SegmentCode] | None = None,
    algorithm: str = "monai_stcnnt",
    algorithm_version: str = "unspecified",
    description: str = "segmentation",
    uid_seed: str | None = None,
    per_frame: bool = False,
) -> Path:
    """Write a mask as a DICOM segmentation object, or one per frame; the folder is complete or absent.

    An object describes all classes, as binary segments in the order of their values, whether they occur or not; planes
    without any class are left out. A frame without any class has zeros on all planes, so that "nothing found" is not
    taken for "not looked at".

    Cardiac chambers and the myocardium get their SNOMED CT codes by their names (``"LV"``, ``"left ventricle"``,
    ``"LV myocardium"``, ...); SNOMED CT has none for the cavity of a ventricle alone, which gets that of the ventricle.
    Other classes are called tissue unless ``codes`` says better.

    The source is a series of single images, or one enhanced file that holds one volume.

    Args:
        labels: the mask ``(1, T, Z, Y, X)`` of whole numbers, 0 for the background: a record with the metadata of the
            images (``record.with_array(mask)``), or an array.
        folder: the folder to make, with the file ``SEG00001.dcm``, or one per frame; it must not exist.
        class_names: name of every value but 0, at most 64 characters each.
        source: the images that the mask belongs to: a record, or a path for
            :func:`~monai_stcnnt.data.formats.dicom.slabs.read_dicom`; not needed where ``labels`` is their record.
        codes: codes by class name.
        algorithm: name of what made the mask.
        algorithm_version: its version, such as that of the bundle.
        description: what to add to the series description.
        uid_seed: makes the UIDs, and the dates, a function of this text and the source, for the same files every
            time; by default every run makes new ones.
        per_frame: write an object for every frame of a cine, since some readers know no time.

    Returns:
        The folder.

    Raises:
        LabelValueError: if the mask holds fractions or values without a name, or the names cannot be used.
        LayoutError: if the mask has other axes.
        OutputNotWritableError: if highdicom is not installed, the size or geometry are not the source's, the source is
            not DICOM with full headers, is a mosaic or an enhanced cine, or the folder exists or cannot be written to.
        StcnntError: the errors of :func:`~monai_stcnnt.data.formats.dicom.slabs.read_dicom`, for a source given as
            a path.
    """
    folder = Path(folder).expanduser()
    highdicom = _highdicom(folder)
    record = _with_source(labels, source, folder)
    names = _checked_names(class_names)
    segments = _segment_numbers(record, names)
    grid = source_frames(record, folder)
    _check_source(grid, folder)
    if folder.exists():
        raise OutputNotWritableError(f"{folder} exists already. Choose another folder.")
    described = _descriptions(highdicom, list(names.values()), codes or {}, algorithm, algorithm_version)
    first = grid[0][0][1]
    common = {
        "segment_descriptions": described,
        "series_instance_uid": new_uid(uid_seed, first.series_uid, "segmentation series"),
        "series_number": max(first.series_number, 0) + 2000,
        "manufacturer": "monai_stcnnt",
        "manufacturer_model_name": algorithm,
        "software_versions": algorithm_version,
        "device_serial_number": "none",
        "content_label": "SEGMENTATION",
    }
    now = None if uid_seed is not None else datetime.datetime.now()
    with quiet_pydicom(), write_aside(folder) as aside:
        aside.mkdir()
        objects = []
        for time, row in enumerate(grid):
            options = {
                **common,
                "sop_instance_uid": new_uid(uid_seed, row[0][1].instance_uid, f"segmentation {time}"),
                "instance_number": time + 1,
                "content_description": _phase_text(record.frame_times, time),
            }
            mask, headers = _planes(segments[time], row)
            objects.append(_segmentation(highdicom, mask, headers, options, folder))
        if len(objects) > 1 and not per_frame:
            objects = [join_phases(objects, np.array([frame.position for _, frame in grid[0]]))]
            objects[0].ContentDescription = f"segmentation of {len(grid)} frames"
        for number, dataset in enumerate(objects):
            refer_to_series(dataset, [header for row in grid for header, _ in row])
            _complete(dataset, grid[number][0][0], description, now)
            if uid_seed is not None:
                _set_dimension_uid(dataset, new_uid(uid_seed, dataset.SOPInstanceUID, "dimensions"))
            dataset.save_as(aside / f"SEG{number + 1:05d}.dcm", enforce_file_format=True)
    logger.debug("wrote %d segmentation objects to %s", len(objects), folder)
    return folder


def _highdicom(folder: Path) -> Any:  # noqa: ANN401 - an untyped module
    try:
        return importlib.import_module("highdicom")
    except ImportError as error:
        raise OutputNotWritableError(
            f'{folder}: segmentation objects are written by highdicom. Install it: pip install "monai-stcnnt[dicom]".'
        ) from error


def _with_source(
    labels: SeriesRecord | np.ndarray, source: SeriesRecord | str | Path | None, folder: Path
) -> SeriesRecord:
    """The mask in a record with the metadata of its images."""
    if isinstance(source, (str, Path)):
        source = read_dicom(source)
    if source is None:
        if not isinstance(labels, SeriesRecord):
            raise LayoutError("A mask that is a bare array does not tell what it belongs to. Give its source.")
        return labels
    if isinstance(labels, SeriesRecord):
        if not np.allclose(labels.affine, source.affine, atol=0.1 * float(source.spacing.min())):
            raise OutputNotWritableError(
                f"{folder}: the geometry of the mask is not the source's. Bring the mask to the source's grid first."
            )
        labels = labels.array
    values = np.asarray(labels)
    if values.shape != (1, *source.array.shape[1:]):
        raise LayoutError(
            f"{folder}: the mask has the shape {values.shape}, but its source asks for (1, T, Z, Y, X) = "
            f"{(1, *source.array.shape[1:])}."
        )
    return source.with_array(values)


def _checked_names(class_names: Mapping[int, str]) -> dict[int, str]:
    """Names by value in the order of the values, without the background."""
    names = {int(value): str(name).strip() for value, name in class_names.items() if int(value) != 0}
    bad = {value: name for value, name in names.items() if not 1 <= len(name) <= 64 or value < 0}
    if bad or not names:
        raise LabelValueError(
            f"The class names {dict(class_names)} cannot be used: give a name of 1 to 64 characters for each value, "
            "from 1 on."
        )
    return dict(sorted(names.items()))


def _segment_numbers(record: SeriesRecord, names: Mapping[int, str]) -> np.ndarray:
    """Mask ``(T, Z, Y, X)`` uint8 with the numbers of segments, 1 for the lowest value that has a name."""
    values = record.array[0]
    present = np.unique(values)
    unnamed = [float(value) for value in present if value != 0 and value not in names]
    if unnamed:
        shown = ", ".join(f"{value:g}" for value in unnamed[:8]) + (", ..." if len(unnamed) > 8 else "")
        raise LabelValueError(
            f"The mask holds values without a class name: {shown}. Named are {', '.join(map(str, names))}; 0 is the "
            "background."
        )
    numbers = np.zeros(values.shape, np.uint8 if len(names) < 256 else np.uint16)
    for number, value in enumerate(names, start=1):
        numbers[values == value] = number
    return numbers


def _check_source(grid: Sequence[Sequence[tuple[Dataset, DicomFrame]]], folder: Path) -> None:
    """Refuse headers that a segmentation object cannot refer to."""
    advice = "Write the series with write_dicom_series first and segment that, or write NIfTI."
    for header, frame in (pair for row in grid for pair in row):
        missing = [name for name in _REQUIRED if not header.get(name)]
        if missing:
            raise OutputNotWritableError(
                f"{folder}: {frame.path} lacks {', '.join(missing)}, which a segmentation needs. Write NIfTI."
            )
        if frame.tile is not None:
            raise OutputNotWritableError(
                f"{folder}: the source is a mosaic, whose slices a segmentation object cannot refer to. {advice}"
            )
        groups = frame_groups(header)
        if groups is not None:
            frames = len(groups)
            if len(grid) > 1 or frames != len(grid[0]) or any(other is not header for other, _ in grid[0]):
                raise OutputNotWritableError(
                    f"{folder}: the source is an enhanced file that is not one volume. {advice}"
                )


def _descriptions(
    highdicom: Any,  # noqa: ANN401 - an untyped module
    names: Sequence[str],
    codes: Mapping[str, SegmentCode],
    algorithm: str,
    version: str,
) -> list[Dataset]:
    """Segment descriptions, numbered from 1."""
    family = highdicom.sr.CodedConcept("123110", "DCM", "Artificial Intelligence")
    made_by = highdicom.AlgorithmIdentificationSequence(name=algorithm, family=family, version=version)
    result = []
    for number, name in enumerate(names, start=1):
        known = _CODES.get(" ".join(re.findall("[a-z0-9]+", name.lower())))
        kind = codes.get(name, known or _TISSUE)
        category = _STRUCTURE if kind != _TISSUE else _TISSUE
        segment = highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=highdicom.sr.CodedConcept(*category),
            segmented_property_type=highdicom.sr.CodedConcept(*kind),
            algorithm_type="AUTOMATIC",
            algorithm_identification=made_by,
        )
        result.append(segment)
    return result


def _phase_text(times: np.ndarray, time: int) -> str:
    if len(times) == 1:
        return "segmentation of a volume"
    at = f" at {times[time]:.0f} ms" if np.isfinite(times[time]) else ""
    return f"segmentation of frame {time + 1} of {len(times)}{at}"


def _planes(mask: np.ndarray, row: Sequence[tuple[Dataset, DicomFrame]]) -> tuple[np.ndarray, list[Dataset]]:
    """Mask ``(Z, Y, X)`` and headers in an order that highdicom takes: that of the file where there is one file."""
    first = row[0][1]
    extent = float(np.linalg.norm(row[-1][1].position - first.position))
    step = round(extent / (len(row) - 1) if len(row) > 1 else float(first.spacing[2]), 6)
    if frame_groups(row[0][0]) is not None:
        in_file = sorted(range(len(row)), key=lambda place: row[place][1].number)
        return mask[in_file], [_enhanced_header(row[0][0], [row[place][1] for place in in_file], step)]
    headers = [_impersonal(header) for header, _ in row]
    for plane in headers:
        # Orientations agree up to rounding, but highdicom asks for the same digits, and for one series; what a header
        # calls the spacing may be a gap.
        plane.SeriesInstanceUID = headers[0].SeriesInstanceUID
        plane.ImageOrientationPatient = headers[0].ImageOrientationPatient
        plane.SliceThickness = plane.get("SliceThickness") or step
        plane.SpacingBetweenSlices = step
    return mask, headers


def _enhanced_header(header: Dataset, frames: Sequence[DicomFrame], step: float) -> Dataset:
    """Copy of an enhanced header with no more than the places of its frames, in the groups where highdicom looks."""
    slim = _impersonal(header)
    shared = Dataset()
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [Dataset()], [Dataset()]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = _decimals(frames[0].orientation.ravel())
    shared.PixelMeasuresSequence[0].PixelSpacing = _decimals(frames[0].spacing[1::-1])
    shared.PixelMeasuresSequence[0].SliceThickness = _decimals(frames[0].spacing[2:])[0]
    shared.PixelMeasuresSequence[0].SpacingBetweenSlices = step
    groups = [Dataset() for _ in frames]
    for group, frame in zip(groups, frames, strict=True):
        group.PlanePositionSequence = [Dataset()]
        group.PlanePositionSequence[0].ImagePositionPatient = _decimals(frame.position)
    slim.SharedFunctionalGroupsSequence, slim.PerFrameFunctionalGroupsSequence = [shared], groups
    return slim


def _decimals(values: np.ndarray) -> list[str]:
    """Numbers as decimal strings of at most 16 characters."""
    return [format_number_as_ds(float(value)) for value in values]


def _impersonal(header: Dataset) -> Dataset:
    """Copy of a header without names, which highdicom would quote in warnings, and without private attributes."""
    slim = Dataset({element.tag: copy.copy(element) for element in header if not element.tag.is_private})
    for name in _PERSONAL:
        setattr(slim, name, None)
    return slim


def _segmentation(
    highdicom: Any,  # noqa: ANN401 - an untyped module
    mask: np.ndarray,
    headers: list[Dataset],
    options: Mapping[str, Any],
    folder: Path,
) -> Dataset:
    try:
        segmentation: Dataset = highdicom.seg.Segmentation(
            source_images=headers,
            pixel_array=mask,
            segmentation_type="BINARY",
            omit_empty_frames=bool(mask.any()),
            specific_character_set="ISO_IR 192",
            **options,
        )
    except _REFUSALS as error:
        raise OutputNotWritableError(
            f"{folder}: highdicom makes no segmentation object of the source's headers ({type(error).__name__}). "
            "Write NIfTI."
        ) from error
    return segmentation


def _complete(dataset: Dataset, header: Dataset, description: str, now: datetime.datetime | None) -> None:
    """Give back the patient and the study, and settle the dates."""
    for name in _PERSONAL:
        setattr(dataset, name, header.get(name))
    before = str(header.get("SeriesDescription") or "")
    dataset.SeriesDescription = f"{before[: 63 - len(description)]} {description}".strip()[:64]
    if now is not None:
        date, clock = now.strftime("%Y%m%d"), now.strftime("%H%M%S.%f")
    else:
        date = _first_text(header, ("ContentDate", "AcquisitionDate", "SeriesDate", "StudyDate"), "19700101")
        clock = _first_text(header, ("ContentTime", "AcquisitionTime", "SeriesTime", "StudyTime"), "000000")
    dataset.SeriesDate = dataset.ContentDate = dataset.InstanceCreationDate = date
    dataset.SeriesTime = dataset.ContentTime = dataset.InstanceCreationTime = clock
    dataset.ContributingEquipmentSequence[-1].ContributionDateTime = date + clock


def _first_text(header: Dataset, names: Sequence[str], default: str) -> str:
    return next((str(header[name].value) for name in names if header.get(name)), default)


def _set_dimension_uid(dataset: Dataset, uid: str) -> None:
    for item in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid
