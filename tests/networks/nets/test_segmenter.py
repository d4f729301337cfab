# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The segmenter: all levels, deep supervision in training, MONAI's loss for it."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from monai.losses import DeepSupervisionLoss, DiceLoss

from monai_stcnnt.errors import LayoutError, NetworkConfigError
from monai_stcnnt.networks import STCNNTSegmenter
from tests.networks.laws import SMALL, assert_differ, check_gradients, first_of

__all__: list[str] = []


def make(in_channels: int = 1, out_channels: int = 3, channels: int = 4, **options: Any) -> STCNNTSegmenter:  # noqa: ANN401
    """Make a small segmenter."""
    return STCNNTSegmenter(in_channels, out_channels, channels, **{**SMALL, "block_strings": "T1L1", **options})


@pytest.mark.parametrize(
    ("options", "strides"),
    [
        ({"levels": 3}, (1, 2, 4)),
        ({"backbone": "unet", "levels": 2}, (1,)),
        ({"backbone": "soanet", "stages": 3}, (1, 2, 4)),
        ({"backbone": "soanet", "stages": 2, "downsample": False}, (1, 1)),
    ],
)
def test_every_level_reaches_the_logits(options: dict[str, Any], strides: tuple[int, ...]) -> None:
    net = make(**options)
    assert tuple(net.backbone.strides) == strides
    assert len(net.head.projections) == len(strides)
    check_gradients(net, torch.randn(1, 1, 3, 15, 18))


def test_aggregated_features_are_one_more_level_on_request() -> None:
    net = make(levels=2, aggregate=True)
    assert net.backbone.strides == [1, 2, 1]
    assert net(torch.randn(1, 1, 2, 9, 14)).shape == (1, 3, 2, 9, 14)


def test_by_default_any_size_will_do() -> None:
    net = STCNNTSegmenter(channels=4, num_heads=2, levels=2, block_strings="T1L1").eval()
    for size in ((1, 9, 14), (5, 30, 41)):
        assert net(torch.randn(1, 1, *size)).shape == (1, 4, *size)


@pytest.mark.parametrize("layout", ["BCTHW", "BTCHW"])
def test_supervision_has_the_resolution_of_its_level(layout: Any) -> None:  # noqa: ANN401
    net = make(levels=3, deep_supervision=True, layout=layout)
    x = torch.randn(2, 1, 5, 13, 18) if layout == "BCTHW" else torch.randn(2, 5, 1, 13, 18)
    start = (2, 3, 5) if layout == "BCTHW" else (2, 5, 3)
    assert [tuple(y.shape) for y in first_of(net.train()(x))] == [(*start, 13, 18), (*start, 7, 9), (*start, 4, 5)]
    assert net.eval()(x).shape == (*start, 13, 18)


def test_supervision_fits_the_loss_of_monai() -> None:
    net = make(levels=3, deep_supervision=True)
    loss = DeepSupervisionLoss(DiceLoss(to_onehot_y=True, softmax=True))
    value = loss(net(torch.randn(2, 1, 4, 16, 16)), torch.randint(0, 3, (2, 1, 4, 16, 16)).float())
    value.backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_supervision_leaves_the_logits_alone() -> None:
    net, plain, x = make(deep_supervision=True), make(), torch.randn(1, 1, 3, 13, 18)
    missing = plain.load_state_dict(net.state_dict(), strict=False)
    assert all(name.startswith("supervision.") for name in missing.unexpected_keys)
    torch.testing.assert_close(plain(x), first_of(net(x))[0])


FLIPS: dict[str, Any] = {
    "in_channels": 2,
    "out_channels": 2,
    "channels": 8,
    "backbone": "unet",
    "deep_supervision": True,
    "layout": "BTCHW",
}


def test_every_option_is_flipped_below() -> None:
    assert set(FLIPS) == set(inspect.signature(STCNNTSegmenter).parameters) - {"backbone_options"}


@pytest.mark.parametrize(("name", "value"), FLIPS.items())
def test_every_option_has_an_effect(name: str, value: Any) -> None:  # noqa: ANN401
    assert_differ(make, {}, {name: value}, torch.randn(1, 1, 4, 16, 16))


def test_supervision_without_levels_is_refused() -> None:
    with pytest.raises(NetworkConfigError, match=r"unet.* returns one tensor"):
        make(backbone="unet", deep_supervision=True)


def test_another_layout_is_refused() -> None:
    with pytest.raises(LayoutError, match=r"1 channels on axis 1.*\[1, 4, 1, 8, 8\]"):
        make()(torch.zeros(1, 4, 1, 8, 8))
