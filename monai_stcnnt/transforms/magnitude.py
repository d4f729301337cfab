# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Magnitudes on one scale, for networks that look at anatomy and not at units."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config.type_definitions import KeysCollection, NdarrayOrTensor
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform, Transform
from monai.utils.enums import TransformBackends
from monai.utils.type_conversion import convert_to_dst_type, convert_to_tensor

from monai_stcnnt.errors import LayoutError
from monai_stcnnt.mri.channels import image_magnitude

__all__ = [
    "NormalizeMagnitude",
    "NormalizeMagnituded",
]


class NormalizeMagnitude(Transform):
    """Take the magnitude and divide it by a high percentile of its own, slice by slice.

    Every slice (all of its frames together) is scaled by itself: a slice gives the same whether its neighbors are there
    or not. A slice of zeros stays what it is.

    Args:
        percentile: of the magnitude that becomes 1.

    Shapes: ``(Z, C, T, H, W)`` to ``(Z, 1, T, H, W)``, or without the first axis; C = 1 magnitude, 2 real and
        imaginary.

    Raises:
        ValueError: for a percentile that is not above 0 and at most 100.
        LayoutError: in the call, for other axes or channels.
    """

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]  # noqa: RUF012 - as MONAI declares it

    def __init__(self, percentile: float = 99.0) -> None:
        if not 0 < percentile <= 100:
            raise ValueError(f"percentile is {percentile}. Give a number above 0 and up to 100.")
        self.percentile = percentile

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Normalize one item, of the kind that was given (array, tensor, MetaTensor), float32."""
        image = convert_to_tensor(img, track_meta=False).float()
        if image.ndim not in (4, 5):
            raise LayoutError(f"Expected (C, T, H, W) or (Z, C, T, H, W), found shape {tuple(image.shape)}.")
        magnitude = image_magnitude(image, channel_dim=image.ndim - 4)
        slices = magnitude if image.ndim == 5 else magnitude[None]
        scales = np.percentile(slices.flatten(1).cpu().numpy(), self.percentile, axis=1)
        factors = slices.new_tensor(np.where(scales > 0, 1 / np.maximum(scales, np.finfo(np.float32).tiny), 1.0))
        out = convert_to_dst_type((slices * factors.view(-1, 1, 1, 1, 1)).view_as(magnitude), img, dtype=image.dtype)[0]
        if isinstance(out, MetaTensor) and out.meta.get("kind") == "complex":
            out.meta["kind"] = "magnitude"
        return out


class NormalizeMagnituded(MapTransform):
    """Dictionary form of :class:`NormalizeMagnitude`.

    Args:
        keys: the images.
        percentile: see :class:`NormalizeMagnitude`.
        allow_missing_keys: whether a missing key is accepted.
    """

    backend = NormalizeMagnitude.backend

    def __init__(self, keys: KeysCollection, percentile: float = 99.0, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.normalize = NormalizeMagnitude(percentile)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Normalize every key."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.normalize(d[key])
        return d
