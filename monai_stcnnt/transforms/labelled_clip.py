# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Clips of a labelled series for training, and the labelled frames of a prediction for metrics.

Labels are classes from 0; a frame without a mask holds -1 everywhere.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform, Randomizable
from monai.utils.type_conversion import convert_to_dst_type, convert_to_tensor

from monai_stcnnt.errors import LayoutError
from monai_stcnnt.tensors import reflect_index

__all__ = [
    "LabelledFramesd",
    "RandLabelledClipd",
    "labelled_frames",
]


def labelled_frames(label: torch.Tensor) -> torch.Tensor:
    """Tell which frames have a mask.

    Args:
        label: ``(B, 1, T, H, W)`` with negative values where there is no label.

    Returns:
        Boolean ``(B, T)``: frames without a negative value.
    """
    return (label[:, 0] >= 0).flatten(2).all(-1)


class RandLabelledClipd(MapTransform, Randomizable):
    """Cut the same random clip out of an image and its labels; at least one of its frames is labelled.

    A labelled frame is drawn first, most of the time with a structure in it, around a pixel of which the clip lies.
    What is smaller than the clip is reflected.

    Args:
        keys: series of one shape.
        label_key: the labels among them.
        clip_size: (t, h, w).
        foreground_prob: probability that the clip holds a pixel of a structure, where there is one.
        allow_missing_keys: whether a missing key is accepted.

    Shapes: (Z, C, T, H, W) to (C, t, h, w).

    Raises:
        LayoutError: in the call, for labels without five axes or without a labelled frame.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str = "label",
        clip_size: Sequence[int] = (4, 96, 96),
        foreground_prob: float = 0.8,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.label_key, self.foreground_prob = label_key, foreground_prob
        self.clip_size = tuple(int(c) for c in clip_size)
        self.place = (0, 0, 0, 0)

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> RandLabelledClipd:
        """Set the state that everything is drawn from."""
        super().set_random_state(seed, state)
        return self

    def randomize(self, data: torch.Tensor) -> None:
        """Draw slice and start of the clip for labels (Z, 1, T, H, W)."""
        known = labelled_frames(data)
        filled = (data[:, 0] > 0).flatten(2).any(-1) & known
        wanted = bool(self.R.random_sample() < self.foreground_prob) and bool(filled.any())
        choices = (filled if wanted else known).nonzero()
        z, t = (int(n) for n in choices[self.R.randint(len(choices))])
        if wanted:
            pixels = (data[z, 0, t] > 0).nonzero()
            center = [int(n) for n in pixels[self.R.randint(len(pixels))]]
        else:
            center = [int(self.R.randint(extent)) for extent in data.shape[3:]]
        starts = [t - int(self.R.randint(self.clip_size[0]))]
        starts += [
            n - int(self.R.randint(size // 4, size - size // 4))
            for n, size in zip(center, self.clip_size[1:], strict=True)
        ]
        limits = [max(extent - size, 0) for extent, size in zip(data.shape[2:], self.clip_size, strict=True)]
        starts = [min(max(start, 0), limit) for start, limit in zip(starts, limits, strict=True)]
        self.place = (z, starts[0], starts[1], starts[2])

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Cut the clips."""
        d = dict(data)
        label = convert_to_tensor(d[self.label_key], track_meta=False)
        if label.ndim != 5 or not bool(labelled_frames(label).any()):
            raise LayoutError(
                f"The labels have the shape {tuple(label.shape)}; a clip needs (Z, 1, T, H, W) with a labelled frame."
            )
        self.randomize(label)
        for key in self.key_iterator(d):
            clip = convert_to_tensor(d[key], track_meta=False)[self.place[0]]
            for axis, size in enumerate(self.clip_size):
                index = reflect_index(clip.shape[axis + 1], size, clip.device, self.place[axis + 1])
                clip = clip.index_select(axis + 1, index)
            d[key] = convert_to_dst_type(clip, d[key])[0]
        return d


class LabelledFramesd(MapTransform):
    """Keep the labelled frames of a prediction and of its labels, as a batch of images of one channel per class.

    Metrics then see every frame as an image of its own, so that distances are in its plane, and nothing of frames that
    nobody labelled.

    Args:
        pred_key: logits (B, classes, T, H, W), or of a batch of series (B, N, classes, T, H, W).
        label_key: labels of the same shape with one channel.

    Result: both (n, classes, H, W) with zeros and ones, n the number of labelled frames.
    """

    def __init__(self, pred_key: str = "pred", label_key: str = "label") -> None:
        super().__init__((pred_key, label_key))
        self.pred_key, self.label_key = pred_key, label_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Select and convert."""
        d = dict(data)
        pred, label = (_plain(d[key]) for key in (self.pred_key, self.label_key))
        if pred.ndim == label.ndim == 6:
            pred, label = pred.flatten(0, 1), label.flatten(0, 1)
        if pred.ndim != 5 or label.ndim != 5 or pred.shape[2:] != label.shape[2:]:
            raise LayoutError(f"The prediction {tuple(pred.shape)} does not fit the labels {tuple(label.shape)}.")
        known, classes = labelled_frames(label), pred.shape[1]
        chosen = pred.movedim(2, 1)[known].argmax(1)
        truth = label.movedim(2, 1)[known][:, 0].long()
        for key, value in ((self.pred_key, chosen), (self.label_key, truth)):
            d[key] = torch.nn.functional.one_hot(value, classes).movedim(-1, 1).float()
        return d


def _plain(value: torch.Tensor) -> torch.Tensor:
    return value.as_tensor() if isinstance(value, MetaTensor) else value
