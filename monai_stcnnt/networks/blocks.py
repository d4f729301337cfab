# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Blocks: stacks of cells named by a block string."""

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.block_string import parse_block_string
from monai_stcnnt.networks.cells import AttentionCell
from monai_stcnnt.networks.layers.frames import Triple

__all__ = ["CELL_OPTIONS", "CellBlock"]

CELL_OPTIONS = frozenset(
    name
    for name, parameter in inspect.signature(AttentionCell).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
)
"""Names of the keywords of a cell."""


@contextlib.contextmanager
def frozen_statistics(cell: nn.Module) -> Iterator[None]:
    """Keep the running statistics of the batch norms inside as they are, which normalize by their batch as always."""
    norms = [module for module in cell.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        norm.num_batches_tracked = norm.num_batches_tracked.clone() if norm.num_batches_tracked is not None else None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


def recomputed(cell: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Run a cell so that only its input is kept, and run it again when its gradient is asked for."""
    options: dict[str, Any] = {}
    if any(isinstance(module, nn.BatchNorm2d) for module in cell.modules()):
        options["context_fn"] = lambda: (contextlib.nullcontext(), frozen_statistics(cell))
    y: torch.Tensor = checkpoint(cell, x, use_reentrant=False, **options)
    return y


class CellBlock(nn.Module):
    """A stack of cells, plain or densely connected.

    Args:
        block_string: such as ``"T1L1G1"``, see :func:`~monai_stcnnt.networks.block_string.parse_block_string`.
        in_channels: channels of the input; the first cell changes them.
        out_channels: channels of the output.
        size: (T, H, W) that the block is built for.
        dense: each cell after the first receives the sum of the outputs of all cells before it.
        checkpointing: in training, keep only the input of every cell and compute the rest again in the backward pass:
            about a third more time for a fraction of the memory, and the same gradients.
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
        size: Triple,
        *,
        dense: bool = False,
        checkpointing: bool = False,
        **cell_options: Any,  # noqa: ANN401 - checked by the cell's constructor
    ) -> None:
        super().__init__()
        unknown = sorted(set(cell_options) - CELL_OPTIONS)
        if unknown:
            raise NetworkConfigError(
                f"Unknown option {', '.join(unknown)}; it belongs neither to this network or backbone nor to its "
                f"cells, which know {', '.join(sorted(CELL_OPTIONS))}."
            )
        self.dense, self.checkpointing = dense, checkpointing
        self.cells = nn.ModuleList(
            AttentionCell(spec, in_channels if i == 0 else out_channels, out_channels, size, **cell_options)
            for i, spec in enumerate(parse_block_string(block_string))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform (B, T, C, H, W)."""
        total = x
        for i, cell in enumerate(self.cells):
            if self.dense:
                x = total
            if torch.jit.is_scripting():
                x = cell(x)
            elif self.checkpointing and self.training and torch.is_grad_enabled():
                x = recomputed(cell, x)
            else:
                x = cell(x)
            total = total + x if i > 0 and self.dense else x
        return x
