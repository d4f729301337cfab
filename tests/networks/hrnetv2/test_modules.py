# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of the parts of the convolutional HRNet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.hrnetv2.modules import (
    HighResolutionModule,
    HRNetBlock,
    HRNetFuse,
    HRNetInstanceNorm,
    HRNetStage,
    HRNetTransition,
    make_strided_chain,
    resize,
)

__all__: list[str] = []


def branches(channels: Sequence[int], size: Sequence[int]) -> list[torch.Tensor]:
    """Random branches whose extents are halved, rounded up, from one to the next."""
    xs = []
    for width in channels:
        xs.append(torch.randn(2, width, *size))
        size = [(extent + 1) // 2 for extent in size]
    return xs


@pytest.mark.parametrize(("block", "expansion"), [("basic", 1), ("bottleneck", 4)])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_block_with_silent_convolutions_is_its_skip(block: Any, expansion: int, spatial_dims: int) -> None:  # noqa: ANN401
    width = 3 * expansion
    net = HRNetBlock(block, spatial_dims, width, 3, "batch").eval()
    last: Any = net.conv2 if net.conv3 is None else net.conv3
    torch.nn.init.zeros_(last.weight)
    x = torch.randn(2, width, *[5, 6, 3][:spatial_dims])
    torch.testing.assert_close(net(x), x.relu())


@pytest.mark.parametrize(("block", "expansion"), [("basic", 1), ("bottleneck", 4)])
def test_block_projects_its_skip_where_the_channels_change(block: Any, expansion: int) -> None:  # noqa: ANN401
    net: Any = HRNetBlock(block, 2, 5, 3, "batch")
    assert net(torch.randn(2, 5, 4, 4)).shape == (2, 3 * expansion, 4, 4)
    assert net.downsample[0].weight.shape == (3 * expansion, 5, 1, 1)


def test_instance_norm_is_that_of_torch_and_takes_a_single_pixel() -> None:
    net, reference = HRNetInstanceNorm(3), torch.nn.InstanceNorm3d(3, affine=True)
    weights = {"weight": torch.rand(3), "bias": torch.rand(3)}
    net.load_state_dict(weights)
    reference.load_state_dict(weights)
    x = torch.randn(2, 3, 4, 5, 6)
    torch.testing.assert_close(net(x), reference(x))
    torch.testing.assert_close(net(x[:, :, :1, :1, :1]), weights["bias"].reshape(1, 3, 1, 1, 1).expand(2, 3, 1, 1, 1))


def test_strided_chain_changes_the_channels_last() -> None:
    chain = make_strided_chain(2, 3, 7, 3, norm="batch", last_relu=False)
    kernels = [tensor.shape[:2] for name, tensor in chain.state_dict().items() if name.endswith("0.weight")]
    assert kernels == [(3, 3), (3, 3), (7, 3)]
    assert [module for module in chain.modules() if not list(module.children())][-1].__class__ is torch.nn.BatchNorm2d
    assert chain(torch.randn(2, 3, 17, 9)).shape == (2, 7, 3, 2)


def test_transition_keeps_equal_branches_and_makes_new_ones_from_the_last() -> None:
    net = HRNetTransition(2, [4, 6], [4, 5, 8, 9], "batch").eval()
    xs = branches([4, 6], [19, 13])
    ys = net(xs)
    assert ys[0] is xs[0]
    assert [y.shape[1:] for y in ys] == [(4, 19, 13), (5, 10, 7), (8, 5, 4), (9, 3, 2)]
    other = net([xs[0] + 1, xs[1]])
    assert all(torch.equal(a, b) for a, b in zip(ys[1:], other[1:], strict=True))


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize(("spatial_dims", "size"), [(2, [13, 9]), (3, [5, 9, 6])])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_fuse_has_the_size_of_its_level(mode: Any, spatial_dims: int, size: list[int], level: int) -> None:  # noqa: ANN401
    xs = branches([3, 4, 5], size)
    net = HRNetFuse(spatial_dims, [3, 4, 5], level, "batch", mode, align_corners=False).eval()
    assert net(xs).shape == xs[level].shape


def test_fuse_is_the_sum_of_all_branches() -> None:
    net = HRNetFuse(2, [3, 3], 0, "batch", "bilinear", align_corners=False).eval()
    fine, coarse = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 4, 4)
    torch.nn.init.dirac_(net.get_parameter("1.0.weight"))
    expected = fine + torch.nn.functional.interpolate(coarse, (8, 8), mode="bilinear") / (1 + 1e-5) ** 0.5
    torch.testing.assert_close(net([fine, coarse]), expected)


