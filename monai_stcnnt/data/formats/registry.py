# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The formats that are read and written, and the one door to them.

A format is one object (:class:`~monai_stcnnt.data.formats.base.Format`) in one module, and one row of
:data:`FORMATS`. Nothing outside of ``data/formats`` knows a format by its name: whoever has a path asks
:func:`image_format` for its row, or one of the functions here that do so:

* ``list_images(path)``: what one file, or one folder that itself holds an image's files, contains, as
  :class:`~monai_stcnnt.data.formats.base.SeriesSummary`: ``series`` is the key to ask for, ``refused`` the reason
  why it would be refused, ``kind``, ``shape``, ``spacing``, ``frame_times``. With ``check=False`` from headers alone.
* ``read_series(path, series=KEY)`` and ``open_series(path, series=KEY)``: the record, or slabs of it.
* ``files_of(path)``: every file that belongs to an image, for checksums and for watching changes.
* ``format_for(path)``: the format that writes to a name; its ``write``, ``write_labels`` and ``sink``.
* ``result_extension(path, kind, output_format)``: how the name of a result ends, empty for a folder.

A search through folders is :func:`monai_stcnnt.data.listing.list_series`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from monai_stcnnt.data.formats.base import NIFTI_EXTENSION, Format, SeriesSummary
from monai_stcnnt.data.formats.dicom.dicom_format import Dicom
from monai_stcnnt.data.formats.itk import Itk
from monai_stcnnt.data.formats.mgh import Mgh
from monai_stcnnt.data.formats.mrd.files import Mrd
from monai_stcnnt.data.formats.nifti import Nifti
from monai_stcnnt.data.formats.numpy_files import NumpyFiles
from monai_stcnnt.data.formats.parrec import ParRec
from monai_stcnnt.data.paths import check_exists, files_below, folders_below
from monai_stcnnt.data.record import SeriesRecord
from monai_stcnnt.data.slabs import IN_MEMORY, SeriesSlabs
from monai_stcnnt.errors import EmptyImageError, NotAnImageError

__all__ = [
    "FORMATS",
    "OutputFormat",
    "can_read",
    "files_of",
    "format_for",
    "format_named",
    "format_of",
    "image_format",
    "known_formats",
    "list_images",
    "open_series",
    "read_series",
    "result_extension",
]

OutputFormat = Literal["same", "nifti", "dicom_seg", "dicom_seg_per_frame"]

FOLDERS = Dicom()
"""The format of folders without a format of their own, and of results without an ending."""

FORMATS: tuple[Format, ...] = (Nifti(), NumpyFiles(), Mgh(), Itk(), ParRec(), Mrd(), FOLDERS)
"""One row for each format; the first that recognizes a path takes it."""


def format_of(path: str | Path) -> Format | None:
    """Tell what a file or folder is: by its name, or for DICOM by its content.

    Args:
        path: file, or a folder that itself holds the files of DICOM series or a NumPy pair.

    Returns:
        The row of its format, None where there is no reader for it.
    """
    path = Path(path)
    for row in FORMATS:
        if row.sniff(path):
            return row
    return None


def can_read(path: str | Path) -> bool:
    """Tell whether a file or folder is of a format that :func:`read_series` takes.

    Args:
        path: file or folder, see :func:`format_of`.

    Returns:
        Whether there is a reader for it.
    """
    return format_of(path) is not None


def format_named(name: object) -> Format | None:
    """Find the format that a record came from.

    Args:
        name: ``file_format`` of its metadata.

    Returns:
        The row, None where there is none.
    """
    return next((row for row in FORMATS if row.name == name), None)


def format_for(path: str | Path) -> Format:
    """Tell which format is written under a name.

    Args:
        path: the name.

    Returns:
        The row whose ending it has; DICOM, which is a folder, for a name without such an ending.
    """
    path = Path(path)
    for row in FORMATS:
        if row.has_name(path):
            return row
    return FOLDERS


