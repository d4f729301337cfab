# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Losses by name, and sums of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from monai_stcnnt.errors import OptionError
from monai_stcnnt.losses.base import ClipLoss
from monai_stcnnt.losses.pixelwise import (
    CharbonnierLoss,
    ComplexL1Loss,
    ComplexMSELoss,
    ComplexRMSELoss,
    LogMSELoss,
    PerpendicularLoss,
    PSNRLoss,
)
from monai_stcnnt.losses.spectral import SpectralLoss
from monai_stcnnt.losses.structure import ClipSSIMLoss, GaussianDerivativeLoss

__all__ = ["LOSSES", "WeightedSumLoss"]

LOSSES: dict[str, Callable[[], ClipLoss]] = {
    "mse": ComplexMSELoss,
    "rmse": ComplexRMSELoss,
    "l1": ComplexL1Loss,
    "charbonnier": CharbonnierLoss,
    "perpendicular": PerpendicularLoss,
    "log_mse": LogMSELoss,
    "psnr": PSNRLoss,
    "ssim": lambda: ClipSSIMLoss(2, win_size=7),
    "ssim3d": lambda: ClipSSIMLoss(3, win_size=5),
    "gaussian": lambda: GaussianDerivativeLoss(2, (0.25, 0.5, 1.0, 1.5)),
    "gaussian3d": lambda: GaussianDerivativeLoss(3, (0.25, 0.5, 1.0), (0.25, 0.5, 0.5)),
    "spectral": SpectralLoss,
}


class WeightedSumLoss(nn.Module):
    """Weighted sum of losses on clips, computed in float32.

    Args:
        losses: names (see ``LOSSES``) or loss modules, in any mixture.
        weights: one factor per loss; default: all 1.

    Raises:
        OptionError: when a name is unknown, there is no loss, or the numbers of losses and weights differ.
    """

    def __init__(self, losses: Sequence[str | ClipLoss], weights: Sequence[float] | None = None) -> None:
        super().__init__()
        factors = [1.0] * len(losses) if weights is None else [float(w) for w in weights]
        if not losses or len(factors) != len(losses):
            raise OptionError(
                f"{len(losses)} losses and {len(factors)} weights: give at least one loss, and a weight for each."
            )
        self.losses = nn.ModuleList([_by_name(loss) if isinstance(loss, str) else loss for loss in losses])
        self.weights = factors

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Compare a prediction with the truth.

        Args:
            input: prediction ``(B, C, T, H, W)`` with C of 1 (magnitude) or 2 (real, imaginary).
            target: truth of the same shape.
            weight: weight per sample ``(B,)`` or per sample and frame ``(B, T)``.

        Returns:
            Scalar.

        Raises:
            LayoutError: when the shapes do not fit.
        """
        terms = [
            factor * loss(input.float(), target.float(), weight)
            for loss, factor in zip(self.losses, self.weights, strict=True)
        ]
        return sum(terms[1:], start=terms[0])


def _by_name(name: str) -> ClipLoss:
    if name not in LOSSES:
        raise OptionError(f"The loss {name!r} is unknown. Choose among {', '.join(LOSSES)}.")
    return LOSSES[name]()
