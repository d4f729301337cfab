# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Drawn hearts: anatomy that holds together, any contrast, the same by the same seed."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from monai_stcnnt.mri.hearts.drawing import DrawnHeart, drawn_heart


def hearts(count: int, frames: int = 1) -> list[DrawnHeart]:
    rng = np.random.RandomState(0)
    return [drawn_heart(rng, (frames, 96, 96), 1.75) for _ in range(count)]


def test_a_seed_draws_the_same_heart() -> None:
    first, second = (drawn_heart(np.random.RandomState(3), (2, 48, 40), 3.0) for _ in range(2))
    assert first.image.shape == first.labels.shape == (2, 48, 40)
    assert torch.equal(first.image, second.image)
    assert torch.equal(first.labels, second.labels)


def test_images_are_magnitudes() -> None:
    for heart in hearts(10):
        assert heart.image.dtype == torch.float32
        assert bool((heart.image >= 0).all())
        assert bool(torch.isfinite(heart.image).all())
        assert float(heart.image.std()) > 0


def test_the_wall_surrounds_the_cavity() -> None:
    seen = 0
    for heart in hearts(30):
        labels = heart.labels[0].numpy()
        around = ndimage.binary_dilation(labels == 3) & (labels != 3)
        inside = np.pad(around, 1)[1:-1, 1:-1]
        seen += bool((labels == 3).any())
        assert set(np.unique(labels[inside])) <= {2}
    assert seen > 20


def test_anatomies_differ_widely() -> None:
    areas = np.array([int((heart.labels == 3).sum()) for heart in hearts(60)])
    assert (areas == 0).any()
    present = areas[areas > 0] * 1.75**2 / 100
    assert present.min() < 4
    assert present.max() > 25


def test_cavities_shrink_and_fill_again_over_a_beat() -> None:
    for heart in (h for h in hearts(12, frames=8) if int((h.labels == 3).sum()) > 400):
        areas = (heart.labels == 3).flatten(1).sum(1).double()
        assert areas.max() > areas.min()
        # one maximum and one minimum around the circle: the differences change their sign twice
        signs = torch.sign(torch.diff(areas, append=areas[:1]))
        signs = signs[signs != 0]
        assert int((signs != signs.roll(1)).sum()) == 2
