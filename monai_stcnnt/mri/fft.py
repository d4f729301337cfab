# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
r"""Centered, orthonormal Fourier transforms.

The zero frequency of k-space and the origin of image space both lie at index ``n // 2``:

.. math:: X = \mathrm{fftshift}(\mathrm{FFT}(\mathrm{ifftshift}(x))) / \sqrt{N}

With this normalization white noise keeps its standard deviation, which is what makes SNR units practical.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["fftc", "ifftc"]


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
