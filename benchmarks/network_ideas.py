# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Measure what each idea to make the networks faster brings by itself, those that did not pay included.

    python -m benchmarks.network_ideas                    every idea against what it replaces
    git worktree add ../before c7cb1f7
    python -m benchmarks.network_ideas --before ../before    whole networks as well, against those of an older commit

Both forms of an idea take turns in one process. The figure is the time before over the time after: above 1 it pays.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import nn

from benchmarks.network_cost import folded_waves, stored_attention, unfolded_waves
from benchmarks.network_speed import as_table
from benchmarks.speed_steps import Bench, Step, inference, median_ratio, training
from monai_stcnnt.networks.cells import ConvMixer
from monai_stcnnt.networks.filters.shrinkage import block_waves, cosine_basis, sum_waves
from monai_stcnnt.networks.layers.attention import attend, attend_fused
from monai_stcnnt.networks.layers.norms import FixedLayerNorm
from monai_stcnnt.networks.layers.windows import split_heads, split_tokens

__all__ = ["IDEAS", "main", "networks_before"]

Pair = tuple[Step, Step]


def frames(channels: int, count: int = 16, size: int = 64) -> torch.Tensor:
    """Frames (count, channels, size, size), channels fastest in memory."""
    return torch.randn(count, size, size, channels).permute(0, 3, 1, 2)


def attention(groups: int, heads: int, tokens: int, features: int) -> Pair:
    """Stored weights with the bias added, against the fused kernel and the bias as a product of its own."""
    q, k, v = torch.randn(3, groups, heads, tokens, features).unbind(0)
    bias = torch.randn(heads, tokens, tokens)
    return (
        lambda: stored_attention(q, k, v, "cosine", None, bias),
        lambda: attend_fused(q, k, v, "cosine", None, bias),
    )


def bias_product() -> Pair:
    """The product of bias and values group by group, against one product per head."""
    v, bias = torch.randn(16, 64, 256, 16), torch.randn(64, 256, 256)
    return (
        lambda: torch.matmul(bias, v),
        lambda: torch.bmm(bias, v.permute(1, 2, 0, 3).reshape(64, 256, 256)).unflatten(2, (16, 16)),
    )


def temporal_cosine() -> Pair:
    """Frames normalized before they are compared, against the small matrix of products scaled."""
    q, k, v = torch.randn(3, 1, 4, 16, 16384).unbind(0)
    return (
        lambda: stored_attention(q, k, v, "cosine", None, None),
        lambda: attend(q, k, v, "cosine", None, None, 0.0),
    )


def layer_norm() -> Pair:
    """A layer normalization that copies to the order of its weights, against one in the order of the image."""
    norm, x = FixedLayerNorm(64, (16, 64, 64), with_time=False), frames(64).unsqueeze(0)
    return lambda: F.layer_norm(x, norm.shape, norm.weight, norm.bias), lambda: norm(x)


def reflection() -> Pair:
    """Reflection padding with rows fastest in memory, against channels fastest."""
    x = frames(16)
    y = x.contiguous()
    return lambda: F.pad(y, [1] * 4, mode="reflect"), lambda: F.pad(x, [1] * 4, mode="reflect")


def convolution(channels: int, out_channels: int, backward: bool) -> Pair:
    """A padded convolution with rows fastest in memory, against channels fastest."""
    conv, x = nn.Conv2d(channels, out_channels, 3, padding=1), frames(channels)
    y = x.contiguous()
    return (training(conv, y), training(conv, x)) if backward else (inference(conv, y), inference(conv, x))


def explicit_padding() -> Pair:
    """Reflection padding and a convolution without, against a convolution that pads with zeros by itself."""
    conv, folded, x = nn.Conv2d(64, 64, 3), nn.Conv2d(64, 64, 3, padding=1), frames(64)
    return lambda: conv(F.pad(x, [1] * 4, mode="reflect")), lambda: folded(x)


def pieces() -> Pair:
    """A mixer on all frames at once, against the frames that fit the cache."""
    mixer, x = ConvMixer(64, 64, 4.0, "prelu"), frames(64).unsqueeze(0)
    return lambda: mixer.conv2(mixer.act(mixer.conv1(x))), lambda: mixer(x)


def one_copy() -> Pair:
    """Windows cut into tokens and then into heads, against both in one copy."""
    x = torch.randn(16, 1, 64, 64, 16)
    window, patch = (1, 8, 8), (1, 2, 2)
    return (
        lambda: split_tokens(x, window, patch, False).unflatten(2, (4, -1)).transpose(1, 2).contiguous(),
        lambda: split_heads(x, window, patch, False, 4),
    )


def matrix_transpose() -> Pair:
    """Frames as tokens by a general copy, against the transpose of one matrix, which torch does in blocks."""
    x = torch.randn(16 * 4096, 192)
    return lambda: x.view(16, 4096, 192).permute(2, 0, 1).contiguous(), lambda: x.t().contiguous()


def activation_in_place() -> Pair:
    """PReLU into new memory, against a leaky ReLU that overwrites its input."""
    x, weight = frames(24), torch.full((1,), 0.25)
    return lambda: F.prelu(x, weight), lambda: F.leaky_relu_(x, 0.25)


def bfloat16() -> Pair:
    """Convolutions in float32, against bfloat16."""
    conv, x = nn.Conv2d(64, 64, 3, padding=1), frames(64)
    half, y = nn.Conv2d(64, 64, 3, padding=1).bfloat16(), x.bfloat16()
    return lambda: conv(x), lambda: half(y)


