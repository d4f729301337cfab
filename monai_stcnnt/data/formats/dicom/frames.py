# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What DICOM headers say about each image plane: one :class:`DicomFrame` per frame, classic or enhanced alike.

Nothing is read but the header. Names and identifiers of patients are not looked at and stand in no message.
"""

from __future__ import annotations

import datetime
import logging
import math
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from PIL.Image import DecompressionBombError
from pydicom import config
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from monai_stcnnt.data.formats.dicom.acquisition import acquisition_facts
from monai_stcnnt.data.formats.dicom.kinds import Nature, first_value, nature_of, number_of, value_of
from monai_stcnnt.data.formats.dicom.mosaics import tiles_of
from monai_stcnnt.data.unpacking import check_deflated
from monai_stcnnt.errors import GeometryError, NotAnImageError, StcnntError, UnreadableFileError

__all__ = [
    "DECODE_FAILURES",
    "DicomFrame",
    "frame_groups",
    "frames_of",
    "has_pixels",
    "is_dicom",
    "quiet_pydicom",
    "read_header",
    "syntax_of",
]

# What pydicom and its decoders raise on damaged files.
DECODE_FAILURES = (
    OSError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, NotImplementedError,
    OverflowError, ArithmeticError, MemoryError, AssertionError, struct.error, zlib.error, InvalidDicomError,
    BytesLengthException, DecompressionBombError,
)  # fmt: skip

_COLORS = (
    "RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT", "MONOCHROME1",
    "MONOCHROME2",
)  # fmt: skip
_POSITION_DIMENSIONS = {0x00209056, 0x00209057, 0x00200032, 0x00201041}  # stack, in-stack position, position, location
_TEMPORAL_DIMENSION = 0x00209128
_START = 2048  # bytes
_GE_DELAY = 0x0043107C  # seconds between groups of slices
_PHILIPS_BEGIN = 0x200510A0  # seconds from the start of the scan to that of the dynamic
_PROTOCOL = ("StudyInstanceUID", "FrameOfReferenceUID", "ProtocolName", "SequenceName")


@dataclass(frozen=True, eq=False)
class DicomFrame:
    """One image plane and what orders it.

    Args:
        path: its file.
        number: its index in the file, from 0.
        instance_uid: SOPInstanceUID of the file.
        series_uid: SeriesInstanceUID.
        series_number: SeriesNumber, -1 where absent.
        nature: what its values are.
        echo_time: in milliseconds, NaN where absent.
        shape: rows and columns.
        position: ``(3,)`` center of the first voxel in millimeters, DICOM patient axes (LPS).
        orientation: ``(2, 3)`` unit vectors along a row (x) and along a column (y).
        spacing: ``(3,)`` millimeters along x, y, and nominally from slice to slice.
        slope: rescale slope.
        intercept: rescale intercept.
        instance: InstanceNumber of the file (0 where absent) and ``number``, the order of last resort.
        times: what orders frames in time, by name, in milliseconds or as an index: ``trigger``, ``offset``,
            ``acquisition``, ``content`` and ``index``; absent ones are missing.
        dimensions: values of the dimensions that an enhanced file declares, position in space apart.
        repetition_time: in milliseconds, NaN where absent.
        volume_time: milliseconds that a volume takes where it is one repetition, NaN elsewhere.
        vendor: Manufacturer.
        acquisition: AcquisitionNumber, -1 where absent.
        protocol: what series of one stack have in common: study, frame of reference, protocol and sequence.
        heart_rate: beats per minute, by the rate or the nominal interval between beats; NaN where absent.
        tile: first row and column of the frame within a mosaic, None elsewhere.
        facts: what the header says of the acquisition, see
            :func:`~monai_stcnnt.data.formats.dicom.acquisition.acquisition_facts`.
    """

    path: Path
    number: int
    instance_uid: str
    series_uid: str
    series_number: int
    nature: Nature
    echo_time: float
    shape: tuple[int, int]
    position: np.ndarray
    orientation: np.ndarray
    spacing: np.ndarray
    slope: float
    intercept: float
    instance: tuple[int, int]
    times: dict[str, float] = field(default_factory=dict)
    dimensions: tuple[int, ...] = ()
    repetition_time: float = math.nan
    volume_time: float = math.nan
    vendor: str = ""
    acquisition: int = -1
    protocol: tuple[str, ...] = ()
    heart_rate: float = math.nan
    tile: tuple[int, int] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def normal(self) -> np.ndarray:
        """Unit vector ``(3,)`` from slice to slice."""
        return np.cross(self.orientation[0], self.orientation[1])


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep pydicom from warning and logging: of odd values it tells the value, which may be a name.

    Yields:
        Nothing.
    """
    pydicom_logger = logging.getLogger("pydicom")

    def drop(_: logging.LogRecord) -> bool:
        return False

    pydicom_logger.addFilter(drop)
    try:
        with warnings.catch_warnings(), config.disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    finally:
        pydicom_logger.removeFilter(drop)


