# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Random clips of a series for training."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, Randomizable, RandomizableTransform, Transform
from monai.utils import convert_to_dst_type, convert_to_tensor

from monai_stcnnt.errors import LayoutError
from monai_stcnnt.mri.snr import foreground_mean
from monai_stcnnt.tensors import reflect_index

__all__ = [
    "ForegroundReferenced",
    "RandFrameClip",
    "RandFrameClipd",
]


def as_clip(img: NdarrayOrTensor, channels: Sequence[int] = (1, 2)) -> torch.Tensor:
    """Return a clip as a plain float32 tensor.

    Raises:
        LayoutError: when it is not ``(C, T, H, W)`` with one of these numbers of channels.
    """
    clip = convert_to_tensor(img, dtype=torch.float32, track_meta=False)
    if clip.ndim != 4 or clip.shape[0] not in channels:
        raise LayoutError(
            f"Expected a clip (C, T, H, W) with C = {' or '.join(map(str, channels))}, "
            f"found shape {tuple(clip.shape)}. "
            "RandSmoothPhase makes 2 channels (real, imaginary) of a magnitude clip."
        )
    return clip


class RandClipd(MapTransform, RandomizableTransform):
    """Apply a random transform of clips to every key, all with the draw of the first.

    Args:
        keys: the clips, all of one size.
        transform: the array form; its call takes ``randomize``.
        allow_missing_keys: whether a missing key is accepted.
    """

    def __init__(self, keys: KeysCollection, transform: Randomizable, allow_missing_keys: bool) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, 1.0)
        self.transform: Any = transform

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandClipd:
        """Set the state that everything is drawn from."""
        super().set_random_state(seed, state)
        self.transform.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace every clip."""
        d = dict(data)
        for n, key in enumerate(self.key_iterator(d)):
            d[key] = self.transform(d[key], randomize=n == 0)
        return d


class RandFrameClip(Randomizable, Transform):
    """Cut a random clip out of a series.

    One slice is drawn, then a place in (T, H, W). Places where less than ``min_foreground`` of the clip is brighter
    than a tenth of the series' maximum are drawn again, a few times. A series that is smaller than the clip is
    reflected. Some clips stand still: one frame, repeated.

    Args:
        clip_size: (t, h, w).
        min_foreground: share of the clip that should hold signal.
        tries: how often a place is drawn at most.
        still_prob: probability that the clip repeats its first frame.

    Shapes: (Z, C, T, H, W) to (C, t, h, w).

    Raises:
        LayoutError: for an input without five axes.
    """

    def __init__(
        self,
        clip_size: Sequence[int] = (12, 64, 64),
        min_foreground: float = 0.2,
        tries: int = 8,
        still_prob: float = 0.0,
    ) -> None:
        self.clip_size = tuple(int(c) for c in clip_size)
        self.min_foreground, self.tries, self.still_prob = min_foreground, tries, still_prob
        self.place = (0, 0, 0, 0)
        self.still = False

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandFrameClip:
        """Set the state that places are drawn from."""
        super().set_random_state(seed, state)
        return self

    def randomize(self, data: Sequence[int]) -> None:
        """Draw a slice and the start of the clip in a series of shape (Z, C, T, H, W)."""
        starts = [int(self.R.randint(max(data[i + 2] - self.clip_size[i], 0) + 1)) for i in range(3)]
        self.place = (int(self.R.randint(data[0])), starts[0], starts[1], starts[2])
        self.still = bool(self.R.random() < self.still_prob)

    def cut(self, series: torch.Tensor) -> torch.Tensor:
        """The clip at the place that was drawn."""
        clip = series[self.place[0]]
        for axis in range(3):
            index = reflect_index(clip.shape[axis + 1], self.clip_size[axis], clip.device, self.place[axis + 1])
            clip = clip.index_select(axis + 1, index)
        return clip[:, :1].expand_as(clip) if self.still else clip

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> NdarrayOrTensor:
        """Cut a clip out of (Z, C, T, H, W)."""
        series = convert_to_tensor(img)
        if series.dim() != 5:
            raise LayoutError(f"RandFrameClip takes (Z, C, T, H, W), got shape {list(series.shape)}.")
        bright = 0.1 * float(series.abs().max())
        for _ in range(self.tries if randomize else 1):
            if randomize:
                self.randomize(series.shape)
            clip = self.cut(series)
            if float((clip.abs() > bright).float().mean()) >= self.min_foreground:
                break
        return convert_to_dst_type(clip, img)[0]


class RandFrameClipd(RandClipd):
    """Dictionary form of :class:`RandFrameClip`; all keys are cut at the place that the first one drew.

    Args:
        keys: series of one shape.
        clip_size: see :class:`RandFrameClip`.
        min_foreground: see :class:`RandFrameClip`.
        tries: see :class:`RandFrameClip`.
        still_prob: see :class:`RandFrameClip`.
        allow_missing_keys: whether a missing key is accepted.
    """

    def __init__(
        self,
        keys: KeysCollection,
        clip_size: Sequence[int] = (12, 64, 64),
        min_foreground: float = 0.2,
        tries: int = 8,
        still_prob: float = 0.0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, RandFrameClip(clip_size, min_foreground, tries, still_prob), allow_missing_keys)


class ForegroundReferenced(MapTransform):
    """Put the mean magnitude over a series' foreground beside it, so that a clip's SNR is that of its series.

    Args:
        keys: the series (Z, C, T, H, W); one key.
        reference_key: where the number goes.
        allow_missing_keys: whether a missing key is accepted.
    """

    def __init__(
        self, keys: KeysCollection, reference_key: str = "reference", allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.reference_key = reference_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the number."""
        d = dict(data)
        for key in self.key_iterator(d):
            series = convert_to_tensor(d[key], track_meta=False)
            d[self.reference_key] = foreground_mean(series.square().sum(1).sqrt())
        return d
