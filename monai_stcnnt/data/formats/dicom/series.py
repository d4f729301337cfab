# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM folders and files as series records: classic and enhanced MR, mosaics, magnitude and phase pairs.

A folder may hold several series, and a series several images that are no frames of each other: echoes, or the parts
of a complex image. Each is listed under a key such as ``"8"``, ``"8-e2"`` or ``"8-phase"``, by which it can be asked
for. Magnitude and phase (or real and imaginary part) that are alone in a folder make one complex image; so do two
keys joined by ``+``.
"""

from __future__ import annotations

import logging
import math
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.uid import (
    UID,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
)

from monai_stcnnt.data.checks import check_exists
from monai_stcnnt.data.formats.dicom.frames import (
    DicomFrame,
    frames_of,
    has_pixels,
    is_dicom,
    quiet_pydicom,
    read_header,
)
from monai_stcnnt.data.formats.dicom.pixels import read_pixels
from monai_stcnnt.data.formats.dicom.sorting import SortedFrames, sort_frames
from monai_stcnnt.data.formats.parts import Component, choose_parts, join_parts, phase_scale
from monai_stcnnt.data.record import SeriesRecord
from monai_stcnnt.errors import (
    EmptyImageError,
    SeriesMismatchError,
    UnreadableFileError,
)

__all__ = [
    "DicomPart",
    "DicomSeries",
    "dicom_outline",
    "list_dicom_series",
    "open_dicom",
    "plane_of",
    "read_dicom",
    "read_dicom_parts",
]

logger = logging.getLogger(__name__)

_MR_IMAGES = (MRImageStorage, EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage)
_SUFFIXES = (".dcm", ".ima")


@dataclass(frozen=True, eq=False)
class DicomSeries:
    """Images of one kind: one series, one echo, one part of a complex image.

    Args:
        key: the name to ask for.
        frames: its frames, in no order.
    """

    key: str
    frames: tuple[DicomFrame, ...]

    @property
    def component(self) -> Component:
        """Magnitude, phase, real or imaginary."""
        return self.frames[0].component

    @property
    def echo_time(self) -> float:
        """In milliseconds, NaN where absent."""
        return self.frames[0].echo_time

    def answers_to(self, series: str) -> bool:
        """Whether it is meant by a key, a series number or a UID."""
        first = self.frames[0]
        return series in (self.key, str(first.series_number), first.series_uid)

    def describe(self) -> str:
        """One line without anything about the patient."""
        first = self.frames[0]
        echo = f", echo time {first.echo_time:g} ms" if math.isfinite(first.echo_time) else ""
        size = f"{len(self.frames)} frames of {first.shape[1]} x {first.shape[0]}"
        return f"{self.key} ({self.component}, {size}{echo})"


def list_dicom_series(path: str | Path) -> list[DicomSeries]:
    """List what a DICOM file, or a folder with its sub folders, holds.

    Args:
        path: file or folder. Files that are not DICOM, or have no pixels, are passed over in a folder.

    Returns:
        The series in the order of their numbers.

    Raises:
        MissingFileError: if there is no such file or folder.
        EmptyImageError: if the folder holds no image.
        NotAnImageError: if the file is no image, or an image is of a kind that is not read, such as color.
        GeometryError: if a frame has no position in space.
        UnreadableFileError: if a file is damaged.
    """
    path = check_exists(path)
    frames: list[DicomFrame] = []
    for file in [path] if path.is_file() else _dicom_files(path):
        dataset = read_header(file)
        if path.is_file() or has_pixels(dataset):
            frames += frames_of(dataset, file)
        elif not _is_no_image(dataset):
            raise UnreadableFileError(
                f"{file} should be an image, but has no rows and columns. It is incomplete; copy it anew."
            )
    if not frames:
        raise EmptyImageError(f"{path} holds no DICOM image. Check the folder.")
    return _grouped(frames)


def read_dicom(path: str | Path, *, series: str | int | None = None) -> SeriesRecord:
    """Read a DICOM file or one series of a folder.

    Args:
        path: file, or folder that is searched with its sub folders.
        series: which one: a key of :func:`list_dicom_series`, a series number or UID, or two keys joined by ``+`` for
            the two parts of a complex image. Not needed where the folder holds one image, or the two parts of one.

    Returns:
        The record. Frame times count from the trigger where frames are ordered by it, else from the first frame. The
        metadata names the files (``dicom_files``) and, as ``(T, Z, 2)``, file and frame number of every plane
        (``dicom_frames``).

    Raises:
        SeriesSelectionError: if there are several series and none, or one that does not exist, is asked for.
        SeriesMismatchError: if frames are missing, duplicated or of mixed size, or two parts do not fit each other.
        PhaseRangeError: if the range of a phase tells no unit.
        NotAnImageError: if the image is a phase, real or imaginary part without its other half, in color, or no image.
        UnreadableFileError: if a file is damaged, or its compression cannot be decoded.
        GeometryError: if positions are absent or not on a line.
        MissingFileError: if there is no such file or folder.
        EmptyImageError: if the folder holds no image.
    """
    return read_dicom_parts(open_dicom(path, series=series))


@dataclass(frozen=True, eq=False)
class DicomPart:
    """An image, or one part of a complex image, whose headers were read and put in order.

    Args:
        path: the file or folder.
        series: its frames.
        ordered: the same frames by time and slice.
        files: the files, which the numbers in the record's metadata count.
    """

    path: Path
    series: DicomSeries
    ordered: SortedFrames
    files: tuple[Path, ...]

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return f"{self.path}, series {self.series.key}"

    @property
    def declared_low(self) -> float:
        """Where the range of the values begins, as the rescale intercept declares it."""
        return min(frame.intercept for frame in self.series.frames)

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """``(1, T, Z, Y, X)``."""
        grid = self.ordered.grid
        return 1, len(grid), len(grid[0]), *grid[0][0].shape


def open_dicom(path: str | Path, *, series: str | int | None = None) -> list[DicomPart]:
    """Read the headers of a DICOM file or one series of a folder.

    Args:
        path: see :func:`read_dicom`.
        series: see :func:`read_dicom`.

    Returns:
        The image, or the two parts of a complex one: magnitude and phase, or real and imaginary part.

    Raises:
        StcnntError: as :func:`read_dicom`, as far as headers show it.
    """
    path = check_exists(path)
    parts = []
    for one in choose_parts(list_dicom_series(path), series, path):
        ordered = sort_frames(one.frames, f"{path}, series {one.key}")
        files = tuple(sorted({frame.path for row in ordered.grid for frame in row}))
        parts.append(DicomPart(path, one, ordered, files))
    return parts


def read_dicom_parts(parts: Sequence[DicomPart]) -> SeriesRecord:
    """Read the pixels of an image, or of the two parts of a complex one.

    Args:
        parts: from :func:`open_dicom`.

    Returns:
        The record, see :func:`read_dicom`.

    Raises:
        StcnntError: as :func:`read_dicom`.
    """
    outline = dicom_outline(parts)
    arrays = []
    for part in parts:
        array, dtype = _read_planes(part.ordered, part.files)
        outline.metadata["file_dtype"] = outline.metadata["file_dtype"] or dtype
        arrays.append(array[None])
    if len(parts) == 1:
        return outline.with_array(arrays[0])
    radians = None
    if parts[1].series.component == "phase":
        low = min(float(arrays[1].min()), parts[1].declared_low)
        radians = phase_scale(parts[1].name, low, float(arrays[1].max()))
    return outline.with_array(join_parts(arrays[0], arrays[1], radians))


def dicom_outline(parts: Sequence[DicomPart]) -> SeriesRecord:
    """Make a record of an image without reading its pixels.

    Args:
        parts: from :func:`open_dicom`.

    Returns:
        The record with zero in the place of all values, which takes no memory; ``file_dtype`` in its metadata is empty.

    Raises:
        SeriesMismatchError: if the two parts of a complex image differ in size, position or times.
    """
    outlines = []
    for part in parts:
        values = np.broadcast_to(np.float32(0), part.shape)
        outlines.append(SeriesRecord(values, part.ordered.affine, part.ordered.frame_times, _metadata(part)))
    if len(parts) == 1:
        return outlines[0]
    (first, second), name = outlines, f"{parts[0].name} and {parts[1].series.key}"
    if first.array.shape != second.array.shape or not np.allclose(first.affine, second.affine, atol=1e-2):
        raise SeriesMismatchError(f"{name}: the two parts of the complex image differ in size or position.")
    if not np.allclose(first.frame_times, second.frame_times, atol=1.0, equal_nan=True):
        raise SeriesMismatchError(f"{name}: the two parts of the complex image differ in their frame times.")
    metadata = {
        **first.metadata,
        "kind": "complex",
        "series": f"{parts[0].series.key}+{parts[1].series.key}",
        "component": f"{parts[0].series.component}+{parts[1].series.component}",
    }
    values = np.broadcast_to(np.float32(0), (2, *parts[0].shape[1:]))
    return SeriesRecord(values, first.affine, first.frame_times, metadata)


def _dicom_files(folder: Path) -> list[Path]:
    files = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [Path(root) / name for name in sorted(names) if not name.startswith(".") and name != "DICOMDIR"]
    found = [file for file in files if is_dicom(file)]
    damaged = [file for file in files if file not in set(found) and _was_dicom(file)] if found else []
    if damaged:
        raise UnreadableFileError(f"{damaged[0]} is damaged at its beginning, or incomplete; copy it anew.")
    return found


def _was_dicom(file: Path) -> bool:
    """Tell whether a file should be DICOM: by its name, the empty preamble, or the identifiers that all DICOM has."""
    try:
        with open(file, "rb") as content:
            start = content.read(1024)
    except OSError as error:
        raise UnreadableFileError(f"{file} cannot be opened: {error.strerror}. Check its permissions.") from error
    is_empty = len(start) > 0 and not any(start[:128])
    return file.suffix.lower() in _SUFFIXES or is_empty or b"1.2.840.10008." in start


def _is_no_image(dataset: pydicom.Dataset) -> bool:
    """Tell whether a file says that it is something else, such as a report or the state of a viewer."""
    with quiet_pydicom():
        uid = UID(str(dataset.file_meta.get("MediaStorageSOPClassUID") or dataset.get("SOPClassUID") or ""))
    is_known = uid.name != str(uid) or (uid.is_valid and uid.is_private)
    return is_known and uid not in _MR_IMAGES


def _grouped(frames: Sequence[DicomFrame]) -> list[DicomSeries]:
    """Split frames into series, parts of complex images and echoes, with a key for each."""
    by_uid: dict[str, list[DicomFrame]] = defaultdict(list)
    for frame in frames:
        by_uid[frame.series_uid].append(frame)
    uids = sorted(by_uid, key=lambda uid: (by_uid[uid][0].series_number, uid))
    numbers = [by_uid[uid][0].series_number for uid in uids]
    result = []
    for position, (uid, number) in enumerate(zip(uids, numbers, strict=True)):
        name = str(number) if number >= 0 else "none"
        if numbers.count(number) > 1:
            name += chr(ord("a") + numbers[:position].count(number) % 26)
        components = sorted({frame.component for frame in by_uid[uid]})
        for component in components:
            part = [frame for frame in by_uid[uid] if frame.component == component]
            echoes = _echoes(part)
            for index, echo in enumerate(echoes):
                key = (
                    name
                    + (f"-e{index + 1}" if len(echoes) > 1 else "")
                    + (f"-{component}" if len(components) > 1 else "")
                )
                result.append(DicomSeries(key, tuple(echo)))
    return result


def _echoes(frames: list[DicomFrame]) -> list[list[DicomFrame]]:
    """Split by echo time where one place was imaged at several; slices may differ in it by planning."""
    by_echo: dict[float, list[DicomFrame]] = defaultdict(list)
    places: dict[tuple[int, ...], set[float]] = defaultdict(set)
    for frame in frames:
        echo = round(frame.echo_time, 3) if math.isfinite(frame.echo_time) else -1.0
        by_echo[echo].append(frame)
        places[tuple(np.round(frame.position * 10).astype(int))].add(echo)
    if all(len(echoes) == 1 for echoes in places.values()):
        return [frames]
    return [by_echo[echo] for echo in sorted(by_echo)]


def _metadata(part: DicomPart) -> dict[str, Any]:
    index = {file: i for i, file in enumerate(part.files)}
    numbers = np.array([[(index[frame.path], frame.number) for frame in row] for row in part.ordered.grid])
    first = part.ordered.grid[0][0]
    times, slices = numbers.shape[:2]
    return {
        "source": str(part.path),
        "file_format": "dicom",
        "file_ndim": 4 if times > 1 else 3 if slices > 1 else 2,
        "file_shape": (*first.shape[::-1], slices, times),
        "file_dtype": "",
        "units": ("mm", "msec"),
        "kind": "magnitude",
        "vendor": first.vendor,
        "series": part.series.key,
        "component": part.series.component,
        "ordered_by": part.ordered.ordered_by,
        "repetition_time": first.repetition_time,
        "dicom_files": [str(file) for file in part.files],
        "dicom_frames": numbers,
    }


def _read_planes(ordered: SortedFrames, files: Sequence[Path]) -> tuple[np.ndarray, str]:
    """Rescaled values ``(T, Z, Y, X)`` float32, and the dtype in the files; each file is decoded once."""
    by_file: dict[Path, list[tuple[int, int, DicomFrame]]] = defaultdict(list)
    for time, row in enumerate(ordered.grid):
        for place, frame in enumerate(row):
            by_file[frame.path].append((time, place, frame))
    first = ordered.grid[0][0]
    array, dtype = np.empty(0, np.float32), ""
    for file in files:
        pixels = read_pixels(file)
        if not array.size:  # now the size in the header is known to be true
            array = np.empty((len(ordered.grid), len(ordered.grid[0]), *first.shape), np.float32)
        dtype = str(pixels.dtype)
        for time, place, frame in by_file[file]:
            array[time, place] = plane_of(pixels, frame.number, frame)
    return array, dtype


def plane_of(pixels: np.ndarray, number: int, frame: DicomFrame) -> np.ndarray:
    """Take one plane out of the pixels of a file.

    Args:
        pixels: stored values ``(frames, rows, columns)``.
        number: which of them it is; a mosaic has one, of which a tile is taken.
        frame: what its header says.

    Returns:
        Rescaled values ``(Y, X)``, float64.

    Raises:
        UnreadableFileError: if the file has no such plane.
    """
    if frame.tile is not None:
        (row_start, column_start), (rows, columns) = frame.tile, frame.shape
        plane = pixels[0, row_start : row_start + rows, column_start : column_start + columns]
    else:
        plane = pixels[number] if number < len(pixels) else pixels[:0]
    if plane.shape != frame.shape:
        raise UnreadableFileError(
            f"{frame.path} has fewer pixels than its header says. It is incomplete; copy it anew."
        )
    return plane.astype(np.float64) * frame.slope + frame.intercept
