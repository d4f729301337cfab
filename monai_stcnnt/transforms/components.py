# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Cleaning up masks: the largest connected part of every class, in each frame on its own."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config.type_definitions import KeysCollection, NdarrayOrTensor
from monai.data.meta_tensor import MetaTensor
from monai.transforms.post.array import KeepLargestConnectedComponent
from monai.transforms.transform import MapTransform, Transform
from monai.utils.enums import TransformBackends
from monai.utils.type_conversion import convert_to_dst_type, convert_to_tensor

from monai_stcnnt.errors import LayoutError

__all__ = [
    "KeepLargestPerFrame",
    "KeepLargestPerFramed",
]


class KeepLargestPerFrame(Transform):
    """Keep the largest connected component of every class in every frame, and call the rest background.

    A frame is a volume, whose slices are connected, of a file array ``(1, X, Y[, Z[, T]])``: the same structure is in
    one piece at each time, but not necessarily in one place through time. MONAI's ``KeepLargestConnectedComponent``
    does the work; on four axes it would connect a piece to another one through time.

    Args:
        applied_labels: values to clean; by default all but 0.
        connectivity: how many axes a step to a neighbor may move along at once, 1 to 3; by default all, so that voxels
            that touch at a corner are connected.

    Raises:
        LayoutError: in the call, for an array with several channels or other axes.
    """

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]  # noqa: RUF012 - as MONAI declares it

    def __init__(self, applied_labels: Sequence[int] | int | None = None, connectivity: int | None = None) -> None:
        self.keep = KeepLargestConnectedComponent(
            applied_labels=applied_labels, is_onehot=False, connectivity=connectivity
        )

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Clean one mask.

        Args:
            img: ``(1, X, Y[, Z[, T]])`` with the value of the class in every voxel, after the inverse transforms.

        Returns:
            The same shape, type and metadata.
        """
        mask = convert_to_tensor(img, track_meta=False)
        if not 3 <= mask.ndim <= 5 or mask.shape[0] != 1:
            raise LayoutError(f"A mask has the axes (1, X, Y[, Z[, T]]), not the shape {tuple(mask.shape)}.")
        frames = mask.unbind(dim=4) if mask.ndim == 5 else (mask,)
        kept = [convert_to_tensor(self.keep(frame.clone()), track_meta=False) for frame in frames]
        out = torch.stack(kept, dim=4) if mask.ndim == 5 else kept[0]
        result = convert_to_dst_type(out, dst=img, dtype=out.dtype)[0]
        if isinstance(img, MetaTensor) and isinstance(result, MetaTensor):
            result.applied_operations = img.applied_operations
        return result


class KeepLargestPerFramed(MapTransform):
    """Dictionary form of :class:`KeepLargestPerFrame`.

    Args:
        keys: the masks.
        applied_labels: see :class:`KeepLargestPerFrame`.
        connectivity: see :class:`KeepLargestPerFrame`.
        allow_missing_keys: whether a missing key is accepted.
    """

    backend = KeepLargestPerFrame.backend

    def __init__(
        self,
        keys: KeysCollection,
        applied_labels: Sequence[int] | int | None = None,
        connectivity: int | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.keep = KeepLargestPerFrame(applied_labels, connectivity)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Clean every key."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.keep(d[key])
        return d
