# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What DICOM headers say about each image plane: one :class:`DicomFrame` per frame, classic or enhanced alike.

Nothing is read but the header. Names and identifiers of patients are not looked at and stand in no message.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from monai_stcnnt.data.formats.dicom.acquisition import (
    b_value_of,
    dimensions_of,
    heart_rate_of,
    times_of,
    volume_time_of,
)
from monai_stcnnt.data.formats.dicom.headers import (
    DECODE_FAILURES,
    Alike,
    Header,
    first_value,
    has_pixels,
    number_in,
    quiet_pydicom,
    syntax_of,
    value_of,
)
from monai_stcnnt.data.formats.dicom.kinds import Nature, nature_of, range_of
from monai_stcnnt.data.formats.dicom.mosaics import tiles_of
from monai_stcnnt.errors import GeometryError, NotAnImageError, StcnntError, UnreadableFileError

__all__ = ["DicomFrame", "frame_groups", "frames_of"]

_COLORS = (
    "RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT", "MONOCHROME1",
    "MONOCHROME2",
)  # fmt: skip
_PLAIN = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
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
        value_range: smallest and largest value, as the header declares them, NaN where it does not tell.
        instance: InstanceNumber of the file (0 where absent) and ``number``, the order of last resort.
        times: what orders frames in time, by name, see
            :func:`~monai_stcnnt.data.formats.dicom.acquisition.times_of`; absent ones are missing.
        dimensions: values of the dimensions that an enhanced file declares, position in space apart.
        repetition_time: in milliseconds, NaN where absent.
        volume_time: milliseconds that a volume takes where it is one repetition, NaN elsewhere.
        b_value: of a diffusion weighting in s/mm2, NaN where absent.
        vendor: Manufacturer.
        acquisition: AcquisitionNumber, -1 where absent.
        protocol: what series of one stack have in common: study, frame of reference, protocol and sequence.
        heart_rate: beats per minute, by the rate or the nominal interval between beats; NaN where absent.
        least_bytes: size of the pixels in its file, which cannot be smaller.
        tile: first row and column of the frame within a mosaic, None elsewhere.
        padding: smallest and largest stored value of what lies outside of the image, where these are below zero.
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
    value_range: tuple[float, float]
    instance: tuple[int, int]
    times: dict[str, float] = field(default_factory=dict)
    dimensions: tuple[int, ...] = ()
    repetition_time: float = math.nan
    volume_time: float = math.nan
    b_value: float = math.nan
    vendor: str = ""
    acquisition: int = -1
    protocol: tuple[str, ...] = ()
    heart_rate: float = math.nan
    least_bytes: int = 0
    tile: tuple[int, int] | None = None
    padding: tuple[float, float] | None = None

    @property
    def normal(self) -> np.ndarray:
        """Unit vector ``(3,)`` from slice to slice."""
        return np.cross(self.orientation[0], self.orientation[1])


def frames_of(header: Header, path: Path, alike: Alike | None = None) -> list[DicomFrame]:
    """List the frames of a file.

    Args:
        header: its header.
        path: the file.
        alike: what was found in other files, to be looked up and added to.

    Returns:
        One entry per frame, in the file's order.

    Raises:
        NotAnImageError: if it has no pixels, colors, or is a segmentation.
        GeometryError: if a frame has no position, orientation or spacing.
        UnreadableFileError: if a value in the header is damaged.
    """
    try:
        with quiet_pydicom():
            found = None if alike is None else alike.find(header)
            if found is not None:
                return [_frame(header, [header], path, 0, found)]
            header.asked = set()
            _check_kind(header, path)
            frames = list(_frames(header, path, alike))
    except StcnntError:
        raise
    except DECODE_FAILURES as error:
        raise UnreadableFileError(f"{path} has a damaged header: {type(error).__name__}. Copy it again.") from None
    finally:
        header.asked = None
    if not frames:
        raise NotAnImageError(f"{path} has no frames.")
    return frames


