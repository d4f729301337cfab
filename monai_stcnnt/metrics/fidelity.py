# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""How close an image is to the truth: PSNR and SSIM of magnitudes, SNR gain, and fidelity of motion.

All work on clips ``(C, T, H, W)`` or on any number of axes in front of ``(C, T, H, W)``, with one channel (magnitude)
or two (real, imaginary). The data range of PSNR and SSIM is the maximum of the clean magnitude, over the whole image.
"""

from __future__ import annotations

import torch
from monai.metrics.regression import compute_ssim_and_cs
from torch import Tensor

from monai_stcnnt.errors import ConstantImageError, LayoutError
from monai_stcnnt.mri.channels import image_magnitude
from monai_stcnnt.mri.snr import foreground_mask

__all__ = ["magnitude_psnr", "magnitude_ssim", "peak_snr", "snr_gain", "temporal_fidelity", "temporal_sharpness"]

_CHANNEL = -4
_EPS = torch.finfo(torch.float32).eps


def _check(image: Tensor, *others: Tensor) -> None:
    if image.ndim < 4 or any(other.shape != image.shape for other in others):
        shapes = ", ".join(str(tuple(x.shape)) for x in (image, *others))
        raise LayoutError(f"images need the same shape (..., C, T, H, W); found {shapes}")


def _peak(clean: Tensor) -> float:
    peak = float(clean.max())
    if not peak > 0:
        raise ConstantImageError("the clean image is zero everywhere, so it has no data range")
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


def snr_gain(image: Tensor, noisy: Tensor, clean: Tensor) -> float:
    """How many times smaller the error in the foreground became: rms error before over rms error after.

    Args:
        image: the denoised image ``(..., C, T, H, W)``.
        noisy: what it was made of, same shape.
        clean: the truth, same shape.

    Returns:
        The gain; 1 for an image that did not change, infinity for the truth itself.

    Raises:
        LayoutError: when the shapes do not fit.
    """
    _check(image, noisy, clean)
    mask = foreground_mask(image_magnitude(clean, _CHANNEL)).expand_as(clean)
    before, after = ((x - clean)[mask].square().mean().sqrt() for x in (noisy, image))
    return float(before / after)


def _frame_changes(image: Tensor, clean: Tensor) -> tuple[Tensor, Tensor]:
    """Changes from frame to frame in the foreground of the clean image, as vectors."""
    _check(image, clean)
    truth = image_magnitude(clean, _CHANNEL)
    if truth.shape[-3] < 2:
        raise LayoutError(f"motion needs two frames or more; the image {tuple(image.shape)} has {truth.shape[-3]}")
    mask = foreground_mask(truth).any(-3, keepdim=True)
    image_change, change = image_magnitude(image, _CHANNEL).diff(dim=-3), truth.diff(dim=-3)
    mask = mask.expand_as(change)
    return image_change[mask], change[mask]


def temporal_fidelity(image: Tensor, clean: Tensor) -> float:
    """Correlation of the changes from frame to frame with the true changes, in the foreground.

    Args:
        image: ``(..., C, T, H, W)``.
        clean: the truth, same shape.

    Returns:
        1 where every change is right up to a factor; lower with noise and with false motion; 0 where nothing changes.

    Raises:
        LayoutError: when the shapes do not fit or there are fewer than two frames.
    """
    change, truth = _frame_changes(image, clean)
    return float(change @ truth / (change.norm() * truth.norm()).clamp(min=_EPS))


def temporal_sharpness(image: Tensor, clean: Tensor) -> float:
    """Share of the true changes from frame to frame that an image shows, the regression slope in the foreground.

    Args:
        image: ``(..., C, T, H, W)``.
        clean: the truth, same shape.

    Returns:
        1 where motion is intact, below 1 where it is blurred over time, whatever the noise; 0 where nothing changes.

    Raises:
        LayoutError: when the shapes do not fit or there are fewer than two frames.
    """
    change, truth = _frame_changes(image, clean)
    return float(change @ truth / truth.square().sum().clamp(min=_EPS))
