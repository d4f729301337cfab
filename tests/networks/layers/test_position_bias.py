# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Relative position bias: the index says query minus key, in the order of the tokens."""

from __future__ import annotations

import itertools

import pytest
import torch

from monai_stcnnt.networks.layers.position_bias import RelativePositionBias, relative_position_index

__all__: list[str] = []

CPU = torch.device("cpu")
GRIDS = [(1, 3, 4), (2, 2, 3), (3, 1, 1), (1, 1, 1)]


@pytest.mark.parametrize("grid", GRIDS)
def test_index_counts_query_minus_key(grid: tuple[int, int, int]) -> None:
    index = relative_position_index(grid, grid, CPU)
    tokens = list(itertools.product(*(range(n) for n in grid)))
    rows = list(itertools.product(*(range(-n + 1, n) for n in grid)))
    for i, query in enumerate(tokens):
        for j, key in enumerate(tokens):
            assert rows[index[i, j]] == tuple(a - b for a, b in zip(query, key, strict=True))


@pytest.mark.parametrize("grid", GRIDS)
def test_index_is_antisymmetric_about_the_middle_row(grid: tuple[int, int, int]) -> None:
    index = relative_position_index(grid, grid, CPU)
    rows = RelativePositionBias(grid, 2).table.shape[0]
    assert bool((index + index.T == rows - 1).all())


def test_offsets_beyond_the_table_take_its_outermost_row() -> None:
    index = relative_position_index((1, 1, 5), (1, 1, 3), CPU)
    assert index[0].tolist() == [2, 1, 0, 0, 0]
    assert index[4].tolist() == [4, 4, 4, 3, 2]


def test_same_offset_takes_the_same_number() -> None:
    bias = RelativePositionBias((1, 3, 3), 2)
    weights = bias((1, 3, 3))
    assert weights.shape == (2, 9, 9)
    assert weights[0, 0, 1] == weights[0, 4, 5] == weights[0, 7, 8]
    assert weights[0, 0, 1] != weights[0, 1, 0]
    assert weights[0, 0, 1] != weights[1, 0, 1]


def test_another_grid_shares_the_table() -> None:
    bias = RelativePositionBias((1, 3, 3), 2)
    torch.testing.assert_close(bias((1, 2, 3))[:, 0, 4], bias((1, 3, 3))[:, 0, 4])
    assert bias((2, 4, 5)).shape == (2, 40, 40)


def test_only_the_table_is_stored() -> None:
    assert list(RelativePositionBias((1, 3, 3), 2).state_dict()) == ["table"]
