# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Masks of one heart: parts, holes, the closed wall, and which slices show it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy import ndimage
from torch.nn import functional

from monai_stcnnt.errors import LayoutError, OptionError
from monai_stcnnt.transforms.hearts.masks import HeartMasksd, heart_masks

SPACING = (1.5, 1.5)


def heart_labels() -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(60), torch.arange(60), indexing="ij")
    radius = torch.hypot(y - 30.0, x - 35.0)
    labels = torch.where(radius < 8, 3, torch.where(radius < 12, 2, 0))
    labels[((y - 30).abs() < 8) & (x > 12) & (x < 23)] = 1
    return labels


def probabilities(labels: torch.Tensor, sure: float = 1.0) -> torch.Tensor:
    """(Z, 4, T, H, W) from labels (Z, T, H, W)."""
    hot = functional.one_hot(labels, 4).movedim(-1, 1).float()
    return hot * sure + (1 - sure) / 4


def stack(slices: int = 4, frames: int = 3) -> torch.Tensor:
    return heart_labels().expand(slices, frames, 60, 60).clone()


def test_a_clean_heart_stays_what_it_is() -> None:
    masks, decisions = heart_masks(probabilities(stack()), SPACING)
    assert torch.equal(masks[:, 0].long(), stack())
    assert all(d.contoured and d.confidence > 0.99 for d in decisions)


def test_other_parts_and_holes_go() -> None:
    labels = stack()
    labels[1, 1, 2:6, 2:6] = 3
    labels[2, 0, 50:58, 2:10] = 1
    labels[2, 2, 29:32, 34:37] = 0
    labels[0, 1, 30, 45] = 1
    masks, _ = heart_masks(probabilities(labels), SPACING, smoothing=0)
    assert torch.equal(masks[:, 0].long(), stack())


def test_a_glimpse_of_a_right_ventricle_is_none() -> None:
    labels = stack(4, 5)
    expected = labels.clone()
    labels[2, 3] = torch.where(labels[2, 3] == 1, 0, labels[2, 3])
    expected[2, 3] = labels[2, 3]
    labels[2, 3, 46:51, 33:38] = 1
    masks, _ = heart_masks(probabilities(labels), SPACING, smoothing=0)
    assert torch.equal(masks[:, 0].long(), expected)


def test_the_wall_is_closed_around_the_cavity() -> None:
    labels = stack()
    labels[1, :, 18:30, 30:40] = torch.where(labels[1, :, 18:30, 30:40] == 2, 0, labels[1, :, 18:30, 30:40])
    masks, _ = heart_masks(probabilities(labels), SPACING)
    cavity = masks[1, 0, 0].numpy() == 3
    around = ndimage.binary_dilation(cavity) & ~cavity
    assert set(np.unique(masks[1, 0, 0].numpy()[around])) == {2}


def test_slices_beyond_base_and_apex_are_left_alone() -> None:
    labels = stack(5)
    labels[0] = 0
    labels[4, 0] = 0
    weak = probabilities(labels, 0.9)
    weak[4] = probabilities(torch.where(labels[4:] == 3, 0, labels[4:]), 0.4)[0]
    masks, decisions = heart_masks(weak, SPACING)
    assert [d.contoured for d in decisions] == [False, True, True, True, False]
    assert not masks[0].any()
    assert not masks[4].any()
    assert decisions[0].confidence > decisions[4].confidence >= 0.5


@pytest.mark.parametrize(("muscle", "contoured"), [(0.3, False), (0.5, True)])
def test_blood_without_muscle_around_about_half_of_it_is_no_ventricle(muscle: float, contoured: bool) -> None:
    labels = stack(4)
    y, x = torch.meshgrid(torch.arange(60) - 30.0, torch.arange(60) - 35.0, indexing="ij")
    gone = (torch.atan2(y, x) / (2 * torch.pi) % 1 > muscle) & (labels[3] == 2)
    labels[3] = torch.where(gone, 0, labels[3])
    _, decisions = heart_masks(probabilities(labels), SPACING)
    assert [d.contoured for d in decisions] == [True, True, True, contoured]
    assert decisions[3].confidence == pytest.approx(0.625, abs=0.05)


def test_contoured_slices_follow_each_other() -> None:
    labels = stack(7)
    labels[2] = torch.where(labels[2] == 3, 2, labels[2])
    labels[4], labels[5] = 0, 0
    _, decisions = heart_masks(probabilities(labels), SPACING)
    assert [d.contoured for d in decisions] == [True, True, True, True, False, False, False]
    assert decisions[2].confidence == decisions[6].confidence == 0.5, "against what the slice itself says"


def test_a_flicker_of_one_frame_is_smoothed() -> None:
    labels = stack(2, 5)
    labels[0, 2] = torch.where(labels[0, 2] == 3, 2, labels[0, 2])
    unsure = probabilities(labels, 0.9)
    unsure[0, :, 2] = 0.45 * unsure[0, :, 2] + 0.55 * probabilities(stack(1, 1))[0, :, 0]
    steady = [int((heart_masks(unsure, SPACING, s)[0][0, 0, 2] == 3).sum()) for s in (0.0, 0.2)]
    assert steady[1] >= steady[0] > 0


def test_nothing_found_is_empty() -> None:
    masks, decisions = heart_masks(probabilities(torch.zeros(2, 3, 60, 60, dtype=torch.long)), SPACING)
    assert not masks.any()
    assert not any(d.contoured for d in decisions)


def test_the_transform_keeps_the_metadata() -> None:
    logits = MetaTensor(probabilities(stack()).clamp(min=1e-4).log(), affine=torch.diag(torch.tensor([1.5, 1.5, 8, 1])))
    item = HeartMasksd("pred")({"pred": logits})
    out = item["pred"]
    assert out.dtype == torch.uint8
    assert torch.equal(out.as_tensor()[:, 0].long(), stack())
    assert item["evidence"]["slices"].shape == (4, 2)
    assert item["evidence"]["view_areas"] is None
    torch.testing.assert_close(out.affine, logits.affine)


def test_wrong_use_is_refused() -> None:
    with pytest.raises(LayoutError, match="Z, 4, T, H, W"):
        heart_masks(torch.zeros(1, 3, 1, 4, 4), SPACING)
    with pytest.raises(OptionError, match="smoothing"):
        heart_masks(probabilities(stack()), SPACING, 0.5)
