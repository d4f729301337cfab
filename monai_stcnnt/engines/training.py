# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""MONAI's trainer and evaluator with what both bundles' trainings share: schedule, gradients, averages, seeds."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Events
from ignite.handlers import ProgressBar
from ignite.metrics import Average
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, StatsHandler, from_engine
from monai.optimizers.lr_scheduler import WarmupCosineSchedule
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from monai_stcnnt.checkpoints import load_fitting
from monai_stcnnt.data import draw_seed
from monai_stcnnt.errors import OptionError
from monai_stcnnt.memory import keep_freed_memory
from monai_stcnnt.networks.lora import inject_adapters

__all__ = [
    "ClipEvaluator",
    "ClipTrainer",
    "OneCycle",
    "averaged_network",
    "is_lower",
    "limit_gradients",
    "prepare_network",
]

logger = logging.getLogger(__name__)

_FIRST_RATE = 0.01
"""Learning rate of the first step, as a share of the largest; at zero, the step would be lost."""


class OneCycle(WarmupCosineSchedule):
    """MONAI's schedule, whose state is the number of steps alone: a training that is resumed may be made longer."""

    def state_dict(self) -> dict[str, Any]:
        """The number of steps."""
        return {"last_epoch": self.last_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue after as many steps; the optimizer's state has the learning rate."""
        self.last_epoch = int(state_dict["last_epoch"])


class ClipTrainer(SupervisedTrainer):
    """MONAI's trainer with a learning rate that rises and falls once, limited gradients and reproducible iterations.

    The learning rate rises linearly and falls with half a cosine to zero at the end. PyTorch's generators are seeded at
    every iteration by the seed, the iteration and the rank, so that dropout is the same after an interruption. The
    mean loss of an epoch is the metric ``train_loss``; the first rank logs it and shows a bar.

    Args:
        device: of the training.
        max_epochs: number of epochs.
        train_data_loader: what gives the batches; an epoch has as many iterations as it is long.
        network: see :func:`prepare_network`.
        optimizer: of the network's parameters; its learning rate is the largest.
        loss_function: of prediction and label.
        seed: of the iterations.
        warmup: share of the training during which the learning rate rises.
        max_grad_norm: see :func:`limit_gradients`.
        amp: compute in mixed precision, which MONAI's engines do on CUDA devices alone; the log says where they cannot.
        amp_dtype: ``bfloat16`` or ``float16``.
        train_handlers: handlers that act after those of the learning rate.
        kwargs: of MONAI's trainer.

    Attributes:
        lr_scheduler: what sets the learning rate.
    """

    def __init__(
        self,
        device: torch.device,
        max_epochs: int,
        train_data_loader: DataLoader[Any] | Sequence[Any],
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss_function: nn.Module,
        *,
        seed: int = 0,
        warmup: float = 0.05,
        max_grad_norm: float = 1.0,
        amp: bool = False,
        amp_dtype: str = "bfloat16",
        train_handlers: Sequence[Any] = (),
        **kwargs: Any,  # noqa: ANN401 - passed on
    ) -> None:
        keep_freed_memory(None)
        steps = max_epochs * len(train_data_loader)
        self.lr_scheduler = OneCycle(optimizer, round(warmup * steps), steps, warmup_multiplier=_FIRST_RATE)
        loss = from_engine(["loss"], first=True)
        schedule: Any = self.lr_scheduler  # MONAI's handler names the class by its older name
        handlers: list[Any] = [LrScheduleHandler(schedule, print_lr=False, epoch_level=False)]
        if idist.get_rank() == 0:
            handlers += [StatsHandler(tag_name="train_loss", output_transform=loss, iteration_log=False)]
            handlers += [ProgressBar(desc="training")]
        super().__init__(
            device, max_epochs, train_data_loader, network, optimizer, loss_function,
            key_train_metric={"train_loss": Average(output_transform=loss)}, metric_cmp_fn=is_lower,
            train_handlers=[*handlers, *train_handlers], **_precision(amp, amp_dtype, device), **kwargs,
        )  # fmt: skip
        self.seed = seed
        self.add_event_handler(Events.ITERATION_STARTED, self._seed_iteration)
        limit_gradients(optimizer, max_grad_norm)

    def _seed_iteration(self) -> None:
        torch.manual_seed(draw_seed(self.seed, self.state.iteration, idist.get_rank()))


class ClipEvaluator(SupervisedEvaluator):
    """MONAI's evaluator, whose metrics the first rank logs.

    Args:
        device: of the validation.
        val_data_loader: what gives the batches.
        network: what is validated.
        amp: see :class:`ClipTrainer`.
        amp_dtype: see :class:`ClipTrainer`.
        val_handlers: further handlers.
        kwargs: of MONAI's evaluator.
    """

    def __init__(
        self,
        device: torch.device,
        val_data_loader: DataLoader[Any],
        network: nn.Module,
        *,
        amp: bool = False,
        amp_dtype: str = "bfloat16",
        val_handlers: Sequence[Any] = (),
        **kwargs: Any,  # noqa: ANN401 - passed on
    ) -> None:
        log = [StatsHandler(iteration_log=False)] if idist.get_rank() == 0 else []
        super().__init__(
            device, val_data_loader, network, val_handlers=[*log, *val_handlers],
            **_precision(amp, amp_dtype, device), **kwargs,
        )  # fmt: skip


def _precision(amp: bool, amp_dtype: str, device: torch.device) -> dict[str, Any]:
    """Options of MONAI's engines."""
    if amp and device.type != "cuda":
        logger.warning("Mixed precision needs a CUDA device; the training on the device '%s' uses float32.", device)
    return {"amp": amp and device.type == "cuda", "amp_kwargs": {"dtype": getattr(torch, amp_dtype)}}


def prepare_network(
    network: nn.Module, device: torch.device, weights: str | Path | None = None, lora: int | None = None
) -> nn.Module:
    """Load what fits of given weights, move a network to its device, and share it among the ranks if there are any.

    pytorch-ignite's ``auto_model`` would do so on a device of its own choice.

    Args:
        network: the network.
        device: of this process.
        weights: file to start from, see :func:`~monai_stcnnt.checkpoints.load_fitting`.
        lora: train low-rank adapters of this rank alone, see :func:`~monai_stcnnt.networks.lora.inject_adapters`.

    Returns:
        The network, or what shares it.

    Raises:
        NetworkConfigError: for adapters where there is nothing to adapt.
    """
    if weights is not None:
        load_fitting(network, weights)
    if lora is not None:
        inject_adapters(network, lora)
    network = network.to(device)
    if idist.backend() is None:
        return network
    return DistributedDataParallel(network, device_ids=[device] if device.type == "cuda" else None)


def limit_gradients(optimizer: torch.optim.Optimizer, max_norm: float) -> None:
    """Limit the norm of all gradients of an optimizer before each of its steps.

    It works with mixed precision too: the scaler has unscaled the gradients when the optimizer steps.

    Args:
        optimizer: the optimizer; the limit stays with it.
        max_norm: largest Euclidean norm of all gradients together.
    """

    def limit(stepping: torch.optim.Optimizer, *_: object) -> None:
        parameters = [p for group in stepping.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, max_norm)

    optimizer.register_step_pre_hook(limit)


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
        OptionError: when the decay is not at least 0 and less than 1.
    """
    if not 0 <= decay < 1:
        raise OptionError(f"The decay of the averaged weights is {decay}. Give 0 or more and less than 1.")

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


def is_lower(current: float | Tensor, best: float | Tensor) -> bool:
    """Whether an error is the best so far: lower, or the first that is a number."""
    return math.isfinite(float(current)) and not float(current) >= float(best)
