# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Adaptation to one scan: it finds what a wrong last layer lacks, and leaves a right one alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from monai_stcnnt.engines.adaptation import adapt_network, adaptation_windows, find_denoiser
from monai_stcnnt.networks import STCNNTDenoiser
from monai_stcnnt.networks.nets import ChannelRouter, FlipEnsemble, STCNNTGuidedDenoiser
from monai_stcnnt.networks.nets.base import ResidualTrunk
from tests.networks.laws import SMALL

__all__: list[str] = []


def guided(channels: int = 2) -> STCNNTGuidedDenoiser:
    """Make a small guided denoiser, whose head is zero: it returns its first guess."""
    torch.manual_seed(0)
    options: dict[str, Any] = {**SMALL, "block_strings": "T0", "levels": 2}
    return STCNNTGuidedDenoiser(channels + 1, channels, 4, **options).eval()


def scan(channels: int = 2) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Draw a smooth clip, and its noisy windows with a map of ones."""
    generator = torch.Generator().manual_seed(0)
    row = torch.linspace(0, 3, 32)
    clean = 10 * torch.sin(row)[:, None] * torch.cos(row)[None] * torch.ones(1, channels, 4, 32, 32)
    noisy = clean + torch.randn(clean.shape, generator=generator)
    noisy = torch.cat([noisy, torch.ones_like(noisy[:, :1])], 1)
    windows = adaptation_windows(lambda a, b: noisy[:, :, a:b], (4, 32, 32), (4, 16, 16))
    return clean, list(windows)


@pytest.mark.parametrize("layout", ["BCTHW", "BTCHW"])
@pytest.mark.parametrize("residual", ["features", "image"])
def test_terms_are_what_a_changed_head_adds(layout: Any, residual: Any) -> None:  # noqa: ANN401
    nets: list[ResidualTrunk] = [STCNNTDenoiser(3, 2, 4, layout=layout, residual=residual, **SMALL)]
    nets += [STCNNTGuidedDenoiser(c + 1 - less, c, 4, layout=layout, **SMALL) for c in (1, 2) for less in (0, 1)]
    for net in nets:
        nn.init.normal_(net.eval().head.conv.weight, std=0.1)  # type: ignore[arg-type]
        shape = (1, net.in_channels, 4, 16, 16) if layout == "BCTHW" else (1, 4, net.in_channels, 16, 16)
        x = torch.rand(shape) * 5 + 1
        with torch.no_grad():
            result, terms = net.head_terms(x)
            torch.testing.assert_close(result, net(x), rtol=1e-4, atol=1e-4)
            change = 0.1 * torch.randn(terms.shape[0])
            wanted = result + (change.view(-1, *[1] * 5) * terms).sum(0)
            scale, offset = change.chunk(2)
            net.rescale_head(1 + scale, offset)
            torch.testing.assert_close(net(x), wanted, rtol=1e-3, atol=1e-3)


def test_a_wrong_last_layer_is_put_right_and_the_network_given_stays() -> None:
    net, (clean, windows) = guided(), scan()
    groups = net.terms + net.out_channels
    offset = torch.zeros(groups)
    offset[0] = 0.8  # eight tenths of what the filters took off is put back: too much noise stays
    net.rescale_head(torch.ones(groups), offset)
    before = [parameter.clone() for parameter in net.parameters()]
    adapted, found = adapt_network(net, windows)
    assert found.kept
    assert found.gain > 0.1
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    whole = torch.cat([clean + torch.randn_like(clean), torch.ones_like(clean[:, :1])], 1)
    with torch.no_grad():
        worse, better = ((f(whole) - clean).square().mean().item() for f in (net, adapted))
    assert better < 0.6 * worse


def test_without_a_gain_above_its_error_the_network_is_the_same_object() -> None:
    net, (_, windows) = guided(), scan()
    torch.manual_seed(1)
    noise = [torch.cat([torch.randn_like(w[:, :2]), w[:, 2:]], 1) for w in windows]
    same, found = adapt_network(net, noise[:3])
    assert same is net
    assert not found.kept


def test_magnitude_images_are_left_alone() -> None:
    net, (_, windows) = guided(1), scan(1)
    assert adapt_network(net, windows)[0] is net


def test_real_images_are_left_alone() -> None:
    """Their imaginary part has no noise: the risk would count some there."""
    net, (_, windows) = guided(2), scan(2)
    real = [torch.cat([one[:, :1], torch.zeros_like(one[:, :1]), one[:, 2:]], 1) for one in windows]
    same, found = adapt_network(net, real)
    assert same is net
    assert found.windows == 0


def test_the_denoiser_inside_is_found_by_its_channels() -> None:
    magnitude, complex_net = guided(1), guided(2)
    whole = FlipEnsemble(ChannelRouter([magnitude, complex_net]))
    assert find_denoiser(whole, 3) is complex_net
    assert find_denoiser(whole, 2) is magnitude
    assert find_denoiser(whole, 5) is None


def test_windows_are_spread_over_the_clip_and_at_most_so_many() -> None:
    x = torch.arange(4 * 40 * 40.0).reshape(1, 1, 4, 40, 40)
    windows = list(adaptation_windows(lambda a, b: x[:, :, a:b], (4, 40, 40), (2, 64, 16), most=5))
    assert 3 <= len(windows) <= 5
    assert all(w.shape == (1, 1, 2, 16, 16) for w in windows)
