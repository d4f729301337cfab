# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""MONAI networks: they take and return (B, C, T, H, W) by default, and (B, T, C, H, W) on request."""

from __future__ import annotations

from monai_stcnnt.networks.hrnetv2.net import HRNetV2
from monai_stcnnt.networks.nets.classifier import STCNNTClassifier
from monai_stcnnt.networks.nets.denoiser import STCNNTDenoiser
from monai_stcnnt.networks.nets.error_calibration import ErrorCalibration, load_calibrations
from monai_stcnnt.networks.nets.guided_denoiser import STCNNTGuidedDenoiser
from monai_stcnnt.networks.nets.packed_segmenter import STCNNTPackedSegmenter
from monai_stcnnt.networks.nets.packed_unet import PackedUNet
from monai_stcnnt.networks.nets.segmenter import STCNNTSegmenter
from monai_stcnnt.networks.nets.variants import VARIANTS, build_variant
from monai_stcnnt.networks.nets.wrappers import ChannelRouter, CheckedDenoiser, FlipEnsemble, UncertainDenoiser

__all__ = [
    "VARIANTS",
    "ChannelRouter",
    "CheckedDenoiser",
    "ErrorCalibration",
    "FlipEnsemble",
    "HRNetV2",
    "PackedUNet",
    "STCNNTClassifier",
    "STCNNTDenoiser",
    "STCNNTGuidedDenoiser",
    "STCNNTPackedSegmenter",
    "STCNNTSegmenter",
    "UncertainDenoiser",
    "build_variant",
    "load_calibrations",
]
