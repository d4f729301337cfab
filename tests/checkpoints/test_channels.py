# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Other input channels: without a map the results are those of a map of ones, and new channels change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from monai_stcnnt.checkpoints import fit_input_channels, load_fitting, load_snraware
from monai_stcnnt.checkpoints.states import load_strictly
from monai_stcnnt.networks import STCNNTDenoiser
from monai_stcnnt.networks.nets import STCNNTGuidedDenoiser
from tests.networks.laws import SMALL

__all__: list[str] = []


def make(kind: type[nn.Module], in_channels: int, out_channels: int, backbone: str) -> nn.Module:
    """Make a small denoiser, all of whose weights matter."""
    options = {**SMALL, "block_strings": "T1", "img_size": (4, 8, 8), "backbone": backbone}
    net = kind(in_channels, out_channels, 4, **options).eval()
    for parameter in net.parameters():
        if not bool(parameter.any()):
            nn.init.normal_(parameter, std=0.1)
    return net


@pytest.mark.parametrize("backbone", ["hrnet", "unet", "soanet"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", [STCNNTDenoiser, STCNNTGuidedDenoiser])
def test_without_a_map_it_is_a_map_of_ones(kind: type[nn.Module], channels: int, backbone: str) -> None:
    with_map, without = (make(kind, channels + more, channels, backbone) for more in (1, 0))
    load_strictly(without, fit_input_channels(with_map.state_dict(), without), "the folded weights")
    x = torch.rand(1, channels, 4, 13, 15) * 5
    with torch.no_grad():
        wanted = with_map(torch.cat([x, torch.ones_like(x[:, :1])], 1))
        torch.testing.assert_close(without(x), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backbone", ["hrnet", "unet", "soanet"])
def test_new_channels_change_nothing_but_can_be_trained(backbone: str) -> None:
    plain, wider = make(STCNNTDenoiser, 3, 2, backbone), make(STCNNTDenoiser, 5, 2, backbone)
    load_strictly(wider, fit_input_channels(plain.state_dict(), wider), "the widened weights")
    x = torch.randn(1, 5, 4, 16, 16)
    y = wider(x)
    torch.testing.assert_close(y, plain(x[:, :3]), rtol=1e-5, atol=1e-5)
    y.square().sum().backward()
    stem: Any = wider.stem
    assert bool(stem.conv.weight.grad[:, 3:].any())


def test_related_weights_start_a_training_with_other_channels(tmp_path: Path) -> None:
    plain, without = make(STCNNTDenoiser, 3, 2, "hrnet"), make(STCNNTDenoiser, 2, 2, "hrnet")
    torch.save(plain.state_dict(), tmp_path / "weights.pt")
    load_fitting(without, tmp_path / "weights.pt")
    x = torch.randn(1, 2, 4, 16, 16)
    with torch.no_grad():
        wanted = plain(torch.cat([x, torch.ones_like(x[:, :1])], 1))
        torch.testing.assert_close(without(x), wanted, rtol=1e-5, atol=1e-5)


def test_published_weights_without_a_map(shared_golden: Path) -> None:
    folder = shared_golden / "checkpoint"
    files = (folder / "snraware_tiny_model.pth", folder / "snraware_tiny_model.yaml")
    x = torch.randn(1, 2, 8, 16, 16)
    with torch.no_grad():
        wanted = load_snraware(*files)(torch.cat([x, torch.ones_like(x[:, :1])], 1))
        torch.testing.assert_close(load_snraware(*files, in_channels=2)(x), wanted, rtol=1e-5, atol=1e-5)


def test_other_differences_are_left_for_a_strict_loading() -> None:
    state = make(STCNNTDenoiser, 3, 2, "hrnet").state_dict()
    same = fit_input_channels(state, make(STCNNTDenoiser, 3, 2, "hrnet"))
    assert all(torch.equal(state[name], same[name]) for name in state)
    fewer = fit_input_channels(state, make(STCNNTDenoiser, 1, 1, "hrnet"))
    assert fewer["stem.conv.weight"].shape == (4, 3, 3, 3)
