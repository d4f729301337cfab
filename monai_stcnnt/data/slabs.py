# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""A series that is read a slab at a time: some frames of some slices, so that memory follows the slab, not the file."""

from __future__ import annotations

import logging
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from monai_stcnnt.data.record import SeriesRecord
from monai_stcnnt.errors import ChangedFileError, ConstantImageError, EmptyImageError, NonFiniteValuesError

__all__ = [
    "BACKGROUND",
    "IN_MEMORY",
    "MemorySlabs",
    "SeriesSlabs",
    "Watch",
    "background_of",
    "with_background",
]

logger = logging.getLogger(__name__)

IN_MEMORY = 128 * 2**20
"""Bytes of values, as float32, up to which a series is held in memory."""

SAMPLE_VOXELS = 4_000_000
_SAMPLE_FRAMES = 12
BACKGROUND = "nan_background"


class Watch:
    """Notices that files were changed, replaced or removed since they were opened.

    Args:
        files: the files.
    """

    def __init__(self, files: Sequence[str | Path]) -> None:
        self._states = {Path(file): self._state(Path(file)) for file in files}

    def check(self, files: Sequence[str | Path] | None = None) -> None:
        """Compare files with what they were.

        Args:
            files: which ones; by default all.

        Raises:
            ChangedFileError: if one is not what it was.
        """
        for file in self._states if files is None else map(Path, files):
            if self._state(file) != self._states[file]:
                raise ChangedFileError(
                    f"{file} was changed or removed while it was read. Leave it alone until the work is done, "
                    "and rerun."
                )

    @staticmethod
    def _state(file: Path) -> tuple[int, ...] | None:
        try:
            found = os.stat(file)
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns


