# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""One door for all files that are read a slab at a time; small ones are read at once."""

from __future__ import annotations

import math
from pathlib import Path

from monai_stcnnt.data.checks import check_exists, check_image
from monai_stcnnt.data.formats.dicom.series import open_dicom, read_dicom_parts
from monai_stcnnt.data.formats.dicom.slabs import DicomSlabs
from monai_stcnnt.data.formats.nifti import open_nifti
from monai_stcnnt.data.formats.nifti_slabs import NiftiSlabs
from monai_stcnnt.data.series import format_of, read_series
from monai_stcnnt.data.slabs import IN_MEMORY, MemorySlabs, SeriesSlabs, Watch
from monai_stcnnt.errors import EmptyImageError

__all__ = ["open_series"]


def open_series(
    path: str | Path,
    *,
    series: str | int | None = None,
    check: bool = True,
    memory: int = IN_MEMORY,
    scratch: str | Path | None = None,
) -> SeriesSlabs:
    """Open an image or a series of images, to read it a slab at a time.

    A large NIfTI or DICOM series is read from disk whenever a slab is asked for: nothing but the slab is in memory. A
    large compressed NIfTI file is unpacked first. A small series, and NumPy, MHA and NRRD files, are read at once.

    Args:
        path: see :func:`~monai_stcnnt.data.series.read_series`.
        series: which one, where DICOM files hold several series.
        check: whether to refuse an image with NaN or infinite values, or with the same value everywhere; a large one is
            read once for it.
        memory: largest size in bytes, as float32, of a series that is read at once.
        scratch: folder to unpack a compressed file in, default: the system's own.

    Returns:
        The open series, a context manager.

    Raises:
        ChangedFileError: if a file was changed while it was read.
        OutputNotWritableError: if there is no room to unpack a file.
        StcnntError: the other errors of :func:`~monai_stcnnt.data.series.read_series`.
    """
    path = check_exists(path)
    kind = format_of(path)
    slabs: SeriesSlabs | None = None
    if kind == "nifti" and series is None:
        file = open_nifti(path)
        if math.prod(file.shape) * 4 > memory:
            slabs = NiftiSlabs(file, scratch)
    elif kind == "dicom" or (kind is None and path.is_dir()):
        slabs = _open_dicom(path, series, check, memory)
    if slabs is None:
        watch = Watch([path])
        try:
            slabs = MemorySlabs(read_series(path, series=series, check=check))
        finally:
            watch.check()
    if check and not isinstance(slabs, MemorySlabs):
        try:
            slabs.check_values()
        except Exception:
            slabs.release()
            raise
    return slabs


def _open_dicom(path: Path, series: str | int | None, check: bool, memory: int) -> SeriesSlabs | None:
    """Open a DICOM series; None where there is none, which :func:`read_series` tells best."""
    try:
        parts = open_dicom(path, series=series)
    except EmptyImageError:
        return None
    if sum(math.prod(part.shape) for part in parts) * 4 > memory:
        return DicomSlabs(parts)
    watch = Watch([file for part in parts for file in part.files])
    try:
        record = read_dicom_parts(parts)
    finally:
        watch.check()
    if check:
        check_image(record.array, str(path))
    return MemorySlabs(record)
