# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Blocks: plain and dense chains of cells."""

from __future__ import annotations

import pytest
import torch

from monai_stcnnt.errors import BlockStringError, NetworkConfigError
from monai_stcnnt.networks.blocks import CellBlock
from tests.networks.laws import SMALL

__all__: list[str] = []

OPTIONS = {name: value for name, value in SMALL.items() if name != "img_size"}


def make(block_string: str, *, dense: bool = False) -> CellBlock:
    """Make a small block, 3 to 4 channels."""
    return CellBlock(block_string, 3, 4, (2, 8, 8), dense=dense, **OPTIONS).eval()


def test_plain_block_is_a_chain() -> None:
    block, x = make("T1L0C2"), torch.randn(1, 2, 3, 8, 8)
    wanted = x
    for cell in block.cells:
        wanted = cell(wanted)
    torch.testing.assert_close(block(x), wanted)


def test_dense_block_feeds_the_sum_of_all_cells_before() -> None:
    block, x = make("T1L0C2T0", dense=True), torch.randn(1, 2, 3, 8, 8)
    a = block.cells[0](x)
    b = block.cells[1](a)
    c = block.cells[2](a + b)
    torch.testing.assert_close(block(x), block.cells[3](a + b + c))


def test_unknown_option_is_named() -> None:
    with pytest.raises(NetworkConfigError, match=r"Unknown option head.*num_heads"):
        CellBlock("T1", 3, 4, (2, 8, 8), head=3)


def test_unknown_cell_is_named() -> None:
    with pytest.raises(BlockStringError, match="'X1' at position 2"):
        make("T1X1")
