# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What was removed from an image, judged without the truth."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from monai_stcnnt.errors import LayoutError

__all__ = ["residual_whiteness"]


def residual_whiteness(image: Tensor, noisy: Tensor, expected: Sequence[float] = (0.0, 0.0, 0.0)) -> float:
    """How little neighbors in the residual, the noisy image minus the denoised one, resemble each other.

    Noise is what should be removed. Anatomy and edges in the residual make neighbors alike; so does noise that the
    scanner had filtered, which is why that much is expected where its spectrum is known.

    Args:
        image: the denoised image ``(..., C, T, H, W)``.
        noisy: what it was made of, same shape.
        expected: correlations of neighbors along T, H and W that the noise has by itself, none below 0.

    Returns:
        1 minus how far, at most, a correlation of neighbors along T, H or W lies outside of the range from 0 to what is
        expected: 1 for residuals like noise, 0 at worst.

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
        if extent > 1
        else residual.new_zeros(())
        for dim, extent in zip((-3, -2, -1), residual.shape[-3:], strict=True)
    ]
    beyond = [max(float(c) - e, -float(c), 0.0) for c, e in zip(correlations, expected, strict=True)]
    return 1 - min(max(beyond), 1.0)
