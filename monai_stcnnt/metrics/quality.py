# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Numbers that need no truth: contrast to noise, and what was taken away from an image."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_stcnnt.errors import EmptyImageError, LayoutError, NoiseLevelError

__all__ = ["contrast_to_noise", "residual_level", "residual_whiteness"]


def contrast_to_noise(magnitude: Tensor, region: Tensor, other: Tensor, sigma: float | None = None) -> float:
    """Difference of the mean magnitudes of two regions, over the noise.

    Args:
        magnitude: real tensor of any shape.
        region: mask of the same shape.
        other: mask of the other region, same shape.
        sigma: noise standard deviation; by default it is measured within the two regions, which then should be
            homogeneous.

    Returns:
        The contrast-to-noise ratio, not negative.

    Raises:
        LayoutError: when a mask has another shape.
        EmptyImageError: when a region has less than two pixels.
        NoiseLevelError: when the noise level is not positive.
    """
    if region.shape != magnitude.shape or other.shape != magnitude.shape:
        raise LayoutError(
            f"masks {tuple(region.shape)}, {tuple(other.shape)} do not fit the image {tuple(magnitude.shape)}"
        )
    parts = [magnitude[mask.bool()] for mask in (region, other)]
    if min(part.numel() for part in parts) < 2:
        raise EmptyImageError("a region has less than two pixels")
    noise = float(torch.stack([part.var() for part in parts]).mean().sqrt()) if sigma is None else sigma
    if not noise > 0:
        raise NoiseLevelError(f"the noise level is {noise}; contrast to noise needs a positive one")
    return abs(float(parts[0].mean() - parts[1].mean())) / noise


def residual_level(image: Tensor, noisy: Tensor, gmap: Tensor | None = None) -> float:
    """Standard deviation per component of what was taken away, in the units of the image.

    In SNR units it is below 1 by what is left of the noise, and above where signal was taken away.

    Args:
        image: the denoised image ``(..., C, T, H, W)``.
        noisy: what it was made of, same shape.
        gmap: g-factor map that broadcasts to the image; it is divided out.

    Raises:
        LayoutError: when the shapes differ.
    """
    residual = _residual(image, noisy)
    return float((residual if gmap is None else residual / gmap).square().mean().sqrt())


def residual_whiteness(image: Tensor, noisy: Tensor) -> float:
    """How little neighbors in what was taken away resemble each other.

    White noise is what should be taken away. Anatomy and edges that went with it make neighbors alike; so does noise
    that the scanner had filtered, for which the number of a good result is below 1 as well.

    Args:
        image: the denoised image ``(..., C, T, H, W)``.
        noisy: what it was made of, same shape.

    Returns:
        1 minus the largest correlation, in absolute value, of neighbors along T, H or W: 1 for white residuals, 0 at
        worst.

    Raises:
        LayoutError: when the shapes differ.
    """
    residual = _residual(image, noisy)
    residual = residual - residual.mean()
    power = residual.square().mean().clamp(min=torch.finfo(residual.dtype).tiny)
    correlations = [
        (residual.narrow(dim, 1, extent - 1) * residual.narrow(dim, 0, extent - 1)).mean() / power
        for dim, extent in zip((-3, -2, -1), residual.shape[-3:], strict=True)
        if extent > 1
    ]
    return 1 - min(max((abs(float(c)) for c in correlations), default=0.0), 1.0)


def _residual(image: Tensor, noisy: Tensor) -> Tensor:
    if image.shape != noisy.shape or image.ndim < 4:
        raise LayoutError(
            f"images need the same shape (..., C, T, H, W); found {tuple(image.shape)} and {tuple(noisy.shape)}"
        )
    return noisy - image
