# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What was removed from an image, judged without the truth."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_stcnnt.errors import LayoutError

__all__ = ["residual_whiteness"]


def residual_whiteness(image: Tensor, noisy: Tensor) -> float:
    """How little neighbors in the residual, the noisy image minus the denoised one, resemble each other.

    White noise is what should be removed. Anatomy and edges in the residual make neighbors alike; so does noise that
    the scanner had filtered, for which the value of a good result is below 1 as well.

    Args:
        image: the denoised image ``(..., C, T, H, W)``.
        noisy: what it was made of, same shape.

    Returns:
        1 minus the largest correlation, in absolute value, of neighbors along T, H or W: 1 for white residuals, 0 at
        worst.

    Raises:
        LayoutError: when the shapes differ.
    """
    if image.shape != noisy.shape or image.ndim < 4:
        shapes = f"{tuple(image.shape)} and {tuple(noisy.shape)}"
        raise LayoutError(f"Two images need the same shape (..., C, T, H, W), not {shapes}.")
    residual = noisy - image
    residual = residual - residual.mean()
    power = residual.square().mean().clamp(min=torch.finfo(residual.dtype).tiny)
    correlations = [
        (residual.narrow(dim, 1, extent - 1) * residual.narrow(dim, 0, extent - 1)).mean() / power
        for dim, extent in zip((-3, -2, -1), residual.shape[-3:], strict=True)
        if extent > 1
    ]
    return 1 - min(max((abs(float(c)) for c in correlations), default=0.0), 1.0)
