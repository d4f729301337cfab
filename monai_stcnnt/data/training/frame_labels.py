# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Masks of some frames of an image, as one array over all frames with the others marked as not labelled."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform

from monai_stcnnt.data.formats.registry import read_series
from monai_stcnnt.data.paths import check_exists
from monai_stcnnt.errors import LabelShapeError, LabelValueError, LayoutError

__all__ = [
    "UNLABELLED",
    "LoadFrameLabelsd",
    "read_frame_labels",
]

UNLABELLED = -1
"""Value of every pixel of a frame that has no mask."""


def read_frame_labels(
    labels: Sequence[str | Path],
    image_shape: Sequence[int],
    frames: Sequence[int] | None = None,
    label_values: Mapping[int, int] | None = None,
    num_classes: int = 4,
) -> np.ndarray:
    """Read the masks of an image.

    Args:
        labels: one file with a mask for all frames, or one file per labelled frame.
        image_shape: sizes ``(X, Y[, Z[, T]])`` of the image.
        frames: the labelled frames, from 0; None for those in which a mask for all frames holds anything, or for the
            only frame of an image without time.
        label_values: value in the files -> class; by default values are classes.
        num_classes: classes with the background.

    Returns:
        int16 ``(X, Y, Z, T)``: classes, and :data:`UNLABELLED` in all of a frame that has no mask.

    Raises:
        MissingFileError: if a file is missing.
        LabelShapeError: if a mask has other sizes than the image, or frames and files do not fit.
        LabelValueError: if a mask holds a value that is no class, or nothing in a frame that should be labelled while
            other frames hold something.
    """
    sizes = (*image_shape, 1, 1)[:4]
    values = dict(label_values) if label_values is not None else {n: n for n in range(num_classes)}
    masks = [_read_mask(check_exists(file), sizes, values, num_classes) for file in labels]
    out = np.full(sizes, UNLABELLED, np.int16)
    if len(masks) == 1 and masks[0].shape[3] == sizes[3]:
        filled = [t for t in range(sizes[3]) if masks[0][..., t].any()]
        chosen = (list(range(sizes[3])) if sizes[3] == 1 else filled) if frames is None else list(frames)
        _check_frames(chosen, sizes[3], labels[0])
        empty = [t for t in chosen if t not in filled]
        if frames is not None and empty and set(filled) - set(chosen):
            raise LabelValueError(
                f"{labels[0]} is empty in the frame {empty[0]} (from 0), which should be labelled, and holds labels in "
                f"{filled}. Correct the frames: they may have been counted from 1."
            )
        out[..., chosen] = masks[0][..., chosen]
        return out
    if frames is None or len(frames) != len(masks) or any(mask.shape[3] != 1 for mask in masks):
        raise LabelShapeError(
            f"{len(masks)} masks with {[mask.shape[3] for mask in masks]} frames ({labels[0]} ...) do not fit an image "
            f"with {sizes[3]} frames, of which {frames} should be labelled. Give one mask for all frames or one each."
        )
    _check_frames(frames, sizes[3], labels[0])
    for frame, mask in zip(frames, masks, strict=True):
        out[..., frame] = mask[..., 0]
    return out


def _check_frames(frames: Sequence[int], count: int, name: str | Path) -> None:
    if not frames or min(frames) < 0 or max(frames) >= count:
        raise LabelShapeError(
            f"{name}: the labelled frames are {list(frames)} (from 0), but the image has {count} frames. "
            "Correct the frames, or leave the image out."
        )


def _read_mask(file: Path, sizes: Sequence[int], values: Mapping[int, int], num_classes: int) -> np.ndarray:
    """Classes ``(X, Y, Z, T')`` of one file, T' = 1 or that of the image."""
    array = read_series(file, check=False).to_spatial()
    if np.iscomplexobj(array):
        raise LabelValueError(f"{file} is complex; a mask holds whole numbers.")
    mask = array.reshape((*array.shape, 1, 1)[:4])
    if mask.shape[:3] != tuple(sizes[:3]) or mask.shape[3] not in (1, sizes[3]):
        raise LabelShapeError(
            f"{file} has the sizes (X, Y, Z, T) = {mask.shape}, but its image has {tuple(sizes)}. "
            "A mask has the image's sizes, in all of its frames or in one."
        )
    found = np.unique(mask)
    wrong = [float(v) for v in found if not (np.isfinite(v) and v == np.rint(v) and int(v) in values)]
    if wrong:
        raise LabelValueError(
            f"{file} holds the values {wrong[:5]}, but the classes are {sorted(values)}. "
            "Correct the mask, or say by label_values which class each value is."
        )
    out_of_range = sorted({values[int(v)] for v in found} - set(range(num_classes)))
    if out_of_range:
        raise LabelValueError(f"{file}: label_values gives the class {out_of_range[0]} of {num_classes}, from 0.")
    out = np.zeros(mask.shape, np.int16)
    for value in found:
        out[mask == value] = values[int(value)]
    return out


class LoadFrameLabelsd(MapTransform):
    """Replace the paths of masks by one array, beside an image that is loaded already.

    Args:
        keys: keys of the masks: a path or a list of paths, see :func:`read_frame_labels`.
        image_key: the image, channel first ``(C, X, Y[, Z[, T]])``.
        num_classes: classes with the background.
        frames_key: entry that names the labelled frames; may be absent or None.
        values_key: entry that maps values to classes; may be absent or None.
        allow_missing_keys: whether a missing key is accepted.

    Result: MetaTensor ``(1, X, Y[, Z[, T]])`` with the metadata of the image, float32 (as MONAI's spatial transforms
        have it), :data:`UNLABELLED` where there is no mask. The two entries are taken out.
    """

    def __init__(
        self,
        keys: KeysCollection,
        image_key: str = "image",
        num_classes: int = 4,
        frames_key: str = "frames",
        values_key: str = "label_values",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_key, self.num_classes = image_key, num_classes
        self.frames_key, self.values_key = frames_key, values_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Load the masks of every key."""
        d = dict(data)
        image = d[self.image_key]
        if not isinstance(image, torch.Tensor) or image.ndim < 3:
            raise LayoutError(f"{self.image_key!r} has to be loaded, channel first, before its masks.")
        frames, values = d.pop(self.frames_key, None), d.pop(self.values_key, None)
        for key in self.key_iterator(d):
            paths = d[key] if isinstance(d[key], (list, tuple)) else [d[key]]
            labels = read_frame_labels(paths, image.shape[1:], frames, values, self.num_classes)
            array = torch.from_numpy(labels.astype(np.float32)).reshape(1, *image.shape[1:])
            if isinstance(image, MetaTensor):
                array = MetaTensor(array, meta=dict(image.meta))
                array.meta["kind"] = "magnitude"
            d[key] = array
        return d
