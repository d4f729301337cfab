# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks of speed time: steps of the networks, and of the plain convolutions that are their limit."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.network_cost import plain_form
from monai_stcnnt.networks import build_variant

__all__ = [
    "GIGA",
    "MEGA",
    "NETWORKS",
    "Bench",
    "Step",
    "build",
    "inference",
    "limit_stack",
    "median_ratio",
    "operations",
    "training",
]

NETWORKS = ("snraware_small", "stcnnt_light")
"""Variants that are measured; each has two levels."""
GIGA, MEGA = 1e9, 1e6

Step = Callable[[], object]


@dataclass(frozen=True)
class Bench:
    """How to measure.

    Attributes:
        device: where to compute.
        rounds: how often everything takes its turn.
        clip: (T, H, W) of an input.
        processor: measure processor time instead of the clock on the wall (CPU only).
    """

    device: torch.device
    rounds: int
    clip: tuple[int, int, int]
    processor: bool = False

    def seconds(self, step: Step) -> float:
        """Time of one step; events on a GPU."""
        if self.device.type == "cuda":
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            step()
            end.record()
            torch.cuda.synchronize()
            return float(start.elapsed_time(end)) / 1e3
        clock = time.process_time if self.processor else time.perf_counter
        before = clock()
        step()
        return clock() - before

    def turns(self, steps: dict[str, Step]) -> dict[str, list[float]]:
        """Seconds of all steps, taking turns; a first turn does not count."""
        times: dict[str, list[float]] = {name: [] for name in steps}
        for turn in range(self.rounds + 1):
            for name, step in steps.items():
                spent = self.seconds(step)
                if turn > 0:
                    times[name].append(spent)
        return times

    def image(self, channels: int, clip: tuple[int, int, int] | None = None, batch: int = 1) -> torch.Tensor:
        """A clip (batch, channels, T, H, W) of noise over a ramp; its last channel is a g-factor map of 1."""
        image = torch.randn(batch, channels, *(clip or self.clip), device=self.device)
        image += torch.linspace(0, 10, image.shape[-1], device=self.device)
        image[:, -1] = 1.0
        return image


def median_ratio(above: list[float], below: list[float]) -> float:
    """Median of the ratios of measurements of one turn."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def build(name: str, clip: tuple[int, int, int], **options: Any) -> Any:  # noqa: ANN401 - networks of several classes
    """A named denoising network for a size of clip; the guided ones work on halves of its rows and columns."""
    frames, height, width = clip
    inside = clip if name.startswith("snraware") else (frames, height // 2, width // 2)
    return build_variant(name, img_size=inside, **options)


def operations(net: nn.Module, x: torch.Tensor) -> float:
    """Operations of one forward pass in the plain form of the network."""
    with FlopCounterMode(display=False) as flops, torch.no_grad(), plain_form():
        net.eval()(x)
    return float(flops.get_total_flops())


def inference(net: nn.Module, x: torch.Tensor, context: AbstractContextManager[Any] | None = None) -> Step:
    """A step of inference."""
    net.eval()

    def step() -> None:
        with torch.inference_mode(), context or nullcontext():
            net(x)

    return step


def training(net: nn.Module, x: torch.Tensor) -> Step:
    """A training step without the optimizer: forward, loss, backward."""

    def step() -> None:
        net.train().zero_grad()
        net(x).square().mean().backward()

    return step


def limit_stack(
    bench: Bench,
    channels: int,
    levels: int = 2,
    dtype: torch.dtype = torch.float32,
    *,
    channels_last: bool = True,
    backward: bool = False,
) -> tuple[Step, float]:
    """The plain convolutions of the limit, repeated to a measurable time, and their operations.

    Args:
        bench: how to measure.
        channels: at full resolution.
        levels: of the network.
        dtype: of the images.
        channels_last: order of the images in memory.
        backward: compute the gradients of weights and images too, which is twice as much again.
    """
    convolutions, work = [], 0.0
    repeats = max(1, 1024 // channels**2 * 4)
    order = torch.channels_last if channels_last else torch.contiguous_format
    for level in range(levels):
        c, (t, h, w) = channels * 2**level, bench.clip
        x = torch.randn(t, c, h // 2**level, w // 2**level, device=bench.device, dtype=dtype)
        conv = nn.Conv2d(c, c, 3, padding=1, device=bench.device, dtype=dtype)
        convolutions.append((conv, x.contiguous(memory_format=order)))
        work += 2.0 * 9 * c * x.numel() * repeats

    def step() -> None:
        with torch.inference_mode():
            for conv, x in convolutions:
                for _ in range(repeats):
                    conv(x)

    def training_step() -> None:
        for conv, x in convolutions:
            for _ in range(repeats):
                conv.zero_grad()
                x.grad = None
                conv(x).backward(torch.ones_like(x))

    if backward:
        for _, x in convolutions:
            x.requires_grad_()
        return training_step, 3.0 * work
    return step, work
