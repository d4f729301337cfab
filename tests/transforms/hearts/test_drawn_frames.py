# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Frames that tell anything, as images for metrics."""

from __future__ import annotations

import pytest
import torch

from monai_stcnnt.errors import LayoutError
from monai_stcnnt.transforms.hearts import DrawnFramesd


def test_frames_that_tell_nothing_are_left_out() -> None:
    sets = torch.full((2, 1, 3, 4, 4), 15)
    sets[1, 0, 2] = 3
    sets[1, 0, 2, :2], sets[1, 0, 2, 2] = 8, 4
    logits = torch.randn(2, 4, 3, 4, 4)
    out = DrawnFramesd()({"pred": logits, "label": sets})
    assert out["pred"].shape == out["label"].shape == (1, 4, 4, 4)
    assert torch.equal(out["pred"].argmax(1)[0], logits[1, :, 2].argmax(0))
    assert torch.equal(out["sets"][0], sets[1, :, 2])
    assert out["label"].sum((0, 2, 3)).tolist() == [0, 0, 4, 8], "background or right ventricle is neither for sure"


def test_a_batch_of_series_is_taken_apart() -> None:
    sets = torch.full((1, 2, 1, 3, 4, 4), 8)
    out = DrawnFramesd()({"pred": torch.randn(1, 2, 4, 3, 4, 4), "label": sets})
    assert out["sets"].shape == (6, 1, 4, 4)
    with pytest.raises(LayoutError, match="does not fit"):
        DrawnFramesd()({"pred": torch.randn(2, 4, 3, 4, 4), "label": sets})
