# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What all losses on clips share: the layout, complex or magnitude, and weights per sample."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from monai_stcnnt.errors import LayoutError, OptionError

__all__ = ["ClipLoss", "clip_magnitude", "weighted_mean"]


def clip_magnitude(clip: Tensor) -> Tensor:
    """Magnitude ``(B, 1, T, H, W)`` of a clip with one or two channels; its gradient at zero is zero."""
    return torch.linalg.vector_norm(clip, dim=1, keepdim=True) if clip.shape[1] == 2 else clip


def weighted_mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """Mean over samples and frames.

    Args:
        values: one value per sample and frame, ``(B, T)``.
        weight: ``(B,)`` or ``(B, T)``, not negative; None weighs all equally.

    Returns:
        Scalar: the sum of weights times values, divided by the sum of weights. Weights that are all equal change
            nothing.

    Raises:
        LayoutError: when the weights have another shape.
        OptionError: when they are negative or all zero.
    """
    if weight is None:
        return values.mean()
    weight = weight.to(values)
    if weight.ndim == 1:
        weight = weight[:, None]
    if weight.ndim != 2 or weight.shape[0] != values.shape[0] or weight.shape[1] not in (1, values.shape[1]):
        raise LayoutError(
            f"The weights have the shape {tuple(weight.shape)} for {values.shape[0]} samples and {values.shape[1]} "
            "frames. Give (B,) or (B, T)."
        )
    if bool((weight < 0).any()) or not bool((weight > 0).any()):
        raise OptionError("The weights are negative or all zero. Give at least one that is positive.")
    weight = weight.expand_as(values)
    return (weight * values).sum() / weight.sum()


class ClipLoss(nn.Module):
    """Base of the losses on clips in MONAI layout.

    Subclasses implement :meth:`frame_values`. A clip with two channels is complex (real, imaginary), one with one
    channel is a magnitude (or any real) image.
    """

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Compare a prediction with the truth.

        Args:
            input: prediction ``(B, C, T, H, W)`` with C of 1 or 2.
            target: truth of the same shape.
            weight: weight per sample ``(B,)`` or per sample and frame ``(B, T)``; see :func:`weighted_mean`.

        Returns:
            Scalar.

        Raises:
            LayoutError: when the shapes differ or do not have five axes with one or two channels.
        """
        if input.shape != target.shape or input.ndim != 5 or input.shape[1] not in (1, 2):
            raise LayoutError(
                f"The prediction {tuple(input.shape)} and the target {tuple(target.shape)} need the same shape "
                "(B, C, T, H, W), with 1 channel (magnitude) or 2 (real, imaginary)."
            )
        return weighted_mean(self.frame_values(input, target), weight)

    def frame_values(self, input: Tensor, target: Tensor) -> Tensor:
        """Return one value per sample and frame, ``(B, T)``."""
        raise NotImplementedError
