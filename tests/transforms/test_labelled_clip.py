# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Clips hold what was labelled; metrics see labelled frames only."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pytest
import torch

from monai_stcnnt.errors import LayoutError
from monai_stcnnt.transforms import LabelledFramesd, RandLabelledClipd, labelled_frames


@pytest.fixture
def series() -> dict[Hashable, Any]:
    label = torch.full((2, 1, 7, 20, 18), -1.0)
    label[:, :, 2] = 0
    label[1, 0, 2, 15, 3] = 2
    return {"image": torch.arange(label.numel()).view_as(label).float(), "label": label}


def test_every_clip_has_a_labelled_frame_and_mostly_the_structure(series: dict[Hashable, Any]) -> None:
    for prob, share in ((1.0, 1.0), (0.0, 0.0)):
        cut = RandLabelledClipd(["image", "label"], clip_size=(3, 8, 8), foreground_prob=prob).set_random_state(0)
        clips = [cut(series) for _ in range(20)]
        assert all(clip["label"].shape == (1, 3, 8, 8) for clip in clips)
        assert all(bool(labelled_frames(clip["label"][None]).any()) for clip in clips)
        found = sum(bool((clip["label"] > 0).any()) for clip in clips) / 20
        assert found >= share if share else found < 1


def test_image_and_label_are_cut_at_one_place_and_replayed_by_seed(series: dict[Hashable, Any]) -> None:
    pair: dict[Hashable, Any] = {"image": series["image"], "label": series["image"] * 0, "other": series["image"]}
    cut = RandLabelledClipd(["image", "other"], clip_size=(4, 30, 5))
    first = cut.set_random_state(3)(pair)
    torch.testing.assert_close(first["image"], first["other"])
    again = cut.set_random_state(3)(pair)
    torch.testing.assert_close(first["image"], again["image"])
    assert first["image"].shape == (1, 4, 30, 5)


def test_labels_that_label_nothing_are_refused(series: dict[Hashable, Any]) -> None:
    cut = RandLabelledClipd(["image", "label"])
    with pytest.raises(LayoutError, match="with a labelled frame"):
        cut({**series, "label": series["label"] * 0 - 1})


def test_metrics_get_labelled_frames_as_images(series: dict[Hashable, Any]) -> None:
    logits = torch.randn(2, 4, 7, 20, 18)
    out = LabelledFramesd()({"pred": logits, "label": series["label"]})
    assert out["pred"].shape == out["label"].shape == (2, 4, 20, 18)
    assert out["label"][1, 2].sum() == 1
    torch.testing.assert_close(out["pred"].sum(1), torch.ones(2, 20, 18))
    torch.testing.assert_close(out["pred"].argmax(1), logits[:, :, 2].argmax(1))
    batch = LabelledFramesd()({"pred": logits[None], "label": series["label"][None]})
    assert all(torch.equal(batch[key], out[key]) for key in ("pred", "label"))
    with pytest.raises(LayoutError, match="does not fit"):
        LabelledFramesd()({"pred": logits, "label": series["label"][..., 1:]})
