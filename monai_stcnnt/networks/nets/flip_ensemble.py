# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""One network, run on an image and its mirror images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, combinations

import torch
from torch import nn

__all__ = ["FlipEnsemble"]


class FlipEnsemble(nn.Module):
    """Average a network over mirror images of its input, each turned back.

    The result is equivariant to these flips whatever the network is. It costs a run of the network for each of them:
    2 to the number of axes.

    Args:
        network: takes and returns tensors whose axes ``flip_dims`` mean the same in both, such as (B, C, T, H, W).
        flip_dims: axes to mirror along; without any, the network runs as it is.

    Shapes: those of the network.

    Example:
        >>> FlipEnsemble(torch.nn.Conv3d(2, 1, 1))(torch.rand(1, 2, 5, 8, 6)).shape
        torch.Size([1, 1, 5, 8, 6])
    """

    def __init__(self, network: nn.Module, flip_dims: Sequence[int] = (-2, -1)) -> None:
        super().__init__()
        self.network = network
        sizes = range(len(flip_dims) + 1)
        self.flips = list(chain.from_iterable(combinations(flip_dims, size) for size in sizes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the network on every mirror image and return the mean."""
        total: torch.Tensor = self.network(x)
        for dims in self.flips[1:]:
            total = total + self.network(x.flip(dims)).flip(dims)
        return total / len(self.flips)