def _check_kind(header: Header, path: Path) -> None:
    if not has_pixels(header):
        raise NotAnImageError(f"{path} is DICOM without pixels. Give a folder of images.")
    color = str(value_of(header, "PhotometricInterpretation") or "MONOCHROME2")
    if int(value_of(header, "SamplesPerPixel") or 1) != 1 or not color.startswith("MONOCHROME"):
        shown = color if color in _COLORS else "of an unknown kind"
        raise NotAnImageError(f"{path} is a color image ({shown}). Give gray values.")
    if int(value_of(header, "BitsAllocated") or 16) < 8:
        raise NotAnImageError(f"{path} is a segmentation, not an image.")
    if min(_size(header)) < 1:
        raise NotAnImageError(f"{path} has no voxels: {_size(header)[0]} rows and {_size(header)[1]} columns.")


def _size(header: Header) -> tuple[int, int]:
    return int(value_of(header, "Rows")), int(value_of(header, "Columns"))


def _frames(header: Header, path: Path, alike: Alike | None) -> Iterator[DicomFrame]:
    per_frame = frame_groups(header)
    if per_frame is None:
        tiles = tiles_of(header, path)
        if tiles is not None:
            for tile in tiles:
                places = [Header(tile.places), header]
                frame = _frame(header, places, path, tile.number, _constant(header, places, path, tile.number))
                yield replace(frame, shape=tile.shape, position=tile.position, tile=tile.corner)
            return
        if int(value_of(header, "NumberOfFrames") or 1) > 1:
            raise GeometryError(
                f"{path} has several frames, but not the position of each. It cannot be placed in space."
            )
        constant = _constant(header, [header], path, 0)
        if alike is not None:
            alike.add(header, constant)
        yield _frame(header, [header], path, 0, constant)
        return
    if len(per_frame) != int(value_of(header, "NumberOfFrames") or 0):
        raise UnreadableFileError(f"{path} describes {len(per_frame)} frames, but its header gives another number.")
    shared = list(value_of(header, "SharedFunctionalGroupsSequence") or [])[:1]
    common = [item for group in shared for item in _items(group)]
    for number, groups in enumerate(per_frame):
        places = [*_items(groups), *common, header]
        yield _frame(header, places, path, number, _constant(header, places, path, number), groups)


def frame_groups(dataset: Header | Dataset) -> Sequence[Dataset] | None:
    """The functional groups of an enhanced file's frames; None for a classic file, which may carry empty ones."""
    groups = value_of(dataset, "PerFrameFunctionalGroupsSequence")
    if groups is None or ("ImagePositionPatient" in dataset and not any(map(_tells_anything, groups))):
        return None
    return list(groups)


def _tells_anything(groups: Dataset) -> bool:
    return any(any(len(item) for item in element.value) for element in groups if element.VR == "SQ" and element.value)


def _items(groups: Dataset) -> list[Header]:
    """First items of all functional groups (with the items nested in them), where a frame's attributes stand."""
    return [
        Header(element.value[0])
        for element in groups
        if element.VR == "SQ" and element.value and not element.tag.is_private
    ]


