# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Dice and cross entropy of clips of which some frames have labels."""

from __future__ import annotations

from collections.abc import Sequence

from monai.losses import DiceCELoss
from monai.utils.type_conversion import convert_to_tensor
from torch import Tensor, nn

from monai_stcnnt.errors import LayoutError

__all__ = ["LabelledFramesLoss"]


class LabelledFramesLoss(nn.Module):
    """MONAI's Dice and cross entropy over the frames that have labels; the others are context and have no gradient.

    Dice is taken over all labelled frames of the batch together and without the background, so that a class that is
    absent from a frame does no harm.

    Args:
        lambda_dice: weight of Dice.
        lambda_ce: weight of the cross entropy.
        level_weights: in deep supervision, weights of the logits in the list, full resolution first; labels are
            thinned out to the others' size. By default 1, 1/2, 1/4, ...

    Shapes: logits (B, classes, T, H, W), or a list of them with smaller H and W; labels (B, 1, T, H, W) with classes
        from 0, and a negative value in every pixel of a frame without labels. A scalar; zero where nothing is labelled.

    Raises:
        LayoutError: when the shapes do not fit.

    See Also:
        Milletari et al., V-Net, 2016, https://doi.org/10.1109/3DV.2016.79.
    """

    def __init__(
        self, lambda_dice: float = 1.0, lambda_ce: float = 1.0, level_weights: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        self.level_weights = level_weights
        self.loss = DiceCELoss(
            include_background=False,
            to_onehot_y=True,
            softmax=True,
            batch=True,
            lambda_dice=lambda_dice,
            lambda_ce=lambda_ce,
        )

    def forward(self, input: Tensor | Sequence[Tensor], target: Tensor) -> Tensor:
        """Compare logits, or the list of them in deep supervision, with labels."""
        if not isinstance(input, Tensor):
            weights = self.level_weights or [0.5**n for n in range(len(input))]
            if len(weights) != len(input):
                raise LayoutError(f"{len(input)} levels of logits and {len(weights)} level_weights.")
            terms = [w * self.forward(x, thin_out(target, x.shape[3:])) for w, x in zip(weights, input, strict=True)]
            return sum(terms[1:], start=terms[0])
        if input.ndim != 5 or target.shape != (input.shape[0], 1, *input.shape[2:]):
            raise LayoutError(
                f"The logits {tuple(input.shape)} and the labels {tuple(target.shape)} have to be "
                "(B, classes, T, H, W) and (B, 1, T, H, W)."
            )
        logits, labels = convert_to_tensor(input, track_meta=False), convert_to_tensor(target, track_meta=False)
        labelled = (labels[:, 0] >= 0).flatten(2).all(-1)
        if not bool(labelled.any()):
            return logits.sum() * 0.0
        value: Tensor = self.loss(logits.movedim(2, 1)[labelled], labels.movedim(2, 1)[labelled])
        return value


def thin_out(target: Tensor, size: Sequence[int]) -> Tensor:
    """Labels at the nearest pixels of a smaller (H, W)."""
    frames = target.flatten(0, 2)[:, None].float()
    small = nn.functional.interpolate(frames, size=tuple(size), mode="nearest-exact")
    return small.view(*target.shape[:3], *size)
