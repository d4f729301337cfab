# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Imaging transformers and the classic HRNet: block strings, cells, blocks, backbones and MONAI networks."""

from __future__ import annotations

from monai_stcnnt.networks.backbones import STCNNTHRNet, STCNNTSOANet, STCNNTUNet
from monai_stcnnt.networks.block_string import parse_block_string
from monai_stcnnt.networks.lora import adapter_parameters, inject_adapters, merge_adapters
from monai_stcnnt.networks.nets import (
    VARIANTS,
    HRNetV2,
    STCNNTClassifier,
    STCNNTDenoiser,
    STCNNTSegmenter,
    build_variant,
)

__all__ = [
    "VARIANTS",
    "HRNetV2",
    "STCNNTClassifier",
    "STCNNTDenoiser",
    "STCNNTHRNet",
    "STCNNTSOANet",
    "STCNNTSegmenter",
    "STCNNTUNet",
    "adapter_parameters",
    "build_variant",
    "inject_adapters",
    "merge_adapters",
    "parse_block_string",
]
