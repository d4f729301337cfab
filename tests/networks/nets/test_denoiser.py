# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The denoiser: its formula, its layouts, and that every option has an effect."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch

from monai_stcnnt.errors import LayoutError, NetworkConfigError
from monai_stcnnt.networks import STCNNTDenoiser
from tests.networks.laws import SMALL, assert_differ

__all__: list[str] = []


def make(in_channels: int = 3, out_channels: int = 2, channels: int = 4, **options: Any) -> STCNNTDenoiser:  # noqa: ANN401
    """Make a small denoiser in eval mode."""
    return STCNNTDenoiser(in_channels, out_channels, channels, **{**SMALL, "block_strings": "T1L1", **options}).eval()


@pytest.mark.parametrize("backbone", ["hrnet", "unet", "soanet"])
def test_stem_is_added_to_the_first_channels(backbone: Any) -> None:  # noqa: ANN401
    net = make(backbone=backbone, layout="BTCHW", **({"stages": 2} if backbone == "soanet" else {"levels": 2}))
    x = torch.randn(1, 3, 3, 16, 16)
    stem = net.stem(x)
    features = net.backbone(stem)[-1].clone()
    features[:, :, :4] += stem
    torch.testing.assert_close(net(x), net.head(features))


@pytest.mark.parametrize(("in_channels", "out_channels"), [(3, 2), (2, 1)])
def test_image_residual_starts_as_the_identity_on_the_image(in_channels: int, out_channels: int) -> None:
    net: Any = make(in_channels, out_channels, residual="image")
    x = torch.randn(2, in_channels, 3, 9, 14)
    torch.testing.assert_close(net(x), x[:, :out_channels])
    torch.nn.init.normal_(net.head.conv.weight)
    assert not torch.allclose(net(x), x[:, :out_channels])


def test_layouts_differ_by_a_transpose() -> None:
    frames_first, channels_first = make(layout="BTCHW"), make()
    channels_first.load_state_dict(frames_first.state_dict())
    x = torch.randn(2, 4, 3, 9, 14)
    torch.testing.assert_close(channels_first(x.transpose(1, 2)), frames_first(x).transpose(1, 2))


@pytest.mark.parametrize(
    ("layout", "shape"), [("BCTHW", (1, 4, 3, 8, 8)), ("BTCHW", (1, 3, 4, 8, 8)), ("BCTHW", (3, 4, 8, 8))]
)
def test_another_layout_is_refused(layout: Any, shape: tuple[int, ...]) -> None:  # noqa: ANN401
    with pytest.raises(LayoutError, match="3 channels on axis") as error:
        make(layout=layout)(torch.zeros(shape))
    assert str(list(shape)) in str(error.value)


FLIPS: dict[str, Any] = {
    "in_channels": 4,
    "out_channels": 1,
    "channels": 8,
    "backbone": "unet",
    "residual": "image",
    "layout": "BTCHW",
}


def test_every_option_is_flipped_below() -> None:
    assert set(FLIPS) == set(inspect.signature(STCNNTDenoiser).parameters) - {"backbone_options"}


@pytest.mark.parametrize(("name", "value"), [*FLIPS.items(), ("levels", 3), ("norm", "layer")])
def test_every_option_has_an_effect(name: str, value: Any) -> None:  # noqa: ANN401
    assert_differ(make, {}, {name: value}, torch.randn(1, 3, 4, 16, 16))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"residual": "none"}, "'none'"),
        ({"residual": "image", "in_channels": 1}, "out_channels=2 .*in_channels=1"),
        ({"layout": "BTHWC"}, "'BTHWC'"),
        ({"backbone": "resnet"}, "'resnet'"),
        ({"backbone": "soanet", "block_strings": ["T1", "T1"], "downsample": True}, "full resolution"),
        ({"aggregate": False}, "full resolution"),
        ({"levls": 3}, "Unknown option levls"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(NetworkConfigError, match=said):
        make(**options)
