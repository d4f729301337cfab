# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Convolution, padding and cropping in frame layout, compared with torch's own padding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it

from monai_stcnnt.errors import LayoutError, NetworkConfigError
from monai_stcnnt.networks.layers.frames import (
    FrameConv,
    PlanarConv3d,
    add_frames,
    cat_frames,
    check_frames,
    crop_frames,
    frames_at_once,
    level_size,
    pad_frames,
    to_triple,
)

__all__: list[str] = []


def test_padding_at_the_end_is_torch_reflection() -> None:
    x = torch.randn(2, 4, 3, 5, 6)
    wanted = F.pad(x.transpose(1, 2), [0, 3, 0, 2, 0, 3], mode="reflect").transpose(1, 2)
    torch.testing.assert_close(pad_frames(x, (7, 7, 9)), wanted)


def test_fit_pads_and_crops_axis_by_axis() -> None:
    x = torch.randn(2, 4, 3, 5, 6)
    y = crop_frames(pad_frames(x, (2, 9, 6)), (2, 9, 6))
    assert y.shape == (2, 2, 3, 9, 6)
    torch.testing.assert_close(crop_frames(y, (2, 5, 6)), x[:, :2])


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_convolution_reflects(kernel_size: int, spatial_dims: int) -> None:
    conv: Any = FrameConv(3, 4, kernel_size, spatial_dims=spatial_dims)
    x = torch.randn(2, 5, 3, 6, 7)
    p = kernel_size // 2
    if spatial_dims == 2:
        images = F.pad(x.flatten(0, 1), [p] * 4, mode="reflect") if p else x.flatten(0, 1)
        wanted = F.conv2d(images, conv.conv.weight, conv.conv.bias).unflatten(0, (2, 5))
    else:
        clips = F.pad(x.transpose(1, 2), [p] * 6, mode="reflect") if p else x.transpose(1, 2)
        wanted = F.conv3d(clips, conv.conv.weight, conv.conv.bias).transpose(1, 2)
    torch.testing.assert_close(conv(x), wanted)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 1), (2, 1, 3), (1, 2, 2)])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_smallest_images_are_convolved(shape: tuple[int, int, int], spatial_dims: int) -> None:
    t, h, w = shape
    conv: Any = FrameConv(2, 3, 5, spatial_dims=spatial_dims)
    torch.nn.init.constant_(conv.conv.weight, 1.0)
    torch.nn.init.zeros_(conv.conv.bias)
    ones = conv(torch.ones(1, t, 2, h, w))
    assert ones.shape == (1, t, 3, h, w)
    torch.testing.assert_close(ones, torch.full_like(ones, 2.0 * 5**spatial_dims))


@pytest.mark.parametrize(("h", "w"), [(6, 8), (5, 7), (1, 1)])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_stride_rounds_up_and_leaves_time(h: int, w: int, spatial_dims: int) -> None:
    conv = FrameConv(2, 3, stride=2, spatial_dims=spatial_dims)
    assert conv(torch.randn(2, 3, 2, h, w)).shape == (2, 3, 3, -(-h // 2), -(-w // 2))
    assert level_size((3, h, w), 2) == (3, -(-h // 2), -(-w // 2))


def test_frames_do_not_meet_in_two_dimensions() -> None:
    conv = FrameConv(2, 2)
    x = torch.randn(1, 3, 2, 5, 5)
    y = conv(x)
    x[:, 1] += 1
    changed = (conv(x) - y).abs().amax([0, 2, 3, 4])
    assert changed[0] == 0
    assert changed[1] > 0
    assert changed[2] == 0


@pytest.mark.parametrize(("given", "triple"), [(4, (1, 4, 4)), ((2, 3), (1, 2, 3)), ([2, 3, 4], (2, 3, 4))])
def test_sizes_expand(given: int | tuple[int, ...], triple: tuple[int, int, int]) -> None:
    assert to_triple(given, "size") == triple


@pytest.mark.parametrize("given", [0, (1, 2, 3, 4), (2, 0), (3,)])
def test_impossible_sizes_are_refused(given: int | tuple[int, ...]) -> None:
    with pytest.raises(NetworkConfigError, match="window_size"):
        to_triple(given, "window_size")


@pytest.mark.parametrize("options", [{"spatial_dims": 1}, {"kernel_size": 2}, {"kernel_size": 0}])
def test_impossible_convolutions_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(NetworkConfigError, match=str(next(iter(options.values())))):
        FrameConv(1, 1, **options)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 4, 3, 5, 5)])
def test_wrong_layout_names_what_came(shape: tuple[int, ...]) -> None:
    with pytest.raises(LayoutError) as error:
        check_frames(torch.zeros(shape), 4, "The net")
    assert str(list(shape)) in str(error.value)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_channels_are_fastest_in_memory_and_stay_so(spatial_dims: int) -> None:
    x = torch.randn(2, 3, 4, 5, 6)
    conv = FrameConv(4, 8, spatial_dims=spatial_dims)
    with torch.no_grad():
        y = conv(torch.cat([x, x], 2)[:, :, 1:5])
        for result in (y, y + y, cat_frames([y, y]), add_frames(y.clone(), y), pad_frames(y, (4, 7, 9))):
            assert result.permute(0, 1, 3, 4, 2).is_contiguous()


def test_sum_overwrites_only_without_gradient_and_in_one_data_type() -> None:
    new, old = torch.ones(1, 1, 1, 1, 1), torch.ones(1, 1, 1, 1, 1)
    assert add_frames(new, old).item() == 2.0
    assert new.item() == 1.0
    with torch.no_grad():
        half = torch.ones(1, 1, 1, 1, 1, dtype=torch.bfloat16)
        assert add_frames(half, old).dtype == torch.float32
        assert add_frames(new, old) is new
    assert (new.item(), old.item()) == (2.0, 1.0)


def test_pieces_fit_their_budget_in_inference_only() -> None:
    x = torch.zeros(10, 3, 4, 4)
    assert frames_at_once(x, 10, 128, 1024) == 10
    with torch.no_grad():
        assert frames_at_once(x, 10, 128, 1024) == 2
        assert frames_at_once(x, 10, 128, 1) == 1
        assert frames_at_once(x, 10, 128) == 10
        assert frames_at_once(torch.zeros(10, 3, 4, 4, device="meta"), 10, 128, 1) == 10


@pytest.mark.parametrize(("kernel", "groups"), [((3, 3, 3), 1), ((2, 1, 3), 1), ((1, 1, 1), 3)])
def test_convolutions_in_the_plane_are_those_over_three_dimensions(kernel: tuple[int, int, int], groups: int) -> None:
    torch.manual_seed(0)
    conv = PlanarConv3d(6, 9, kernel, stride=(1, 2, 2), groups=groups)
    x = torch.randn(2, 6, 5, 9, 8)
    torch.testing.assert_close(conv(x), F.conv3d(x, conv.weight, conv.bias, (1, 2, 2), groups=groups))
