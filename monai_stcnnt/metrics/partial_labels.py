# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Dice where labels tell only which classes are possible."""

from __future__ import annotations

from typing import Any, Literal

import torch
from monai.metrics.metric import CumulativeIterationMetric
from torch import Tensor

from monai_stcnnt.errors import LayoutError, OptionError
from monai_stcnnt.mri.hearts.label_sets import possible_classes

__all__ = ["PartialDiceMetric", "partial_overlaps"]


def partial_overlaps(pred: Tensor, sets: Tensor) -> tuple[Tensor, Tensor]:
    """Overlap and sizes of every class in the pixels where it is known whether they belong to it.

    Args:
        pred: ``(B, K, *spatial)`` with zeros and ones.
        sets: ``(B, 1, *spatial)``, see :mod:`monai_stcnnt.mri.hearts.label_sets`.

    Returns:
        Twice the overlap, and the sum of both sizes, each ``(B, K - 1)`` without the background. Both are NaN where a
        class was not drawn and is not excluded everywhere: nobody knows then what is right.

    Raises:
        LayoutError: if the shapes do not fit.
    """
    if pred.ndim < 3 or sets.shape != (pred.shape[0], 1, *pred.shape[2:]):
        raise LayoutError(f"The prediction {tuple(pred.shape)} does not fit the sets {tuple(sets.shape)}.")
    possible = possible_classes(sets, pred.shape[1])
    single = possible.sum(1, keepdim=True) == 1
    truth, known = (possible & single)[:, 1:].flatten(2), (single | ~possible)[:, 1:].flatten(2)
    chosen = (pred[:, 1:] > 0.5).flatten(2) & known
    judged = truth.any(2) | known.all(2)
    nothing = torch.full(judged.shape, torch.nan, device=pred.device)
    overlap = torch.where(judged, 2.0 * (chosen & truth).sum(2), nothing)
    return overlap, torch.where(judged, 1.0 * (chosen.sum(2) + truth.sum(2)), nothing)


class PartialDiceMetric(CumulativeIterationMetric):
    """Dice of every class over partly labelled images.

    Args:
        reduction: ``pooled`` adds up the overlaps of all images first, so that a large cavity counts more than the tip
            of the apex; ``mean`` is the mean of the images' own values. Images in which a class is neither drawn nor
            predicted do not count for it.
        mean_classes: whether the aggregate is the mean of the classes that were judged, a scalar.

    Call it with prediction (B, K, *spatial) of zeros and ones, and sets (B, 1, *spatial).

    Raises:
        OptionError: for another reduction.
    """

    def __init__(self, reduction: Literal["pooled", "mean"] = "pooled", mean_classes: bool = False) -> None:
        super().__init__()
        if reduction not in ("pooled", "mean"):
            raise OptionError(f"reduction is 'pooled' or 'mean', not {reduction!r}.")
        self.reduction, self.mean_classes = reduction, mean_classes

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **kwargs: Any) -> Tensor:  # noqa: ANN401, ARG002 - MONAI's
        if y is None:
            raise LayoutError("Dice needs the sets of classes y beside the prediction.")
        return torch.stack(partial_overlaps(y_pred.detach(), y.detach()), dim=-1)

    def aggregate(self) -> Tensor:
        """Dice (K - 1,) of the classes without the background, NaN of one that was never judged; or their mean."""
        buffer = self.get_buffer()
        if not isinstance(buffer, Tensor):
            raise LayoutError("PartialDiceMetric has seen no image yet.")
        overlap, total = (buffer.nansum(0, keepdim=True) if self.reduction == "pooled" else buffer).unbind(-1)
        dice = (overlap / torch.where(total > 0, total, torch.nan)).nanmean(0)
        return dice.nanmean() if self.mean_classes else dice