def is_dicom(path: str | Path) -> bool:
    """Tell by its content whether a file is DICOM.

    Args:
        path: the file.

    Returns:
        Whether ``DICM`` follows the 128 bytes of preamble, or the file begins with DICOM's first elements instead.
    """
    start = _start_of(path)
    return start[128:132] == b"DICM" or _is_headless(start)


def _start_of(path: str | Path) -> bytes:
    """Enough of a file to tell what it is and how it is stored; nothing of one that cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(_START)
    except OSError:
        return b""


def _is_headless(start: bytes) -> bool:
    """Whether a file without preamble begins with an element of group 2 or 8, as written by some exports."""
    if len(start) < 132 or start[:2] not in (b"\x02\x00", b"\x08\x00") or start[3:4] != b"\x00":
        return False
    if start[4:6] in (b"UL", b"UI", b"CS", b"OB", b"SH", b"LO", b"DA", b"TM"):
        return start[6:7] < b"\x80"
    length = int.from_bytes(start[4:8], "little")
    return length <= 64 and start[8 + length : 10 + length] in (b"\x02\x00", b"\x08\x00")


def read_header(path: Path, **options: Any) -> Dataset:  # noqa: ANN401 - as pydicom takes them
    """Read a DICOM file without its pixels.

    Args:
        path: the file.
        options: of pydicom's ``dcmread``.

    Returns:
        The data set.

    Raises:
        UnreadableFileError: if it is damaged.
    """
    try:
        with quiet_pydicom():
            start = _start_of(path)
            if DeflatedExplicitVRLittleEndian.encode() in start:
                check_deflated(path)
            force = start[128:132] != b"DICM" and _is_headless(start)
            return pydicom.dcmread(path, **{"stop_before_pixels": True, "force": force, **options})
    except StcnntError:
        raise
    except DECODE_FAILURES as error:
        raise UnreadableFileError(
            f"{path} cannot be read as DICOM: {_reason(error)}. It is damaged; copy it anew."
        ) from None  # the cause quotes values


def syntax_of(dataset: Dataset) -> UID:
    """Transfer syntax of a file; of one without file meta information that which it was read by."""
    stated = str(dataset.file_meta.get("TransferSyntaxUID") or "")
    if stated:
        return UID(stated)
    is_implicit, is_little = dataset.original_encoding
    return ImplicitVRLittleEndian if is_implicit else ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian


def has_pixels(dataset: Dataset) -> bool:
    """Tell whether a header describes an image.

    Args:
        dataset: the header.

    Returns:
        Whether it has rows and columns.
    """
    return "Rows" in dataset and "Columns" in dataset


def frames_of(dataset: Dataset, path: Path) -> list[DicomFrame]:
    """List the frames of a file.

    Args:
        dataset: its header.
        path: the file.

    Returns:
        One entry per frame, in the file's order.

    Raises:
        NotAnImageError: if it has no pixels, colors, or is a segmentation.
        GeometryError: if a frame has no position, orientation or spacing.
        UnreadableFileError: if a value in the header is damaged.
    """
    try:
        with quiet_pydicom():
            _check_kind(dataset, path)
            frames = list(_frames(dataset, path))
    except StcnntError:
        raise
    except DECODE_FAILURES as error:
        raise UnreadableFileError(f"{path} has a damaged header: {_reason(error)}. Copy it anew.") from None
    if not frames:
        raise NotAnImageError(f"{path} has no frames.")
    return frames


def _reason(error: BaseException) -> str:
    """The error's class: its text may quote header values, such as names."""
    return type(error).__name__


def _check_kind(dataset: Dataset, path: Path) -> None:
    if not has_pixels(dataset):
        raise NotAnImageError(f"{path} is DICOM without pixels. Give a folder of images.")
    color = str(value_of(dataset, "PhotometricInterpretation") or "MONOCHROME2")
    if int(value_of(dataset, "SamplesPerPixel") or 1) != 1 or not color.startswith("MONOCHROME"):
        shown = color if color in _COLORS else "of an unknown kind"
        raise NotAnImageError(f"{path} is a color image ({shown}). Give gray values.")
    if int(value_of(dataset, "BitsAllocated") or 16) < 8:
        raise NotAnImageError(f"{path} is a segmentation, not an image.")
    if int(dataset.Rows) < 1 or int(dataset.Columns) < 1:
        raise NotAnImageError(f"{path} has no voxels: {dataset.Rows} rows and {dataset.Columns} columns.")


