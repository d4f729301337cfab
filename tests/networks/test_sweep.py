# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Any block string in any backbone under any head: shapes, gradients, script and trace, half precision.

Every kind of cell, backbone, head and resampling is in the quick part; the slow part joins every kind with every
backbone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from monai_stcnnt.networks import STCNNTClassifier, STCNNTDenoiser, STCNNTSegmenter
from tests.networks.laws import SMALL, check_gradients, check_half_precision, check_scripted_and_traced, first_of

__all__: list[str] = []

SIZES = {
    "2D": (1, 16, 16),
    "2D+T, odd": (5, 13, 19),
    "3D": (8, 16, 16),
    "one frame, not square": (1, 9, 22),
    "clip, not square": (4, 12, 24),
    "one row": (2, 1, 6),
}
BACKBONES = ["hrnet", "unet", "soanet"]
KINDS = ["T1", "L1", "G1", "T0L0G0", "L3", "G3", "V2", "V3", "S2s2", "S3Sh", "C2", "C3"]
HEADS: dict[str, Callable[..., nn.Module]] = {
    "denoiser": lambda **options: STCNNTDenoiser(3, 2, 4, **options),
    "segmenter": lambda **options: STCNNTSegmenter(3, 2, 4, **options),
    "supervised segmenter": lambda **options: STCNNTSegmenter(
        3, 2, 4, deep_supervision=options["backbone"] != "unet", **options
    ),
    "classifier": lambda **options: STCNNTClassifier(3, 2, 4, **options),
}
QUICK = [(kind, BACKBONES[i % 3], list(HEADS)[i % 4]) for i, kind in enumerate(KINDS)]
SLOW = [(kind, backbone, "segmenter") for kind in KINDS for backbone in BACKBONES]
COMBINATIONS = QUICK + [
    pytest.param(*combination, marks=pytest.mark.slow) for combination in SLOW if combination not in QUICK
]


def make(backbone: str, head: str, block_string: str, **options: Any) -> nn.Module:  # noqa: ANN401
    """Make a small network with 3 input and 2 output channels."""
    levels = {"stages": 2} if backbone == "soanet" else {"levels": 2}
    return HEADS[head](backbone=backbone, block_strings=[block_string], **{**SMALL, **levels, **options})


def check_shapes(net: nn.Module, head: str) -> None:
    """Check the shape of the result for every kind of size."""
    net.eval()
    for t, h, w in SIZES.values():
        with torch.no_grad():
            y = net(torch.randn(2, 3, t, h, w))
        assert y.shape == ((2, 2) if head == "classifier" else (2, 2, t, h, w))
        assert bool(y.isfinite().all())


def check_all(net: nn.Module, head: str) -> None:
    """Check every law on one network."""
    check_shapes(net, head)
    check_gradients(net, torch.randn(2, 3, 4, 16, 16))
    check_scripted_and_traced(net, torch.randn(1, 3, 4, 16, 16), torch.randn(1, 3, 3, 13, 18))
    check_half_precision(net, torch.randn(1, 3, 4, 16, 16))


@pytest.mark.parametrize(("kind", "backbone", "head"), COMBINATIONS)
def test_any_cell_in_any_backbone_under_any_head(kind: str, backbone: str, head: str) -> None:
    check_all(make(backbone, head, kind), head)


def test_the_quick_part_pairs_every_backbone_with_every_head() -> None:
    assert {(backbone, head) for _, backbone, head in QUICK} == {(b, h) for b in BACKBONES for h in HEADS}


RESAMPLINGS: dict[str, dict[str, Any]] = {
    "merge": {"resample": "merge"},
    "conv 1x1": {"resample": "conv", "resample_kernel_size": 1},
    "conv 3x3": {"resample": "conv", "resample_kernel_size": 3, "interpolation": "nearest"},
    "attention": {"resample": "attention", "resample_block_string": "T1L1G1"},
}
QUICK_RESAMPLINGS = [("merge", "unet"), ("conv 1x1", "hrnet"), ("conv 3x3", "unet"), ("attention", "soanet")]
ALL_RESAMPLINGS = [
    pytest.param(name, backbone, marks=() if (name, backbone) in QUICK_RESAMPLINGS else pytest.mark.slow)
    for name in RESAMPLINGS
    for backbone in BACKBONES
]


@pytest.mark.parametrize(("resampling", "backbone"), ALL_RESAMPLINGS)
def test_any_resampling_in_any_backbone(resampling: str, backbone: str) -> None:
    options = RESAMPLINGS[resampling] | ({"stages": 3} if backbone == "soanet" else {"levels": 2})
    check_all(make(backbone, "segmenter", "L0", **options), "segmenter")


@pytest.mark.parametrize("cell_type", ["sequential", "parallel"])
@pytest.mark.parametrize("mixer", ["conv", "linear"])
@pytest.mark.parametrize("qkv", ["conv", "linear"])
def test_linear_maps_of_patches(qkv: str, mixer: str, cell_type: str) -> None:
    net = make("soanet", "classifier", "L1G1V3S3", qkv=qkv, mixer=mixer, cell_type=cell_type)
    check_shapes(net, "classifier")
    check_gradients(net, torch.randn(2, 3, 4, 16, 16))


@pytest.mark.parametrize("norm", ["layer", "layer3d", "batch2d", "batch3d", "instance2d", "instance3d", "none"])
def test_any_norm(norm: str) -> None:
    net = make("hrnet", "denoiser", "T1L1", norm=norm)
    check_gradients(net, torch.randn(2, 3, 4, 16, 16))
    check_half_precision(net, torch.randn(1, 3, 4, 16, 16))


def test_supervision_in_training_only() -> None:
    net, x = make("soanet", "supervised segmenter", "T0", stages=3), torch.randn(1, 3, 2, 13, 18)
    assert [tuple(y.shape[3:]) for y in first_of(net.train()(x))] == [(13, 18), (7, 9), (4, 5)]
    assert net.eval()(x).shape == (1, 2, 2, 13, 18)


@pytest.mark.parametrize(
    "options",
    [
        {"drop_path": 0.2, "attention_dropout": 0.2, "causal": True, "dense": True, "position_bias": "before_softmax"},
        {"qk_stride": 2, "temporal_heads": "pixel", "similarity": "normalized", "cell_type": "parallel"},
        {"similarity": "dot", "output_proj": False, "norm": "batch2d", "mixer": "linear", "position_bias": "none"},
    ],
    ids=["dropped, causal, dense", "strided, pixel heads, parallel", "dot, linear mixer"],
)
def test_options_survive_script_and_trace(options: dict[str, Any]) -> None:
    net = make("soanet", "classifier", "T1L1", **options)
    check_scripted_and_traced(net, torch.randn(1, 3, 4, 16, 16), torch.randn(1, 3, 3, 12, 18))
    with torch.jit.optimized_execution(False):
        assert torch.jit.script(net.train())(torch.randn(2, 3, 4, 16, 16)).shape == (2, 2)
