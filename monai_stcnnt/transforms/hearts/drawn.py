# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""From masks, and the knowledge of what was drawn, to sets of possible classes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform
from monai.utils.type_conversion import convert_to_tensor
from scipy import ndimage
from torch import Tensor

from monai_stcnnt.errors import GeometryError, LayoutError
from monai_stcnnt.mri.hearts.label_sets import class_bits, possible_classes, sets_of_labels
from monai_stcnnt.transforms.hearts.clip import heart_places

__all__ = ["DrawnFramesd", "LabelSetsd", "drawn_sets", "pixel_spacing"]

BACKGROUND, RIGHT, WALL, CAVITY = range(4)
NUM_CLASSES = 4
OUTSIDE = class_bits(BACKGROUND, RIGHT)


def drawn_sets(labels: Tensor, has_wall: bool, spacing: Sequence[float], reach: float = 25.0) -> Tensor:
    """Sets of one frame in which an expert drew the left ventricle, but not the right one.

    In the cavity and in the wall the class is known. Outside of the outer contour there is background or right
    ventricle. Where only the cavity was drawn, what is outside of it may also be wall, up to a distance.

    Args:
        labels: ``(H, W)``: 3 cavity, 2 wall, 0 else.
        has_wall: whether the outer contour was drawn.
        spacing: size of a pixel (H, W) in mm.
        reach: distance from the cavity, in mm, beyond which there is surely no wall.

    Returns:
        Sets ``(H, W)``, uint8.
    """
    out = torch.full(labels.shape, OUTSIDE, dtype=torch.uint8)
    if not has_wall:
        away = ndimage.distance_transform_edt((labels != CAVITY).numpy(), sampling=list(spacing))
        out[torch.from_numpy(away <= reach)] = class_bits(BACKGROUND, RIGHT, WALL)
    else:
        out[labels == WALL] = class_bits(WALL)
    out[labels == CAVITY] = class_bits(CAVITY)
    return out


def pixel_spacing(item: Tensor) -> tuple[float, float]:
    """Size of a pixel (H, W) in mm of an item of frames, by the affine of its file: H is y, W is x.

    Raises:
        GeometryError: for a tensor without an affine.
    """
    if not isinstance(item, MetaTensor):
        raise GeometryError("The item has no affine, so that the size of its pixels is unknown. Give a MetaTensor.")
    steps = torch.as_tensor(item.affine)[:3, :2].norm(dim=0)
    return float(steps[1]), float(steps[0])


class LabelSetsd(MapTransform):
    """Turn masks into sets of possible classes.

    Args:
        keys: labels (Z, 1, T, H, W): 0 background, 1 right ventricle, 2 myocardium, 3 left ventricle, negative in a
            frame without labels; a MetaTensor with the affine of a file whose x are the columns. One key.
        drawn_key: entry that says what was drawn in each labelled frame, see
            :func:`monai_stcnnt.data.read_drawn_structures`. Without it everything was drawn.
        empty_is_outside: whether slices in which an expert drew nothing, in a frame where others were drawn, count as
            beyond base or apex; else nothing is known about them.
        allow_missing_keys: whether a missing key is accepted.

    Result: sets (Z, 1, T, H, W), uint8, and the entries ``spacing``, the size of a pixel (H, W) in mm, and ``places``,
        see :class:`~monai_stcnnt.transforms.hearts.clip.HeartPlaces`.

    Raises:
        LayoutError: for labels without these axes.
    """

    def __init__(
        self,
        keys: KeysCollection,
        drawn_key: str = "drawn",
        empty_is_outside: bool = True,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.drawn_key, self.empty_is_outside = drawn_key, empty_is_outside

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Convert every key."""
        d = dict(data)
        drawn: Mapping[int, Mapping[str, Sequence[int]]] | None = d.pop(self.drawn_key, None)
        for key in self.key_iterator(d):
            spacing = pixel_spacing(d[key])
            labels = convert_to_tensor(d[key], track_meta=False)
            if labels.ndim != 5 or labels.shape[1] != 1:
                raise LayoutError(f"Labels of a series are (Z, 1, T, H, W), not the shape {tuple(labels.shape)}.")
            sets = self._whole(labels) if drawn is None else self._partial(labels, drawn, spacing)
            d.update({key: sets, "spacing": spacing, "places": heart_places(sets, spacing)})
        return d

    def _whole(self, labels: Tensor) -> Tensor:
        return sets_of_labels(labels, NUM_CLASSES).to(torch.uint8)

    def _partial(
        self, labels: Tensor, drawn: Mapping[int, Mapping[str, Sequence[int]]], spacing: Sequence[float]
    ) -> Tensor:
        sets = self._whole(torch.full_like(labels, -1))
        for t, structures in drawn.items():
            for z in structures["cavity"]:
                sets[z, 0, t] = drawn_sets(labels[z, 0, t], z in structures["wall"], spacing)
            if self.empty_is_outside:
                sets[np.asarray(structures["nothing"], int), 0, t] = OUTSIDE
        return sets


class DrawnFramesd(MapTransform):
    """Keep the frames of a prediction and of its sets that tell anything, as a batch of images.

    Args:
        pred_key: logits (Z, K, T, H, W), or of a batch of series (B, Z, K, T, H, W).
        label_key: sets of the same shape with one channel.
        sets_key: where the sets go.

    Result: the prediction and what is surely drawn, both (N, K, H, W) with zeros and ones, and sets (N, 1, H, W).
    """

    def __init__(self, pred_key: str = "pred", label_key: str = "label", sets_key: str = "sets") -> None:
        super().__init__((pred_key, label_key))
        self.pred_key, self.label_key, self.sets_key = pred_key, label_key, sets_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Select and convert."""
        d = dict(data)
        pred, sets = (convert_to_tensor(d[key], track_meta=False) for key in (self.pred_key, self.label_key))
        if pred.ndim == sets.ndim == 6:
            pred, sets = pred.flatten(0, 1), sets.flatten(0, 1)
        if pred.ndim != 5 or sets.shape != (pred.shape[0], 1, *pred.shape[2:]):
            raise LayoutError(f"The prediction {tuple(pred.shape)} does not fit the sets {tuple(sets.shape)}.")
        classes = pred.shape[1]
        told = (sets[:, 0] < class_bits(*range(classes))).flatten(2).any(-1)
        chosen = pred.movedim(2, 1)[told].argmax(1)
        d[self.sets_key] = sets.movedim(2, 1)[told]
        possible = possible_classes(d[self.sets_key], classes)
        d[self.label_key] = (possible & (possible.sum(1, keepdim=True) == 1)).float()
        d[self.pred_key] = torch.nn.functional.one_hot(chosen, classes).movedim(-1, 1).float()
        return d
