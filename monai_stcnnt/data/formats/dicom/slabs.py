# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM series read a slab at a time: every plane from its own file, or its own frame of an enhanced file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from monai_stcnnt.data.formats.dicom.listing import known_dicom_series
from monai_stcnnt.data.formats.dicom.pixels import DicomPixels, plane_of
from monai_stcnnt.data.formats.dicom.series import STACK, DicomSeries, dicom_outline, stacks_of
from monai_stcnnt.data.formats.parts import choose_parts, join_parts, phase_scale
from monai_stcnnt.data.paths import check_exists
from monai_stcnnt.data.record import SeriesRecord
from monai_stcnnt.data.slabs import SeriesSlabs
from monai_stcnnt.errors import StcnntError

__all__ = ["DicomSlabs", "open_dicom", "read_dicom"]

logger = logging.getLogger(__name__)

_OPEN_FILES = 4


def read_dicom(path: str | Path, *, series: str | int | None = None) -> SeriesRecord:
    """Read a DICOM file or one series of a folder.

    Args:
        path: file, or folder that is searched with its sub folders.
        series: which one: a key of :func:`known_dicom_series`, a series number or UID, or two keys joined by ``+`` for
            the two parts of a complex image, or ``stack`` for series of one slice each. Not needed where the folder
            holds one image, or the two parts of one.

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
    with open_dicom(path, series=series) as slabs:
        return slabs.record()


def open_dicom(path: str | Path, *, series: str | int | None = None) -> DicomSlabs:
    """Open a DICOM file or one series of a folder, to read it a slab at a time.

    Args:
        path: see :func:`read_dicom`.
        series: see :func:`read_dicom`.

    Returns:
        The open series.

    Raises:
        StcnntError: as :func:`read_dicom`.
    """
    path = check_exists(path)
    found = known_dicom_series(path)
    offered = stacks_of(found) if isinstance(series, str) and series.startswith(STACK) else []
    return DicomSlabs(choose_parts([*found, *offered], series, path))


class DicomSlabs(SeriesSlabs):
    """A DICOM series, or the two parts of a complex image, read a slab at a time.

    Args:
        parts: from :func:`open_dicom`.

    Raises:
        StcnntError: as :func:`read_dicom`. To learn its scale, a phase is read
            once.
    """

    def __init__(self, parts: Sequence[DicomSeries]) -> None:
        files = sorted({file for part in parts for file in part.files})
        super().__init__(dicom_outline(parts), files)
        self.parts = tuple(parts)
        for part in parts:
            for remark in part.ordered.remarks:
                logger.warning("%s: %s", part.name, remark)
        self._pixels = lru_cache(_OPEN_FILES)(DicomPixels)
        first = parts[0].ordered.grid[0][0]
        self.meta["file_dtype"] = str(plane_of(self._pixels(first.path), first).dtype)
        self.radians: float | None = None
        if len(parts) == 2 and parts[1].component == "phase":
            ranges = [(values.min(), values.max()) for values in (self._part(1, *place) for place in self.all_places())]
            low = min(parts[1].declared_low, *(float(low) for low, _ in ranges))
            self.radians = phase_scale(parts[1].name, low, max(float(high) for _, high in ranges))

    def _read(self, frames: slice, slices: slice) -> np.ndarray:
        """Read some frames of some slices as they are in the files."""
        values = self._part(0, frames, slices)
        if len(self.parts) == 1:
            return values
        return join_parts(values, self._part(1, frames, slices), self.radians)

    def release(self) -> None:
        """Forget what was decoded last."""
        self._pixels.cache_clear()

    def _part(self, index: int, frames: slice, slices: slice) -> np.ndarray:
        part = self.parts[index]
        grid = [row[slices] for row in part.ordered.grid[frames]]
        values = np.empty((1, len(grid), len(grid[0]), *part.shape[3:]), np.float32)
        for time, row in enumerate(grid):
            for place, frame in enumerate(row):
                try:
                    plane = plane_of(self._pixels(frame.path), frame)
                except StcnntError:
                    self.watch.check([frame.path])
                    raise
                self.watch.check([frame.path])
                values[0, time, place] = plane.astype(np.float64) * frame.slope + frame.intercept
        return values
