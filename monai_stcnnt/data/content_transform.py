# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The checks of files for arrays in memory, as a step of a bundle's preprocessing."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform
from monai.utils.enums import TransformBackends

from monai_stcnnt.data.content import check_image, refuse_foreign

__all__ = ["CheckMRContentd"]


class CheckMRContentd(MapTransform):
    """Refuse what is no image, or not a magnitude or complex MR image as far as its values tell.

    Args:
        keys: the images.
        force: take also what is no MR image.
        allow_missing_keys: whether a missing key is accepted.
    """

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]  # noqa: RUF012 - as MONAI declares it

    def __init__(self, keys: KeysCollection, force: bool = False, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.force = force

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Check every image.

        Args:
            data: images ``(C, X, Y[, Z[, T]])`` by key, C = 1 for magnitudes.

        Returns:
            The same, unchanged.

        Raises:
            EmptyImageError: if there are no voxels.
            NonFiniteValuesError: if a value is NaN or infinite.
            ConstantImageError: if all values are the same.
            NotAnImageError: see :func:`~monai_stcnnt.data.content.check_mr_content`.
        """
        d = dict(data)
        for key in self.key_iterator(d):
            metadata = d[key].meta if isinstance(d[key], MetaTensor) else {}
            name, values = str(metadata.get("source", f"The image {key!r}")), np.asarray(d[key])
            check_image(values, name)
            file_dtype = np.dtype(str(metadata.get("file_dtype", values.dtype)))
            if not (self.force or len(values) != 1 or np.iscomplexobj(values)):
                refuse_foreign(values[0].T, name, file_dtype, "force")
        return d