def _constant(header: Header, places: Sequence[Header], path: Path, number: int) -> dict[str, Any]:
    """What a frame has in common with most others of its series, for :class:`DicomFrame`."""
    orientation = _numbers(places, "ImageOrientationPatient", 6)
    pixel_spacing = _numbers(places, "PixelSpacing", 2)
    if orientation is None or pixel_spacing is None:
        raise _no_place(path, number)
    axes = orientation.reshape(2, 3)
    lengths = np.linalg.norm(axes, axis=1)
    if np.abs(lengths - 1).max() > 1e-2 or abs(axes[0] @ axes[1]) > 1e-2 or pixel_spacing.min() <= 0:
        raise GeometryError(
            f"{path} has an impossible orientation or spacing: {orientation.tolist()}, {pixel_spacing.tolist()}."
        )
    between = abs(number_in(places, "SpacingBetweenSlices")) or math.nan
    thickness = number_in(places, "SliceThickness")
    for name in ("SpacingBetweenSlices", "SliceThickness"):
        if not math.isfinite(number_in(places, name, 0.0)):
            raise GeometryError(f"{path} has the {name} {number_in(places, name)}, which is not a length.")
    nominal = next((v for v in (between, thickness) if math.isfinite(v) and v > 0), 1.0)
    slope, intercept = number_in(places, "RescaleSlope", 1.0), number_in(places, "RescaleIntercept", 0.0)
    if not (math.isfinite(slope) and slope != 0 and math.isfinite(intercept)):
        raise UnreadableFileError(
            f"{path} has the rescale slope {slope} and intercept {intercept}, which give no values."
        )
    return {
        "series_uid": str(value_of(header, "SeriesInstanceUID") or ""),
        "series_number": int(number_in([header], "SeriesNumber", -1)),
        "nature": nature_of(header, places),
        "echo_time": number_in(places, "EffectiveEchoTime", number_in(places, "EchoTime")),
        "shape": _size(header),
        "orientation": axes / lengths[:, None],
        "spacing": np.array([pixel_spacing[1], pixel_spacing[0], nominal]),
        "slope": slope,
        "intercept": intercept,
        "repetition_time": number_in(places, "RepetitionTime"),
        "volume_time": volume_time_of(header, places),
        "b_value": b_value_of(header, places),
        "vendor": str(value_of(header, "Manufacturer") or ""),
        "protocol": tuple(str(value_of(header, name) or "") for name in _PROTOCOL),
        "heart_rate": heart_rate_of(places),
        "least_bytes": _least_bytes(header),
        "padding": _padding(header, slope, intercept),
    }


def _frame(
    header: Header, places: Sequence[Header], path: Path, number: int, constant: Mapping[str, Any],
    groups: Dataset | None = None,
) -> DicomFrame:  # fmt: skip
    position = _numbers(places, "ImagePositionPatient", 3)
    if position is None:
        raise _no_place(path, number)
    return DicomFrame(
        **constant,
        value_range=range_of(header, constant["slope"], constant["intercept"], constant["padding"]),
        path=path,
        number=number,
        instance_uid=str(value_of(header, "SOPInstanceUID") or ""),
        position=position,
        instance=(int(value_of(header, "InstanceNumber") or 0), number),
        times=times_of(header, places, groups),
        dimensions=dimensions_of(header, places),
        acquisition=int(number_in([header], "AcquisitionNumber", -1)),
    )


def _padding(header: Header, slope: float, intercept: float) -> tuple[float, float] | None:
    """Stored values of what is no part of the image; None where there are none, or none below zero."""
    value = number_in([header], "PixelPaddingValue")
    low, high = sorted((value, number_in([header], "PixelPaddingRangeLimit", value)))
    return (low, high) if max(slope * low, slope * high) + intercept < 0 else None


def _least_bytes(header: Header) -> int:
    """Bytes that the pixels of a file take; 0 where they are packed, which tells its size when it is unpacked."""
    if syntax_of(header.dataset) not in _PLAIN:
        return 0
    names = ("Rows", "Columns", "BitsAllocated", "SamplesPerPixel", "NumberOfFrames")
    return int(math.prod(number_in([header], name, 1) or 1 for name in names) / 8)


def _no_place(path: Path, number: int) -> GeometryError:
    return GeometryError(f"{path} does not tell the position, orientation and spacing of frame {number + 1}.")


def _numbers(places: Sequence[Header], name: str, count: int) -> np.ndarray | None:
    value = first_value(places, name)
    if not isinstance(value, (MultiValue, list)) or len(value) != count:
        return None
    numbers = np.array([float(v) for v in value])
    return numbers if np.isfinite(numbers).all() else None
