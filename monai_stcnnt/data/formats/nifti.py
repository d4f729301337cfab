# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""NIfTI in and out: values, geometry, frame times and units stay what they are.

Read with nibabel: 2D, 3D and 4D images, real or complex, NIfTI-1 and NIfTI-2. A fifth axis of size 2 that the header
does not call a vector holds real and imaginary part. The record keeps the header, so that what is written has the
same number of axes, qform, sform, units and frame time as what was read.

A large file is read a slab at a time, through nibabel's proxies. A compressed one has no places to jump to: it is
unpacked once, to a file without a name that is gone when it is closed, whatever happens.
"""

from __future__ import annotations

import io
import math
import tempfile
import weakref
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy

from monai_stcnnt.data.formats.base import (
    NIFTI_EXTENSION,
    Format,
    SeriesSummary,
    WriteOptions,
    known_facts,
    printable,
    refuse_series,
)
from monai_stcnnt.data.formats.nifti_header import (
    NIFTI_FAILURES,
    NIFTI_SUFFIXES,
    NiftiFile,
    description_at,
    description_in,
    header_file,
    open_nifti,
    stored_header,
    unreadable_nifti,
    values_file,
)
from monai_stcnnt.data.formats.nifti_writer import NiftiSink, write_nifti
from monai_stcnnt.data.paths import check_exists
from monai_stcnnt.data.provenance import action_of, read_sidecar
from monai_stcnnt.data.record import SeriesRecord
from monai_stcnnt.data.sinks import SeriesSink
from monai_stcnnt.data.slabs import IN_MEMORY, SeriesSlabs
from monai_stcnnt.errors import OutputNotWritableError, StcnntError, UnreadableFileError

__all__ = ["Nifti", "NiftiSlabs", "read_nifti"]

_CHUNK = 1 << 22


def read_nifti(path: str | Path) -> SeriesRecord:
    """Read a NIfTI file.

    The frame time is taken from the header and converted to milliseconds. Where the header has no unit of time, seconds
    are assumed, as all common software writes them, and the log says so; where it has no frame time, the times are NaN.
    An unknown unit of space is taken for millimeters.

    Args:
        path: ``.nii`` or ``.nii.gz`` file.

    Returns:
        The record; its metadata holds the header (``nifti_header``, bytes as uint8) for the writer.

    Raises:
        MissingFileError: if the file does not exist.
        UnreadableFileError: if it is damaged or truncated.
        NotAnImageError: if it holds colors, vectors, or a fourth axis that is not time.
        EmptyImageError: if it has no voxels.
        GeometryError: if its affine is impossible.
    """
    with NiftiSlabs(open_nifti(check_exists(path)), in_memory=True) as slabs:
        return slabs.record()


_NUMBERS = ("EchoTime", "RepetitionTime", "FlipAngle", "MagneticFieldStrength")  # seconds, degrees, tesla


def _number(value: object) -> float:
    """A number of a JSON file; NaN for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


