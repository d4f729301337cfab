# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Several items of frames as one batch: joined along the slice axis, and split again with nothing lost."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.data.meta_tensor import MetaTensor

from monai_stcnnt.errors import LayoutError

__all__ = ["series_collate", "series_decollate"]

_SLICES = "series_slices"


def series_collate(items: Sequence[Mapping[Hashable, Any]]) -> dict[Hashable, Any]:
    """Join items along their first axis, which holds the slices.

    One item is its own batch: nothing is copied and every value stays what it is, metadata and trace included, so that
    ``Invertd`` works on the batch. Several items are joined; their metadata stands in lists until
    :func:`series_decollate` deals it out again.

    Args:
        items: dictionaries of 5-D tensors ``(Z, C, T, H, W)`` or ``(Z, T, C, H, W)`` and anything else, all with the
            same keys.

    Returns:
        The batch: 5-D tensors joined to ``(sum of Z, C, T, H, W)``, other values in lists.

    Raises:
        LayoutError: if there is no item, keys differ, or tensors differ in more than the first axis.
    """
    if not items:
        raise LayoutError("There is no item to make a batch of.")
    if len(items) == 1:
        return dict(items[0])
    keys = list(items[0])
    if any(set(item) != set(keys) for item in items):
        raise LayoutError(f"The items have different keys: {[sorted(map(str, item)) for item in items]}.")
    return {key: _join(key, [item[key] for item in items]) for key in keys}


def series_decollate(batch: Mapping[Hashable, Any]) -> list[dict[Hashable, Any]]:
    """Split a batch of :func:`series_collate` into its items; the inverse of it.

    Values that were added since, such as a prediction, are split as well: tensors as long as the batch along the first
    axis, lists with one entry per item; other values go to every item.

    Args:
        batch: the batch.

    Returns:
        One dictionary per item, with the metadata and the trace that its tensors came with.
    """
    joined = [v for v in batch.values() if isinstance(v, MetaTensor) and _SLICES in v.meta]
    if not joined:
        return [dict(batch)]
    slices = joined[0].meta[_SLICES]
    items: list[dict[Hashable, Any]] = [{} for _ in slices]
    for key, value in batch.items():
        for item, part in zip(items, _split(value, slices), strict=True):
            item[key] = part
    return items


def _join(key: Hashable, values: list[Any]) -> Any:  # noqa: ANN401 - whatever the items hold
    if not all(isinstance(value, torch.Tensor) and value.ndim == 5 for value in values):
        return values
    shapes = [tuple(value.shape) for value in values]
    if len({shape[1:] for shape in shapes}) > 1:
        raise LayoutError(f"{key}: items of the shapes {shapes} differ in more than slices. Take a batch size of 1.")
    out = torch.cat([value.as_tensor() if isinstance(value, MetaTensor) else value for value in values])
    meta = {
        _SLICES: [shape[0] for shape in shapes],
        "series_meta": [dict(value.meta) if isinstance(value, MetaTensor) else None for value in values],
        "series_operations": [value.applied_operations if isinstance(value, MetaTensor) else [] for value in values],
    }
    return MetaTensor(out, meta=meta)


def _split(value: Any, slices: Sequence[int]) -> Sequence[Any]:  # noqa: ANN401 - whatever the batch holds
    if isinstance(value, list) and len(value) == len(slices):
        return value
    if not isinstance(value, torch.Tensor) or value.ndim == 0 or value.shape[0] != sum(slices):
        return [value] * len(slices)
    plain = value.as_tensor() if isinstance(value, MetaTensor) else value
    parts = torch.split(plain, list(slices))
    if not isinstance(value, MetaTensor) or _SLICES not in value.meta:
        return parts
    metas, operations = value.meta["series_meta"], value.meta["series_operations"]
    return [
        part if meta is None else MetaTensor(part, meta=dict(meta), applied_operations=list(done))
        for part, meta, done in zip(parts, metas, operations, strict=True)
    ]
