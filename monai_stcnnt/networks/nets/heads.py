# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Heads: what turns the features of a backbone into an answer. They build themselves from its channels and strides."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.checks import check_choice, check_probability
from monai_stcnnt.networks.layers.frames import FrameConv, add_frames, crop_frames
from monai_stcnnt.networks.layers.resample import InterpolateFrames

__all__ = ["PixelHead", "PoolingHead"]


class PixelHead(nn.Module):
    """All levels brought to full resolution, concatenated, and mixed by one 1x1 convolution.

    The convolution is applied to every level before its upsampling, and the results are added: both are linear and the
    weights of an interpolation sum to one, so this is the same thing, and what is upsampled are ``out_channels``
    channels instead of those of all levels.

    Args:
        in_channels: channels per level.
        strides: by what factor H and W of every level are smaller than the image's.
        out_channels: channels of the result.

    Shapes: a list of (B, T, in_channels[i], ceil(H / strides[i]), ceil(W / strides[i])) to (B, T, out_channels, H, W).

    Raises:
        NetworkConfigError: if channels and strides are not equally many, or no level has full resolution.
    """

    def __init__(self, in_channels: Sequence[int], strides: Sequence[int], out_channels: int) -> None:
        super().__init__()
        if len(in_channels) != len(strides) or not strides or strides[0] != 1:
            raise NetworkConfigError(
                f"A head needs as many strides as channels, the first of them 1, got {tuple(strides)} and "
                f"{tuple(in_channels)}."
            )
        self.projections = nn.ModuleList(
            FrameConv(channels, out_channels, 1, bias=i == 0) for i, channels in enumerate(in_channels)
        )
        self.upsamplings = nn.ModuleList(
            InterpolateFrames(stride) if stride > 1 else nn.Identity() for stride in strides
        )

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Combine the levels, full resolution first."""
        _, t, _, h, w = features[0].shape
        total = features[0]
        for i, (project, upsample) in enumerate(zip(self.projections, self.upsamplings)):
            term = crop_frames(upsample(project(features[i])), (t, h, w))
            total = term if i == 0 else add_frames(term, total)
        return total


class PoolingHead(nn.Module):
    """Numbers for a whole clip: every level is pooled over T, H and W, and a linear map combines what is left.

    Args:
        in_channels: channels per level.
        out_features: how many numbers: classes, or values of a regression.
        pool: ``avg`` or ``max``.
        dropout_rate: probability of dropping a pooled feature in training.

    Shapes: a list of (B, T, in_channels[i], H_i, W_i) to (B, out_features).

    Raises:
        NetworkConfigError: for another pooling, or a rate that is not a probability.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_features: int,
        pool: Literal["avg", "max"] = "avg",
        dropout_rate: float = 0.0,
    ) -> None:
        super().__init__()
        check_choice("pool", pool, Literal["avg", "max"])
        check_probability("dropout_rate", dropout_rate)
        self.maximum = pool == "max"
        self.dropout = nn.Dropout(dropout_rate)
        self.linear = nn.Linear(sum(in_channels), out_features)

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Pool and combine the levels."""
        pooled = [feature.amax([1, 3, 4]) if self.maximum else feature.mean([1, 3, 4]) for feature in features]
        return self.linear(self.dropout(torch.cat(pooled, dim=1)))
