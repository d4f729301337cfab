# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
r"""Derived MR series: new pixels in the headers of the series they came from.

Every plane becomes a classic MR image with the patient, study, frame of reference, geometry and timing of its source,
whether that was classic, enhanced or a mosaic. Series and instance get new UIDs; the image type becomes
DERIVED\SECONDARY, with a description of the derivation and references to the source images. Private attributes are
left out, apart from those that tell what an image is: what they say belongs to the pixels that were.
"""

from __future__ import annotations

import copy
import datetime
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from monai_stcnnt.data.formats.dicom.frames import DicomFrame, frame_groups, frames_of
from monai_stcnnt.data.formats.dicom.headers import Header, quiet_pydicom, read_header
from monai_stcnnt.data.paths import write_aside
from monai_stcnnt.data.provenance import KEY, description_of
from monai_stcnnt.data.record import LPS_TO_RAS, SeriesRecord
from monai_stcnnt.errors import OutputNotWritableError

__all__ = ["new_uid", "source_frames", "write_dicom_series"]

logger = logging.getLogger(__name__)

_WINDOW_VOXELS = 1 << 25
_DAY = 24 * 3600e3  # milliseconds
# Attributes of the source's pixels, or of the enhanced file's frames, that are not true for a derived classic image.
_STALE = (
    "PixelData", "FloatPixelData", "DoubleFloatPixelData", "NumberOfFrames", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "DimensionOrganizationSequence", "DimensionIndexSequence",
    "DimensionOrganizationType", "SmallestImagePixelValue", "LargestImagePixelValue", "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries", "PixelPaddingValue", "PixelPaddingRangeLimit", "IconImageSequence",
    "ModalityLUTSequence", "VOILUTSequence", "WindowCenterWidthExplanation", "VOILUTFunction",
    "RealWorldValueMappingSequence", "RescaleType", "ReferencedImageSequence", "DigitalSignaturesSequence",
    "MACParametersSequence", "EncryptedAttributesSequence", "ConversionSourceAttributesSequence", "PixelPresentation",
    "VolumetricProperties", "VolumeBasedCalculationTechnique", "AcquisitionContrast", "ComplexImageComponent",
    "ContentQualification", "ConcatenationUID", "InConcatenationNumber", "InConcatenationTotalNumber",
    "BurnedInAnnotation", "PresentationLUTShape", "LossyImageCompressionRatio",
)  # fmt: skip
# Words of the image type that tell how the source was stored.
_OF_STORAGE = ("MOSAIC", "VFRAME", "NONE")
# Private attributes that tell images apart, and nothing of a person: kind, b-value, velocity and sequence.
_TELLING_PRIVATE = (
    0x0043102F, 0x00431039, 0x0043107C, 0x0019109C, 0x001910CC,  # GE
    0x20051011, 0x20011003, 0x20011004, 0x20011008, 0x20011013, 0x2001101A, 0x200510A0,  # Philips
    0x20051413, 0x20051429,  # Philips
    0x0019100C, 0x00651009,  # Siemens, UIH
)  # fmt: skip
# Attributes that a classic image holds at its top and an enhanced one in its functional groups.
_FROM_GROUPS = (
    "SliceThickness", "SpacingBetweenSlices", "RepetitionTime", "FlipAngle", "EchoTrainLength", "PixelBandwidth",
    "NumberOfAverages", "InversionTimes", "ImagingFrequency", "TransmitterFrequency", "ReceiveCoilName",
    "DiffusionBValue",
)  # fmt: skip


