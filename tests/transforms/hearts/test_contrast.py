# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Contrasts of other scanners: the anatomy stays, the intensities do not."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import torch

from monai_stcnnt.mri.hearts import heart_scale
from monai_stcnnt.mri.hearts.drawing import drawn_heart
from monai_stcnnt.mri.hearts.label_sets import sets_of_labels
from monai_stcnnt.transforms.hearts.contrast import RandDrawnHeartd, RandHeartContrastd


def clip(frames: int = 2) -> dict[Hashable, Any]:
    heart = drawn_heart(np.random.RandomState(5), (frames, 64, 64), 2.5)
    return {"image": heart.image[None], "label": sets_of_labels(heart.labels, 4)[None].float()}


def test_results_are_magnitudes_on_one_scale() -> None:
    change = RandHeartContrastd("image").set_random_state(0)
    for _ in range(30):
        out = change(clip())
        assert out["image"].shape == (1, 2, 64, 64)
        assert bool(torch.isfinite(out["image"]).all())
        assert bool((out["image"] >= 0).all())
        assert 0.5 < float(out["image"][..., 16:48, 16:48].quantile(0.95)) < 1.6


def test_labels_are_not_touched_and_a_seed_repeats_the_image() -> None:
    given = clip()
    first, second = (RandHeartContrastd("image").set_random_state(4)(clip()) for _ in range(2))
    assert torch.equal(first["image"], second["image"])
    assert torch.equal(first["label"], given["label"])
    assert not torch.equal(first["image"], RandHeartContrastd("image").set_random_state(5)(clip())["image"])


def test_clips_keep_their_contrast_as_often_as_asked() -> None:
    given = clip()
    plain = heart_scale(given["image"])
    change = RandHeartContrastd("image", prob=0.3).set_random_state(2)
    kept = [torch.equal(change(clip())["image"], plain) for _ in range(100)]
    assert 0.55 < np.mean(kept) < 0.85


def test_hearts_are_drawn_as_often_as_asked() -> None:
    zeros: dict[Hashable, Any] = {"image": torch.zeros(1, 1, 32, 32), "label": torch.full((1, 1, 32, 32), 15.0)}
    draw = RandDrawnHeartd("image", prob=0.3).set_random_state(1)
    replaced = [bool(draw(dict(zeros))["image"].any()) for _ in range(200)]
    assert 0.2 < np.mean(replaced) < 0.4
    whole = RandDrawnHeartd("image", prob=1.0).set_random_state(1)(dict(zeros))
    assert set(whole["label"].unique().tolist()) <= {1, 2, 4, 8}
