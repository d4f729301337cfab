# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""How close an image is to the truth: PSNR and SSIM of magnitudes.

All work on clips ``(C, T, H, W)`` or on any number of axes in front of ``(C, T, H, W)``, with one channel (magnitude)
or two (real, imaginary). The data range is the maximum of the clean magnitude, over the whole image.
"""

from __future__ import annotations

import torch
from monai.metrics.regression import compute_ssim_and_cs
from torch import Tensor

from monai_stcnnt.errors import ConstantImageError, LayoutError
from monai_stcnnt.mri.channels import image_magnitude

__all__ = ["magnitude_psnr", "magnitude_ssim", "peak_snr"]

_CHANNEL = -4
_EPS = torch.finfo(torch.float32).eps


def _check(image: Tensor, clean: Tensor) -> None:
    if image.ndim < 4 or image.shape != clean.shape:
        shapes = f"{tuple(image.shape)} and {tuple(clean.shape)}"
        raise LayoutError(f"Two images need the same shape (..., C, T, H, W), not {shapes}.")


def _peak(clean: Tensor) -> float:
    peak = float(clean.max())
    if not peak > 0:
        raise ConstantImageError("The clean image is zero everywhere, so it has no data range.")
    return peak


def peak_snr(image: Tensor, clean: Tensor, data_range: float) -> Tensor:
    """Peak signal-to-noise ratio in decibels, over all elements of both tensors.

    Args:
        image: tensor of any shape.
        clean: the truth, same shape.
        data_range: the range of the images.

    Returns:
        Scalar, at most about ``20 * log10(data_range) + 69``.
    """
    return 10 * torch.log10(data_range**2 / ((image - clean).square().mean() + _EPS))


def magnitude_psnr(image: Tensor, clean: Tensor) -> float:
    """PSNR in decibels of magnitudes over the whole image; the data range is the clean maximum.

    Args:
        image: ``(..., C, T, H, W)``.
        clean: the truth, same shape.

    Returns:
        The ratio; infinity for the truth itself.

    Raises:
        LayoutError: when the shapes do not fit.
        ConstantImageError: when the clean image is zero.
    """
    _check(image, clean)
    truth = image_magnitude(clean, _CHANNEL)
    error = (image_magnitude(image, _CHANNEL) - truth).double().square().mean()
    return float(10 * torch.log10(_peak(truth) ** 2 / error))


def magnitude_ssim(image: Tensor, clean: Tensor, win_size: int = 11) -> float:
    """Mean SSIM of the frames' magnitudes, with Gaussian windows (sigma 1.5); the data range is the clean maximum.

    Args:
        image: ``(..., C, T, H, W)``.
        clean: the truth, same shape.
        win_size: side of the window; cut to the image where that is smaller.

    Raises:
        LayoutError: when the shapes do not fit.
        ConstantImageError: when the clean image is zero.
    """
    _check(image, clean)
    size = clean.shape[-2:]
    frames, truth = (image_magnitude(x, _CHANNEL).reshape(-1, 1, *size).float() for x in (image, clean))
    window = [min(win_size, extent) for extent in size]
    similarity, _ = compute_ssim_and_cs(
        frames, truth, spatial_dims=2, kernel_size=window, kernel_sigma=[1.5, 1.5], data_range=_peak(truth)
    )
    return float(similarity.mean())
