# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Random clips of a heart: geometry that labels and image share, other walls and cavities, replay by seed."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pytest
import torch

from monai_stcnnt.errors import LayoutError
from monai_stcnnt.transforms.hearts.clip import RandHeartClipd, heart_places, radial_map, wall_profile

SPACING = (1.5, 1.2)


def rings(inner: float = 15.0, outer: float = 22.0) -> torch.Tensor:
    """Sets (80, 100) with a cavity and a wall around the middle, radii in mm."""
    y = (torch.arange(80)[:, None] - 40) * SPACING[0]
    x = (torch.arange(100)[None] - 50) * SPACING[1]
    radius = torch.hypot(y, x)
    return torch.where(radius < inner, 8, torch.where(radius < outer, 4, 3)).to(torch.uint8)


def item() -> dict[Hashable, Any]:
    sets = torch.full((3, 1, 4, 80, 100), 15, dtype=torch.uint8)
    sets[1, 0, 2] = rings()
    sets[0, 0, 2] = 3
    image = torch.where(sets == 8, 1.0, torch.where(sets == 4, 0.4, 0.1))
    return {"image": image, "label": sets, "spacing": SPACING, "places": heart_places(sets, SPACING)}


def test_places_of_a_series() -> None:
    places = item()["places"]
    assert [entry[:2] for entry in places.drawn] == [(1, 2)]
    assert [entry[:2] for entry in places.empty] == [(0, 2)]
    assert places.center == pytest.approx((40, 50))


def test_profile_of_rings() -> None:
    profile = wall_profile(rings(), SPACING)
    assert profile is not None
    center, inner, outer = profile
    np.testing.assert_allclose(center, [60, 60], atol=0.2)
    np.testing.assert_allclose(inner, 15, atol=1)
    np.testing.assert_allclose(outer, 22, atol=1)
    assert wall_profile(torch.full((9, 9), 3), SPACING) is None


def test_radial_map_moves_the_borders_and_nothing_far_away() -> None:
    center, inner, outer = np.zeros(2), np.full(64, 15.0), np.full(64, 22.0)
    radii = torch.tensor([0.0, 7.5, 12.0, 15.0, 19.0, 60.0])
    points = torch.stack([torch.zeros(6), radii], -1)
    source = radial_map(points, center, inner, outer, cavity=0.8, wall=1.0)[:, 1]
    torch.testing.assert_close(source, torch.tensor([0.0, 9.375, 15.0, 18.0, 22.0, 60.0]), atol=1e-3, rtol=1e-3)


def test_labels_stay_on_the_image() -> None:
    clip = RandHeartClipd(("image", "label"), clip_size=(1, 64, 64)).set_random_state(0)
    seen = 0
    for _ in range(20):
        out = clip(item())
        assert out["image"].shape == out["label"].shape == (1, 1, 64, 64)
        cavity = out["label"] == 8
        if cavity.sum() > 20:
            seen += 1
            assert float(out["image"][cavity].mean()) > 0.9
            assert float(out["image"][out["label"] == 3].mean()) < 0.15
    assert seen > 10


def test_sizes_of_hearts_differ_and_a_seed_repeats_them() -> None:
    def areas(seed: int) -> list[int]:
        clip = RandHeartClipd(("image", "label"), clip_size=(1, 64, 64), empty_share=0).set_random_state(seed)
        return [int((clip(item())["label"] == 8).sum()) for _ in range(12)]

    assert areas(1) == areas(1)
    assert max(areas(1)) > 1.5 * min(areas(1))


def test_a_clip_of_several_frames_holds_the_labelled_one() -> None:
    clip = RandHeartClipd(("image", "label"), clip_size=(3, 48, 48), empty_share=0).set_random_state(2)
    for _ in range(5):
        labelled = (clip(item())["label"] == 8).flatten(2).any(-1)
        assert int(labelled.sum()) == 1


def test_sets_that_tell_nothing_are_refused() -> None:
    clip = RandHeartClipd(("image", "label"), clip_size=(1, 32, 32))
    unknown: dict[Hashable, Any] = {
        **item(),
        "label": torch.full((3, 1, 4, 80, 100), 15, dtype=torch.uint8),
        "places": None,
    }
    with pytest.raises(LayoutError, match="tell nothing"):
        clip(unknown)
