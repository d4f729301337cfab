# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""A denoising network whose output is looked at before anything is made of it."""

from __future__ import annotations

import torch
from torch import nn

from monai_stcnnt.tensors import check_network_output

__all__ = ["CheckedDenoiser"]


class CheckedDenoiser(nn.Module):
    """Refuse what a denoising network gives if it is not finite, and keep magnitudes from becoming negative.

    A magnitude is raised to zero, or to the value of the input where that is below zero already, as in images that are
    not magnitudes. Windows that overlap are averaged with positive weights, so that the whole image keeps the law.

    Args:
        network: takes (B, C + 1, T, H, W), the g-factor map last, and returns (B, C, T, H, W).

    Shapes: those of the network.

    Raises:
        NetworkOutputError: in forward, for values that are NaN or infinite.

    Example:
        >>> CheckedDenoiser(torch.nn.Conv3d(2, 1, 1))(torch.rand(1, 2, 5, 8, 6)).shape
        torch.Size([1, 1, 5, 8, 6])
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the network and check what it gives."""
        out: torch.Tensor = self.network(x)
        check_network_output(out)
        return out.maximum(x[:, :1].clamp(max=0)) if out.shape[1] == 1 else out