def _frames(dataset: Dataset, path: Path) -> Iterator[DicomFrame]:
    per_frame = frame_groups(dataset)
    if per_frame is None:
        tiles = tiles_of(dataset, path)
        if tiles is not None:
            for tile in tiles:
                frame = _frame(dataset, [tile.places, dataset], path, tile.number)
                yield replace(frame, shape=tile.shape, position=tile.position, tile=tile.corner)
            return
        if int(value_of(dataset, "NumberOfFrames") or 1) > 1:
            raise GeometryError(
                f"{path} has several frames, but not the position of each. It cannot be placed in space."
            )
        yield _frame(dataset, [dataset], path, 0)
        return
    if len(per_frame) != int(value_of(dataset, "NumberOfFrames") or 0):
        raise UnreadableFileError(f"{path} describes {len(per_frame)} frames, but says that it has another number.")
    shared = list(value_of(dataset, "SharedFunctionalGroupsSequence") or [])[:1]
    common = [item for group in shared for item in _items(group)]
    for number, groups in enumerate(per_frame):
        yield _frame(dataset, [*_items(groups), *common, dataset], path, number, groups)


def frame_groups(dataset: Dataset) -> Sequence[Dataset] | None:
    """The functional groups of an enhanced file's frames; None for a classic file, which may carry empty ones."""
    groups = value_of(dataset, "PerFrameFunctionalGroupsSequence")
    if groups is None or ("ImagePositionPatient" in dataset and not any(len(group) for group in groups)):
        return None
    return list(groups)


def _items(groups: Dataset) -> list[Dataset]:
    """First items of all functional groups (with the items nested in them), where a frame's attributes stand."""
    return [
        element.value[0] for element in groups if element.VR == "SQ" and element.value and not element.tag.is_private
    ]


def _frame(
    dataset: Dataset, places: Sequence[Dataset], path: Path, number: int, groups: Dataset | None = None
) -> DicomFrame:
    position = _numbers(places, "ImagePositionPatient", 3)
    orientation = _numbers(places, "ImageOrientationPatient", 6)
    pixel_spacing = _numbers(places, "PixelSpacing", 2)
    if position is None or orientation is None or pixel_spacing is None:
        raise GeometryError(f"{path} does not tell the position, orientation and spacing of frame {number + 1}.")
    axes = orientation.reshape(2, 3)
    lengths = np.linalg.norm(axes, axis=1)
    if np.abs(lengths - 1).max() > 1e-2 or abs(axes[0] @ axes[1]) > 1e-2 or pixel_spacing.min() <= 0:
        raise GeometryError(
            f"{path} has an impossible orientation or spacing: {orientation.tolist()}, {pixel_spacing.tolist()}."
        )
    between = abs(_number(places, "SpacingBetweenSlices")) or math.nan
    thickness = _number(places, "SliceThickness")
    for name in ("SpacingBetweenSlices", "SliceThickness"):
        if not math.isfinite(_number(places, name, 0.0)):
            raise GeometryError(f"{path} has the {name} {_number(places, name)}, which is no length.")
    nominal = next((v for v in (between, thickness) if math.isfinite(v) and v > 0), 1.0)
    slope, intercept = _number(places, "RescaleSlope", 1.0), _number(places, "RescaleIntercept", 0.0)
    if not (math.isfinite(slope) and slope != 0 and math.isfinite(intercept)):
        raise UnreadableFileError(
            f"{path} has the rescale slope {slope} and intercept {intercept}, which give no values."
        )
    return DicomFrame(
        path=path,
        number=number,
        instance_uid=str(value_of(dataset, "SOPInstanceUID") or ""),
        series_uid=str(value_of(dataset, "SeriesInstanceUID") or ""),
        series_number=int(value_of(dataset, "SeriesNumber") or -1),
        nature=nature_of(dataset, places),
        echo_time=_number(places, "EffectiveEchoTime", _number(places, "EchoTime")),
        shape=(int(dataset.Rows), int(dataset.Columns)),
        position=position,
        orientation=axes / lengths[:, None],
        spacing=np.array([pixel_spacing[1], pixel_spacing[0], nominal]),
        slope=slope,
        intercept=intercept,
        instance=(int(value_of(dataset, "InstanceNumber") or 0), number),
        times=_times(places, _begin_of(dataset, groups)),
        dimensions=_dimensions(dataset, places),
        repetition_time=_number(places, "RepetitionTime"),
        volume_time=_volume_time(dataset, places),
        vendor=str(value_of(dataset, "Manufacturer") or ""),
        facts=acquisition_facts(dataset),
        acquisition=int(_number([dataset], "AcquisitionNumber", -1)),
        protocol=tuple(str(value_of(dataset, name) or "") for name in _PROTOCOL),
        heart_rate=_heart_rate(places),
    )


