# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM series read a slab at a time: every plane from its own file, or its own frame of an enhanced file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from monai_stcnnt.data.formats.dicom.frames import DicomFrame
from monai_stcnnt.data.formats.dicom.pixels import FramePixels, read_pixels
from monai_stcnnt.data.formats.dicom.series import DicomPart, dicom_outline, plane_of
from monai_stcnnt.data.formats.parts import join_parts, phase_scale
from monai_stcnnt.data.slabs import SeriesSlabs
from monai_stcnnt.errors import StcnntError

__all__ = ["DicomSlabs"]

_OPEN_FILES = 4


class DicomSlabs(SeriesSlabs):
    """A DICOM series, or the two parts of a complex image, read a slab at a time.

    Args:
        parts: from :func:`~monai_stcnnt.data.formats.dicom.series.open_dicom`.

    Raises:
        StcnntError: as :func:`~monai_stcnnt.data.formats.dicom.series.read_dicom`. To learn its scale, a phase is read
            once.
    """

    def __init__(self, parts: Sequence[DicomPart]) -> None:
        files = sorted({file for part in parts for file in part.files})
        super().__init__(dicom_outline(parts), files)
        self.parts = tuple(parts)
        self._counts = [_planes_by_file(part) for part in parts]
        self._whole = lru_cache(_OPEN_FILES)(read_pixels)
        self._framed = lru_cache(_OPEN_FILES)(FramePixels)
        self.meta["file_dtype"] = str(self._pixels(0, parts[0].ordered.grid[0][0])[0].dtype)
        self.radians: float | None = None
        if len(parts) == 2 and parts[1].series.component == "phase":
            ranges = [(values.min(), values.max()) for values in (self._part(1, *place) for place in self.all_places())]
            low = min(parts[1].declared_low, *(float(low) for low, _ in ranges))
            self.radians = phase_scale(parts[1].name, low, max(float(high) for _, high in ranges))

    def read(self, frames: slice, slices: slice) -> np.ndarray:
        """Read some frames of some slices; see :meth:`SeriesSlabs.read`."""
        values = self._part(0, frames, slices)
        if len(self.parts) == 1:
            return values
        return join_parts(values, self._part(1, frames, slices), self.radians)

    def release(self) -> None:
        """Forget what was decoded last."""
        self._whole.cache_clear()
        self._framed.cache_clear()

    def _part(self, index: int, frames: slice, slices: slice) -> np.ndarray:
        part = self.parts[index]
        grid = [row[slices] for row in part.ordered.grid[frames]]
        values = np.empty((1, len(grid), len(grid[0]), *part.shape[3:]), np.float32)
        for time, row in enumerate(grid):
            for place, frame in enumerate(row):
                try:
                    pixels, number = self._pixels(index, frame)
                    values[0, time, place] = plane_of(pixels, number, frame)
                except StcnntError:
                    self.watch.check([frame.path])
                    raise
                self.watch.check([frame.path])
        return values

    def _pixels(self, index: int, frame: DicomFrame) -> tuple[np.ndarray, int]:
        """Pixels that hold a frame, and its number among them."""
        if frame.tile is not None or self._counts[index][frame.path] == 1:
            return self._whole(frame.path), frame.number
        return self._framed(frame.path)[frame.number], 0


def _planes_by_file(part: DicomPart) -> dict[Path, int]:
    counts: dict[Path, int] = {}
    for row in part.ordered.grid:
        for frame in row:
            counts[frame.path] = counts.get(frame.path, 0) + 1
    return counts
