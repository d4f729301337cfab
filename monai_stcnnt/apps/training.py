# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What the bundles' training configs need beside MONAI."""

from __future__ import annotations

import torch

__all__ = ["clip_gradients"]


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
