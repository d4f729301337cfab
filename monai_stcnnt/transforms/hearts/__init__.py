# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Transforms for cines of hearts: partly labelled ones in training, masks of one heart in inference."""

from __future__ import annotations

from monai_stcnnt.transforms.hearts.clip import (
    HeartPlaces,
    RandHeartClipd,
    heart_places,
)
from monai_stcnnt.transforms.hearts.contrast import (
    RandDrawnHeartd,
    RandHeartContrastd,
)
from monai_stcnnt.transforms.hearts.drawn import DrawnFramesd, LabelSetsd, drawn_sets
from monai_stcnnt.transforms.hearts.masks import (
    HeartMasksd,
    SliceDecision,
    heart_masks,
)

__all__ = [
    "DrawnFramesd",
    "HeartMasksd",
    "HeartPlaces",
    "LabelSetsd",
    "RandDrawnHeartd",
    "RandHeartClipd",
    "RandHeartContrastd",
    "SliceDecision",
    "drawn_sets",
    "heart_masks",
    "heart_places",
]
