# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Dice on sets of classes."""

from __future__ import annotations

import pytest
import torch
from monai.metrics import compute_dice
from torch.nn import functional

from monai_stcnnt.errors import LayoutError, OptionError
from monai_stcnnt.metrics.partial_labels import PartialDiceMetric, partial_overlaps
from monai_stcnnt.mri.hearts.label_sets import sets_of_labels


def one_hot(labels: torch.Tensor) -> torch.Tensor:
    return functional.one_hot(labels, 4).movedim(-1, 1).float()


def test_with_full_labels_it_is_monai_s_dice() -> None:
    truth, guess = torch.randint(0, 4, (3, 8, 8)), torch.randint(0, 4, (3, 8, 8))
    metric = PartialDiceMetric("mean")
    metric(one_hot(guess), sets_of_labels(truth, 4)[:, None])
    expected = compute_dice(one_hot(guess), one_hot(truth), include_background=False).mean(0)
    torch.testing.assert_close(metric.aggregate().float(), expected)


def test_unknown_pixels_do_not_count() -> None:
    sets = torch.tensor([[[[8, 8, 7, 3], [8, 8, 7, 3]]]])
    right = torch.tensor([[[3, 3, 2, 0], [3, 3, 0, 1]]])
    overlap, total = partial_overlaps(one_hot(right), sets)
    assert (overlap[0, 2] / total[0, 2]) == 1
    assert bool(torch.isnan(overlap[0, :2]).all()), "neither wall nor right ventricle was drawn"


def test_pooled_dice_weighs_images_by_their_size() -> None:
    sets = torch.full((2, 1, 4, 4), 1)
    sets[0], sets[1, 0, 0, 0] = 8, 8
    guess = torch.zeros(2, 4, 4, dtype=torch.long)
    guess[0] = 3
    values = {}
    for reduction in ("pooled", "mean"):
        metric = PartialDiceMetric(reduction)
        metric(one_hot(guess), sets)
        values[reduction] = float(metric.aggregate()[2])
    assert values == pytest.approx({"pooled": 32 / 33, "mean": 0.5})


def test_wrong_use_is_refused() -> None:
    with pytest.raises(OptionError, match="median"):
        PartialDiceMetric("median")  # type: ignore[arg-type] # on purpose
    with pytest.raises(LayoutError, match="does not fit"):
        partial_overlaps(torch.zeros(1, 4, 3, 3), torch.ones(1, 1, 3, 4))
    with pytest.raises(LayoutError, match="no image"):
        PartialDiceMetric().aggregate()