def read_series(path: str | Path, *, series: str | int | None = None, check: bool = True) -> SeriesRecord:
    """Read an image or a series of images from a file or a folder.

    Args:
        path: a NIfTI, DICOM, NumPy, MHA or NRRD file, a folder with DICOM files (also in sub folders), or a folder with
            ``*_real.npy`` and ``*_imag.npy``.
        series: which one, where files hold several series, see :func:`list_images`.
        check: whether to refuse an image with NaN or infinite values, or with the same value everywhere. Turn it off
            for masks, which may be empty.

    Returns:
        The record: array ``(C, T, Z, Y, X)`` float32, C = 1 for magnitude and 2 for real and imaginary; affine to
        millimeters (RAS); frame times in milliseconds.

    Raises:
        MissingFileError: if nothing is there.
        UnreadableFileError: if the file is damaged or truncated.
        NotAnImageError: if it is of a kind that is not read.
        EmptyImageError: if it has no voxels, or the folder no image.
        NonFiniteValuesError: if a value is NaN or infinite.
        ConstantImageError: if all values are the same.
        GeometryError: if the position, orientation or spacing is absent or impossible.
        SeriesSelectionError: if there are several series and none, or one that does not exist, is asked for.
        SeriesMismatchError: if the files of a series do not make one image.
    """
    with open_series(path, series=series, check=check, memory=sys.maxsize) as slabs:
        return slabs.record()


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
    large compressed NIfTI file is unpacked first. A small series, and other formats, are read at once.

    Args:
        path: see :func:`read_series`.
        series: which one, where files hold several series.
        check: whether to refuse an image with NaN or infinite values, or with the same value everywhere; a large one is
            read once for it.
        memory: largest size in bytes, as float32, of a series that is read at once.
        scratch: folder to unpack a compressed file in, default: the system's own.

    Returns:
        The open series, a context manager.

    Raises:
        ChangedFileError: if a file was changed while it was read.
        OutputNotWritableError: if there is no room to unpack a file.
        StcnntError: the other errors of :func:`read_series`.
    """
    path = check_exists(path)
    slabs = _row_of(path).open(path, series=series, memory=memory, scratch=scratch)
    if check:
        try:
            slabs.check_values()
        except Exception:
            slabs.release()
            raise
    return slabs


def list_images(
    path: str | Path, *, check: bool = True, progress: bool = False, stacks: bool = False
) -> list[SeriesSummary]:
    """Tell what one file, or one folder that itself holds the files of images, contains.

    Args:
        path: an entry of :func:`~monai_stcnnt.data.listing.list_series`.
        check: read values where it takes them to tell that an image would be refused; else headers only.
        progress: show a bar where many files take more than two seconds.
        stacks: add stacks that series of one slice each make, by their key ``stack``.

    Returns:
        One entry per image; what cannot be worked on has its reason in ``refused``.

    Raises:
        MissingFileError: if nothing is there.
        NotAnImageError: if a file is of a kind that is not read.
        EmptyImageError: if a folder holds no image.
    """
    path = check_exists(path)
    return _row_of(path).list(path, check=check, progress=progress, stacks=stacks)


def files_of(path: str | Path) -> list[Path]:
    """List every file that the images at a path are made of.

    Args:
        path: file or folder.

    Returns:
        Files that exist: those that the format names, all of a folder without a format, none where nothing is there.
    """
    path = Path(path)
    if not path.exists():
        return []
    row = format_of(path)
    return files_below(path) if row is None else row.files_of(path)


def result_extension(path: str | Path, file_format: object, kind: str, output_format: OutputFormat = "same") -> str:
    """Tell how the name of an image's result ends.

    Args:
        path: the image.
        file_format: name of its format, ``file_format`` of a record's metadata or of a summary.
        kind: ``"magnitude"`` or ``"complex"``.
        output_format: ``"same"`` as the image's, or another one.

    Returns:
        The ending, empty for a folder.
    """
    if output_format.startswith("dicom_seg"):
        return ""
    row = format_named(file_format) or format_for(path)
    own = row.result_extension(Path(path), kind)
    return own if output_format == "same" or isinstance(row, Nifti) else NIFTI_EXTENSION


def image_format(path: str | Path) -> Format:
    """Find the format to ask about a path.

    Args:
        path: a file, or a folder, which may also hold DICOM files in sub folders alone.

    Returns:
        The row.

    Raises:
        MissingFileError: if nothing is there.
        NotAnImageError: if a file is of a kind that is not read.
        EmptyImageError: if a folder holds no image of its own.
    """
    return _row_of(check_exists(path))


def _row_of(path: Path) -> Format:
    """The row of a path that is there."""
    found = format_of(path)
    if found is not None:
        return found
    if not path.is_dir():
        raise NotAnImageError(f"{path} is not an image of a known format. Give one of {known_formats()}.")
    if not any(FOLDERS.entries_in(folder, names) for folder, names in folders_below(path)):
        raise EmptyImageError(f"{path} holds no DICOM image. Give a folder of them, or one of {known_formats()}.")
    return FOLDERS


def known_formats() -> str:
    """Name the formats, for messages."""
    return ", ".join(f"{row.label} ({', '.join(row.extensions)})" if row.extensions else row.label for row in FORMATS)