class SeriesSlabs(ABC):
    """A series whose values are read when they are asked for.

    Args:
        outline: what there is, from :func:`~monai_stcnnt.data.record.outline_of`, or a record with values.
        files: the files that must not change until the series is closed.

    Attributes:
        shape: ``(C, T, Z, Y, X)``.
        meta: the record's metadata.
    """

    def __init__(self, outline: SeriesRecord, files: Sequence[str | Path]) -> None:
        self.outline = outline
        self.watch = Watch(files)
        channels, times, places, rows, columns = outline.array.shape
        self.shape = channels, times, places, rows, columns
        self.meta = outline.metadata

    def read(self, frames: slice, slices: slice) -> np.ndarray:
        """Read some frames of some slices.

        Args:
            frames: from ``start`` to ``stop``, without a step.
            slices: from ``start`` to ``stop``, without a step.

        Returns:
            ``(C, t, z, Y, X)`` float32, the caller's own; zero where :meth:`check_values` found a background of NaN.

        Raises:
            ChangedFileError: if the file is not any more what was opened.
            UnreadableFileError: if it is damaged.
        """
        values = self._read(frames, slices)
        background = background_of(self.meta, self.shape)
        if background is not None:
            values[:, :, background[slices]] = 0
        return values

    @abstractmethod
    def _read(self, frames: slice, slices: slice) -> np.ndarray:
        """Read some frames of some slices as they are in the file."""

    def close(self) -> None:
        """Let go of files; made sure once more that none changed.

        Raises:
            ChangedFileError: if one did.
        """
        self.release()
        self.watch.check()

    @abstractmethod
    def release(self) -> None:
        """Let go of files, whatever became of them."""

    def __enter__(self) -> SeriesSlabs:
        """The series itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close after success, else only let go."""
        if kind is None:
            self.close()
        else:
            self.release()

    def record(self) -> SeriesRecord:
        """Read all of it."""
        _, times, places, *_ = self.shape
        return self.outline.with_array(self.read(slice(0, times), slice(0, places)))

    def within(self, memory: int) -> SeriesSlabs:
        """Read all of a series that is small enough, and close it; a larger one stays as it is.

        Args:
            memory: largest size in bytes, as float32.

        Returns:
            The series, in memory or open.
        """
        if self.outline.array.size * 4 > memory:
            return self
        with self:
            return MemorySlabs(self.record())

    def sample_places(self, most_voxels: int = SAMPLE_VOXELS) -> list[tuple[slice, slice]]:
        """Choose the whole of a small series, or an evenly spread part of a large one.

        Args:
            most_voxels: about how many values there may be at most, one slice of one frame at least.

        Returns:
            Frames and slices to read: all of them at once, or up to 12 neighboring frames from the middle of some
            slices, one by one, so that changes over time are seen.
        """
        channels, times, places, rows, columns = self.shape
        planes = max(1, most_voxels // (channels * rows * columns))
        if planes >= times * places:
            return [(slice(0, times), slice(0, places))]
        run = min(times, _SAMPLE_FRAMES, planes)
        first = (times - run) // 2
        chosen = np.unique(np.linspace(0, places - 1, min(places, max(1, planes // run))).round().astype(int))
        return [(slice(first, first + run), slice(int(z), int(z) + 1)) for z in chosen]

    def all_places(self, most_voxels: int = SAMPLE_VOXELS) -> Iterator[tuple[slice, slice]]:
        """Cut the series into slabs.

        Args:
            most_voxels: about how many values a slab may have at most, one slice of one frame at least.

        Yields:
            Frames and slices of every slab, each plane once, in the order of most files.
        """
        channels, times, places, rows, columns = self.shape
        planes = max(1, most_voxels // max(1, channels * rows * columns))
        frames, slices = max(1, planes // max(1, places)), min(planes, places)
        for time in range(0, times, frames):
            for place in range(0, places, max(1, slices)):
                yield slice(time, min(time + frames, times)), slice(place, min(place + slices, places))

    def check_values(self) -> None:
        """Read all once, and refuse what cannot be worked on. A background of NaN is noted, and read as zero.

        Raises:
            EmptyImageError: if there are no voxels.
            NonFiniteValuesError: if a value is infinite, or NaN elsewhere than in a background.
            ConstantImageError: if all values are the same.
        """
        name = str(self.meta.get("source", "the image"))
        low, high, bad, infinite = np.inf, -np.inf, 0, 0
        if 0 in self.shape:
            raise EmptyImageError(f"{name} has no voxels: its shape is {self.shape}.")
        sometimes = always = None
        for frames, slices in self.all_places():
            values = self._read(frames, slices)
            finite = np.isfinite(values)
            low = min(low, float(values.min(initial=np.inf, where=finite)))
            high = max(high, float(values.max(initial=-np.inf, where=finite)))
            if finite.all() and sometimes is None:
                continue
            bad += values.size - int(finite.sum())
            infinite += int(np.isinf(values).sum())
            if sometimes is None or always is None:
                sometimes, always = np.zeros(self.shape[2:], bool), np.ones(self.shape[2:], bool)
                if frames.start:
                    always[:] = False
            sometimes[slices] |= np.isnan(values).any((0, 1))
            always[slices] &= np.isnan(values).all((0, 1))
        if bad and (infinite or sometimes is None or not _is_background(sometimes, always)):
            raise NonFiniteValuesError(
                f"{name} has {bad} values of {self.outline.array.size} that are NaN or infinite (or too large for "
                "float32). Replace them before, for example with numpy.nan_to_num."
            )
        if low == high:
            raise ConstantImageError(f"{name} has the value {low:g} everywhere. Check that it is the right file.")
        if bad and sometimes is not None:
            note = f"{int(sometimes.sum())} voxels around the image are NaN, and stay NaN"
            self.meta[BACKGROUND] = np.packbits(sometimes)
            self.meta["remarks"] = (*self.meta.get("remarks", ()), note)
            logger.info("%s: %s", name, note)


def background_of(metadata: Mapping[str, Any], shape: Sequence[int]) -> np.ndarray | None:
    """Where an image is NaN in its file, in a background that was read as zero.

    Args:
        metadata: of the record.
        shape: ``(C, T, Z, Y, X)``.

    Returns:
        ``(Z, Y, X)``, None where there is no such background.
    """
    packed = metadata.get(BACKGROUND)
    if packed is None:
        return None
    size = tuple(shape[2:])
    return np.unpackbits(np.asarray(packed, np.uint8), count=math.prod(size)).reshape(size).astype(bool)


def with_background(record: SeriesRecord) -> SeriesRecord:
    """Put NaN back where the image's file has it around the image, for a file of floating point values."""
    background = background_of(record.metadata, record.array.shape)
    return record if background is None else record.with_array(np.where(background, np.float32(np.nan), record.array))


def _is_background(sometimes: np.ndarray, always: np.ndarray | None) -> bool:
    """Whether NaN stay in their place over time, and reach the image from its edge."""
    if always is None or not np.array_equal(sometimes, always) or sometimes.all():
        return False
    from scipy.ndimage import binary_propagation  # takes long to import, and few files ask this

    edge = np.ones_like(sometimes)
    inner = tuple(slice(1, -1) if n > 2 else slice(None) for n in edge.shape)
    edge[inner] = False
    return bool(np.array_equal(binary_propagation(edge & sometimes, mask=sometimes), sometimes))


class MemorySlabs(SeriesSlabs):
    """A series whose values are in memory already.

    Args:
        record: the series.
    """

    def __init__(self, record: SeriesRecord) -> None:
        super().__init__(record, [])

    def _read(self, frames: slice, slices: slice) -> np.ndarray:
        """Copy some frames of some slices."""
        return self.outline.array[:, frames, slices].copy()

    def release(self) -> None:
        """Nothing is open."""
