# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Dice and cross entropy where labels tell only which classes are possible."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from monai_stcnnt.errors import LayoutError
from monai_stcnnt.mri.hearts.label_sets import possible_classes

__all__ = ["PartialLabelLoss"]


class PartialLabelLoss(nn.Module):
    """Dice and cross entropy on sets of classes: what nobody drew has no gradient, what was drawn has its full one.

    The cross entropy is the marginal one, minus the logarithm of the probability of all classes that are possible in a
    pixel, averaged over the pixels that exclude anything. Dice of a class is taken over the pixels where it is known
    whether they belong to it, over the whole batch together; a class that is drawn nowhere in the batch has no Dice.

    Args:
        lambda_dice: weight of Dice, averaged over the classes without the background.
        lambda_ce: weight of the cross entropy.
        smooth: pixels that are added above and below in Dice.

    Shapes: logits (B, K, *spatial) and sets (B, 1, *spatial), see :mod:`monai_stcnnt.mri.hearts`. A scalar; zero where
        nothing is known.

    Raises:
        LayoutError: when the shapes do not fit.

    References:
        Shi et al., "Marginal loss and exclusion loss for partially supervised multi-organ segmentation", Medical Image
        Analysis 2021, https://doi.org/10.1016/j.media.2021.101979
    """

    def __init__(self, lambda_dice: float = 1.0, lambda_ce: float = 1.0, smooth: float = 10.0) -> None:
        super().__init__()
        self.lambda_dice, self.lambda_ce, self.smooth = lambda_dice, lambda_ce, smooth

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare logits with sets."""
        if input.ndim < 3 or target.shape != (input.shape[0], 1, *input.shape[2:]):
            raise LayoutError(
                f"Logits {tuple(input.shape)} and sets {tuple(target.shape)} have to be (B, classes, ...) and (B, 1, "
                "...) of one size."
            )
        possible = possible_classes(target, input.shape[1])
        log_p = input.float().log_softmax(1)
        return self.lambda_ce * _marginal_entropy(log_p, possible) + self.lambda_dice * self._dice(log_p, possible)

    def _dice(self, log_p: Tensor, possible: Tensor) -> Tensor:
        """One minus Dice, averaged over the classes that were drawn."""
        single = possible.sum(1, keepdim=True) == 1
        axes = [0, *range(2, log_p.ndim)]
        truth, known = (possible & single)[:, 1:], (single | ~possible)[:, 1:]
        p = log_p[:, 1:].exp() * known
        overlap = (p * truth).sum(axes)
        total = p.sum(axes) + truth.sum(axes)
        drawn = truth.flatten(2).any(2).any(0)
        loss = 1 - (2 * overlap + self.smooth) / (total + self.smooth)
        return (loss * drawn).sum() / drawn.sum().clamp(min=1)


def _marginal_entropy(log_p: Tensor, possible: Tensor) -> Tensor:
    informative = ~possible.all(1)
    entropy = -log_p.masked_fill(~possible, -torch.inf).logsumexp(1)
    return entropy[informative].sum() / informative.sum().clamp(min=1)
