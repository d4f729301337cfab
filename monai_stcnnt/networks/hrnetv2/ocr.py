# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Object-contextual representations: every pixel attends to the object regions that a first segmentation suggests.

Reference: Yuan, Chen, Wang, "Object-contextual representations for semantic segmentation", ECCV 2020,
https://doi.org/10.1007/978-3-030-58539-6_11
"""

from __future__ import annotations

from itertools import pairwise

import torch
from monai.networks.layers.factories import Dropout
from torch import nn

from monai_stcnnt.networks.hrnetv2.modules import NormSpec, make_conv, make_norm

__all__ = ["OCRAttention", "OCRDistribution", "gather_regions"]


def gather_regions(features: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Represent each class by the mean of the features, weighted by a softmax of its logits over all pixels.

    Args:
        features: (N, C, *spatial).
        logits: (N, classes, *spatial).

    Returns:
        (N, C, classes).
    """
    weights = logits.flatten(2).softmax(dim=2)
    return features.flatten(2) @ weights.transpose(1, 2)


class OCRAttention(nn.Module):
    """Attention whose queries are pixels and whose keys and values are object regions (one head).

    Args:
        spatial_dims: 2 or 3.
        channels: channels of pixels and regions, and of the output.
        key_channels: channels of queries, keys and values; scores are divided by their square root.
        norm: normalization as :func:`~monai_stcnnt.networks.hrnetv2.modules.make_norm` takes it.

    Shapes: pixels (N, channels, *spatial) and regions (N, channels, classes) to (N, channels, *spatial).
    """

    def __init__(self, spatial_dims: int, channels: int, key_channels: int, norm: NormSpec) -> None:
        super().__init__()
        self.spatial_dims = spatial_dims
        self.scale = key_channels**-0.5
        self.f_pixel = _pointwise(spatial_dims, [channels, key_channels, key_channels], norm)
        self.f_object = _pointwise(spatial_dims, [channels, key_channels, key_channels], norm)
        self.f_down = _pointwise(spatial_dims, [channels, key_channels], norm)
        self.f_up = _pointwise(spatial_dims, [key_channels, channels], norm)

    def forward(self, x: torch.Tensor, regions: torch.Tensor) -> torch.Tensor:
        """Gather the context of the pixels ``x`` from ``regions``."""
        for _ in range(self.spatial_dims - 1):
            regions = regions.unsqueeze(-1)
        query = self.f_pixel(x)
        key = self.f_object(regions).flatten(2)
        value = self.f_down(regions).flatten(2)
        scores = query.flatten(2).transpose(1, 2) @ key * self.scale
        context = value @ scores.softmax(dim=-1).transpose(1, 2)
        return self.f_up(context.reshape(query.shape))


class OCRDistribution(nn.Module):
    """Adds the context of the object regions to every pixel.

    Args:
        spatial_dims: 2 or 3.
        channels: channels of pixels and regions, and of the output.
        key_channels: see :class:`OCRAttention`.
        norm: normalization as :func:`~monai_stcnnt.networks.hrnetv2.modules.make_norm` takes it.
        dropout_rate: probability that a channel is zeroed in training.

    Shapes: pixels (N, channels, *spatial) and regions (N, channels, classes) to (N, channels, *spatial).
    """

    def __init__(
        self, spatial_dims: int, channels: int, key_channels: int, norm: NormSpec, dropout_rate: float
    ) -> None:
        super().__init__()
        self.object_context_block = OCRAttention(spatial_dims, channels, key_channels, norm)
        dropout = Dropout[Dropout.DROPOUT, spatial_dims](dropout_rate)
        self.conv_bn_dropout = _pointwise(spatial_dims, [2 * channels, channels], norm).append(dropout)

    def forward(self, x: torch.Tensor, regions: torch.Tensor) -> torch.Tensor:
        """Merge the pixels ``x`` with their context."""
        context = self.object_context_block(x, regions)
        return self.conv_bn_dropout(torch.cat([context, x], dim=1))


def _pointwise(spatial_dims: int, widths: list[int], norm: NormSpec) -> nn.Sequential:
    """1x1 convolutions along ``widths``, each followed by a pair of norm and ReLU."""
    layers = nn.Sequential()
    for before, after in pairwise(widths):
        layers.append(make_conv(spatial_dims, before, after, 1))
        norm_layer = make_norm(norm, spatial_dims, after)
        layers.append(nn.Sequential(norm_layer, nn.ReLU(inplace=True)))
    return layers
