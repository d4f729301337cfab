# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks of speed: what they count, and that both forms of every idea are the same computation."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.network_cost import plain_form
from benchmarks.network_ideas import IDEAS
from benchmarks.network_speed import as_table, exponent
from benchmarks.speed_steps import Bench, limit_stack, median_ratio, operations
from monai_stcnnt.networks.block_string import CELL_CODES
from monai_stcnnt.networks.cells import AttentionCell
from monai_stcnnt.networks.filters.shrinkage import BlockShrinkage

__all__: list[str] = []

BENCH = Bench(torch.device("cpu"), 2, (2, 16, 16))


def test_exponent_of_a_power_law() -> None:
    assert exponent([1.0, 2.0, 8.0], [3.0, 3.0 * 2**1.5, 3.0 * 8**1.5]) == pytest.approx(1.5)


@pytest.mark.parametrize("backward", [False, True])
def test_limit_counts_what_its_convolutions_do(backward: bool) -> None:
    step, work = limit_stack(BENCH, 16, backward=backward)
    with FlopCounterMode(display=False) as flops:
        step()
    assert flops.get_total_flops() == work


def test_operations_are_those_of_the_plain_form() -> None:
    cell = AttentionCell(
        CELL_CODES["G0"],
        4,
        4,
        (1, 20, 20),
        window_size=(1, 2, 2),
        patch_size=(1, 1, 1),
        num_heads=2,
        norm="none",
        output_proj=False,
    )
    tokens = 400
    projection = 2 * 9 * 4 * 12 * tokens
    assert operations(cell, torch.randn(1, 1, 4, 20, 20)) == projection + 2 * (2 * tokens**2 * 4)


@pytest.mark.parametrize("size", [4, 8])
def test_blocks_are_counted_as_one_product_each(size: int) -> None:
    shrink = BlockShrinkage(0, size, 2)
    x = torch.randn(1, 1, 16, 16)
    with plain_form():
        plain = shrink.wiener(x, x)
    torch.testing.assert_close(shrink.wiener(x, x), plain, atol=1e-4, rtol=0)
    blocks = (shrink.padded_extent(16) - size) // 2 + 1
    over_time = 2 * 16 * 16
    with FlopCounterMode(display=False) as flops, plain_form():
        shrink.wiener(x, x)
    assert flops.get_total_flops() == 3 * (2 * size**4 * blocks**2 + over_time)  # image, pilot, result


def test_everything_takes_its_turn_and_the_first_does_not_count() -> None:
    calls: list[str] = []
    times = BENCH.turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")})
    assert calls == ["a", "b"] * 3
    assert {name: len(spent) for name, spent in times.items()} == {"a": 2, "b": 2}
    assert median_ratio([2.0, 9.0, 4.0], [1.0, 3.0, 2.0]) == 2.0


def test_table_has_the_columns_of_all_rows() -> None:
    assert as_table([{"a": 1.23456}, {"b": "x"}]) == "| a | b |\n|---|---|\n| 1.235 |  |\n|  | x |"


@pytest.mark.slow
@pytest.mark.parametrize(
    "idea", [name for name in IDEAS if name.startswith(("fused", "cosine", "windows", "large", "layer norm"))]
)
def test_both_forms_of_an_idea_agree(idea: str) -> None:
    with torch.no_grad():
        before, after = IDEAS[idea][0]()
        torch.testing.assert_close(after(), before(), rtol=1e-4, atol=1e-4)
