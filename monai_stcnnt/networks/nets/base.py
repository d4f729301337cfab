# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What the networks share: the two layouts, and backbones by name."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import nn

from monai_stcnnt.errors import LayoutError, NetworkConfigError
from monai_stcnnt.networks.backbones import FrameBackbone, STCNNTHRNet, STCNNTSOANet, STCNNTUNet
from monai_stcnnt.networks.checks import check_choice
from monai_stcnnt.networks.layers.frames import FrameConv, cat_frames

__all__ = ["BackboneName", "FrameLayout", "FrameNet", "ResidualTrunk", "build_backbone"]

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
    check_choice("backbone", name, BackboneName)
    return _BACKBONES[name](in_channels, channels, **options)


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
        check_choice("layout", layout, FrameLayout)
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


class ResidualTrunk(FrameNet):
    """Base of the denoisers: a 3x3 stem, a backbone, the stem's features added to its own, a 3x3 head.

    The backbone has as many channels in as inside, and a last tensor of full resolution.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        layout: ``BCTHW`` (MONAI) or ``BTCHW`` (frames), of input and output.
        channels: channels of the stem and of the backbone at full resolution.
        stem_channels: what the stem takes.
        head_channels: what the head returns.
        start_at_zero: the untrained head returns zeros.
        backbone: ``hrnet``, ``unet``, or ``soanet``, which then does not downsample.
        **options: further keywords of the backbone.

    Raises:
        NetworkConfigError: for options that do not fit.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        layout: FrameLayout,
        channels: int,
        *,
        stem_channels: int,
        head_channels: int,
        start_at_zero: bool,
        backbone: BackboneName,
        **options: Any,  # noqa: ANN401 - checked by the backbone's constructor
    ) -> None:
        super().__init__(in_channels, out_channels, layout)
        if backbone == "soanet":
            options.setdefault("downsample", False)
        self.channels = channels
        self.stem = FrameConv(stem_channels, channels)
        self.backbone = build_backbone(backbone, channels, channels, **options)
        if self.backbone.strides[-1] != 1:
            raise NetworkConfigError("A denoiser needs a backbone whose last tensor has full resolution.")
        self.head = FrameConv(self.backbone.out_channels[-1], head_channels)
        for parameter in self.head.parameters() if start_at_zero else ():
            nn.init.zeros_(parameter)

    def trunk(self, x: torch.Tensor) -> torch.Tensor:
        """Turn (B, T, stem_channels, H, W) into (B, T, head_channels, H, W)."""
        stem = self.stem(x)
        features = self.backbone(stem)[-1]
        c = self.channels
        if torch.is_grad_enabled() or stem.dtype != features.dtype:
            features = cat_frames([features[:, :, :c] + stem, features[:, :, c:]])
        else:
            features[:, :, :c].add_(stem)
        return self.head(features)

    def head_terms(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the network returns, and what a change of its head adds to that.

        Args:
            x: images, as ``forward`` takes them.

        Returns:
            The result, and terms ``(2 * groups, *result)``: the first half would be added to the result if the head's
            outputs of a group were larger by themselves, the second if they were larger by 1.
        """
        raise NotImplementedError

    @torch.no_grad()
    def rescale_head(self, scale: torch.Tensor, offset: torch.Tensor) -> None:
        """Multiply the head's outputs of every group, and add to them: what :meth:`head_terms` are the terms of."""
        weight, bias = self.head.conv.weight, self.head.conv.bias
        assert isinstance(weight, torch.Tensor)
        assert isinstance(bias, torch.Tensor)
        per_group = weight.shape[0] // scale.numel()
        scale, offset = (v.to(weight).repeat_interleave(per_group) for v in (scale, offset))
        weight *= scale.view(-1, 1, 1, 1)
        bias.mul_(scale).add_(offset)
