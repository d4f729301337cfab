# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Heads: what they compute from the levels of a backbone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.nets.heads import PixelHead, PoolingHead

__all__: list[str] = []


def levels(h: int = 13, w: int = 18) -> list[torch.Tensor]:
    """Draw features of three levels, rounded up as backbones do."""
    return [torch.randn(2, 3, c, -(-h // s), -(-w // s)) for c, s in ((4, 1), (5, 2), (6, 4))]


def test_pixel_head_is_one_convolution_on_all_upsampled_levels() -> None:
    head: Any = PixelHead([4, 5, 6], [1, 2, 4], 3)
    features = levels()
    full = [
        F.interpolate(y.flatten(0, 1), scale_factor=float(s), mode="bilinear", align_corners=False)[..., :13, :18]
        for y, s in zip(features, (1, 2, 4), strict=True)
    ]
    weight = torch.cat([projection.conv.weight for projection in head.projections], dim=1)
    wanted = F.conv2d(torch.cat(full, dim=1), weight, head.projections[0].conv.bias).unflatten(0, (2, 3))
    torch.testing.assert_close(head(features), wanted)


@pytest.mark.parametrize("strides", [[1, 2], [2, 1, 4], []])
def test_pixel_head_wants_full_resolution_first(strides: list[int]) -> None:
    with pytest.raises(NetworkConfigError, match="as many strides as channels"):
        PixelHead([4, 5, 6] if strides else [], strides, 3)


@pytest.mark.parametrize("pool", ["avg", "max"])
def test_pooling_head_pools_every_level(pool: Any) -> None:  # noqa: ANN401
    head, features = PoolingHead([4, 5, 6], 2, pool), levels()
    pooled = [y.mean([1, 3, 4]) if pool == "avg" else y.amax([1, 3, 4]) for y in features]
    torch.testing.assert_close(head(features), head.linear(torch.cat(pooled, dim=1)))


def test_pooling_head_ignores_where_things_are() -> None:
    head, features = PoolingHead([4, 5, 6], 2), levels()
    torch.testing.assert_close(head([y.flip([1, 3, 4]) for y in features]), head(features))


def test_dropout_in_training_only() -> None:
    head, features = PoolingHead([4, 5, 6], 2, dropout_rate=0.5), levels()
    assert not torch.allclose(head(features), head(features))
    torch.testing.assert_close(head.eval()(features), head(features), rtol=0, atol=0)


@pytest.mark.parametrize("options", [{"pool": "sum"}, {"dropout_rate": 1.0}])
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(NetworkConfigError, match=str(next(iter(options.values())))):
        PoolingHead([4], 2, **options)
