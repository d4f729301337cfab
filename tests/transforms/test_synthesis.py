# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Synthetic images follow their labels; a deformation moves image and labels alike."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pytest
import torch

from monai_stcnnt.errors import LayoutError
from monai_stcnnt.transforms import RandFrameWarpd, RandImageFromLabelsd, fill_unlabelled, image_from_labels, warp_grid

RANGES = ((0.4, 0.5), (0.05, 0.1), (0.8, 1.0))


@pytest.fixture
def label() -> torch.Tensor:
    label = torch.zeros(1, 4, 24, 20)
    label[..., 4:10, 4:10], label[..., 12:18, 4:10], label[..., 4:10, 12:18] = 1, 2, 3
    return label


def test_classes_have_the_intensities_that_were_asked_for(label: torch.Tensor) -> None:
    for seed in range(5):
        image = image_from_labels(np.random.RandomState(seed), label[0], RANGES, texture=0.0, background=False)
        for n, (low, high) in enumerate(RANGES, start=1):
            values = image[label[0] == n]
            assert low - 1e-6 <= float(values.min())
            assert float(values.max()) <= high + 1e-6
            assert float(values.std()) == pytest.approx(0, abs=1e-6)
        assert not image[label[0] == 0].any()


def test_tied_classes_are_alike_and_textures_differ(label: torch.Tensor) -> None:
    wide = ((0.05, 1.0),) * 3
    for seed in range(5):
        image = image_from_labels(np.random.RandomState(seed), label[0], wide, [(1, 3)], texture=0.0)
        assert 0.8 < float(image[label[0] == 1].mean() / image[label[0] == 3].mean()) < 1.25
    assert image_from_labels(np.random.RandomState(0), label[0], wide, texture=0.3)[label[0] == 1].std() > 0
    assert image_from_labels(np.random.RandomState(0), label[0], wide)[label[0] == 0].std() > 0
    with pytest.raises(ValueError, match="no entry"):
        image_from_labels(np.random.RandomState(0), label[0], wide[:2])


def test_frames_without_labels_take_those_of_the_nearest(label: torch.Tensor) -> None:
    label[:, 3] = torch.roll(label[:, 3], 2, -1)
    partial = label.clone()
    partial[:, 1], partial[:, 2] = -1, -1
    filled = fill_unlabelled(partial)
    torch.testing.assert_close(filled[:, :2], label[:, :1].expand(-1, 2, -1, -1))
    torch.testing.assert_close(filled[:, 2:], label[:, 3:].expand(-1, 2, -1, -1))
    assert not fill_unlabelled(torch.full_like(label, -1)).any()


def test_the_transform_is_replayed_by_seed_and_leaves_images_alone_otherwise(label: torch.Tensor) -> None:
    item: dict[Hashable, Any] = {"image": torch.rand(1, 4, 24, 20), "label": label}
    make = RandImageFromLabelsd("image", prob=1.0)
    first, again = (make.set_random_state(1)(item) for _ in range(2))
    torch.testing.assert_close(first["image"], again["image"])
    assert first["image"].shape == item["image"].shape
    assert not torch.equal(first["image"], item["image"])
    assert torch.equal(RandImageFromLabelsd("image", prob=0.0)(item)["image"], item["image"])
    with pytest.raises(ValueError, match="one key"):
        RandImageFromLabelsd(["a", "b"])
    with pytest.raises(LayoutError, match="Labels of a clip"):
        make({**item, "label": label[0]})


def test_a_warp_of_nothing_is_the_identity(label: torch.Tensor) -> None:
    still = RandFrameWarpd(["image", "label"], rotation=0, scale=0, shear=0, displacement=0, motion=0)
    item: dict[Hashable, Any] = {"image": torch.rand(1, 4, 24, 20), "label": label}
    out = still(item)
    torch.testing.assert_close(out["image"], item["image"], atol=1e-5, rtol=0)
    torch.testing.assert_close(out["label"], label)


@pytest.mark.parametrize("option", ["rotation", "scale", "shear", "displacement", "motion"])
def test_every_kind_of_deformation_moves_pixels(option: str) -> None:
    nothing = {"rotation": 0.0, "scale": 0.0, "shear": 0.0, "displacement": 0.0, "motion": 0.0}
    grids = [warp_grid(np.random.RandomState(0), (4, 12, 10), **o) for o in (nothing, {**nothing, option: 0.1})]
    assert not torch.allclose(grids[0], grids[1])
    assert torch.allclose(grids[1][0], grids[1][1]) == (option != "motion")


def test_image_and_labels_move_together_and_labels_stay_whole(label: torch.Tensor) -> None:
    warp = RandFrameWarpd(["image", "label"], flip_prob=0.5)
    for seed in range(4):
        out = warp.set_random_state(seed)({"image": (label == 3).float(), "label": label})
        assert set(out["label"].unique().tolist()) <= {0.0, 1.0, 2.0, 3.0}
        assert ((out["image"] > 0.5) == (out["label"] == 3)).float().mean() > 0.97
    with pytest.raises(LayoutError, match="Expected a clip"):
        warp({"image": torch.rand(4, 4), "label": torch.rand(4, 4)})


def test_rotation_keeps_areas() -> None:
    image = torch.zeros(1, 1, 40, 36)
    image[..., 16:24, 14:22] = 1
    warp = RandFrameWarpd(["image"], rotation=1.5, scale=0, shear=0, displacement=0, motion=0)
    for seed in range(3):
        assert float(warp.set_random_state(seed)({"image": image})["image"].sum()) == pytest.approx(64, rel=0.05)
