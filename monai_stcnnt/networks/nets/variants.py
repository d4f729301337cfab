# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Named networks: a table of constructor keywords."""

from __future__ import annotations

from typing import Any

from torch import nn

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.nets.denoiser import STCNNTDenoiser
from monai_stcnnt.networks.nets.hrnetv2 import HRNETV2_VARIANTS, HRNetV2

__all__ = ["VARIANTS", "build_variant"]

_COMPLEX: dict[str, Any] = {"in_channels": 3, "out_channels": 2}
_MAGNITUDE: dict[str, Any] = {"in_channels": 2, "out_channels": 1}

_SNRAWARE: dict[str, Any] = {
    **_COMPLEX,
    "backbone": "hrnet",
    "levels": 2,
    "img_size": (16, 64, 64),
    "window_size": (16, 8, 8),
    "patch_size": (2, 4, 4),
    "norm": "layer",
    "drop_path": 0.1,
}

_STCNNT: dict[str, Any] = {
    "backbone": "hrnet",
    "levels": 2,
    "img_size": (16, 64, 64),
    "window_size": (2, 8, 8),
    "patch_size": (1, 2, 2),
    "norm": "none",
    "residual": "image",
}
_LIGHT: dict[str, Any] = {
    **_STCNNT, "channels": 16, "num_heads": 4, "block_strings": ("T1L1", "T1L1G1"), "mixer_ratio": 1.5
}  # fmt: skip
_BASE: dict[str, Any] = {
    **_STCNNT, "channels": 48, "num_heads": 8, "block_strings": ("T1L1G1", "T1L1G1T1L1G1"), "mixer_ratio": 1.5
}  # fmt: skip

VARIANTS: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    "snraware_small": (
        STCNNTDenoiser,
        {**_SNRAWARE, "channels": 64, "num_heads": 64, "block_strings": ("T1L1G1", "T1L1G1")},
    ),
    "snraware_medium": (
        STCNNTDenoiser,
        {**_SNRAWARE, "channels": 64, "num_heads": 64, "block_strings": ("T1L1G1T1L1G1", "T1L1G1T1L1G1")},
    ),
    "snraware_large": (
        STCNNTDenoiser,
        {**_SNRAWARE, "channels": 64, "num_heads": 64, "block_strings": ("T1L1G1" * 4, "T1L1G1" * 4)},
    ),
    "stcnnt_light": (STCNNTDenoiser, {**_COMPLEX, **_LIGHT}),
    "stcnnt_light_magnitude": (STCNNTDenoiser, {**_MAGNITUDE, **_LIGHT}),
    "stcnnt_base": (STCNNTDenoiser, {**_COMPLEX, **_BASE}),
    "stcnnt_base_magnitude": (STCNNTDenoiser, {**_MAGNITUDE, **_BASE}),
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
