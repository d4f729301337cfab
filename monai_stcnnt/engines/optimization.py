# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What the bundles' training configs need beside MONAI: schedule, gradients, averaged weights, precision, seeds."""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
import torch.distributed as dist
from ignite.engine import Engine, Events
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from monai_stcnnt.data import draw_seed

__all__ = ["SeedIterations", "averaged_network", "clip_gradients", "is_lower", "one_cycle", "use_mixed_precision"]

logger = logging.getLogger(__name__)


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


def averaged_network(
    network: nn.Module, optimizer: torch.optim.Optimizer, decay: float, device: torch.device | None = None
) -> AveragedModel:
    r"""Exponential moving average of a network's weights and buffers, updated after each step of its optimizer.

    After :math:`n` steps the average keeps :math:`\min(d, (1 + n) / (10 + n))` of itself, so that a short training is
    not held back by its first weights. Buffers that are integers are copied.

    Args:
        network: the network, without what shares it among processes.
        optimizer: the optimizer that changes it.
        decay: the share :math:`d`; 0 keeps the average equal to the network.
        device: where the average lies; default: with the network.

    Returns:
        The average; its ``module`` is a network of the same kind.

    Raises:
        ValueError: when the decay is not at least 0 and less than 1.
    """
    if not 0 <= decay < 1:
        raise ValueError(f"the decay of the averaged weights is {decay}; give 0 or more and less than 1")

    def update(averages: Any, values: Any, steps: Any) -> None:  # noqa: ANN401 - lists of tensors, a count
        if averages[0].is_floating_point() or averages[0].is_complex():
            count = int(steps)
            get_ema_multi_avg_fn(min(decay, (1 + count) / (10 + count)))(averages, values, steps)
        else:
            torch._foreach_copy_(averages, values)

    average = AveragedModel(network, device, multi_avg_fn=update, use_buffers=True)
    average.requires_grad_(False).eval()
    optimizer.register_step_post_hook(lambda *_: average.update_parameters(network))
    return average


def use_mixed_precision(wanted: bool, device: torch.device) -> bool:
    """Whether MONAI's engines can compute in mixed precision, which they do on CUDA devices alone.

    Args:
        wanted: whether it was asked for; the log says where it cannot be.
        device: the device of the training.
    """
    if wanted and device.type != "cuda":
        logger.warning("Mixed precision needs a CUDA device; the training on the device '%s' uses float32.", device)
    return wanted and device.type == "cuda"


def is_lower(current: float | Tensor, best: float | Tensor) -> bool:
    """Whether an error is the best so far: lower, or the first that is a number."""
    return math.isfinite(float(current)) and not float(current) >= float(best)


class SeedIterations:
    """Seed PyTorch's generators at each iteration, so that dropout is the same after an interruption.

    The seed mixes that of the training, the iteration and the number of the process.

    Args:
        seed: of the training.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def attach(self, engine: Engine) -> None:
        """Act at the beginning of each of the engine's iterations."""
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seed the generators of the CPU and of all devices."""
        rank = dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
        torch.manual_seed(draw_seed(self.seed, engine.state.iteration, rank))
