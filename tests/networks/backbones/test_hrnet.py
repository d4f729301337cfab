# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The HRNet backbone is its two lines of mathematics."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from monai_stcnnt.networks.backbones import STCNNTHRNet
from tests.networks.laws import SMALL

__all__: list[str] = []


def two_lines(net: Any, image: torch.Tensor, levels: int) -> list[torch.Tensor]:  # noqa: ANN401 - modules by name
    """Compute the backbone from its formula, x[i, j] for level i and stage j."""
    last = levels - 1
    x: dict[tuple[int, int], torch.Tensor] = {(0, 0): net.block(0, 0)(image)}
    for j in range(1, levels):
        for i in range(j + 1):
            terms = [x[i, m] for m in range(i, j)]
            terms += [net.stages[j].downs[i][k](x[k, j - 1]) for k in range(i)]
            x[i, j] = net.block(i, j)(torch.stack(terms).sum(0))
    y = []
    for i in range(levels):
        terms = [x[i, last]]
        terms += [net.fusion.downs[i][k](x[k, last]) for k in range(i)]
        terms += [net.fusion.ups[i][k - i - 1](x[k, last]) for k in range(i + 1, levels)]
        y.append(net.fusion.blocks[i](torch.stack(terms).sum(0)))
    return [*y, torch.cat([up(feature) for up, feature in zip(net.fusion.finals, y, strict=True)], dim=2)]


@pytest.mark.parametrize("levels", [2, 3, 4, 5])
@torch.no_grad()
def test_forward_is_the_formula(levels: int) -> None:
    net = STCNNTHRNet(3, 2, "L0", levels, **SMALL).eval()
    x = torch.randn(1, 2, 3, 32, 16)
    for got, wanted in zip(net(x), two_lines(net, x, levels), strict=True):
        torch.testing.assert_close(got, wanted)


def test_without_the_aggregate_the_levels_stay() -> None:
    torch.manual_seed(0)
    net = STCNNTHRNet(3, 2, "T1", 3, aggregate=False, **SMALL).eval()
    full = STCNNTHRNet(3, 2, "T1", 3, **SMALL).eval()
    missing = net.load_state_dict(full.state_dict(), strict=False)
    assert not missing.missing_keys
    assert all(name.startswith("fusion.finals.") for name in missing.unexpected_keys)
    x = torch.randn(1, 2, 3, 16, 16)
    for got, wanted in zip(net(x), full(x)[:3], strict=True):
        torch.testing.assert_close(got, wanted)


def test_a_level_keeps_its_block_string() -> None:
    net = STCNNTHRNet(3, 2, ["T1", "L1T1"], 3, **SMALL)
    for stage in range(3):
        for level in range(stage + 1):
            cells: Any = net.block(level, stage)
            assert len(cells.cells) == (1 if level == 0 else 2)
