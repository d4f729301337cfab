# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks at the door: what comes in is an image that can be worked on, what goes out has a place to go to."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import numpy as np

from monai_stcnnt.errors import (
    ConstantImageError,
    EmptyImageError,
    MissingFileError,
    NonFiniteValuesError,
    OutputNotWritableError,
)

__all__ = ["check_exists", "check_image", "check_output_folder"]


def check_exists(path: str | Path) -> Path:
    """Make sure that a file or folder exists.

    Args:
        path: file or folder; ``~`` is the home folder.

    Returns:
        The path.

    Raises:
        MissingFileError: if there is none.
    """
    found = Path(path).expanduser()
    if not found.exists():
        raise MissingFileError(f"{found} does not exist. Check the path.")
    return found


def check_image(array: np.ndarray, name: str = "the image") -> None:
    """Make sure that an image has voxels, that all are finite, and that they are not all the same.

    Args:
        array: real values of any shape, such as a record's channels.
        name: what to call it in a message, usually its path.

    Raises:
        EmptyImageError: if there are no voxels.
        NonFiniteValuesError: if a value is NaN or infinite.
        ConstantImageError: if all values are the same.
    """
    if array.size == 0:
        raise EmptyImageError(f"{name} has no voxels: its shape is {array.shape}.")
    low, high = array.min(), array.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = int(np.count_nonzero(~np.isfinite(array)))
        raise NonFiniteValuesError(
            f"{name} has {bad} values of {array.size} that are NaN or infinite (or too large for float32). "
            "Replace them before, for example with numpy.nan_to_num."
        )
    if low == high:
        raise ConstantImageError(f"{name} has the value {float(low):g} everywhere. Check that it is the right file.")


def check_output_folder(path: str | Path) -> Path:
    """Make sure, before the work starts, that its results can be written.

    Args:
        path: the folder; it is created where it does not exist.

    Returns:
        The path.

    Raises:
        OutputNotWritableError: if it is not a folder, cannot be created, or files cannot be written in it.
    """
    folder = Path(path).expanduser()
    if folder.exists() and not folder.is_dir():
        raise OutputNotWritableError(f"{folder} is a file; the output goes to a folder. Choose another name.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{uuid.uuid4().hex}"
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        probe.unlink()
    except OSError as error:
        raise OutputNotWritableError(
            f"{folder} cannot be written to: {error.strerror or error}. Choose a folder that you may write to."
        ) from error
    return folder
