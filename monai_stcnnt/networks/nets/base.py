# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What the networks share: the two layouts, and backbones by name."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import nn

from monai_stcnnt.errors import LayoutError, NetworkConfigError
from monai_stcnnt.networks.backbones import FrameBackbone, STCNNTHRNet, STCNNTSOANet, STCNNTUNet

__all__ = ["BackboneName", "FrameLayout", "FrameNet", "build_backbone", "build_full_resolution_backbone"]

FrameLayout = Literal["BCTHW", "BTCHW"]
BackboneName = Literal["hrnet", "unet", "soanet"]

_BACKBONES: dict[str, Callable[..., FrameBackbone]] = {"hrnet": STCNNTHRNet, "unet": STCNNTUNet, "soanet": STCNNTSOANet}


def build_backbone(
    name: BackboneName,
    in_channels: int,
    channels: int,
    **options: Any,  # noqa: ANN401 - checked by the backbone's constructor
) -> FrameBackbone:
    """Build a backbone by name.

    Args:
        name: ``hrnet``, ``unet`` or ``soanet``.
        in_channels: channels of its input.
        channels: channels at full resolution.
        **options: further keywords of the backbone.

    Raises:
        NetworkConfigError: for another name, or options that the backbone does not know.
    """
    if name not in _BACKBONES:
        raise NetworkConfigError(f"backbone must be one of {tuple(_BACKBONES)}, got {name!r}.")
    return _BACKBONES[name](in_channels, channels, **options)


def build_full_resolution_backbone(
    name: BackboneName,
    channels: int,
    **options: Any,  # noqa: ANN401 - checked by the backbone's constructor
) -> FrameBackbone:
    """Build the backbone of a denoiser: as many channels in as inside, and a last tensor of full resolution.

    Args:
        name: ``hrnet``, ``unet``, or ``soanet``, which then does not downsample.
        channels: channels of its input and at full resolution.
        **options: further keywords of the backbone.

    Raises:
        NetworkConfigError: for another name, options that the backbone does not know, or a lower resolution.
    """
    if name == "soanet":
        options.setdefault("downsample", False)
    backbone = build_backbone(name, channels, channels, **options)
    if backbone.strides[-1] != 1:
        raise NetworkConfigError("A denoiser needs a backbone whose last tensor has full resolution.")
    return backbone


class FrameNet(nn.Module):
    """Base of the networks: takes MONAI's layout or frame layout, computes in frame layout.

    A subclass's ``forward`` calls :meth:`to_frames` first and, where it returns images, :meth:`from_frames` last.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        layout: ``BCTHW`` (MONAI) or ``BTCHW`` (frames), of input and output.

    Raises:
        NetworkConfigError: for another layout.
    """

    def __init__(self, in_channels: int, out_channels: int, layout: FrameLayout = "BCTHW") -> None:
        super().__init__()
        if layout not in ("BCTHW", "BTCHW"):
            raise NetworkConfigError(f"layout must be 'BCTHW' or 'BTCHW', got {layout!r}.")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.channel_axis = 1 if layout == "BCTHW" else 2

    def to_frames(self, x: torch.Tensor) -> torch.Tensor:
        """Bring an input, in the layout that the network was built for, to (B, T, C, H, W).

        Raises:
            LayoutError: for a tensor in another layout.
        """
        if x.dim() != 5 or x.shape[self.channel_axis] != self.in_channels:
            raise LayoutError(
                f"This network takes 5 axes with {self.in_channels} channels on axis {self.channel_axis}, got shape "
                f"{list(x.shape)}. Its layout (BCTHW or BTCHW) is an option of its constructor."
            )
        return x if self.channel_axis == 2 else x.transpose(1, 2)

    def from_frames(self, y: torch.Tensor) -> torch.Tensor:
        """Bring (B, T, C, H, W) to the layout that the network was built for."""
        return y if self.channel_axis == 2 else y.transpose(1, 2)