def write_dicom_series(
    record: SeriesRecord,
    folder: str | Path,
    *,
    description: str = "denoised",
    derivation: str = "Denoised by a neural network",
    uid_seed: str | None = None,
) -> Path:
    """Write a record that was read from DICOM as a derived series; the folder is complete or absent.

    Values are stored in 16 bits with one slope and intercept for the whole series: whole numbers that fit as they
    are, others with the finest step that holds their range, so that they differ by half a step at most.

    Args:
        record: a magnitude image of the size and geometry that was read; what its metadata says under ``provenance``
            becomes the derivation description and a contributing equipment.
        folder: the folder to make, with one file per plane; it must not exist.
        description: what to add to the series description.
        derivation: the derivation description where the metadata has none.
        uid_seed: makes the UIDs, and the dates, a function of this text and the source, for the same files every
            time; by default every run makes new ones.

    Returns:
        The folder.

    Raises:
        OutputNotWritableError: if the record does not come from DICOM, is complex, has another size or geometry, or
            the folder exists or cannot be written to.
        UnreadableFileError: if a source file is gone or damaged by now.
    """
    folder = Path(folder).expanduser()
    frames = source_frames(record, folder)
    slope, intercept = _scale(record.array[0])
    window = _window(record.array[0])
    series_uid = new_uid(uid_seed, frames[0][0][1].series_uid, "series")
    now = None if uid_seed is not None else datetime.datetime.now()
    facts = record.metadata.get(KEY)
    if facts is not None:
        derivation = description_of(facts)[:1024]
    if folder.exists():
        raise OutputNotWritableError(f"{folder} exists already. Choose another folder.")
    with quiet_pydicom(), write_aside(folder) as aside:
        bases = {id(header): _stripped(header) for row in frames for header, _ in row}
        aside.mkdir()
        number = 0
        for time, row in enumerate(frames):
            for place, (header, frame) in enumerate(row):
                number += 1
                dataset = _derived(header, bases[id(header)], frame, derivation)
                role = f"instance {number}"  # sources may share a UID
                dataset.SOPInstanceUID = new_uid(uid_seed, f"{frame.instance_uid}.{frame.number}", role)
                if len(frames) > 1 and frame_groups(header) is not None:
                    dataset.TemporalPositionIdentifier, dataset.NumberOfTemporalPositions = time + 1, len(frames)
                _describe_series(dataset, series_uid, description, number, now)
                if facts is not None:
                    _add_equipment(dataset, facts)
                _set_pixels(dataset, record.array[0, time, place], slope, intercept, window)
                _save(dataset, aside / f"IM{number:05d}.dcm")
    logger.debug("wrote %d images to %s", number, folder)
    return folder


def source_frames(record: SeriesRecord, folder: Path) -> list[list[tuple[Dataset, DicomFrame]]]:
    """Find the headers that a record was read from.

    Args:
        record: the record.
        folder: where it is to be written, for messages.

    Returns:
        Header and frame of every plane ``[time][slice]``; planes of one file share the header.

    Raises:
        OutputNotWritableError: if the record does not come from DICOM, is complex, or has another size or geometry.
        UnreadableFileError: if a source file is gone or damaged by now.
    """
    if record.metadata.get("file_format") != "dicom":
        raise OutputNotWritableError(
            f"{folder}: only an image that was read from DICOM is written as DICOM. Write NIfTI."
        )
    if record.kind == "complex":
        raise OutputNotWritableError(
            f"{folder}: a complex image is not written as DICOM. Write its magnitude, or NIfTI."
        )
    numbers = np.asarray(record.metadata["dicom_frames"])
    headers = [read_header(Path(file)) for file in record.metadata["dicom_files"]]
    frames = [frames_of(Header(h), Path(f)) for h, f in zip(headers, record.metadata["dicom_files"], strict=True)]
    grid = [[(headers[f], frames[f][n]) for f, n in row] for row in numbers]
    planes = [frame for _, frame in grid[0]]
    if (*numbers.shape[:2], *planes[0].shape) != record.array.shape[1:] or not _same_geometry(record.affine, planes):
        raise OutputNotWritableError(
            f"{folder}: the size {record.array.shape[1:]} (times, slices, rows, columns) or the geometry are not the "
            "source's. Invert the transforms first, or write NIfTI."
        )
    return grid


def _same_geometry(affine: np.ndarray, planes: Sequence[DicomFrame]) -> bool:
    """Whether an affine puts the first voxels and the axes of all slices where their headers do."""
    lps = LPS_TO_RAS @ affine
    tolerance = 0.1 * float(planes[0].spacing.min())
    corners = lps[:3, 3] + np.arange(len(planes))[:, None] * lps[:3, 2]
    axes = planes[0].orientation * planes[0].spacing[:2, None]
    moved = np.abs(corners - np.array([plane.position for plane in planes])).max()
    return bool(moved <= tolerance and np.abs(lps[:3, :2].T - axes).max() <= 1e-3 * tolerance + 1e-4)


