# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The classifier: a few numbers for a clip of any size."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks import STCNNTClassifier
from tests.networks.laws import SMALL, assert_differ, check_gradients

__all__: list[str] = []


def make(in_channels: int = 1, out_channels: int = 3, channels: int = 4, **options: Any) -> STCNNTClassifier:  # noqa: ANN401
    """Make a small classifier."""
    return STCNNTClassifier(in_channels, out_channels, channels, **{**SMALL, "block_strings": ["T1", "L1"], **options})


@pytest.mark.parametrize("size", [(1, 16, 16), (5, 13, 18), (2, 1, 3)])
@pytest.mark.parametrize("backbone", ["hrnet", "unet", "soanet"])
def test_one_row_per_clip(backbone: Any, size: tuple[int, int, int]) -> None:  # noqa: ANN401
    assert make(backbone=backbone)(torch.randn(2, 1, *size)).shape == (2, 3)


@pytest.mark.parametrize("backbone", ["hrnet", "unet", "soanet"])
def test_gradient_reaches_every_parameter(backbone: Any) -> None:  # noqa: ANN401
    check_gradients(make(backbone=backbone), torch.randn(2, 1, 4, 16, 16))


def test_clips_do_not_meet() -> None:
    net, x = make().eval(), torch.randn(3, 1, 4, 16, 16)
    torch.testing.assert_close(torch.cat([net(clip[None]) for clip in x]), net(x), rtol=1e-4, atol=1e-5)


FLIPS: dict[str, Any] = {
    "in_channels": 2,
    "out_channels": 2,
    "channels": 8,
    "backbone": "unet",
    "pool": "max",
    "dropout_rate": 0.5,
    "layout": "BTCHW",
}


def test_every_option_is_flipped_below() -> None:
    assert set(FLIPS) == set(inspect.signature(STCNNTClassifier).parameters) - {"backbone_options"}


@pytest.mark.parametrize(("name", "value"), FLIPS.items())
def test_every_option_has_an_effect(name: str, value: Any) -> None:  # noqa: ANN401
    assert_differ(make, {}, {name: value}, torch.randn(1, 1, 4, 16, 16))


def test_wrong_pooling_is_refused() -> None:
    with pytest.raises(NetworkConfigError, match="'sum'"):
        make(pool="sum")
