# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""One door for all files: whatever the format, :func:`read_series` returns a :class:`SeriesRecord`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from monai_stcnnt.data.checks import check_exists, check_image
from monai_stcnnt.data.formats.dicom.frames import is_dicom
from monai_stcnnt.data.formats.dicom.series import read_dicom
from monai_stcnnt.data.formats.itk import is_itk_path, read_itk
from monai_stcnnt.data.formats.nifti import is_nifti_path, read_nifti
from monai_stcnnt.data.formats.numpy_files import is_numpy_path, read_numpy
from monai_stcnnt.data.record import SeriesRecord
from monai_stcnnt.errors import EmptyImageError, NotAnImageError, SeriesSelectionError

__all__ = ["FileFormat", "SeriesRecord", "can_read", "format_of", "read_series"]

FileFormat = Literal["nifti", "dicom", "numpy", "itk"]

_KNOWN = (
    "NIfTI (.nii, .nii.gz), DICOM (a file or folder), MHA, NRRD, or NumPy "
    "(.npy, or a folder with *_real.npy and *_imag.npy)"
)


def format_of(path: str | Path) -> FileFormat | None:
    """Tell what a file or folder is: by its name, or for DICOM by its content.

    Args:
        path: file, or a folder that itself holds the files of DICOM series or a NumPy pair.

    Returns:
        The format, None where there is no reader for it.
    """
    path = Path(path)
    if path.is_dir():
        if is_numpy_path(path):
            return "numpy"
        files = (file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
        return "dicom" if any(is_dicom(file) for file in files) else None
    if is_nifti_path(path):
        return "nifti"
    if is_itk_path(path):
        return "itk"
    if is_numpy_path(path):
        return "numpy"
    return "dicom" if is_dicom(path) else None


def can_read(path: str | Path) -> bool:
    """Tell whether a file or folder is of a format that :func:`read_series` takes.

    Args:
        path: file or folder, see :func:`format_of`.

    Returns:
        Whether there is a reader for it.
    """
    return format_of(path) is not None


def read_series(path: str | Path, *, series: str | int | None = None, check: bool = True) -> SeriesRecord:
    """Read an image or a series of images from a file or a folder.

    Args:
        path: a NIfTI, DICOM, NumPy, MHA or NRRD file, a folder with DICOM files (also in sub folders), or a folder with
            ``*_real.npy`` and ``*_imag.npy``.
        series: which one, where DICOM files hold several series, see
            :func:`~monai_stcnnt.data.formats.dicom.series.read_dicom`.
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
    path = check_exists(path)
    kind = format_of(path)
    if kind == "dicom" or (kind is None and path.is_dir()):
        record = _read_folder_or_file(path, series)
    elif series is not None:
        raise SeriesSelectionError(f"{path} is a single image, so there is no series {series!r} to choose.")
    elif kind == "nifti":
        record = read_nifti(path)
    elif kind == "itk":
        record = read_itk(path)
    elif kind == "numpy":
        record = read_numpy(path)
    else:
        raise NotAnImageError(f"{path} is not an image of a known format. Give {_KNOWN}.")
    if check:
        check_image(record.array, str(path))
    return record


def _read_folder_or_file(path: Path, series: str | int | None) -> SeriesRecord:
    try:
        return read_dicom(path, series=series)
    except EmptyImageError as error:
        raise EmptyImageError(f"{path} holds no DICOM images. Give a folder of them, or one file: {_KNOWN}.") from error
