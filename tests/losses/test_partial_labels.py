# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The loss on sets of classes: with full labels it is the usual one, and what is unknown has no gradient."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from monai_stcnnt.errors import LayoutError
from monai_stcnnt.losses.partial_labels import PartialLabelLoss
from monai_stcnnt.mri.hearts.label_sets import sets_of_labels


def test_with_full_labels_the_cross_entropy_is_the_usual_one() -> None:
    logits, labels = torch.randn(2, 4, 5, 6), torch.randint(0, 4, (2, 1, 5, 6))
    loss = PartialLabelLoss(lambda_dice=0)(logits, sets_of_labels(labels, 4))
    torch.testing.assert_close(loss, functional.cross_entropy(logits, labels[:, 0]))


def test_unknown_pixels_have_no_gradient() -> None:
    logits = torch.randn(1, 4, 4, 4, requires_grad=True)
    sets = torch.full((1, 1, 4, 4), 15)
    sets[..., 0] = 8
    PartialLabelLoss()(logits, sets).backward()
    assert logits.grad is not None
    assert bool((logits.grad[..., 1:] == 0).all())
    assert bool((logits.grad[..., 0] != 0).all())


def test_only_what_is_excluded_is_pushed_down() -> None:
    logits = torch.zeros(1, 4, 1, 1, requires_grad=True)
    PartialLabelLoss(lambda_dice=0)(logits, torch.full((1, 1, 1, 1), 3)).backward()
    assert logits.grad is not None
    up, down = logits.grad[0, :2, 0, 0], logits.grad[0, 2:, 0, 0]
    assert bool((up < 0).all())
    assert bool((down > 0).all())
    assert float(up[0]) == pytest.approx(float(up[1]))


def test_an_undrawn_class_is_not_pulled_down_by_dice() -> None:
    logits = torch.randn(1, 4, 3, 3, requires_grad=True)
    PartialLabelLoss(lambda_ce=0)(logits, torch.full((1, 1, 3, 3), 3)).backward()
    assert logits.grad is not None
    assert bool((logits.grad == 0).all())


def test_the_right_answer_costs_nothing() -> None:
    sets = torch.tensor([[[[8, 4], [3, 7]]]])
    answer = torch.tensor([[[3, 2], [1, 2]]])
    logits = 50.0 * functional.one_hot(answer, 4).movedim(-1, 1).float()
    assert float(PartialLabelLoss()(logits, sets)) < 1e-4
    assert float(PartialLabelLoss()(-logits, sets)) > 1


def test_nothing_known_is_zero_and_other_shapes_are_refused() -> None:
    logits = torch.randn(1, 4, 2, 3, 3, requires_grad=True)
    loss = PartialLabelLoss()(logits, torch.full((1, 1, 2, 3, 3), 15))
    loss.backward()
    assert float(loss.detach()) == 0
    with pytest.raises(LayoutError, match="of one size"):
        PartialLabelLoss()(logits, torch.full((1, 1, 3, 3), 15))
