# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Layouts of the networks, and backbones by name."""

from __future__ import annotations

import pytest
import torch

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.backbones import STCNNTHRNet, STCNNTSOANet, STCNNTUNet
from monai_stcnnt.networks.nets.base import FrameNet, build_backbone
from tests.networks.laws import SMALL

__all__: list[str] = []


def test_frames_and_back() -> None:
    x = torch.randn(2, 3, 4, 5, 6)
    channels_first, frames_first = FrameNet(3, 1), FrameNet(4, 1, "BTCHW")
    assert channels_first.to_frames(x).shape == (2, 4, 3, 5, 6)
    torch.testing.assert_close(channels_first.from_frames(channels_first.to_frames(x)), x)
    assert frames_first.from_frames(frames_first.to_frames(x)) is x


def test_backbones_by_name() -> None:
    assert isinstance(build_backbone("hrnet", 3, 4, **SMALL), STCNNTHRNet)
    assert isinstance(build_backbone("unet", 3, 4, **SMALL), STCNNTUNet)
    assert isinstance(build_backbone("soanet", 3, 4, **SMALL), STCNNTSOANet)
    with pytest.raises(NetworkConfigError, match=r"'hrnet', 'unet', 'soanet'.*'vgg'"):
        build_backbone("vgg", 3, 4)  # type: ignore[arg-type]