class Nifti(Format):
    """NIfTI files; see the module."""

    name, label = "nifti", "NIfTI"
    extensions = (*NIFTI_SUFFIXES, ".nii.bz2", ".hdr")

    def sniff(self, path: Path) -> bool:
        """Tell by its name whether a file is NIfTI; a header or its values need the other one beside them."""
        if path.suffix.lower() in (".hdr", ".img"):
            return path.is_file() and header_file(path) != values_file(path)
        return super().sniff(path)

    def entries_in(self, folder: Path, names: Sequence[str]) -> list[Path]:
        """List NIfTI files, headers only with their values."""
        return [path for path in super().entries_in(folder, names) if self.sniff(path)]

    def files_of(self, path: Path) -> list[Path]:
        """List the file, or header and values."""
        return list(dict.fromkeys([header_file(path), values_file(path)]))

    def result_extension(self, path: Path, kind: str) -> str:
        """A result keeps the ending of a single file that is written; others become ``.nii.gz``."""
        own = super().result_extension(path, kind)
        return own if own.lower() in NIFTI_SUFFIXES else NIFTI_EXTENSION

    def made_by(self, path: Path) -> str:
        """Tell so by the file beside it, or by its description."""
        made = super().made_by(path)
        with suppress(StcnntError):  # what is wrong with it is said when it is read
            made = made or action_of(description_at(path))
        return made

    def summary_of(self, record: SeriesRecord, files: int = 1) -> SeriesSummary:
        """Describe a record, with what dcm2niix and BIDS write beside it.

        Its description tells whether this package made it, where no file beside it does.
        """
        summary, beside = super().summary_of(record, files), read_sidecar(record.metadata["source"])
        texts = {name: printable(beside.get(name) or "") for name in ("SeriesDescription", "ProtocolName", "Modality")}
        echo, repetition, angle, field = (_number(beside.get(name)) for name in _NUMBERS)
        return replace(
            summary,
            made=summary.made or action_of(description_in(stored_header(record))),
            description=texts["SeriesDescription"],
            protocol="" if texts["ProtocolName"] == texts["SeriesDescription"] else texts["ProtocolName"],
            facts=known_facts(echo * 1000, repetition * 1000, angle, field),
            vendor=summary.vendor or printable(beside.get("Manufacturer") or ""),
            modality=texts["Modality"],
        )

    def outline(self, path: Path) -> SeriesRecord:
        """Read the header."""
        return open_nifti(path).outline

    def open(
        self, path: Path, *, series: str | int | None = None, memory: int = IN_MEMORY, scratch: str | Path | None = None
    ) -> SeriesSlabs:
        """Open a file; a large one is read slab by slab, after it was unpacked if it is compressed."""
        refuse_series(path, series)
        file = open_nifti(path)
        return NiftiSlabs(file, scratch, in_memory=file.outline.array.size * 4 <= memory).within(memory)

    def write(self, record: SeriesRecord, path: Path, how: WriteOptions) -> Path:
        """Write a file, see :func:`~monai_stcnnt.data.formats.nifti_writer.write_nifti`."""
        return write_nifti(record, path, dtype=how.dtype)

    def sink(self, outline: SeriesRecord, path: Path, how: WriteOptions, memory: int) -> SeriesSink:
        """Begin to write a file; floating point values are written as they come."""
        if how.dtype in ("float32", "float64"):
            return NiftiSink(outline, path, how.dtype)
        return super().sink(outline, path, how, memory)


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
        content, size = _open(file) if file.opener is open else _unpack(file, scratch, in_memory)
        self._content = content
        weakref.finalize(self, content.close)
        try:
            _check_size(file, size)
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
    size, most = 0, _most_bytes(file.image)
    with ExitStack() as stack:
        try:
            unpacked: IO[bytes] = io.BytesIO() if in_memory else tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115
            content = stack.enter_context(unpacked)
            packed = stack.enter_context(file.opener(file.path, "rb"))
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


def _check_size(file: NiftiFile, size: int) -> None:
    """Refuse a file that holds more than its header says, by a row of voxels or more: the header is damaged.

    Args:
        file: the file.
        size: its bytes, unpacked.

    Raises:
        UnreadableFileError: if there are more.
    """
    shape, dtype = file.image.shape, file.image.get_data_dtype()
    if size >= _most_bytes(file.image):
        surplus = size - file.image.dataobj.offset - math.prod(shape) * dtype.itemsize  # type: ignore[attr-defined]
        raise UnreadableFileError(
            f"{file.path} holds at least {surplus} bytes more than the shape {shape} of {dtype} takes. Its header is "
            "damaged; copy it again."
        )


def _most_bytes(image: nib.Nifti1Pair) -> int:
    """Bytes, unpacked, from which on there is a row of voxels more than the header says."""
    itemsize = image.get_data_dtype().itemsize
    row = max(image.shape[0] * itemsize, 16)
    return int(image.dataobj.offset + math.prod(image.shape) * itemsize + row)  # type: ignore[attr-defined]
