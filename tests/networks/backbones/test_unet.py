# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The U-Net backbone: skips, gates and channels per level."""

from __future__ import annotations

from typing import Any

import torch

from monai_stcnnt.networks.backbones import STCNNTUNet
from tests.networks.laws import SMALL

__all__: list[str] = []


def figure(net: Any, x: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - modules by name
    """Compute the backbone from its figure."""
    skips = []
    for block, down in zip(net.encoder, net.downs, strict=True):
        skips.append(block(x))
        x = down(skips[-1])
    x = net.bridge(x)
    for step, skip in zip(net.decoder, reversed(skips), strict=True):
        x = step.up(x)
        passed = skip if step.gate is None else step.gate(x, skip)
        x = step.block(torch.cat([passed, x], dim=2))
    return x


def test_forward_is_the_figure() -> None:
    for gated in (True, False):
        net = STCNNTUNet(3, 4, ["T1", "L0"], 3, gated=gated, **SMALL).eval()
        x = torch.randn(1, 2, 3, 16, 24)
        torch.testing.assert_close(net(x)[0], figure(net, x))


def test_channels_per_level() -> None:
    net = STCNNTUNet(3, (4, 6, 10), "L0", 3, **SMALL)
    encoder: Any = net.encoder
    assert [block.cells[0].attn.out_channels for block in encoder] == [4, 6, 10]
    assert net.out_channels == (4,)
    assert net(torch.randn(1, 2, 3, 9, 8))[0].shape == (1, 2, 4, 9, 8)


def test_bridge_has_the_last_string() -> None:
    net: Any = STCNNTUNet(3, 4, ["T1", "L1", "G0T1"], 2, **SMALL)
    assert len(net.bridge.cells) == 2
    assert len(net.decoder[0].block.cells) == 1
