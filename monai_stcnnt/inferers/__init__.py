# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Inference over images that are larger or smaller than the window of a network."""

from __future__ import annotations

from monai_stcnnt.inferers.frame_sliding_window import FrameSlidingWindowInferer, pad_to_window
from monai_stcnnt.inferers.heart import HeartInferer, motion_map

__all__ = [
    "FrameSlidingWindowInferer",
    "HeartInferer",
    "motion_map",
    "pad_to_window",
]
