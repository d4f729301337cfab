# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""One door for all files: whatever the format, :func:`read_series` returns a :class:`SeriesRecord`."""

from __future__ import annotations

from pathlib import Path

from monai_stcnnt.data.checks import check_exists, check_image
from monai_stcnnt.data.nifti import is_nifti_path, read_nifti
from monai_stcnnt.data.record import SeriesRecord
from monai_stcnnt.errors import NotAnImageError, SeriesSelectionError

__all__ = ["SeriesRecord", "can_read", "read_series"]


def can_read(path: str | Path) -> bool:
    """Tell by its name whether a file is of a format that :func:`read_series` takes.

    Args:
        path: the file.

    Returns:
        Whether there is a reader for it.
    """
    return is_nifti_path(path)


def read_series(path: str | Path, *, series: str | int | None = None, check: bool = True) -> SeriesRecord:
    """Read an image or a series of images from a file or a folder.

    Args:
        path: a NIfTI file (``.nii``, ``.nii.gz``).
        series: which one, where a folder holds several series; a NIfTI file has no series to choose from.
        check: whether to refuse an image with NaN or infinite values, or with the same value everywhere. Turn it off
            for masks, which may be empty.

    Returns:
        The record: array ``(C, T, Z, Y, X)`` float32, C = 1 for magnitude and 2 for real and imaginary; affine to
        millimeters (RAS); frame times in milliseconds.

    Raises:
        MissingFileError: if nothing is there.
        UnreadableFileError: if the file is damaged or truncated.
        NotAnImageError: if it is of a kind that is not read.
        EmptyImageError: if it has no voxels.
        NonFiniteValuesError: if a value is NaN or infinite.
        ConstantImageError: if all values are the same.
        GeometryError: if the position, orientation or spacing is impossible.
        SeriesSelectionError: if ``series`` is given for a file without series.
    """
    path = check_exists(path)
    if not is_nifti_path(path):
        raise NotAnImageError(f"{path} is not an image of a known format. Give a NIfTI file (.nii, .nii.gz).")
    if series is not None:
        raise SeriesSelectionError(f"{path} is a single image, so there is no series {series!r} to choose.")
    record = read_nifti(path)
    if check:
        check_image(record.array, str(path))
    return record
