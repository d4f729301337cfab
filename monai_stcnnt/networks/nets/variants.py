# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Named networks: a table of constructor keywords."""

from __future__ import annotations

from typing import Any

from torch import nn

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.hrnetv2.net import HRNETV2_VARIANTS, HRNetV2
from monai_stcnnt.networks.nets.denoiser import STCNNTDenoiser
from monai_stcnnt.networks.nets.guided_denoiser import STCNNTGuidedDenoiser
from monai_stcnnt.networks.nets.packed_segmenter import STCNNTPackedSegmenter
from monai_stcnnt.networks.nets.packed_unet import PackedUNet

__all__ = ["VARIANTS", "build_variant"]

_COMPLEX: dict[str, Any] = {"in_channels": 3, "out_channels": 2}
_MAGNITUDE: dict[str, Any] = {"in_channels": 2, "out_channels": 1}
_REAL: dict[str, Any] = {**_MAGNITUDE, "rician": False}

_SNRAWARE: dict[str, Any] = {
    **_COMPLEX,
    "backbone": "hrnet",
    "levels": 2,
    "channels": 64,
    "num_heads": 64,
    "img_size": (16, 64, 64),
    "window_size": (16, 8, 8),
    "patch_size": (2, 4, 4),
    "norm": "layer",
    "drop_path": 0.1,
}
_STCNNT: dict[str, Any] = {
    "backbone": "hrnet",
    "levels": 2,
    "img_size": (16, 32, 32),
    "window_size": (2, 8, 8),
    "patch_size": (1, 2, 2),
    "norm": "instance2d",
    "mixer_ratio": 1.5,
}
_LIGHT: dict[str, Any] = {**_STCNNT, "channels": 24, "num_heads": 4, "block_strings": ("C3T1", "C3T1G1")}
_FAST: dict[str, Any] = {**_LIGHT, "block_stride": 4}  # the same weights
_BASE: dict[str, Any] = {**_STCNNT, "channels": 64, "num_heads": 8, "block_strings": ("T1L1G1", "T1L1G1T1L1G1")}

# Four classes: background and three structures. Squares of 2 x 2 pixels are packed; convolutions, with attention below.
_STCNNT_SEGMENTER: dict[str, Any] = {
    "in_channels": 1,
    "out_channels": 4,
    "backbone": "hrnet",
    "levels": 3,
    "img_size": (8, 64, 64),
    "window_size": (2, 8, 8),
    "patch_size": (1, 2, 2),
    "norm": "batch2d",
    "channels": 12,
    "num_heads": 4,
    "block_strings": ("C2", "C2T1", "C2T1G1"),
    "mixer_ratio": 1.0,
}
_HRNETV2_SEGMENTER: dict[str, Any] = {
    "spatial_dims": 2,
    "in_channels": 1,
    "out_channels": 4,
    "channels": (12, 24, 48, 96),
    "num_modules": (1, 1, 1),
    "num_blocks": (2, 2, 2),
    "layer1_blocks": 2,
    "stem_channels": 32,
    "layer1_channels": 32,
}

VARIANTS: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    "snraware_small": (STCNNTDenoiser, {**_SNRAWARE, "block_strings": "T1L1G1"}),
    "snraware_medium": (STCNNTDenoiser, {**_SNRAWARE, "block_strings": "T1L1G1" * 2}),
    "snraware_large": (STCNNTDenoiser, {**_SNRAWARE, "block_strings": "T1L1G1" * 4}),
    "stcnnt_light": (STCNNTGuidedDenoiser, {**_COMPLEX, **_LIGHT}),
    "stcnnt_light_magnitude": (STCNNTGuidedDenoiser, {**_MAGNITUDE, **_LIGHT}),
    "stcnnt_light_real": (STCNNTGuidedDenoiser, {**_REAL, **_LIGHT}),
    "stcnnt_fast": (STCNNTGuidedDenoiser, {**_COMPLEX, **_FAST}),
    "stcnnt_fast_magnitude": (STCNNTGuidedDenoiser, {**_MAGNITUDE, **_FAST}),
    "stcnnt_fast_real": (STCNNTGuidedDenoiser, {**_REAL, **_FAST}),
    "stcnnt_base": (STCNNTGuidedDenoiser, {**_COMPLEX, **_BASE}),
    "stcnnt_base_magnitude": (STCNNTGuidedDenoiser, {**_MAGNITUDE, **_BASE}),
    "stcnnt_segmenter": (STCNNTPackedSegmenter, _STCNNT_SEGMENTER),
    "hrnetv2_segmenter": (HRNetV2, _HRNETV2_SEGMENTER),
    "packed_unet_segmenter": (PackedUNet, {"in_channels": 1, "out_channels": 4}),
    **{name: (HRNetV2, dict(options)) for name, options in HRNETV2_VARIANTS.items()},
}
"""Name -> class and keywords."""


def build_variant(name: str, **overrides: Any) -> nn.Module:  # noqa: ANN401 - checked by the network's constructor
    """Build a named network.

    Args:
        name: a key of :data:`VARIANTS`.
        **overrides: keywords that replace those of the table.

    Raises:
        NetworkConfigError: for a name that is not in the table.
    """
    if name not in VARIANTS:
        raise NetworkConfigError(f"There is no variant {name!r}; there are {', '.join(VARIANTS)}.")
    net, options = VARIANTS[name]
    return net(**{**options, **overrides})
