# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Inference over images that are larger or smaller than the window of a network."""

from __future__ import annotations

from monai_stcnnt.inferers.frame_sliding_window import FrameSlidingWindowInferer, pad_to_window

__all__ = ["FrameSlidingWindowInferer", "pad_to_window"]
