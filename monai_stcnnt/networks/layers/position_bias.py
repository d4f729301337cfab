# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Relative position bias between the tokens of a (t, h, w) grid."""

import torch
from torch import nn

from monai_stcnnt.networks.layers.frames import Triple

__all__ = ["RelativePositionBias", "relative_position_index"]


def relative_position_index(grid: Triple, table_grid: Triple, device: torch.device) -> torch.Tensor:
    """Row of the bias table for every pair of tokens.

    The offset query minus key, shifted to be non-negative, is numbered with t most significant. Offsets beyond those of
    the table take its outermost row.

    Args:
        grid: tokens along (t, h, w); tokens are numbered with w fastest.
        table_grid: the grid that the table was made for.
        device: where to put the result.

    Returns:
        Integers (N, N) with N = t * h * w.
    """
    places = [torch.arange(extent, device=device) for extent in [grid[0], grid[1], grid[2]]]
    place = torch.stack(torch.meshgrid(places, indexing="ij"), dim=-1).flatten(0, 2)
    last = torch.tensor([table_grid[0] - 1, table_grid[1] - 1, table_grid[2] - 1], device=device)
    offset = place[:, None] - place[None]
    offset = torch.minimum(torch.maximum(offset, -last), last) + last
    rows = 2 * last + 1
    return (offset[:, :, 0] * rows[1] + offset[:, :, 1]) * rows[2] + offset[:, :, 2]


class RelativePositionBias(nn.Module):
    """A learned number per head for every offset between two tokens.

    Args:
        grid: tokens along (t, h, w) that the table is made for.
        num_heads: columns of the table.

    Shapes: returns (num_heads, N, N) with N = t * h * w. Another grid than the built one takes the same table.

    See Also:
        Liu et al., Swin Transformer, 2021, https://doi.org/10.1109/ICCV48922.2021.00986 (there on two axes).
    """

    def __init__(self, grid: Triple, num_heads: int) -> None:
        super().__init__()
        self.grid = grid
        rows = (2 * grid[0] - 1) * (2 * grid[1] - 1) * (2 * grid[2] - 1)
        self.table = nn.Parameter(torch.empty(rows, num_heads))
        nn.init.trunc_normal_(self.table, std=0.02)
        index = relative_position_index(grid, grid, torch.device("cpu"))
        self.register_buffer("index", index, persistent=False)
        self.index: torch.Tensor

    def forward(self, grid: Triple) -> torch.Tensor:
        """Bias (num_heads, N, N) for a grid of tokens."""
        index = self.index if grid == self.grid else relative_position_index(grid, self.grid, self.table.device)
        return self.table.t().index_select(1, index.flatten()).unflatten(1, index.shape)