def test_fuse_modes_agree_on_constants_and_differ_otherwise() -> None:
    outputs = {}
    for mode in ("nearest", "bilinear"):
        torch.manual_seed(1)
        net = HRNetFuse(2, [3, 4], 0, "batch", mode, align_corners=False).eval()
        constant, varying = torch.ones(1, 4, 5, 4), torch.rand(1, 4, 5, 4)
        outputs[mode] = [net([torch.ones(1, 3, 9, 7), coarse]) for coarse in (constant, varying)]
    torch.testing.assert_close(outputs["nearest"][0], outputs["bilinear"][0])
    assert not torch.allclose(outputs["nearest"][1], outputs["bilinear"][1])


def test_resize_with_aligned_corners_keeps_them() -> None:
    x = torch.rand(1, 1, 3, 4)
    corners = lambda y: y[..., [0, 0, -1, -1], [0, -1, 0, -1]]  # noqa: E731 - read twice, once per image
    torch.testing.assert_close(corners(resize(x, [7, 9], "bilinear", True)), corners(x))
    torch.testing.assert_close(resize(x, [3, 4], "bilinear", False), x)
    assert torch.equal(resize(x, [6, 8], "nearest", True), x.repeat_interleave(2, -2).repeat_interleave(2, -1))


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("num_blocks", ([1, 1, 1], [3, 4], [3, 4])),
        ("in_channels", ([1, 1], [3], [3, 4])),
        ("channels", ([1, 1], [3, 4], [3, 4, 5])),
    ],
)
def test_module_refuses_counts_that_do_not_fit_and_says_both(name: str, counts: tuple[list[int], ...]) -> None:
    wrong = {"num_blocks": 3, "in_channels": 1, "channels": 3}[name]
    with pytest.raises(NetworkConfigError, match=f"num_branches is 2, but {name} has {wrong} entries"):
        HighResolutionModule(2, 2, *counts)


@pytest.mark.parametrize(("option", "value"), [("block", "dense"), ("fuse_mode", "cubic")])
def test_module_refuses_unknown_choices(option: str, value: str) -> None:
    options: dict[str, Any] = {option: value}
    with pytest.raises(NetworkConfigError, match=value):
        HighResolutionModule(2, 2, [1, 1], [3, 4], [3, 4], **options)


def test_one_branch_has_nothing_to_exchange() -> None:
    net = HighResolutionModule(2, 1, [2], [3], [3]).eval()
    x = torch.randn(1, 3, 6, 5)
    torch.testing.assert_close(net([x])[0], net.branches[0](x))
    assert not any(name.startswith("fuse") for name in net.state_dict())


def test_single_scale_output_is_the_first_of_many() -> None:
    full = HighResolutionModule(2, 3, [1, 1, 1], [3, 4, 5], [3, 4, 5]).eval()
    single = HighResolutionModule(2, 3, [1, 1, 1], [3, 4, 5], [3, 4, 5], multi_scale_output=False).eval()
    weights = full.state_dict()
    single.load_state_dict({name: weights[name] for name in single.state_dict()})
    xs = branches([3, 4, 5], [9, 7])
    assert len(single(xs)) == 1
    assert single.out_channels == [3]
    assert torch.equal(single(xs)[0], full(xs)[0])


def test_stage_is_its_modules_in_a_row() -> None:
    stage = HRNetStage(2, [1, 1], [2, 3], spatial_dims=2, block="bottleneck").eval()
    xs = branches([8, 12], [6, 6])
    expected = stage[1](stage[0](xs))
    assert all(torch.equal(a, b) for a, b in zip(stage(xs), expected, strict=True))
    assert stage.out_channels == stage.in_channels == [8, 12]
