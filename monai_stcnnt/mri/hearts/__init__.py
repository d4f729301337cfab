# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Hearts without files and without networks: drawn ones, sets of classes, and the frame in which networks see them."""

from __future__ import annotations

from monai_stcnnt.mri.hearts.drawing import DrawnHeart, drawn_heart
from monai_stcnnt.mri.hearts.frame import VIEW_AREAS, crop_heart, heart_scale, uncrop_heart
from monai_stcnnt.mri.hearts.label_sets import class_bits, possible_classes, sets_of_labels

__all__ = [
    "VIEW_AREAS",
    "DrawnHeart",
    "class_bits",
    "crop_heart",
    "drawn_heart",
    "heart_scale",
    "possible_classes",
    "sets_of_labels",
    "uncrop_heart",
]
