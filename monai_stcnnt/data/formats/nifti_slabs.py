# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""NIfTI read a slab at a time, through nibabel's proxies.

A compressed file has no places to jump to: it is unpacked once, to a file without a name that is gone when it is
closed, whatever happens.
"""

from __future__ import annotations

import io
import tempfile
import weakref
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import numpy as np
from nibabel.arrayproxy import ArrayProxy

from monai_stcnnt.data.formats.nifti_header import (
    NIFTI_FAILURES,
    NiftiFile,
    check_nifti_size,
    most_nifti_bytes,
    opener_of,
    unreadable_nifti,
)
from monai_stcnnt.data.slabs import SeriesSlabs
from monai_stcnnt.errors import OutputNotWritableError, StcnntError

__all__ = ["NiftiSlabs"]

_CHUNK = 1 << 22


class NiftiSlabs(SeriesSlabs):
    """A NIfTI file that is read a slab at a time.

    Args:
        file: the file, its header read.
        scratch: folder to unpack a compressed file in; by default the system's own for such files.
        in_memory: unpack it in memory.

    Raises:
        UnreadableFileError: if it is damaged.
        OutputNotWritableError: if there is no room to unpack it.
    """

    def __init__(self, file: NiftiFile, scratch: str | Path | None = None, *, in_memory: bool = False) -> None:
        super().__init__(file.outline, [file.path, file.values_path])
        self.file = file
        content, size = _unpack(file, scratch, in_memory) if file.is_packed else _open(file)
        self._content = content
        weakref.finalize(self, content.close)
        try:
            check_nifti_size(file, size)
        except Exception:
            content.close()
            raise
        proxy = file.image.dataobj
        spec = (proxy.shape, proxy.dtype, proxy.offset, proxy.slope, proxy.inter)  # type: ignore[attr-defined]
        self._proxy = ArrayProxy(content, spec, mmap=False)

    def _read(self, frames: slice, slices: slice) -> np.ndarray:
        """Read some frames of some slices as they are in the files."""
        ndim = len(self._proxy.shape)
        where = (slice(None), slice(None), slices, frames, slice(None))[:ndim] + (slice(None),) * (ndim - 5)
        try:
            values = np.asarray(self._proxy[where])
        except NIFTI_FAILURES as error:
            self.watch.check()
            raise unreadable_nifti(self.file.path, error) from error
        self.watch.check()
        return self.file.channels(values)

    def release(self) -> None:
        """Close the file."""
        self._content.close()


def _open(file: NiftiFile) -> tuple[IO[bytes], int]:
    try:
        return open(file.values_path, "rb"), file.values_path.stat().st_size
    except OSError as error:
        raise unreadable_nifti(file.path, error) from error


def _unpack(file: NiftiFile, scratch: str | Path | None, in_memory: bool) -> tuple[IO[bytes], int]:
    """Unpack a file and tell its size; the checksum at its end is looked at on the way."""
    size, most = 0, most_nifti_bytes(file.image)
    with ExitStack() as stack:
        try:
            unpacked: IO[bytes] = io.BytesIO() if in_memory else tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115
            content = stack.enter_context(unpacked)
            packed = stack.enter_context(opener_of(file.path)(file.path, "rb"))
            while size <= most and (block := _read_block(file, packed)):
                size += len(block)
                content.write(block)
            content.flush()
        except StcnntError:
            raise
        except OSError as error:
            raise _no_room(file, scratch, error) from error
        packed.close()
        stack.pop_all()
    return content, size


def _read_block(file: NiftiFile, packed: IO[bytes]) -> bytes:
    try:
        return packed.read(_CHUNK)
    except NIFTI_FAILURES as error:
        raise unreadable_nifti(file.path, error) from error


def _no_room(file: NiftiFile, scratch: str | Path | None, error: OSError) -> OutputNotWritableError:
    where = scratch if scratch is not None else tempfile.gettempdir()
    return OutputNotWritableError(
        f"{file.path} cannot be unpacked in {where}: {error.strerror or error}. Make room there, or unpack it yourself."
    )
