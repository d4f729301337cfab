# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Sets of classes: what a pixel may be, where a label tells only a part.

A set is a whole number whose bit ``c`` is 1 where class ``c`` is possible: 1 << 3 for a pixel that is surely class 3,
0b0011 for one that is class 0 or 1, and all bits where nobody drew anything. Sets can be cropped, turned and warped
(nearest neighbor) like labels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from monai_stcnnt.errors import LayoutError

__all__ = ["class_bits", "possible_classes", "sets_of_labels"]


def class_bits(*classes: int) -> int:
    """The set of these classes."""
    return sum(1 << c for c in set(classes))


def sets_of_labels(labels: Tensor, num_classes: int) -> Tensor:
    """Sets of labels that are fully known, or not at all.

    Args:
        labels: classes from 0; negative where nothing is known.
        num_classes: with the background.

    Returns:
        Sets, int64, of the same shape.
    """
    whole = labels.long()
    return torch.where(whole < 0, (1 << num_classes) - 1, 1 << whole.clamp(min=0))


def possible_classes(sets: Tensor, num_classes: int) -> Tensor:
    """Take sets apart.

    Args:
        sets: ``(B, 1, *spatial)``, whole numbers of any type from 1 to ``2**num_classes - 1``.
        num_classes: K.

    Returns:
        Boolean ``(B, K, *spatial)``: which classes are possible.

    Raises:
        LayoutError: for sets with another number of channels.
    """
    if sets.ndim < 2 or sets.shape[1] != 1:
        raise LayoutError(f"Sets of classes have one channel, (B, 1, ...), not the shape {tuple(sets.shape)}.")
    bits = torch.arange(num_classes, device=sets.device).view(1, -1, *[1] * (sets.ndim - 2))
    return (sets.long() >> bits) & 1 == 1
