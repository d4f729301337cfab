# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Down- and upsampling between resolution levels, and the gate of the attention U-Net; T is kept."""

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import nn

from monai_stcnnt.networks.checks import check_choice
from monai_stcnnt.networks.layers.frames import FrameConv, pad_frames

__all__ = ["AttentionGate", "FramePatchMerging", "InterpolateFrames", "Interpolation"]

Interpolation = Literal["bilinear", "nearest"]


class FramePatchMerging(nn.Module):
    """Halve H and W by moving each 2x2 neighborhood into the channels, then mix them by a 1x1 convolution.

    The neighborhood is listed as (even, even), (odd, even), (even, odd), (odd, odd) of (row, column); with
    ``spatial_dims=3`` T is halved too and the even frame's four come first. Odd extents are padded by reflection.

    Shapes: (B, T, in_channels, H, W) to (B, T, out_channels, ceil(H / 2), ceil(W / 2)), with ceil(T / 2) in 3D.

    See Also:
        Liu et al., Swin Transformer, 2021, https://doi.org/10.1109/ICCV48922.2021.00986.
    """

    def __init__(self, in_channels: int, out_channels: int, *, spatial_dims: int = 2) -> None:
        super().__init__()
        self.volume = spatial_dims == 3
        neighbors = 8 if self.volume else 4
        self.conv = FrameConv(neighbors * in_channels, out_channels, 1, bias=False, spatial_dims=spatial_dims)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Downsample (B, T, C, H, W)."""
        _, t, _, h, w = x.shape
        x = pad_frames(x, (t + t % 2 if self.volume else t, h + h % 2, w + w % 2))
        x = x.permute(0, 1, 3, 4, 2).unflatten(3, (-1, 2)).unflatten(2, (-1, 2))
        if self.volume:
            x = x.unflatten(1, (-1, 2)).permute(0, 1, 3, 5, 2, 6, 4, 7).flatten(4)
        else:
            x = x.permute(0, 1, 2, 4, 5, 3, 6).flatten(4)
        return self.conv(x.permute(0, 1, 4, 2, 3))


class InterpolateFrames(nn.Module):
    """Change H and W of every frame by interpolation.

    Args:
        scale: 0.5, or a whole number.
        mode: ``bilinear`` (corners not aligned) or ``nearest``.

    Shapes: (B, T, C, H, W) to (B, T, C, scale * H, scale * W); an odd extent is padded by reflection before it is
        halved.
    """

    def __init__(self, scale: float, mode: Interpolation = "bilinear") -> None:
        super().__init__()
        check_choice("mode", mode, Interpolation)
        self.scale, self.mode = float(scale), str(mode)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Resample (B, T, C, H, W)."""
        b, t, _, h, w = x.shape
        if self.scale < 1.0:
            x = pad_frames(x, (t, h + h % 2, w + w % 2))
        align = False if self.mode == "bilinear" else None
        y = F.interpolate(x.flatten(0, 1), scale_factor=self.scale, mode=self.mode, align_corners=align)
        return y.unflatten(0, (b, t))


class AttentionGate(nn.Module):
    """Scale every pixel of a skip connection by a number between 0 and 1 that a coarser signal helps to choose.

    Shapes: query and x (B, T, channels, H, W) to (B, T, channels, H, W).

    See Also:
        Oktay et al., Attention U-Net, 2018, https://doi.org/10.48550/arXiv.1804.03999.
    """

    def __init__(self, channels: int, query_channels: int) -> None:
        super().__init__()
        self.query = FrameConv(query_channels, channels, 1, bias=False)
        self.skip = FrameConv(channels, channels, 1, bias=False)
        self.gate = FrameConv(channels, 1, 1, bias=False)

    def forward(self, query: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Gate x by the query."""
        return x * torch.sigmoid(self.gate(torch.relu(self.query(query) + self.skip(x))))
