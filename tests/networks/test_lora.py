# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Low-rank adapters: they start as nothing, they alone are trained, and merging them changes no result."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks import STCNNTClassifier, STCNNTDenoiser, STCNNTSegmenter
from monai_stcnnt.networks.lora import (
    AdaptedLayer,
    adapted_layers,
    adapter_parameters,
    adapter_state,
    inject_adapters,
    merge_adapters,
)
from tests.networks.laws import SMALL

__all__: list[str] = []

NETS: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    "denoiser, hrnet": (STCNNTDenoiser, {"backbone": "hrnet", "block_strings": "T1L1"}),
    "denoiser, soanet": (STCNNTDenoiser, {"backbone": "soanet", "block_strings": "V3C2"}),
    "segmenter, unet": (STCNNTSegmenter, {"backbone": "unet", "block_strings": "G1S3", "levels": 1}),
    "classifier, soanet, linear": (
        STCNNTClassifier,
        {"backbone": "soanet", "block_strings": "L1V2", "qkv": "linear", "mixer": "linear"},
    ),
    "classifier, strided queries": (STCNNTClassifier, {"backbone": "soanet", "block_strings": "T1L1", "qk_stride": 2}),
}


def make(name: str) -> tuple[nn.Module, torch.Tensor]:
    """Make a small network and its input."""
    net, options = NETS[name]
    return net(3, 2, 4, **{**SMALL, **options}).eval(), torch.randn(1, 3, 4, 16, 16)


def disturb(net: nn.Module) -> None:
    """Draw the second factors, as a training would change them."""
    for _, layer in adapted_layers(net):
        nn.init.normal_(layer.up.weight, std=0.1)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NETS)
def test_adapters_start_as_nothing_and_merge_into_the_same_results(name: str) -> None:
    net, x = make(name)
    before, names = net(x), list(net.state_dict())
    assert inject_adapters(net, rank=2, alpha=3.0)
    torch.testing.assert_close(net(x), before, rtol=0, atol=0)
    disturb(net)
    adapted = net(x)
    assert not torch.allclose(adapted, before, atol=1e-3)
    assert list(merge_adapters(net).state_dict()) == names
    torch.testing.assert_close(net(x), adapted, rtol=1e-6, atol=1e-6 * (1 + adapted.abs().max().item()))
    assert all(parameter.requires_grad for parameter in net.parameters())


@pytest.mark.parametrize("name", NETS)
def test_only_adapters_are_trained_and_all_of_them(name: str) -> None:
    net, x = make(name)
    inject_adapters(net, rank=2)
    disturb(net)
    net.train()(x).square().sum().backward()
    trained = {id(parameter) for parameter in adapter_parameters(net)}
    for parameter in net.parameters():
        assert (id(parameter) in trained) == (parameter.grad is not None)
    assert all(bool(parameter.grad.any()) for parameter in adapter_parameters(net) if parameter.grad is not None)


def test_queries_keys_and_values_have_adapters_of_their_own() -> None:
    net: Any = STCNNTDenoiser(3, 2, 4, **{**SMALL, "block_strings": "T0"})
    inject_adapters(net, rank=2)
    layer: Any = net.backbone.stages[0].blocks[0].cells[0].attn.project.qkv.conv
    with torch.no_grad():
        layer.up.weight[4:8] = 1.0  # of the keys alone
    y = layer(torch.randn(1, 4, 6, 6)) - layer.base(torch.randn(1, 4, 6, 6)) * 0
    plain = layer.base.weight.clone()
    change = layer.merged().weight - plain
    assert y.shape[1] == 12
    assert not bool(change[:4].any() or change[8:].any())
    assert bool(change[4:8].any())


def test_targets_choose_what_is_adapted() -> None:
    net, _ = make("denoiser, hrnet")
    assert all(".mixer." in name for name in inject_adapters(net, rank=1, targets=("mixer",)))
    net, _ = make("denoiser, hrnet")
    assert all(".attn." in name for name in inject_adapters(net, rank=1, targets=("attention",)))


def test_a_state_of_adapters_is_a_small_part() -> None:
    net, _ = make("denoiser, hrnet")
    inject_adapters(net, rank=1)
    state = adapter_state(net)
    assert state.keys() <= net.state_dict().keys()
    assert sum(t.numel() for t in state.values()) < 0.3 * sum(t.numel() for t in net.state_dict().values())


def test_dropout_acts_in_training_only() -> None:
    layer = AdaptedLayer(nn.Linear(8, 8), 4, 4.0, 0.5)
    nn.init.normal_(layer.up.weight)  # type: ignore[arg-type]
    x = torch.randn(3, 8)
    assert not torch.equal(layer.train()(x), layer(x))
    torch.testing.assert_close(layer.eval()(x), layer(x), rtol=0, atol=0)


def test_adapted_networks_are_scripted() -> None:
    net, x = make("classifier, soanet, linear")
    inject_adapters(net, rank=2)
    disturb(net)
    with torch.no_grad(), torch.jit.optimized_execution(False):
        torch.testing.assert_close(torch.jit.script(net)(x), net(x))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rank": 0}, "rank must be at least 1, got 0"),
        ({"dropout": 1.0}, "dropout must be"),
        ({"targets": ("norm",)}, "targets must be one of"),
        ({"targets": ()}, "no layers to adapt"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], said: str) -> None:
    net, _ = make("denoiser, hrnet")
    with pytest.raises(NetworkConfigError, match=said):
        inject_adapters(net, **options)


def test_adapters_are_not_stacked_and_need_a_map() -> None:
    net, _ = make("denoiser, hrnet")
    inject_adapters(net)
    with pytest.raises(NetworkConfigError, match="adapters already"):
        inject_adapters(net)
    with pytest.raises(NetworkConfigError, match="no adapters for a BatchNorm2d"):
        AdaptedLayer(nn.BatchNorm2d(3), 1, 1.0, 0.0)
