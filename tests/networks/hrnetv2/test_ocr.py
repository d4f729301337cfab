# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of object-contextual representations."""

from __future__ import annotations

import pytest
import torch

from monai_stcnnt.networks.hrnetv2.ocr import OCRAttention, OCRDistribution, gather_regions

__all__: list[str] = []


def test_regions_of_certain_logits_are_means_over_the_classes() -> None:
    features, labels = torch.randn(1, 4, 5, 6), torch.randint(0, 3, (5, 6))
    logits = torch.stack([torch.where(labels == k, 200.0, -200.0) for k in range(3)])[None]
    regions = gather_regions(features, logits)
    for k in range(3):
        torch.testing.assert_close(regions[0, :, k], features[0, :, labels == k].mean(dim=1))


def test_regions_of_constant_features_are_that_constant() -> None:
    regions = gather_regions(torch.full((2, 4, 3, 5, 6), 7.0), torch.randn(2, 3, 3, 5, 6))
    torch.testing.assert_close(regions, torch.full((2, 4, 3), 7.0))


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_context_of_equal_regions_is_the_same_everywhere(spatial_dims: int) -> None:
    net = OCRAttention(spatial_dims, 4, 3, "batch").eval()
    size = [5, 6, 2][:spatial_dims]
    context = net(torch.randn(2, 4, *size), torch.randn(2, 4, 1).expand(2, 4, 5))
    assert context.shape == (2, 4, *size)
    flat = context.flatten(2)
    torch.testing.assert_close(flat, flat[..., :1].expand_as(flat))


def test_context_does_not_depend_on_the_order_of_regions_and_moves_with_the_pixels() -> None:
    net = OCRAttention(2, 4, 3, "batch").eval()
    x, regions = torch.randn(1, 4, 5, 6), torch.randn(1, 4, 3)
    context = net(x, regions)
    torch.testing.assert_close(net(x, regions.flip(-1)), context)
    torch.testing.assert_close(net(x.flip(-1), regions), context.flip(-1))


def test_distribution_sees_pixels_and_regions_and_drops_whole_channels_in_training() -> None:
    net = OCRDistribution(2, 8, 3, "batch", dropout_rate=0.5).eval()
    x, regions = torch.randn(2, 8, 5, 6), torch.randn(2, 8, 3)
    y = net(x, regions)
    assert not torch.allclose(net(x, regions * 2), y)
    assert not torch.allclose(net(x * 2, regions), y)
    net.train()
    silent = (net(x, regions) == 0).flatten(2).all(dim=2)
    assert 0 < int(silent.sum()) < silent.numel()