def new_uid(seed: str | None, source: str, role: str) -> str:
    """Make a UID.

    Args:
        seed: makes it a function of all three texts; None for a random one.
        source: UID of what it derives from.
        role: what it names.

    Returns:
        The UID.
    """
    return generate_uid() if seed is None else generate_uid(entropy_srcs=[seed, source, role])


def _scale(values: np.ndarray) -> tuple[float, float]:
    """Slope and intercept that put ``(T, Z, Y, X)`` into 16 bits without sign; looks at one time after the other."""
    low = min(float(volume.min()) for volume in values)
    high = max(float(volume.max()) for volume in values)
    if low >= 0 and high <= 65535 and all(bool((volume == np.round(volume)).all()) for volume in values):
        return 1.0, 0.0
    intercept = _decimal(min(low, 0.0), -1)
    return _decimal((high - intercept) / 65535, 1) or 1.0, intercept


def _decimal(value: float, direction: int) -> float:
    """Nearest number with 10 significant digits, which DICOM text can hold, on the given side of the value."""
    text = float(f"{value:.9e}")
    if (text - value) * direction < 0:
        text = float(f"{value + direction * abs(value) * 1e-9:.9e}")
    return text


def _window(values: np.ndarray) -> tuple[float, float]:
    """Center and width for a viewer; of a long series some times stand for all."""
    low, high = np.percentile(values[:: max(1, values.size // _WINDOW_VOXELS)], [0.5, 99.5])
    width = max(float(high - low), 1.0)
    return round(float(low) + width / 2, 2), round(width, 2)


def _stripped(header: Dataset) -> Dataset:
    """Copy of a header without what belongs to its own pixels and frames."""
    kept = [element.tag for element in header if element.keyword not in _STALE]
    kept = [tag for tag in kept if not tag.is_private and tag.group & 0xFF00 != 0x6000]
    dataset = Dataset({tag: copy.deepcopy(header[tag]) for tag in kept})
    dataset.remove_private_tags()
    for tag in _TELLING_PRIVATE:
        element = header.get(tag)
        if element is not None and element.private_creator:
            dataset.add_new((element.tag.group, element.tag.element >> 8), "LO", element.private_creator)
            dataset[element.tag] = copy.deepcopy(element)
    return dataset


def _derived(header: Dataset, base: Dataset, frame: DicomFrame, derivation: str) -> Dataset:
    """Header of one derived plane, from the header of its source and the part of it that still holds."""
    dataset = copy.deepcopy(base)
    places = _places(header, frame)
    for name in _FROM_GROUPS:
        found = next((place[name] for place in places if name in place), None)
        if found is not None and name not in dataset:
            dataset[name] = copy.deepcopy(found)
    dataset.SOPClassUID = MRImageStorage
    kinds = [str(token) for token in header.get("ImageType") or []][2:]
    dataset.ImageType = ["DERIVED", "SECONDARY", *(kind for kind in kinds if kind not in _OF_STORAGE)]
    dataset.DerivationDescription = derivation
    dataset.SourceImageSequence = [_reference(header, frame, frame_groups(header) is not None)]
    dataset.Rows, dataset.Columns = frame.shape
    dataset.ImagePositionPatient = [_text(v) for v in frame.position]
    dataset.ImageOrientationPatient = [_text(v) for v in frame.orientation.ravel()]
    dataset.PixelSpacing = [_text(frame.spacing[1]), _text(frame.spacing[0])]
    if places:
        _flatten_times(dataset, frame, places)
    if frame.tile is not None and "acquisition" in frame.times:  # of a slice, which UIH tells
        day, rest = divmod(frame.times["acquisition"], _DAY)
        moment = datetime.datetime.fromordinal(max(int(day), 1)) + datetime.timedelta(milliseconds=rest)
        dataset.AcquisitionTime = f"{moment:%H%M%S.%f}"
        if day > 0:
            dataset.AcquisitionDate = f"{moment:%Y%m%d}"
    return dataset


def _places(header: Dataset, frame: DicomFrame) -> list[Dataset]:
    frames = frame_groups(header)
    if frames is None:
        return []
    groups = [
        frames[frame.number],
        *header.get("SharedFunctionalGroupsSequence", [])[:1],
    ]
    return [element.value[0] for group in groups for element in group if element.VR == "SQ" and element.value]


def _flatten_times(dataset: Dataset, frame: DicomFrame, places: Sequence[Dataset]) -> None:
    """Echo time, trigger time, temporal position and acquisition time as a classic image has them."""
    if np.isfinite(frame.echo_time):
        dataset.EchoTime = _text(frame.echo_time)
    if "trigger" in frame.times:
        dataset.TriggerTime = _text(frame.times["trigger"])
    stamp = next((str(p.FrameAcquisitionDateTime) for p in places if "FrameAcquisitionDateTime" in p), "")
    if len(stamp) >= 14:
        dataset.AcquisitionDate, dataset.AcquisitionTime = stamp[:8], stamp[8:]
    dataset.ScanningSequence = dataset.get("ScanningSequence") or "RM"
    dataset.SequenceVariant = dataset.get("SequenceVariant") or "NONE"
    dataset.ScanOptions = dataset.get("ScanOptions") or ""


def _reference(header: Dataset, frame: DicomFrame, is_enhanced: bool) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = header.SOPClassUID
    item.ReferencedSOPInstanceUID = header.SOPInstanceUID
    if is_enhanced:
        item.ReferencedFrameNumber = frame.number + 1
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "121322", "DCM"
    purpose.CodeMeaning = "Source image for image processing operation"
    item.PurposeOfReferenceCodeSequence = [purpose]
    return item


def _describe_series(
    dataset: Dataset, series_uid: str, description: str, number: int, now: datetime.datetime | None
) -> None:
    dataset.SeriesInstanceUID = series_uid
    dataset.SeriesNumber = int(dataset.get("SeriesNumber") or 0) + 1000
    before = str(dataset.get("SeriesDescription") or "")
    dataset.SeriesDescription = f"{before[: 63 - len(description)]} {description}".strip()[:64]
    dataset.InstanceNumber = number
    if now is not None:
        date, clock = now.strftime("%Y%m%d"), now.strftime("%H%M%S.%f")
        dataset.SeriesDate = dataset.ContentDate = dataset.InstanceCreationDate = date
        dataset.SeriesTime = dataset.ContentTime = dataset.InstanceCreationTime = clock


def _add_equipment(dataset: Dataset, facts: Mapping[str, Any]) -> None:
    """Name the software among the equipment that contributed to the image."""
    [generator] = facts["GeneratedBy"]
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = "109103", "DCM", "Modifying Equipment"
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [purpose]
    item.Manufacturer, item.SoftwareVersions = generator["Name"], generator["Version"]
    model = (generator.get("Bundle", ""), generator.get("BundleVersion", ""))
    item.ManufacturerModelName = " ".join(model).strip()[:64]
    item.ContributionDescription = str(facts["Description"])[:1024]
    dataset.ContributingEquipmentSequence = [*dataset.get("ContributingEquipmentSequence", []), item]


def _set_pixels(
    dataset: Dataset, plane: np.ndarray, slope: float, intercept: float, window: tuple[float, float]
) -> None:
    stored = np.clip(np.round((plane.astype(np.float64) - intercept) / slope), 0, 65535)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = _text(slope), _text(intercept), "US"
    dataset.WindowCenter, dataset.WindowWidth = _text(window[0]), _text(window[1])
    dataset.add_new(0x7FE00010, "OW", stored.astype("<u2").tobytes())


def _text(value: float) -> str:
    """Decimal string of at most 16 characters."""
    for digits in range(16, 5, -1):
        text = f"{float(value):.{digits}g}"
        if len(text) <= 16:
            return text
    return f"{float(value):.5g}"


def _save(dataset: Dataset, path: Path) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(path, dataset, file_meta=meta, preamble=b"\0" * 128)
    with quiet_pydicom():
        file.save_as(path, enforce_file_format=True)
