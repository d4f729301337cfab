# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Blocks: plain and dense chains of cells."""

from __future__ import annotations

import pytest
import torch
from torch import nn

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


@pytest.mark.parametrize("norm", ["instance2d", "batch2d"])
@pytest.mark.parametrize("dense", [False, True])
def test_checkpointing_changes_nothing_but_what_is_kept(norm: str, dense: bool) -> None:
    x = torch.randn(2, 2, 3, 8, 8)
    results = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        options = {**OPTIONS, "norm": norm, "drop_path": 0.5, "attention_dropout": 0.2, "checkpointing": checkpointing}
        block = CellBlock("T1L1C2", 3, 4, (2, 8, 8), dense=dense, **options).train()
        runs: list[nn.Module] = []
        for cell in block.cells:
            cell.register_forward_pre_hook(lambda module, _inputs, runs=runs: runs.append(module))
        y = block(x)
        y.square().sum().backward()
        assert [runs.count(cell) for cell in block.cells] == [2 if checkpointing else 1] * 3
        results.append([y, *(p.grad for p in block.parameters()), *block.buffers()])
    for plain, checkpointed in zip(*results, strict=True):
        torch.testing.assert_close(checkpointed, plain)


def test_checkpointing_does_nothing_in_inference() -> None:
    block = CellBlock("T1", 3, 4, (2, 8, 8), checkpointing=True, **OPTIONS).eval()
    x = torch.randn(1, 2, 3, 8, 8, requires_grad=True)
    torch.testing.assert_close(torch.jit.script(block)(x), block(x))


def test_unknown_option_is_named() -> None:
    with pytest.raises(NetworkConfigError, match=r"Unknown option head.*num_heads"):
        CellBlock("T1", 3, 4, (2, 8, 8), head=3)


def test_unknown_cell_is_named() -> None:
    with pytest.raises(BlockStringError, match="'X1' at position 2"):
        make("T1X1")
