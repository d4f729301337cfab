# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
r"""Centered, orthonormal Fourier transforms, and the matrix size of an image, changed in k-space.

The zero frequency of k-space and the origin of image space both lie at index ``n // 2``:

.. math:: X = \mathrm{fftshift}(\mathrm{FFT}(\mathrm{ifftshift}(x))) / \sqrt{N}

With this normalization white noise keeps its standard deviation, which is what makes SNR units practical. Cropping
k-space then leaves white noise at its standard deviation while the signal grows (larger voxels have more of it);
padding k-space with zeros lowers both. ``keep="noise"`` scales such that the noise level stays 1 (SNR units),
``keep="signal"`` such that the mean of the image stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Literal

import torch
from torch import Tensor

from monai_stcnnt.errors import ImageSizeError

__all__ = ["Alignment", "Keep", "fftc", "ifftc", "resize_matrix"]

Keep = Literal["noise", "signal"]
Alignment = Literal["origin", "border"]


def fftc(image: Tensor, dims: Sequence[int] = (-2, -1)) -> Tensor:
    """Image to k-space.

    Args:
        image: real or complex tensor of any shape.
        dims: the axes to transform, ``(H, W)`` last by default.

    Returns:
        Complex tensor of the same shape; its sum of squared magnitudes is that of ``image``.
    """
    axes = tuple(dims)
    spectrum = torch.fft.fftn(torch.fft.ifftshift(image, dim=axes), dim=axes, norm="ortho")
    return torch.fft.fftshift(spectrum, dim=axes)


def ifftc(kspace: Tensor, dims: Sequence[int] = (-2, -1)) -> Tensor:
    """K-space to image, the inverse (and the adjoint) of :func:`fftc`.

    Args:
        kspace: complex tensor of any shape.
        dims: the axes to transform, ``(H, W)`` last by default.

    Returns:
        Complex tensor of the same shape.
    """
    axes = tuple(dims)
    image = torch.fft.ifftn(torch.fft.ifftshift(kspace, dim=axes), dim=axes, norm="ortho")
    return torch.fft.fftshift(image, dim=axes)


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
        raise ImageSizeError(f"The new matrix size is {tuple(sizes)}. Give positive numbers.")
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
