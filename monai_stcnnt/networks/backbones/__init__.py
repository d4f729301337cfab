# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Backbones: (B, T, C, H, W) in, a list of feature tensors out."""

from __future__ import annotations

from monai_stcnnt.networks.backbones.base import FrameBackbone
from monai_stcnnt.networks.backbones.hrnet import STCNNTHRNet
from monai_stcnnt.networks.backbones.soanet import STCNNTSOANet
from monai_stcnnt.networks.backbones.unet import STCNNTUNet

__all__ = ["FrameBackbone", "STCNNTHRNet", "STCNNTSOANet", "STCNNTUNet"]
