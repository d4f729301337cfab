# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What an image's values say about what it is.

An image has contrast; MR magnitudes have noise, no negative values, and no even spread.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from monai_stcnnt.data.slabs import SeriesSlabs
from monai_stcnnt.errors import ConstantImageError, EmptyImageError, NonFiniteValuesError, NotAnImageError

__all__ = ["check_image", "check_mr_content", "foreign_content", "refuse_foreign"]

_UNDERSHOOT = (0.1, 0.05)  # of the 99th percentile, and share of voxels, that interpolation may push below zero
_FEWEST = 500  # voxels that tell anything
_LABELS = 300  # values of a label map, at most
_SAME = 0.7  # share of equal neighbors inside of a label map, at least
_BINS = 8
_EVEN = (0.5, 2.0)  # of the mean count of a bin, in an even spread


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


def check_mr_content(image: SeriesSlabs, *, force: bool = False) -> None:
    """Refuse an image that is not a magnitude or complex MR image, as far as its values tell.

    Args:
        image: the image; a part of a large one is looked at.
        force: let it through.

    Raises:
        NotAnImageError: if it is a label map, a phase, or has more negative values than interpolation makes, as CT and
            difference images do.
    """
    if force or image.shape[0] != 1:
        return
    file_dtype = np.dtype(str(image.meta.get("file_dtype", "float32")))
    for place in image.sample_places():
        refuse_foreign(image.read(*place)[0], str(image.meta.get("source", "The image")), file_dtype)


def refuse_foreign(
    values: np.ndarray, name: str, file_dtype: np.dtype[Any], option: str = "--force (force=True)"
) -> None:
    """Refuse values that are not those of an MR magnitude image.

    Args:
        values: ``(T, Z, Y, X)``.
        name: what to call the image in a message.
        file_dtype: how its file holds them.
        option: what takes it anyway.

    Raises:
        NotAnImageError: see :func:`check_mr_content`.
    """
    reason = foreign_content(values, is_integer=file_dtype.kind in "iu")
    if reason:
        raise NotAnImageError(
            f"{name} {reason}, so it is not an MR magnitude image. Give magnitudes or a complex image; {option} takes "
            "it anyway."
        )


def foreign_content(values: np.ndarray, *, is_integer: bool = False) -> str:
    """Tell from the values of an image why it is no MR magnitude image.

    Args:
        values: ``(T, Z, Y, X)``.
        is_integer: whether the file holds whole numbers.

    Returns:
        The reason, to follow the image's name; empty where there is none.
    """
    low = float(values.min())
    if low < 0 and not _is_undershoot(values, low):
        return f"has negative values (down to {low:g}), as CT, phase, velocity and difference images do"
    inside = values[values > 0]
    if inside.size < _FEWEST:
        return ""
    if _is_label_map(values, inside, is_integer=is_integer):
        return f"has only {len(np.unique(inside))} different values in areas of one value each, as label maps do"
    counts = np.histogram(values, _BINS, (0, float(inside.max())))[0] / (values.size / _BINS)
    if counts.min() > _EVEN[0] and counts.max() < _EVEN[1]:
        return "has values that are spread evenly over their range, as a phase does"
    return ""


def _is_undershoot(values: np.ndarray, low: float) -> bool:
    """Whether few values lie a little below zero, as where a magnitude image was interpolated by splines."""
    depth, share = _UNDERSHOOT
    return -low < depth * float(np.quantile(values, 0.99)) and float((values < 0).mean()) < share


def _is_label_map(values: np.ndarray, inside: np.ndarray, *, is_integer: bool) -> bool:
    """Whether there are few whole numbers, and nearly every voxel has the value of its neighbor."""
    if not (is_integer or inside.max() < 256) or not np.array_equal(inside, np.round(inside)):
        return False
    if len(np.unique(inside)) > _LABELS:
        return False
    one, other = values[..., 1:], values[..., :-1]
    both = (one > 0) & (other > 0)
    return bool(both.any()) and float((one == other)[both].mean()) > _SAME
