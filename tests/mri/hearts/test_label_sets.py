# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Sets of classes: bits that can be taken apart again."""

from __future__ import annotations

import pytest
import torch

from monai_stcnnt.errors import LayoutError
from monai_stcnnt.mri.hearts.label_sets import class_bits, possible_classes, sets_of_labels


def test_bits_of_classes() -> None:
    assert class_bits(3) == 8
    assert class_bits(0, 1, 1) == 3


def test_labels_become_single_classes_and_unknown_ones_all() -> None:
    sets = sets_of_labels(torch.tensor([[[0.0, 1.0, 3.0, -1.0]]]), 4)
    assert sets.tolist() == [[[1, 2, 8, 15]]]
    possible = possible_classes(sets, 4)
    assert possible.shape == (1, 4, 4)
    assert possible[0, :, 1].tolist() == [False, True, False, False]
    assert possible[0, :, 3].all()


def test_sets_with_channels_are_refused() -> None:
    with pytest.raises(LayoutError, match="one channel"):
        possible_classes(torch.ones(1, 2, 4, 4), 4)
