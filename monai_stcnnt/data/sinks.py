# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Results that are written as they come: some frames of some slices at a time, in any order.

Whatever the format, the file or folder appears under its name when all of it is there, and not before. Room on the
disk is claimed at the beginning, so that a full disk shows before the work and not after it.
"""

from __future__ import annotations

import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np

from monai_stcnnt.data.record import SeriesRecord
from monai_stcnnt.errors import OutputNotWritableError

__all__ = ["RecordSink", "SeriesSink", "claim"]


class SeriesSink(ABC):
    """Takes a series slab by slab; a context manager that finishes it after success and drops it otherwise.

    Args:
        outline: what will be written, a record without values.
        path: the file or folder to be.
    """

    def __init__(self, outline: SeriesRecord, path: Path) -> None:
        self.outline = outline
        self.path = path
        self._stack = ExitStack()
        self.after: Callable[[], object] = lambda: None  # called when the output is complete

    def within(self, stack: ExitStack, path: Path) -> SeriesSink:
        """Let what a stack holds end after the output is complete, or was dropped.

        Args:
            stack: its contexts are taken over.
            path: where the output is then.

        Returns:
            The sink itself.
        """
        self._stack = stack.pop_all()
        self.after = lambda: setattr(self, "path", path)
        return self

    def __enter__(self) -> SeriesSink:
        """Make room, and return the sink itself."""
        try:
            self._begin()
        except BaseException as failure:
            self._stack.__exit__(type(failure), failure, failure.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the output, or drop what there is of it."""
        try:
            if kind is None:
                self._finish()
        except BaseException as failure:
            self._stack.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._stack.__exit__(kind, error, trace)
        if kind is None:
            self.after()

    @abstractmethod
    def write(self, frames: slice, slices: slice, values: np.ndarray) -> None:
        """Write some frames of some slices.

        Args:
            frames: from ``start`` to ``stop``, without a step.
            slices: from ``start`` to ``stop``, without a step.
            values: ``(C, t, z, Y, X)`` float32.

        Raises:
            OutputNotWritableError: if it cannot be written.
        """

    @abstractmethod
    def _begin(self) -> None:
        """Make room."""

    @abstractmethod
    def _finish(self) -> None:
        """Complete the output; what is on the stack is closed afterwards, in the reverse order."""

    def _failure(self, error: OSError) -> OutputNotWritableError:
        return OutputNotWritableError(
            f"{self.path} cannot be written: {error.strerror or error}. Choose a folder with room that you may write "
            "to."
        )


class RecordSink(SeriesSink):
    """A series for a writer that wants all of it at the end: in memory if it is small, else in a file without a name.

    Args:
        outline: what will be written.
        path: the file or folder to be.
        writer: called at the end with the record and the path.
        memory: largest size in bytes to keep in memory.
    """

    def __init__(
        self, outline: SeriesRecord, path: Path, writer: Callable[[SeriesRecord, Path], object], memory: int
    ) -> None:
        super().__init__(outline, path)
        self.writer = writer
        self.memory = memory
        self._values: np.ndarray | None = None
        self._file: IO[bytes]

    def _begin(self) -> None:
        size = self.outline.array.size * 4
        if size <= self.memory:
            self._values = np.zeros(self.outline.array.shape, np.float32)
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._stack.enter_context(tempfile.TemporaryFile(dir=self.path.parent))  # noqa: SIM115
            claim(self._file, size)
        except OSError as error:
            raise self._failure(error) from error

    def write(self, frames: slice, slices: slice, values: np.ndarray) -> None:
        """Write some frames of some slices; see :meth:`SeriesSink.write`."""
        if self._values is not None:
            self._values[:, frames, slices] = values
            return
        _, times, places, rows, columns = self.outline.array.shape
        try:
            for part, volume in enumerate(values):
                for time, planes in enumerate(volume, frames.start):
                    self._file.seek(((part * times + time) * places + slices.start) * rows * columns * 4)
                    self._file.write(np.ascontiguousarray(planes, np.float32).data)
        except OSError as error:
            raise self._failure(error) from error

    def _finish(self) -> None:
        values = self._values
        if values is None:
            self._file.flush()
            values = np.memmap(self._file, np.float32, "r", shape=self.outline.array.shape)
        self.writer(self.outline.with_array(values), self.path)


def claim(file: IO[bytes], size: int) -> None:
    """Claim room on the disk for a file.

    Args:
        file: an open, empty file.
        size: its size to be, in bytes.

    Raises:
        OSError: if there is not as much room.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)