def _numbers(places: Sequence[Dataset], name: str, count: int) -> np.ndarray | None:
    value = first_value(places, name)
    if not isinstance(value, (MultiValue, list)) or len(value) != count:
        return None
    numbers = np.array([float(v) for v in value])
    return numbers if np.isfinite(numbers).all() else None


def _number(places: Sequence[Dataset], name: str, default: float = math.nan) -> float:
    found = number_of(first_value(places, name))
    return default if found is None else found


def _times(places: Sequence[Dataset], begin: float) -> dict[str, float]:
    date = str(first_value(places, "AcquisitionDate") or "")
    content_date = str(first_value(places, "ContentDate") or date)
    candidates = {
        "trigger": _number(places, "NominalCardiacTriggerDelayTime", _number(places, "TriggerTime")),
        "offset": 1000 * _number(places, "TemporalPositionTimeOffset"),
        "acquisition": _clock(
            first_value(places, "FrameAcquisitionDateTime") or date + str(first_value(places, "AcquisitionTime") or "")
        ),
        "begin": begin,
        "content": _clock(content_date + str(first_value(places, "ContentTime") or "")),
        "index": _number(places, "TemporalPositionIndex", _number(places, "TemporalPositionIdentifier")),
    }
    if math.isnan(candidates["acquisition"]):
        candidates["acquisition"] = _clock(first_value(places, "AcquisitionDateTime") or "")
    return {name: value for name, value in candidates.items() if math.isfinite(value)}


def _begin_of(dataset: Dataset, groups: Dataset | None) -> float:
    """Milliseconds from the start of a Philips scan to that of a dynamic, nested in enhanced files; NaN elsewhere."""
    nested = [e.value[0] for e in groups or () if e.VR == "SQ" and e.tag.is_private and e.value]
    for place in (*nested, dataset):
        if _PHILIPS_BEGIN in place:
            return 1000 * (number_of(place[_PHILIPS_BEGIN].value) or 0.0)
    return math.nan


def _heart_rate(places: Sequence[Dataset]) -> float:
    """Beats per minute; NaN where the header tells none that a heart can have."""
    interval = _number(places, "NominalInterval", _number(places, "RRIntervalTimeNominal"))
    candidates = (_number(places, "HeartRate"), 60_000 / interval if interval > 0 else math.nan)
    return next((rate for rate in candidates if 20 <= rate <= 250), math.nan)


def _clock(text: object) -> float:
    """Milliseconds of ``[YYYYMMDD]HHMMSS[.FFFFFF]``, with or without a time zone; NaN where there is no time of day."""
    digits, _, fraction = str(text).strip().split("+")[0].split("-")[0].partition(".")
    digits = digits.replace(":", "")
    if not digits.isdigit() or len(digits) not in (4, 6, 12, 14):
        return math.nan
    day, clock = (digits[:8], digits[8:]) if len(digits) >= 12 else ("", digits)
    try:
        days = datetime.datetime.strptime(day, "%Y%m%d").toordinal() if day else 0
    except ValueError:
        return math.nan
    hours, minutes, seconds = int(clock[:2]), int(clock[2:4]), int(clock[4:6] or 0)
    sub = float(f"0.{fraction}") if fraction.isdigit() else 0.0
    return 1000.0 * (((days * 24 + hours) * 60 + minutes) * 60 + seconds + sub)


def _volume_time(dataset: Dataset, places: Sequence[Dataset]) -> float:
    """Repetition time of two-dimensional echo-planar imaging, where it is the time of a volume; else NaN."""
    sequence = first_value(places, "ScanningSequence") or ""
    is_planar = "EP" in (sequence if isinstance(sequence, (MultiValue, list)) else [sequence])
    is_planar = is_planar or str(first_value(places, "EchoPlanarPulseSequence") or "") == "YES"
    time = _number(places, "RepetitionTime")
    if not is_planar or str(first_value(places, "MRAcquisitionType") or "2D") != "2D" or not time > 0:
        return math.nan
    return time + 1000 * (number_of(dataset[_GE_DELAY].value) or 0.0 if _GE_DELAY in dataset else 0.0)


def _dimensions(dataset: Dataset, places: Sequence[Dataset]) -> tuple[int, ...]:
    """Values of the declared dimensions other than position in space; the temporal one, the fastest, at the end."""
    pointers = [int(item.DimensionIndexPointer) for item in value_of(dataset, "DimensionIndexSequence") or []]
    values = first_value(places, "DimensionIndexValues")
    numbers = [int(v) for v in values] if isinstance(values, (MultiValue, list)) else []
    if len(numbers) != len(pointers):
        return ()
    named = [pair for pair in zip(pointers, numbers, strict=True) if pair[0] not in _POSITION_DIMENSIONS]
    return tuple(number for _, number in sorted(named, key=lambda pair: pair[0] == _TEMPORAL_DIMENSION))
