# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
r"""Resolution and matrix size of an image, changed in k-space, and what that does to noise.

With the orthonormal transform, cropping k-space leaves white noise at its standard deviation while the signal grows
(larger voxels have more of it); padding k-space with zeros lowers both. ``keep="noise"`` scales such that the noise
level stays 1 (SNR units), ``keep="signal"`` such that the mean of the image stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Literal

import torch
from torch import Tensor

from monai_stcnnt.errors import ImageSizeError
from monai_stcnnt.mri.fft import fftc, ifftc
from monai_stcnnt.mri.kspace_filter import apply_kspace_filter, resolution_filter

__all__ = ["Alignment", "Keep", "reduce_resolution", "resize_matrix", "scale_matrix"]

Keep = Literal["noise", "signal"]
Alignment = Literal["origin", "border"]


def reduce_resolution(
    image: Tensor, ratios: Sequence[float], dims: Sequence[int] = (-2, -1), keep: Keep = "noise"
) -> Tensor:
    """Lower the resolution at the same matrix size: the outer part of k-space becomes zero.

    Args:
        image: real or complex tensor of any shape.
        ratios: share of k-space that is kept along each of ``dims``.
        dims: the axes.
        keep: the noise level or the signal level.

    Returns:
        Complex tensor of the same shape.
    """
    normalization: Literal["rms", "none"] = "rms" if keep == "noise" else "none"
    filters = [
        resolution_filter(image.shape[dim], ratio, normalization) for dim, ratio in zip(dims, ratios, strict=True)
    ]
    return ifftc(apply_kspace_filter(fftc(image, dims), filters, dims), dims)


def resize_matrix(
    image: Tensor,
    sizes: Sequence[int],
    dims: Sequence[int] = (-2, -1),
    keep: Keep = "noise",
    alignment: Alignment = "origin",
) -> Tensor:
    """Change the matrix size: k-space is cropped where the size shrinks, padded with zeros where it grows.

    Args:
        image: real or complex tensor of any shape.
        sizes: new extents of ``dims``.
        dims: the axes.
        keep: the noise level or the signal level.
        alignment: ``"origin"`` keeps the zero frequency at index ``n // 2``, whatever the parity of the sizes;
            ``"border"`` cuts or pads as much in front as behind, and one line less in front where the difference is
            odd, which can move the zero frequency by one line (a linear phase), as published code does.

    Returns:
        Complex tensor with the new sizes.

    Raises:
        ImageSizeError: when a size is not positive.
    """
    if min(sizes) < 1:
        raise ImageSizeError(f"the new matrix size is {tuple(sizes)}; give positive numbers")
    kspace = fftc(image, dims)
    scale = 1.0
    for dim, size in zip(dims, sizes, strict=True):
        old = kspace.shape[dim]
        shift = size // 2 - old // 2 if alignment == "origin" else int((size - old) / 2)
        if size < old:
            kspace = kspace.narrow(dim, -shift, size)
        elif size > old:
            before, after = list(kspace.shape), list(kspace.shape)
            before[dim], after[dim] = shift, size - old - shift
            kspace = torch.cat((kspace.new_zeros(before), kspace, kspace.new_zeros(after)), dim)
        scale *= sqrt(size / old) if keep == "signal" or size > old else 1.0
    return ifftc(kspace, dims) * scale


def scale_matrix(
    image: Tensor,
    ratio: float,
    dims: Sequence[int] = (-2, -1),
    keep: Keep = "noise",
    alignment: Alignment = "origin",
) -> Tensor:
    """Change the matrix size (any shape) by a factor, rounded to whole samples; see :func:`resize_matrix`."""
    sizes = [max(round(ratio * image.shape[dim]), 1) for dim in dims]
    return resize_matrix(image, sizes, dims, keep, alignment)
