# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Dice and cross entropy of labelled frames: those count, the others have no gradient."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from monai.losses import DiceCELoss

from monai_stcnnt.errors import LayoutError
from monai_stcnnt.losses import LabelledFramesLoss


@pytest.fixture
def labels() -> torch.Tensor:
    labels = torch.randint(0, 4, (2, 1, 3, 6, 5)).float()
    labels[0, :, 1], labels[1, :, 0], labels[1, :, 2] = -1, -1, -1
    return labels


def test_unlabelled_frames_have_no_gradient(labels: torch.Tensor) -> None:
    logits = torch.randn(2, 4, 3, 6, 5, requires_grad=True)
    LabelledFramesLoss()(logits, labels).backward()
    assert logits.grad is not None
    touched = logits.grad.abs().amax((1, 3, 4)) > 0
    assert touched.tolist() == [[True, False, True], [False, True, False]]


def test_it_is_monai_s_loss_over_the_labelled_frames(labels: torch.Tensor) -> None:
    logits = torch.randn(2, 4, 3, 6, 5)
    pairs = [(0, 0), (0, 2), (1, 1)]
    chosen = torch.stack([logits[b, :, t] for b, t in pairs])
    truth = torch.stack([labels[b, :, t] for b, t in pairs])
    weighted = DiceCELoss(False, True, softmax=True, batch=True, lambda_dice=2.0, lambda_ce=0.5)(chosen, truth)
    torch.testing.assert_close(LabelledFramesLoss(2.0, 0.5)(logits, labels), weighted)


def test_tensors_with_metadata_count_as_well(labels: torch.Tensor) -> None:
    logits = torch.randn(2, 4, 3, 6, 5)
    loss = LabelledFramesLoss()
    torch.testing.assert_close(loss(MetaTensor(logits), MetaTensor(labels)), loss(logits, labels))


def test_nothing_labelled_is_zero_with_a_gradient() -> None:
    logits = torch.randn(1, 4, 2, 4, 4, requires_grad=True)
    value = LabelledFramesLoss()(logits, torch.full((1, 1, 2, 4, 4), -1.0))
    value.backward()
    assert float(value.detach()) == 0
    assert logits.grad is not None


def test_levels_of_deep_supervision_are_weighted(labels: torch.Tensor) -> None:
    logits = [torch.randn(2, 4, 3, 6, 5), torch.randn(2, 4, 3, 3, 3)]
    single, small = LabelledFramesLoss(), labels[..., 1::2, :][..., [0, 2, 4]]
    expected = single(logits[0], labels) + 0.25 * single(logits[1], small)
    torch.testing.assert_close(LabelledFramesLoss(level_weights=[1.0, 0.25])(logits, labels), expected)
    with pytest.raises(LayoutError, match="3 level_weights"):
        LabelledFramesLoss(level_weights=[1.0, 0.5, 0.2])(logits, labels)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(LayoutError, match="have to be"):
        LabelledFramesLoss()(torch.randn(1, 4, 2, 4, 4), torch.zeros(1, 1, 2, 4, 5))
