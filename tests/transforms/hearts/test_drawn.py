# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What an expert drew, as sets of classes."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from monai_stcnnt.errors import GeometryError
from monai_stcnnt.transforms.hearts.drawn import LabelSetsd, drawn_sets


def frame() -> torch.Tensor:
    labels = torch.zeros(40, 60)
    labels[15:25, 25:35] = 2
    labels[18:22, 28:32] = 3
    return labels


def stack() -> MetaTensor:
    labels = torch.full((3, 1, 4, 40, 60), -1.0)
    labels[:, 0, 1] = 0
    labels[1, 0, 1] = frame()
    labels[0, 0, 3] = torch.where(frame() == 3, 3.0, 0.0)
    return MetaTensor(labels, affine=torch.diag(torch.tensor([1.5, 2.0, 8.0, 1.0])))


def test_with_a_wall_everything_but_the_right_ventricle_is_known() -> None:
    sets = drawn_sets(frame(), True, (1.0, 1.0))
    assert sets.unique().tolist() == [3, 4, 8]
    assert bool((sets[frame() == 2] == 4).all())


def test_a_cavity_alone_tells_what_is_surely_outside() -> None:
    sets = drawn_sets(torch.where(frame() == 3, 3.0, 0.0), False, (1.0, 1.0), reach=10)
    assert sets[20, 30] == 8
    assert sets[20, 35] == 7, "near: wall, background or right ventricle"
    assert sets[20, 59] == 3, "far: no wall"


def test_a_stack_with_its_list() -> None:
    drawn = {1: {"cavity": [1], "wall": [1], "nothing": [0, 2]}, 3: {"cavity": [0], "wall": [], "nothing": []}}
    out = LabelSetsd("label")({"label": stack(), "drawn": drawn})
    sets = out["label"]
    assert out["spacing"] == pytest.approx((2.0, 1.5))
    assert [entry[:2] for entry in out["places"].drawn] == [(0, 3), (1, 1)]
    assert bool((sets[[0, 2], 0, 1] == 3).all())
    assert bool((sets[1:, 0, 3] == 15).all())
    assert bool((sets[:, 0, [0, 2]] == 15).all())
    unsure = LabelSetsd("label", empty_is_outside=False)({"label": stack(), "drawn": drawn})["label"]
    assert bool((unsure[[0, 2], 0, 1] == 15).all())


def test_without_a_list_masks_are_whole() -> None:
    sets = LabelSetsd("label")({"label": stack()})["label"]
    assert sets[1, 0, 1].unique().tolist() == [1, 4, 8]
    assert bool((sets[:, 0, 0] == 15).all())


def test_labels_without_an_affine_are_refused() -> None:
    with pytest.raises(GeometryError, match="no affine"):
        LabelSetsd("label")({"label": stack().as_tensor()})
