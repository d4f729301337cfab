# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of turning 2D weights into 3D ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from monai_stcnnt.errors import CheckpointMismatchError, NetworkConfigError
from monai_stcnnt.networks.hrnetv2.inflation import inflate_2d_to_3d
from monai_stcnnt.networks.hrnetv2.net import HRNetV2

__all__: list[str] = []

TINY: dict[str, Any] = {
    "in_channels": 2, "out_channels": 3, "channels": (4, 5, 6, 7), "num_blocks": (1, 1, 1), "num_modules": (1, 1, 1),
    "stem_channels": 4, "layer1_channels": 2, "layer1_blocks": 1,
}  # fmt: skip


def settled(net: nn.Module) -> nn.Module:
    """Give batch norms statistics other than zero and one, and compute in double precision."""
    for name, buffer in net.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        elif name.endswith("running_var"):
            buffer.uniform_(0.05, 0.2)
    return net.eval().double()


@pytest.mark.parametrize(
    "options", [{}, {"ocr": True, "ocr_channels": (6, 4)}, {"align_corners": True, "fuse_mode": "nearest"}]
)
def test_center_gives_the_2d_answer_in_every_slice_of_a_constant_volume(options: dict[str, Any]) -> None:
    flat, deep = settled(HRNetV2(2, **TINY, **options)), HRNetV2(3, **TINY, **options).eval().double()
    deep.load_state_dict(inflate_2d_to_3d(flat.state_dict(), deep))
    image = torch.randn(1, 2, 21, 34, dtype=torch.float64)
    with torch.no_grad():
        expected = flat(image).unsqueeze(2).expand(-1, -1, 5, -1, -1)
        result = deep(image.unsqueeze(2).repeat(1, 1, 5, 1, 1))
    assert expected.std() > 1e-3
    torch.testing.assert_close(result, expected)


def test_average_gives_the_2d_answer_far_from_the_first_and_last_slice_only() -> None:
    flat, deep = settled(HRNetV2(2, **TINY)), HRNetV2(3, **TINY).eval().double()
    deep.load_state_dict(inflate_2d_to_3d(flat.state_dict(), deep, "average"))
    image = torch.randn(1, 2, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        expected = flat(image)
        result = deep(image.unsqueeze(2).repeat(1, 1, 1024, 1, 1))
    torch.testing.assert_close(result[:, :, 512], expected)
    assert not torch.allclose(result[:, :, 0], expected, atol=1e-3)


def test_average_keeps_the_sum_over_depth_and_center_the_middle() -> None:
    flat, deep = nn.Conv2d(2, 3, 3), nn.Conv3d(2, 3, 3)
    average = inflate_2d_to_3d(flat.state_dict(), deep, "average")["weight"]
    center = inflate_2d_to_3d(flat.state_dict(), deep, "center")["weight"]
    torch.testing.assert_close(average.sum(dim=2), flat.weight.detach())
    assert torch.equal(center[:, :, 1], flat.weight.detach())
    assert center.count_nonzero() == flat.weight.count_nonzero()


def test_inflated_weights_are_copies() -> None:
    flat, deep = nn.Conv2d(2, 3, 3), nn.Conv3d(2, 3, 3)
    inflate_2d_to_3d(flat.state_dict(), deep)["bias"].zero_()
    assert flat.bias is not None
    assert flat.bias.abs().sum() > 0


def test_networks_that_differ_are_refused() -> None:
    with pytest.raises(CheckpointMismatchError, match=r"\[3, 2, 3, 3\], which does not inflate to \[4, 2, 3, 3, 3\]"):
        inflate_2d_to_3d(nn.Conv2d(2, 3, 3).state_dict(), nn.Conv3d(2, 4, 3))
    with pytest.raises(CheckpointMismatchError, match="differ in 1 names, such as \\['bias'\\]"):
        inflate_2d_to_3d(nn.Conv2d(2, 3, 3).state_dict(), nn.Conv3d(2, 3, 3, bias=False))


def test_unknown_mode_is_refused() -> None:
    mode: Any = "first"
    with pytest.raises(NetworkConfigError, match="'center', 'average'"):
        inflate_2d_to_3d(nn.Conv2d(2, 3, 3).state_dict(), nn.Conv3d(2, 3, 3), mode)
