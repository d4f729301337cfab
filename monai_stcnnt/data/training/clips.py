# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Batches of clips for training: splitting a list of series, and clips of several lengths."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.engines import default_prepare_batch

__all__ = ["PrepareClips", "split_datalist"]

logger = logging.getLogger(__name__)


def split_datalist(
    datalist: Sequence[Mapping[str, Any]], val_fraction: float = 0.2, seed: int = 0
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Split a list of series into training and validation by whole series.

    Args:
        datalist: items of a MONAI dataset.
        val_fraction: share of the items for validation; one at least.
        seed: of the shuffling.

    Returns:
        Items for training and for validation. A single item serves for both, and the log says so.
    """
    if len(datalist) < 2:
        logger.warning("There is one series only; it is used for training and for validation.")
        return list(datalist), list(datalist)
    order = np.random.default_rng(seed).permutation(len(datalist))
    held_out = min(max(1, round(val_fraction * len(datalist))), len(datalist) - 1)
    items = [datalist[i] for i in order]
    return items[held_out:], items[:held_out]


class PrepareClips:
    """Prepare a batch for MONAI's trainer, with a random number of frames per batch.

    A network that sees single frames, short and long clips works on all of them. Batches that are numbered, with an
    entry ``batch_number``, have a length that depends on the seed and the number alone: the same in all processes that
    work on a batch together, and after an interruption.

    Args:
        frames: numbers of frames to draw from; more than the batch has means all.
        seed: of the draws.
    """

    def __init__(self, frames: Sequence[int] = (1, 4, 8, 12), seed: int = 0) -> None:
        self.frames = tuple(int(f) for f in frames)
        self.seed = seed
        self.rng = np.random.default_rng(seed)

    def __call__(
        self,
        batchdata: dict[str, torch.Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,  # noqa: ANN401 - passed on
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Image and label (B, C, t, H, W) with t frames of the (B, C, T, H, W) of the batch."""
        image, label, *_ = default_prepare_batch(batchdata, device, non_blocking, **kwargs)
        assert isinstance(image, torch.Tensor)
        assert isinstance(label, torch.Tensor)
        numbers = batchdata.get("batch_number")
        rng = self.rng if numbers is None else np.random.default_rng([self.seed, int(numbers[0])])
        frames = int(rng.choice(self.frames))
        return image[:, :, :frames], label[:, :, :frames]
