# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The contract of the backbones: channels, strides, sizes, layouts and options."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch

from monai_stcnnt.errors import ImageSizeError, LayoutError, NetworkConfigError
from monai_stcnnt.networks.backbones import FrameBackbone, STCNNTHRNet, STCNNTSOANet, STCNNTUNet
from monai_stcnnt.networks.backbones.base import extend_strings
from tests.networks.laws import SMALL, assert_differ

__all__: list[str] = []

BACKBONES: list[type[FrameBackbone]] = [STCNNTHRNet, STCNNTUNet, STCNNTSOANet]
SIZES = [(1, 1, 1), (1, 16, 16), (5, 13, 18), (2, 1, 9), (3, 24, 7), (4, 33, 20)]


def make(backbone: type[FrameBackbone], **options: Any) -> FrameBackbone:  # noqa: ANN401
    """Make a small backbone with 3 input channels, in eval mode."""
    return backbone(3, options.pop("channels", 4), **{**SMALL, "block_strings": "T1L1", **options}).eval()


@torch.no_grad()
def check_contract(net: FrameBackbone, size: tuple[int, int, int]) -> None:
    """Check that the returned tensors have the channels and strides that the backbone names."""
    t, h, w = size
    features = net(torch.randn(1, t, 3, h, w))
    wanted = [(1, t, c, -(-h // s), -(-w // s)) for c, s in zip(net.out_channels, net.strides, strict=True)]
    assert [tuple(feature.shape) for feature in features] == wanted


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_outputs_have_the_named_channels_and_strides(backbone: type[FrameBackbone], size: tuple[int, int, int]) -> None:
    strings = ["T1", "L1", "G1"] if backbone is STCNNTSOANet else ["T1L1G1"]
    check_contract(make(backbone, block_strings=strings), size)


@pytest.mark.parametrize("levels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_number_of_levels(backbone: type[FrameBackbone], levels: int) -> None:
    if backbone is STCNNTHRNet and levels == 1:
        return
    option = "stages" if backbone is STCNNTSOANet else "levels"
    check_contract(make(backbone, block_strings="L0", **{option: levels}), (2, 35, 18))


@pytest.mark.parametrize("resample", ["merge", "conv", "attention"])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_resampling(backbone: type[FrameBackbone], resample: str, interpolation: str) -> None:
    levels = {"stages": 3} if backbone is STCNNTSOANet else {"levels": 3}
    options = {"resample": resample, "interpolation": interpolation, "resample_block_string": "T1"}
    check_contract(make(backbone, block_strings="L0", **options, **levels), (3, 9, 14))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_layer_norm_takes_the_built_image_size_and_any_number_of_frames(backbone: type[FrameBackbone]) -> None:
    net = make(backbone, norm="layer", img_size=(4, 13, 18))
    check_contract(net, (4, 13, 18))
    check_contract(net, (7, 13, 18))
    with pytest.raises(ImageSizeError, match=r"\(4, 13, 18\).*\(4, 14, 18\).*sliding window"):
        net(torch.zeros(1, 4, 3, 14, 18))


def test_layer3d_norm_fixes_the_frames_as_well() -> None:
    net = make(STCNNTHRNet, norm="layer3d", img_size=(4, 13, 18))
    check_contract(net, (4, 13, 18))
    with pytest.raises(ImageSizeError, match=r"\(5, 13, 18\)"):
        net(torch.zeros(1, 5, 3, 13, 18))


@pytest.mark.parametrize("shape", [(1, 3, 4, 8, 8), (4, 3, 8, 8)])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_another_layout_is_refused(backbone: type[FrameBackbone], shape: tuple[int, ...]) -> None:
    with pytest.raises(LayoutError, match=r"\(B, T, C, H, W\) with C = 3"):
        make(backbone)(torch.zeros(shape))


COMMON: dict[str, Any] = {
    "channels": 8,
    "block_strings": "T1G1",
    "img_size": (4, 32, 32),
    "window_size": (2, 2, 2),
    "patch_size": (1, 1, 1),
    "window_sizing": "keep_num_window",
    "resample": "conv",
    "resample_kernel_size": 1,
    "resample_block_string": "C2",
    "interpolation": "nearest",
    "num_heads": 4,
    "dense": True,
}
OWN: dict[type[FrameBackbone], dict[str, Any]] = {
    STCNNTHRNet: {"levels": 3, "aggregate": False},
    STCNNTUNet: {"levels": 1, "gated": False},
    STCNNTSOANet: {"stages": 3, "downsample": False},
}
FLIPS = [(backbone, name, value) for backbone in BACKBONES for name, value in {**COMMON, **OWN[backbone]}.items()]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_option_is_flipped_below(backbone: type[FrameBackbone]) -> None:
    shared = set(inspect.signature(FrameBackbone).parameters) - {"levels", "cell_options"}
    named = (shared | set(inspect.signature(backbone).parameters)) - {"in_channels", "options"}
    assert named == {*COMMON, *OWN[backbone]} - {"num_heads", "dense"}


@pytest.mark.parametrize(("backbone", "name", "value"), FLIPS)
def test_every_option_has_an_effect(backbone: type[FrameBackbone], name: str, value: Any) -> None:  # noqa: ANN401
    base: dict[str, Any] = {"block_strings": ["T1L1T1"], "position_bias": "before_softmax"}
    if backbone is STCNNTSOANet:
        base |= {"stages": 2}
    if name == "img_size":
        base |= {"block_strings": ["V2"]}
    if name == "resample_block_string":
        base |= {"resample": "attention"}
    if name in ("resample_kernel_size", "interpolation") and backbone is STCNNTSOANet:
        base |= {"resample": "conv"}
    if name == "interpolation":
        base |= {"resample": "conv"}
    if name == "window_sizing":
        base |= {"img_size": (4, 32, 32), "window_size": (2, 8, 8)}
    assert_differ(lambda **options: make(backbone, **options), base, {name: value}, torch.randn(1, 4, 3, 32, 32))


def test_strings_repeat_the_last() -> None:
    assert extend_strings("T1", 3) == ["T1", "T1", "T1"]
    assert extend_strings(["T1", "L1"], 3) == ["T1", "L1", "L1"]
    for strings in ([], ["T1"] * 4):
        with pytest.raises(NetworkConfigError, match=f"1 to 3 block strings, got {len(strings)}"):
            extend_strings(strings, 3)


@pytest.mark.parametrize(
    ("backbone", "options", "said"),
    [
        (STCNNTHRNet, {"levels": 1}, "2 to 5 levels, got 1"),
        (STCNNTHRNet, {"levels": 6}, "2 to 5 levels, got 6"),
        (STCNNTUNet, {"levels": 0}, "1 to 5 levels, got 0"),
        (STCNNTUNet, {"channels": (4, 8, 16)}, r"3 levels .*levels=2"),
        (STCNNTSOANet, {"stages": 0}, "at least one stage, got 0"),
        (STCNNTHRNet, {"resample": "pool"}, "'pool'"),
        (STCNNTHRNet, {"resample_kernel_size": 2}, r"\(1, 3\), got 2"),
        (STCNNTHRNet, {"interpolation": "cubic"}, "'cubic'"),
        (STCNNTHRNet, {"window_sizing": "none"}, "'none'"),
        (STCNNTHRNet, {"img_size": (1, 2, 3, 4)}, "img_size"),
        (STCNNTSOANet, {"levels": 2}, "Unknown option levels"),
    ],
)
def test_wrong_options_are_refused(backbone: type[FrameBackbone], options: dict[str, Any], said: str) -> None:
    with pytest.raises(NetworkConfigError, match=said):
        make(backbone, **options)
