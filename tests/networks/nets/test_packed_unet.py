# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The U-Net on packed pixels: any size, frame by frame, and the laws of all networks."""

from __future__ import annotations

import pytest
import torch

from monai_stcnnt.errors import LayoutError, NetworkConfigError
from monai_stcnnt.networks.nets import PackedUNet, build_variant
from tests.networks.laws import check_gradients, check_half_precision, check_scripted_and_traced

WIDTHS = (4, 4, 6, 6, 8, 4)


@pytest.mark.parametrize("size", [(1, 1, 1), (3, 33, 50), (2, 64, 32)])
def test_any_size_in_either_layout(size: tuple[int, int, int]) -> None:
    net = PackedUNet(1, 4, WIDTHS).eval()
    frames = PackedUNet(1, 4, WIDTHS, layout="BTCHW").eval()
    frames.load_state_dict(net.state_dict())
    x = torch.randn(2, 1, *size)
    assert net(x).shape == (2, 4, *size)
    torch.testing.assert_close(frames(x.transpose(1, 2)).transpose(1, 2), net(x))


def test_every_frame_is_segmented_by_itself() -> None:
    net = PackedUNet(2, 3, WIDTHS, pack=4).eval()
    x = torch.randn(1, 2, 4, 64, 64)
    torch.testing.assert_close(net(x)[:, :, 2:3], net(x[:, :, 2:3]))


def test_laws_of_networks() -> None:
    net = PackedUNet(1, 4, WIDTHS)
    check_gradients(net, torch.randn(2, 1, 2, 32, 64))
    check_scripted_and_traced(net.eval(), torch.randn(1, 1, 2, 32, 32), torch.randn(1, 1, 3, 40, 33))
    check_half_precision(net, torch.randn(1, 1, 2, 32, 32))


def test_the_variant_is_small() -> None:
    net = build_variant("packed_unet_segmenter")
    assert isinstance(net, PackedUNet)
    assert 0.7e6 < sum(p.numel() for p in net.parameters()) < 1.2e6


def test_wrong_use_is_refused() -> None:
    with pytest.raises(NetworkConfigError, match="pack must be 2"):
        PackedUNet(pack=1)
    with pytest.raises(NetworkConfigError, match="6 numbers"):
        PackedUNet(channels=(8, 8))
    with pytest.raises(LayoutError, match="5 axes"):
        PackedUNet()(torch.zeros(1, 1, 32, 32))
