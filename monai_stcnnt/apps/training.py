# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What the bundles' training configs need beside MONAI."""

from __future__ import annotations

import math

import torch

__all__ = ["clip_gradients", "one_cycle"]


def one_cycle(progress: float, warmup: float = 0.05) -> float:
    """Learning rate as a share of its maximum: a linear rise over the warm-up, then half a cosine down to zero.

    Args:
        progress: share of the training that is done; 1 and more gives zero.
        warmup: share of the training that the rise takes.
    """
    if progress < warmup:
        return max(progress / warmup, 0.01)
    done = min((progress - warmup) / (1.0 - warmup), 1.0)
    return 0.5 * (1.0 + math.cos(math.pi * done))


def clip_gradients(optimizer: torch.optim.Optimizer, max_norm: float) -> None:
    """Limit the norm of all gradients of an optimizer before each of its steps.

    It works with mixed precision too: the scaler has unscaled the gradients when the optimizer steps.

    Args:
        optimizer: the optimizer; the limit stays with it.
        max_norm: largest Euclidean norm of all gradients together.
    """

    def clip(stepping: torch.optim.Optimizer, *_: object) -> None:
        parameters = [p for group in stepping.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, max_norm)

    optimizer.register_step_pre_hook(clip)
