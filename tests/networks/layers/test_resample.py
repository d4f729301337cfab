# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Resampling between levels: where every pixel goes, sizes, and the gate."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.layers.resample import AttentionGate, FramePatchMerging, InterpolateFrames, Interpolation

__all__: list[str] = []


def identity_merging(channels: int, spatial_dims: int) -> Any:  # noqa: ANN401 - a module by name
    """Make a merging whose convolution passes every neighbor on as a channel."""
    neighbors = 4 if spatial_dims == 2 else 8
    merge: Any = FramePatchMerging(channels, neighbors * channels, spatial_dims=spatial_dims)
    torch.nn.init.dirac_(merge.conv.conv.weight)
    return merge


def test_merging_lists_the_neighbors_row_first() -> None:
    x = torch.randn(2, 3, 2, 6, 8)
    y = identity_merging(2, 2)(x)
    wanted = [x[:, :, :, i::2, j::2] for j in (0, 1) for i in (0, 1)]
    torch.testing.assert_close(y, torch.cat(wanted, dim=2))


def test_merging_in_three_dimensions_takes_the_even_frame_first() -> None:
    x = torch.randn(2, 4, 2, 6, 8)
    y = identity_merging(2, 3)(x)
    wanted = [x[:, t::2, :, i::2, j::2] for t in (0, 1) for j in (0, 1) for i in (0, 1)]
    torch.testing.assert_close(y, torch.cat(wanted, dim=2))


@pytest.mark.parametrize("size", [(3, 5, 7), (1, 1, 1), (2, 1, 6)])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_merging_rounds_odd_sizes_up(size: tuple[int, int, int], spatial_dims: int) -> None:
    t, h, w = size
    y = FramePatchMerging(2, 5, spatial_dims=spatial_dims)(torch.randn(1, t, 2, h, w))
    assert y.shape == (1, t if spatial_dims == 2 else -(-t // 2), 5, -(-h // 2), -(-w // 2))


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_interpolation_keeps_constants_and_frames_apart(mode: Interpolation) -> None:
    levels = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1, 1)
    x = levels.expand(1, 3, 2, 5, 7)
    torch.testing.assert_close(InterpolateFrames(2, mode)(x), levels.expand(1, 3, 2, 10, 14))
    torch.testing.assert_close(InterpolateFrames(0.5, mode)(x), levels.expand(1, 3, 2, 3, 4))


def test_nearest_repeats_and_bilinear_does_not() -> None:
    x = torch.randn(1, 1, 1, 3, 4)
    nearest = InterpolateFrames(2, "nearest")(x)
    torch.testing.assert_close(nearest, x.repeat_interleave(2, 3).repeat_interleave(2, 4))
    assert not torch.allclose(InterpolateFrames(2, "bilinear")(x), nearest)


def test_halving_averages_two_by_two() -> None:
    x = torch.randn(1, 2, 3, 4, 6)
    wanted = x.unflatten(4, (-1, 2)).unflatten(3, (-1, 2)).mean([4, 6])
    torch.testing.assert_close(InterpolateFrames(0.5, "bilinear")(x), wanted)


def test_gate_scales_every_pixel_by_one_number_below_one() -> None:
    gate = AttentionGate(3, 5)
    query, x = torch.randn(1, 2, 5, 4, 4), torch.randn(1, 2, 3, 4, 4)
    ratio = gate(query, x) / x
    assert ratio.min() > 0
    assert ratio.max() < 1
    torch.testing.assert_close(ratio, ratio[:, :, :1].expand_as(ratio))
    assert not torch.allclose(gate(query + 1, x), gate(query, x))


def test_unknown_interpolation_is_refused() -> None:
    with pytest.raises(NetworkConfigError, match="'cubic'"):
        InterpolateFrames(2, "cubic")  # type: ignore[arg-type]
