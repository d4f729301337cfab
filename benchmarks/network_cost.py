# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Measure what cells and networks cost: parameters, multiplications, memory.

    python -m benchmarks.network_cost                        print the tables
    python -m benchmarks.network_cost docs/networks.md       put them between the marks in that file

Multiplications are those of matrix products and convolutions, as torch counts them. Memory is the peak of all living
tensors (input, weights, gradients, activations) while the network really runs on a CPU; what a kernel needs for
itself is not in it.
"""

from __future__ import annotations

import argparse
import gc
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.page_parts import write_part
from monai_stcnnt.networks import HRNetV2, STCNNTClassifier, STCNNTDenoiser, STCNNTSegmenter, build_variant
from monai_stcnnt.networks.block_string import CELL_CODES
from monai_stcnnt.networks.cells import AttentionCell
from monai_stcnnt.networks.filters import grouping, shrinkage
from monai_stcnnt.networks.layers import attention

__all__ = [
    "LivingTensors",
    "cells",
    "folded_waves",
    "main",
    "measure",
    "networks",
    "plain_form",
    "stored_attention",
    "table",
    "unfolded_waves",
]

CLIP = (16, 64, 64)
CHANNELS = 32
MEGA, GIGA = 1e6, 1e9


def stored_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    similarity: str,
    logit_bias: torch.Tensor | None,
    weight_bias: torch.Tensor | None,
) -> torch.Tensor:
    """Attention as its formula says, with all weights in memory."""
    q, k, scale = attention.compared(q, k, similarity, v.dtype)
    logits = torch.matmul(q, k.transpose(-2, -1)) * scale
    weights = (logits if logit_bias is None else logits + logit_bias).softmax(dim=-1)
    return torch.matmul(weights if weight_bias is None else weights + weight_bias, v)


def one_product(wave: torch.Tensor) -> torch.Tensor:
    """Matrix that transforms a whole block, columns before rows as the coefficients of ``block_waves``."""
    rows = torch.einsum("ai,bj->baij", wave, wave)
    return rows.flatten(2).flatten(0, 1)


def unfolded_waves(images: torch.Tensor, wave: torch.Tensor, stride: int) -> torch.Tensor:
    """Cosine transform of overlapping blocks as its formula says: one product with a matrix for each."""
    blocks = functional.unfold(images.unsqueeze(1), tuple(wave.shape), stride=stride)
    return torch.matmul(one_product(wave), blocks)


def folded_waves(blocks: torch.Tensor, wave: torch.Tensor, stride: int, extents: tuple[int, int]) -> torch.Tensor:
    """Its inverse as its formula says."""
    pixels = torch.matmul(one_product(wave).t(), blocks)
    return functional.fold(pixels, extents, tuple(wave.shape), stride=stride).squeeze(1)


@contextmanager
def plain_form() -> Iterator[None]:
    """Compute attention and the transforms of blocks as their formulas say, which takes more time."""
    with ExitStack() as patches:
        patches.enter_context(mock.patch.object(attention, "attend_fused", stored_attention))
        for module in (grouping, shrinkage):
            patches.enter_context(mock.patch.object(module, "block_waves", unfolded_waves))
            patches.enter_context(mock.patch.object(module, "sum_waves", folded_waves))
        yield


class LivingTensors(TorchDispatchMode):
    """Count the bytes of all tensors that live, and remember the peak.

    Attributes:
        living: bytes now.
        peak: largest number of bytes so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.living = self.peak = 0
        self.known: set[int] = set()

    def add(self, tensor: torch.Tensor) -> torch.Tensor:
        """Count the memory of a tensor until it is freed; views share theirs."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self.known:
            self.known.add(key)
            self.living += size
            self.peak = max(self.peak, self.living)
            weakref.finalize(storage, self.remove, key, size)
        return tensor

    def remove(self, key: int, size: int) -> None:
        """Forget a tensor that was freed."""
        self.known.discard(key)
        self.living -= size

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the operator returns
        """Run an operator and count its results."""
        del types
        return tree_map_only(torch.Tensor, self.add, func(*args, **(kwargs or {})))


def measure(net: nn.Module, x: torch.Tensor) -> tuple[float, float, float, float]:
    """Measure a network on one input.

    Returns:
        Millions of parameters, billions of multiplications, and megabytes at the peak of inference and of a training
        step.
    """
    with FlopCounterMode(display=False) as flops, torch.no_grad(), plain_form():
        net.eval()(x)
    peaks = []
    for training in (False, True):
        gc.collect()
        with LivingTensors() as memory, torch.set_grad_enabled(training):
            for tensor in (x, *net.state_dict().values()):
                memory.add(tensor)
            y = net.train(training)(x)
            if training:
                y.square().mean().backward()
            del y
        net.zero_grad()
        peaks.append(memory.peak / MEGA)
    parameters = sum(parameter.numel() for parameter in net.parameters())
    return parameters / MEGA, flops.get_total_flops() / 2 / GIGA, peaks[0], peaks[1]


def cells() -> Iterator[tuple[str, nn.Module, torch.Tensor]]:
    """One cell of every kind, with the same options, and a clip of features."""
    x = torch.randn(1, CLIP[0], CHANNELS, *CLIP[1:])
    for code in ("T1", "T0", "L1", "L0", "L3", "G1", "G0", "G3", "V2", "V3", "S2", "s2", "S3", "Sh", "C2", "C3"):
        window = (4, 8, 8) if code in ("S3", "Sh") else (2, 8, 8)
        yield code, AttentionCell(CELL_CODES[code], CHANNELS, CHANNELS, CLIP, norm="instance2d", window_size=window), x


def networks() -> Iterator[tuple[str, nn.Module, torch.Tensor]]:
    """Networks of the table of variants, and the backbones and heads with equal options."""
    image = torch.randn(1, 3, *CLIP)
    for name in ("stcnnt_light", "stcnnt_base", "snraware_small"):
        yield f"`{name}`", build_variant(name), image
    options: dict[str, Any] = {"img_size": CLIP, "norm": "instance2d", "block_strings": "T1L1G1"}
    yield "`STCNNTDenoiser`, hrnet", STCNNTDenoiser(3, 2, CHANNELS, **options), image
    yield "`STCNNTDenoiser`, unet", STCNNTDenoiser(3, 2, CHANNELS, backbone="unet", **options), image
    yield (
        "`STCNNTDenoiser`, soanet of 2 stages",
        STCNNTDenoiser(3, 2, CHANNELS, backbone="soanet", stages=2, **options),
        image,
    )
    yield "`STCNNTSegmenter`, hrnet", STCNNTSegmenter(1, 4, CHANNELS, **options), image[:, :1]
    yield "`STCNNTClassifier`, soanet of 3 stages", STCNNTClassifier(1, 2, CHANNELS, stages=3, **options), image[:, :1]
    for name in ("hrnetv2_w18_small_v2", "hrnetv2_w48"):
        for dims in (2, 3):
            net = build_variant(name, spatial_dims=dims, in_channels=1, out_channels=4)
            assert isinstance(net, HRNetV2)
            yield f"`{name}`, {dims}D", net, image[:, :1]


def table(rows: Iterator[tuple[str, nn.Module, torch.Tensor]], first: str) -> str:
    """Make a markdown table of measured rows."""
    lines = [
        f"| {first} | parameters (M) | GMAC | peak, inference (MB) | peak, training step (MB) |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, net, x in rows:
        parameters, multiplications, inference, training = measure(net, x)
        lines.append(f"| {name} | {parameters:.3f} | {multiplications:.1f} | {inference:.0f} | {training:.0f} |")
        sys.stderr.write(f"{lines[-1]}\n")
    return "\n".join(lines)


def main() -> None:
    """Measure everything and print the tables, or put them into a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "file", type=Path, nargs="?", help="markdown file with the marks <!-- cells --> and <!-- networks -->"
    )
    file = parser.parse_args().file
    torch.manual_seed(0)
    tables = {"cells": table(cells(), "cell"), "networks": table(networks(), "network")}
    if file is None:
        sys.stdout.write("\n\n".join(tables.values()) + "\n")
        return
    for mark, content in tables.items():
        write_part(file, mark, content)


if __name__ == "__main__":
    main()
