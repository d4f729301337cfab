# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of random clips."""

from __future__ import annotations

import pytest
import torch

from monai_stcnnt.errors import LayoutError
from monai_stcnnt.transforms import ForegroundReferenced, RandFrameClip, RandFrameClipd


def numbered(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.arange(1.0, 1.0 + torch.Size(shape).numel()).reshape(shape)


def cut(transform: RandFrameClip, series: torch.Tensor) -> torch.Tensor:
    piece = transform(series)
    assert isinstance(piece, torch.Tensor)
    return piece


@pytest.mark.parametrize("shape", [(2, 1, 9, 20, 22), (1, 2, 1, 5, 30), (3, 1, 4, 4, 4)])
def test_a_clip_is_a_piece_of_one_slice(shape: tuple[int, ...]) -> None:
    series = numbered(shape)
    clip = RandFrameClip((4, 8, 8)).set_random_state(0)
    for _ in range(5):
        piece = cut(clip, series)
        assert piece.shape == (shape[1], 4, 8, 8)
        slices = {int((value - 1) // (series[0].numel())) for value in piece.flatten().tolist()}
        assert len(slices) == 1
        if min(shape[2:]) >= 8:
            assert torch.equal(piece[:, :, 0, 1] - piece[:, :, 0, 0], torch.ones_like(piece[:, :, 0, 0]))


def test_a_small_series_is_reflected() -> None:
    series = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 1, 3, 1, 1)
    piece = cut(RandFrameClip((7, 1, 2)).set_random_state(0), series)
    assert piece[0, :, 0, 0].tolist() == [1, 2, 3, 2, 1, 2, 3]


def test_the_same_seed_gives_the_same_clip() -> None:
    series = numbered((2, 1, 9, 20, 22))
    first, second = (cut(RandFrameClip((4, 8, 8)).set_random_state(3), series) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, cut(RandFrameClip((4, 8, 8)).set_random_state(4), series))


def test_clips_avoid_air() -> None:
    series = torch.zeros(1, 1, 2, 64, 64)
    series[..., :32, :32] = 1.0
    clip = RandFrameClip((2, 16, 16), min_foreground=0.5, tries=200).set_random_state(0)
    assert all(float(cut(clip, series).mean()) >= 0.5 for _ in range(10))


@pytest.mark.parametrize(("prob", "still"), [(0.0, False), (1.0, True)])
def test_a_still_clip_repeats_a_frame(prob: float, still: bool) -> None:
    piece = cut(RandFrameClip((4, 8, 8), still_prob=prob).set_random_state(0), numbered((1, 1, 9, 20, 22)))
    assert bool((piece == piece[:, :1]).all()) is still


def test_all_keys_are_cut_at_one_place() -> None:
    series = numbered((2, 1, 9, 20, 22))
    cut = RandFrameClipd(["image", "label"], (4, 8, 8)).set_random_state(0)({"image": series, "label": 2 * series})
    assert torch.equal(2 * cut["image"], cut["label"])


def test_the_reference_is_that_of_the_whole_series() -> None:
    series = torch.zeros(1, 2, 3, 16, 16)
    series[:, 0, :, 4:12, 4:12], series[:, 1, :, 4:12, 4:12] = 3.0, 4.0
    assert ForegroundReferenced("image")({"image": series})["reference"] == pytest.approx(5.0)


def test_other_axes_are_refused() -> None:
    with pytest.raises(LayoutError, match="Z, C, T, H, W"):
        RandFrameClip()(torch.zeros(1, 4, 8, 8))
