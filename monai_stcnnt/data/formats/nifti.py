# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""NIfTI in and out: values, geometry, frame times and units stay what they are.

Read with nibabel: 2D, 3D and 4D images, real or complex, NIfTI-1 and NIfTI-2. A fifth axis of size 2 that the header
does not call a vector holds real and imaginary part. The record keeps the header, so that what is written has the
same number of axes, qform, sform, units and frame time as what was read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from monai_stcnnt.data.formats.base import NIFTI_EXTENSION, Format, SeriesSummary, WriteOptions, refuse_series
from monai_stcnnt.data.formats.nifti_header import (
    NIFTI_SUFFIXES,
    description_in,
    header_file,
    open_nifti,
    values_file,
)
from monai_stcnnt.data.formats.nifti_slabs import NiftiSlabs
from monai_stcnnt.data.formats.nifti_writer import NiftiSink, write_nifti
from monai_stcnnt.data.provenance import action_of
from monai_stcnnt.data.record import SeriesRecord
from monai_stcnnt.data.sinks import SeriesSink
from monai_stcnnt.data.slabs import IN_MEMORY, SeriesSlabs

__all__ = ["Nifti", "read_nifti"]


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
    with NiftiSlabs(open_nifti(path), in_memory=True) as slabs:
        return slabs.record()


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

    def summary_of(self, record: SeriesRecord, files: int = 1) -> SeriesSummary:
        """Describe a record; its description tells whether this package made it, where no file beside it does."""
        summary = super().summary_of(record, files)
        return summary if summary.made else replace(summary, made=action_of(description_in(record)))

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
