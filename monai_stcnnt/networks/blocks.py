# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Blocks: stacks of cells named by a block string."""

import inspect
from typing import Any

import torch
from torch import nn

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.block_string import parse_block_string
from monai_stcnnt.networks.cells import AttentionCell

__all__ = ["CELL_OPTIONS", "CellBlock"]

CELL_OPTIONS = frozenset(
    name
    for name, parameter in inspect.signature(AttentionCell).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
)
"""Names of the keywords of a cell."""


class CellBlock(nn.Module):
    """A stack of cells, plain or densely connected.

    Args:
        block_string: such as ``"T1L1G1"``, see :func:`~monai_stcnnt.networks.block_string.parse_block_string`.
        in_channels: channels of the input; the first cell changes them.
        out_channels: channels of the output.
        size: (T, H, W) that the block is built for.
        dense: each cell after the first receives the sum of the outputs of all cells before it.
        **cell_options: keywords of :class:`~monai_stcnnt.networks.cells.AttentionCell`.

    Shapes: (B, T, in_channels, H, W) to (B, T, out_channels, H, W).

    Raises:
        BlockStringError: for a string that names a cell that does not exist.
        NetworkConfigError: for a keyword that a cell does not know, or options that do not fit.
    """

    def __init__(
        self,
        block_string: str,
        in_channels: int,
        out_channels: int,
        size: tuple[int, int, int],
        *,
        dense: bool = False,
        **cell_options: Any,  # noqa: ANN401 - checked by the cell's constructor
    ) -> None:
        super().__init__()
        unknown = sorted(set(cell_options) - CELL_OPTIONS)
        if unknown:
            raise NetworkConfigError(
                f"Unknown option {', '.join(unknown)}; it belongs neither to this network or backbone nor to its "
                f"cells, which know {', '.join(sorted(CELL_OPTIONS))}."
            )
        self.dense = dense
        self.cells = nn.ModuleList(
            AttentionCell(spec, in_channels if i == 0 else out_channels, out_channels, size, **cell_options)
            for i, spec in enumerate(parse_block_string(block_string))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform (B, T, C, H, W)."""
        total = x
        for i, cell in enumerate(self.cells):
            x = cell(total if self.dense else x)
            total = total + x if i > 0 and self.dense else x
        return x
