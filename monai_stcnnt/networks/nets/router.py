# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Several networks as one, chosen by the number of channels of the input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from monai_stcnnt.errors import LayoutError, NetworkConfigError
from monai_stcnnt.networks.nets.base import FrameNet

__all__ = ["ChannelRouter"]

KINDS = {2: "magnitude images", 3: "complex images"}
"""What images in SNR units are by their channels, the g-factor map among them."""


class ChannelRouter(nn.Module):
    """Send an input to the network that takes its number of channels.

    A folder may hold magnitude and complex images; each goes through the network made for it.

    Args:
        networks: networks of the layout (B, C, T, H, W) with different ``in_channels``.

    Shapes: (B, in_channels, T, H, W) of one of the networks to its output.

    Raises:
        NetworkConfigError: when two networks take the same number of channels.
        LayoutError: in forward, for a number of channels that none takes.
    """

    def __init__(self, networks: Sequence[FrameNet]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.channels = [net.in_channels for net in networks]
        if len(set(self.channels)) < len(self.channels):
            raise NetworkConfigError(f"The networks must differ in their input channels, got {self.channels}.")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the network that fits (B, C, T, H, W)."""
        if x.shape[1] not in self.channels:
            taken = " or ".join(_describe(channels) for channels in self.channels)
            raise LayoutError(
                f"There is a network for {taken} only, not for {_describe(x.shape[1])}. Choose a bundle that has one."
            )
        out: torch.Tensor = self.networks[self.channels.index(x.shape[1])](x)
        return out


def _describe(channels: int) -> str:
    return f"{KINDS.get(channels, 'images')} ({channels} channels with the g-factor map)"
