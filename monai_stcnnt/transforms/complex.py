# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Magnitude and phase images to complex images."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection, NdarrayOrTensor
from monai.transforms.transform import MapTransform, Transform
from monai.utils.enums import TransformBackends
from monai.utils.type_conversion import convert_to_dst_type, convert_to_tensor

from monai_stcnnt.errors import LayoutError
from monai_stcnnt.phase_units import radians_per_unit

__all__ = [
    "MagnitudePhaseToComplex",
    "MagnitudePhaseToComplexd",
    "PhaseUnit",
]

PhaseUnit = Literal["radians", "degrees", "auto"]

logger = logging.getLogger(__name__)

_BACKEND = [TransformBackends.TORCH, TransformBackends.NUMPY]


class MagnitudePhaseToComplex(Transform):
    r"""Join a magnitude and a phase image to real and imaginary channels.

    Args:
        unit: unit of the phase image. ``"auto"`` tells it by the range of the values, see
            :func:`~monai_stcnnt.phase_units.radians_per_unit`.
        channel_dim: the channel axis.

    Raises:
        ValueError: when the unit is unknown.
    """

    backend = _BACKEND

    def __init__(self, unit: PhaseUnit = "auto", channel_dim: int = 0) -> None:
        if unit not in ("radians", "degrees", "auto"):
            raise ValueError(f"unit is {unit!r}. Choose 'radians', 'degrees' or 'auto'.")
        self.unit = unit
        self.channel_dim = channel_dim

    def __call__(self, img: NdarrayOrTensor, phase: NdarrayOrTensor | None = None) -> NdarrayOrTensor:
        """Join two images.

        Args:
            img: magnitude with one channel, not negative.
            phase: phase of the same shape; None is a phase of zero.

        Returns:
            Float32 image with two channels, of the kind and with the metadata of the magnitude.

        Raises:
            LayoutError: when the shapes differ, there is more than one channel, or the magnitude has negative values.
            PhaseRangeError: when the range of the phase tells no unit.
        """
        magnitude = convert_to_tensor(img, dtype=torch.float32, track_meta=False)
        if magnitude.shape[self.channel_dim] != 1 or bool((magnitude < 0).any()):
            raise LayoutError(
                f"A magnitude has 1 channel along axis {self.channel_dim} and no negative values; found "
                f"shape {tuple(magnitude.shape)} with a minimum of {float(magnitude.min()):g}. "
                "Are magnitude and phase swapped?"
            )
        angle = torch.zeros_like(magnitude)
        if phase is not None:
            angle = convert_to_tensor(phase, dtype=torch.float32, track_meta=False, device=magnitude.device)
        if angle.shape != magnitude.shape:
            raise LayoutError(f"Magnitude {tuple(magnitude.shape)} and phase {tuple(angle.shape)} differ in shape.")
        angle = angle * self._radians_per_unit(angle)
        joined = torch.cat((magnitude * angle.cos(), magnitude * angle.sin()), dim=self.channel_dim)
        return convert_to_dst_type(joined, img, dtype=torch.float32)[0]

    def _radians_per_unit(self, phase: torch.Tensor) -> float:
        if self.unit != "auto":
            return float(np.pi / 180) if self.unit == "degrees" else 1.0
        if not phase.numel():
            return 1.0
        low, high = float(phase.min()), float(phase.max())
        scale = radians_per_unit(low, high)
        if scale != 1:
            logger.info("phase values from %g to %g: one unit is %g radians", low, high, scale)
        return scale


class MagnitudePhaseToComplexd(MapTransform):
    """Dictionary form of :class:`MagnitudePhaseToComplex`: the magnitude's key gets the complex image.

    Args:
        keys: the magnitude image. One key.
        phase_key: the phase image, which is removed; without it the phase is zero.
        unit: see :class:`MagnitudePhaseToComplex`.
        channel_dim: see :class:`MagnitudePhaseToComplex`.
        allow_missing_keys: whether a missing key is accepted.

    Raises:
        ValueError: when there is more than one key or the unit is unknown.
    """

    backend = MagnitudePhaseToComplex.backend

    def __init__(
        self,
        keys: KeysCollection,
        phase_key: str = "phase",
        unit: PhaseUnit = "auto",
        channel_dim: int = 0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if len(self.keys) != 1:
            raise ValueError(f"keys is {self.keys}. Give the one key of the magnitude image.")
        self.phase_key = phase_key
        self.to_complex = MagnitudePhaseToComplex(unit, channel_dim)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace magnitude and phase by one complex image."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.to_complex(d[key], d.pop(self.phase_key, None))
        return d