def block_transform(inverse: bool) -> Pair:
    """Overlapping blocks cut out and multiplied by one matrix, against rows, then columns, moved row by row."""
    images, wave = torch.randn(6, 76, 76), cosine_basis(8, torch.device("cpu"))
    if not inverse:
        return lambda: unfolded_waves(images, wave, 2), lambda: block_waves(images, wave, 2)
    blocks = block_waves(images, wave, 2)
    return lambda: folded_waves(blocks, wave, 2, (76, 76)), lambda: sum_waves(blocks, wave, 2, (76, 76))


def energy_of_blocks() -> Pair:
    """Norms over the second axis by torch's function for norms, against squares and a sum."""
    gain = torch.rand(6, 64, 1225)
    return lambda: torch.linalg.vector_norm(gain, dim=1).square_(), lambda: gain.square().sum(1)


IDEAS: dict[str, tuple[Callable[[], Pair], bool]] = {
    "channels fastest: convolution of 16 to 48 channels": (lambda: convolution(16, 48, False), True),
    "channels fastest: the same, forward and backward": (lambda: convolution(16, 48, True), True),
    "channels fastest: reflection padding": (reflection, True),
    "layer norm in the order of the image": (layer_norm, True),
    "fused attention, 256 tokens": (lambda: attention(16, 64, 256, 16), True),
    "fused attention, 64 tokens": (lambda: attention(16, 64, 64, 32), False),
    "fused attention, 16 tokens": (lambda: attention(1024, 4, 16, 16), False),
    "bias after the softmax: one product per head": (bias_product, True),
    "cosine of frames: scale the products, not the frames": (temporal_cosine, True),
    "windows and heads in one copy": (one_copy, True),
    "large activations in pieces": (pieces, True),
    "estimates: blocks transformed along rows, then columns": (lambda: block_transform(False), True),
    "estimates: the same back, overlaps summed row by row": (lambda: block_transform(True), True),
    "estimates: energy of blocks as a sum, not as a norm": (energy_of_blocks, True),
    "frames as tokens by the transpose of a matrix": (matrix_transpose, False),
    "padding folded into the convolution (zeros, not reflection)": (explicit_padding, False),
    "activation in place (leaky ReLU for PReLU)": (activation_in_place, False),
    "bfloat16 instead of float32": (bfloat16, False),
}
"""Name, how to make both forms, and whether the networks use the second."""


def measure_ideas(bench: Bench) -> Iterator[dict[str, Any]]:
    """Every idea against what it replaces."""
    for name, (make, used) in IDEAS.items():
        with torch.set_grad_enabled("backward" in name):
            before, after = make()
            times = bench.turns({"before": before, "after": after})
        gain = median_ratio(times["before"], times["after"])
        sys.stderr.write(f"{name}: {gain:.2f} times as fast\n")
        yield {"idea": name, "times as fast": gain, "in the networks": "yes" if used else "no"}


def import_networks(folder: Path) -> ModuleType:
    """Import the networks of another checkout, next to those that are loaded already."""
    loaded = {name: module for name, module in sys.modules.items() if name.startswith("monai_stcnnt")}
    for name in loaded:
        del sys.modules[name]
    sys.path.insert(0, str(folder.resolve()))
    try:
        return importlib.import_module("monai_stcnnt.networks")
    finally:
        sys.path.pop(0)
        for name in [name for name in sys.modules if name.startswith("monai_stcnnt")]:
            del sys.modules[name]
        sys.modules.update(loaded)


def networks_before(bench: Bench, folder: Path) -> Iterator[dict[str, Any]]:
    """Whole networks of an older commit against those of this one, built with the older options."""
    old, new = import_networks(folder), importlib.import_module("monai_stcnnt.networks.nets")
    for name, mode in (
        ("stcnnt_light", "inference"),
        ("stcnnt_light_magnitude", "training step, batch of 2 clips"),
        ("snraware_small", "inference"),
    ):
        kind, options = old.VARIANTS[name]
        nets = {"before": kind(**options), "after": getattr(new, kind.__name__)(**options)}
        nets["after"].load_state_dict(nets["before"].state_dict())
        train = mode != "inference"
        x = bench.image(nets["after"].in_channels, (12, 64, 64) if train else (16, 64, 64), 2 if train else 1)
        times = bench.turns({key: (training if train else inference)(net, x) for key, net in nets.items()})
        seconds = {key: statistics.median(spent) for key, spent in times.items()}
        gain = median_ratio(times["before"], times["after"])
        sys.stderr.write(f"{name}, {mode}: {gain:.2f} times as fast\n")
        yield {"network": name, "step": mode, **seconds, "times as fast": gain}


def main() -> None:
    """Measure, print tables and write everything as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--before", type=Path, help="checkout of an older commit")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall")
    parser.add_argument("--output", type=Path, default=Path("network_ideas.json"))
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    bench = Bench(torch.device("cpu"), arguments.rounds, (16, 64, 64), arguments.clock == "processor")
    results = {"ideas": list(measure_ideas(bench))}
    sys.stdout.write(f"{as_table(results['ideas'])}\n")
    sys.stdout.flush()
    if arguments.before:
        results["networks"] = list(networks_before(bench, arguments.before))
        sys.stdout.write(f"\n{as_table(results['networks'])}\n")
    arguments.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
