# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Random changes of noise-free training clips ``(C, T, H, W)``: band limit, matrix size, frame order, simulation.

They come before noise is added, which so stays white where the signal is not: many scanners interpolate their images by
filling k-space with zeros, and noise that is simulated on such an image covers frequencies in which there is no signal.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import RandomizableTransform
from monai.utils import convert_to_dst_type
from torch import Tensor

from monai_stcnnt.errors import ImageSizeError
from monai_stcnnt.mri.channels import channels_to_complex, complex_to_channels
from monai_stcnnt.mri.fft import fftc, ifftc, resize_matrix
from monai_stcnnt.mri.kspace_filter import elliptic_support, resolution_filter
from monai_stcnnt.mri.phantom import cine_phantom, random_shapes
from monai_stcnnt.mri.snr import foreground_mean
from monai_stcnnt.transforms.clip import RandClipd, as_clip

__all__ = [
    "RandBandLimit",
    "RandBandLimitd",
    "RandFrameShuffle",
    "RandFrameShuffled",
    "RandMatrixSize",
    "RandMatrixSized",
    "RandSimulatedClip",
    "RandSimulatedClipd",
    "Simulation",
]

Simulation = Literal["time", "depth", "cine"]


def _mirrored(clip: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """A clip with a mirrored margin of a quarter, so that its edges do not ring, as ``(T, H, W)``; and the margin."""
    margin = (clip.shape[-2] // 4, clip.shape[-1] // 4)
    padded = torch.nn.functional.pad(clip, (margin[1], margin[1], margin[0], margin[0]), mode="reflect")
    return channels_to_complex(padded) if clip.shape[0] == 2 else padded[0], margin


def _channels(image: Tensor, channels: int) -> Tensor:
    """Channels of ``(T, H, W)``; a clip with one holds magnitudes, which are not below zero."""
    return complex_to_channels(image) if channels == 2 else image.real.clamp(min=0)[None]


class RandBandLimit(RandomizableTransform):
    """Take away the outer part of the k-space of a clip, as an image has none that was interpolated by zero filling.

    Args:
        ratio_range: smallest and largest share of k-space that is kept along H and along W.
        elliptic_prob: probability that the part which is kept is an ellipse with the same share along both axes,
            otherwise a box.
        prob: probability of a band limit.

    Shapes: (C, T, H, W) to the same; C = 1 magnitude, C = 2 real and imaginary part.

    Raises:
        ValueError: when the range is not within 0 and 1.
    """

    def __init__(
        self, ratio_range: tuple[float, float] = (0.5, 1.0), elliptic_prob: float = 0.5, prob: float = 0.5
    ) -> None:
        RandomizableTransform.__init__(self, prob)
        low, high = ratio_range
        if not 0 < low <= high <= 1:
            raise ValueError(f"ratio_range is {tuple(ratio_range)}. Give two shares of k-space above 0, up to 1.")
        self.ratio_range = (float(low), float(high))
        self.elliptic_prob = elliptic_prob
        self._ratios = (1.0, 1.0)
        self._elliptic = False

    def randomize(self, data: object = None) -> None:  # noqa: ARG002 - as MONAI declares it
        """Draw the band limit."""
        super().randomize(None)
        if self._do_transform:
            self._elliptic = bool(self.R.random_sample() < self.elliptic_prob)
            self._ratios = (float(self.R.uniform(*self.ratio_range)), float(self.R.uniform(*self.ratio_range)))

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> NdarrayOrTensor:
        """Limit the band of a clip.

        Raises:
            LayoutError: when it is no clip.
        """
        clip = as_clip(img)
        if randomize:
            self.randomize()
        if not self._do_transform:
            return img
        image, (top, left) = _mirrored(clip)
        height, width = image.shape[-2:]
        if self._elliptic:
            weights = elliptic_support(height, width, self._ratios[0])
        else:
            lines = [resolution_filter(n, r) for n, r in zip((height, width), self._ratios, strict=True)]
            weights = lines[0][:, None] * lines[1]
        limited = ifftc(fftc(image, (-2, -1)) * weights.to(image.device), (-2, -1))
        limited = limited[:, top : top + clip.shape[-2], left : left + clip.shape[-1]]
        return convert_to_dst_type(_channels(limited, clip.shape[0]), img, dtype=torch.float32)[0]


class RandMatrixSize(RandomizableTransform):
    """Scan a clip with another matrix over the same field of view, and cut its center out.

    A factor below 1 takes the outer part of k-space away (larger pixels), one above 1 fills k-space with zeros
    (smaller pixels, without new detail). The intensities stay.

    Args:
        size: (h, w) of the result. The clip has to have this size divided by the smallest factor at least.
        factor_range: smallest and largest factor; it is drawn log-uniformly, one for both axes.
        prob: probability of another matrix; otherwise only the center is cut out.

    Shapes: (C, T, H, W) to (C, T, h, w); C = 1 magnitude, C = 2 real and imaginary part.

    Raises:
        ValueError: when a factor is not positive.
    """

    def __init__(self, size: Sequence[int], factor_range: tuple[float, float] = (0.75, 1.5), prob: float = 0.5) -> None:
        RandomizableTransform.__init__(self, prob)
        if not 0 < factor_range[0] <= factor_range[1] < float("inf"):
            raise ValueError(
                f"factor_range is {tuple(factor_range)}. Give two positive numbers, the smaller one first."
            )
        self.size = (int(size[0]), int(size[1]))
        self.factor_range = (float(factor_range[0]), float(factor_range[1]))
        self._factor = 1.0

    def randomize(self, data: object = None) -> None:  # noqa: ARG002 - as MONAI declares it
        """Draw the factor."""
        super().randomize(None)
        low, high = np.log(self.factor_range)
        self._factor = float(np.exp(self.R.uniform(low, high))) if self._do_transform else 1.0

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> NdarrayOrTensor:
        """Change the matrix of a clip.

        Raises:
            LayoutError: when it is no clip.
            ImageSizeError: when it is too small for the size that is asked for.
        """
        clip = as_clip(img)
        if randomize:
            self.randomize()
        sizes = [round(n * self._factor) for n in clip.shape[-2:]]
        if any(n < wanted for n, wanted in zip(sizes, self.size, strict=True)):
            raise ImageSizeError(
                f"A clip of {tuple(clip.shape[-2:])} has {tuple(sizes)} pixels after the factor {self._factor:.3g}, "
                f"less than {self.size}. Cut larger clips."
            )
        if self._factor != 1.0:
            image, _ = _mirrored(clip)
            scaled = resize_matrix(image, [round(n * self._factor) for n in image.shape[-2:]], keep="signal")
            clip = _channels(scaled, clip.shape[0])
        top, left = ((n - wanted) // 2 for n, wanted in zip(clip.shape[-2:], self.size, strict=True))
        center = clip[..., top : top + self.size[0], left : left + self.size[1]]
        return convert_to_dst_type(center, img, dtype=torch.float32)[0]


class RandFrameShuffle(RandomizableTransform):
    """Put the frames of a clip in a random order, so that a network cannot rely on smooth motion.

    Args:
        prob: probability of another order.

    Shapes: (C, T, H, W) to the same.
    """

    def __init__(self, prob: float = 0.1) -> None:
        RandomizableTransform.__init__(self, prob)
        self._order: list[int] = []

    def randomize(self, data: int) -> None:
        """Draw the order of ``data`` frames."""
        super().randomize(None)
        self._order = self.R.permutation(data).tolist() if self._do_transform else list(range(data))

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> NdarrayOrTensor:
        """Reorder the frames of a clip.

        Raises:
            LayoutError: when it is no clip.
        """
        clip = as_clip(img)
        if randomize:
            self.randomize(clip.shape[1])
        return convert_to_dst_type(clip[:, self._order], img, dtype=torch.float32)[0]


class RandSimulatedClip(RandomizableTransform):
    """Replace a clip by a simulated one of the same size, with its own anatomy each time.

    Args:
        kinds: what to draw from: shapes that move (``"time"``), shapes that fill a volume (``"depth"``), or a part of
            a beating heart (``"cine"``); see :mod:`monai_stcnnt.mri.phantom`.
        prob: probability of a simulated clip.

    Shapes: (1, T, H, W) to the same.

    Raises:
        ValueError: when a kind is unknown.
    """

    def __init__(self, kinds: Sequence[Simulation] = ("time", "depth", "cine"), prob: float = 0.1) -> None:
        RandomizableTransform.__init__(self, prob)
        if not kinds or any(kind not in get_args(Simulation) for kind in kinds):
            raise ValueError(f"kinds is {tuple(kinds)}. Choose among {get_args(Simulation)}.")
        self.kinds = tuple(kinds)
        self._clip = torch.zeros(())
        self.reference: float | None = None

    def randomize(self, data: Sequence[int]) -> None:
        """Draw a clip of size ``data = (T, H, W)``."""
        super().randomize(None)
        self.reference = None
        if not self._do_transform:
            return
        kind = self.kinds[int(self.R.randint(len(self.kinds)))]
        if kind == "cine":
            frames, height, width = data
            whole = cine_phantom((frames, max(128, height), max(128, width)), self.R).image.abs()
            top, left = (
                int(self.R.randint(n - wanted + 1)) for n, wanted in zip(whole.shape[1:], data[1:], strict=True)
            )
            self._clip = whole[:, top : top + height, left : left + width]
        else:
            whole = self._clip = random_shapes(self.R, data, kind)
        self.reference = foreground_mean(whole)

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> NdarrayOrTensor:
        """Give a simulated clip, or the one that was given; ``reference`` is its foreground mean, or None.

        Raises:
            LayoutError: when it is no magnitude clip.
        """
        clip = as_clip(img, (1,))
        if randomize:
            self.randomize(clip.shape[1:])
        return convert_to_dst_type(self._clip[None], img, dtype=torch.float32)[0] if self._do_transform else img


class RandBandLimitd(RandClipd):
    """Dictionary form of :class:`RandBandLimit`; all keys get the same band limit.

    Args:
        keys: the clips.
        ratio_range: see :class:`RandBandLimit`.
        elliptic_prob: see :class:`RandBandLimit`.
        prob: see :class:`RandBandLimit`.
        allow_missing_keys: whether a missing key is accepted.
    """

    def __init__(
        self,
        keys: KeysCollection,
        ratio_range: tuple[float, float] = (0.5, 1.0),
        elliptic_prob: float = 0.5,
        prob: float = 0.5,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, RandBandLimit(ratio_range, elliptic_prob, prob), allow_missing_keys)


class RandMatrixSized(RandClipd):
    """Dictionary form of :class:`RandMatrixSize`; all keys get the same matrix.

    Args:
        keys: the clips.
        size: see :class:`RandMatrixSize`.
        factor_range: see :class:`RandMatrixSize`.
        prob: see :class:`RandMatrixSize`.
        allow_missing_keys: whether a missing key is accepted.
    """

    def __init__(
        self,
        keys: KeysCollection,
        size: Sequence[int],
        factor_range: tuple[float, float] = (0.75, 1.5),
        prob: float = 0.5,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, RandMatrixSize(size, factor_range, prob), allow_missing_keys)


class RandFrameShuffled(RandClipd):
    """Dictionary form of :class:`RandFrameShuffle`; all keys get the same order.

    Args:
        keys: the clips, all with as many frames.
        prob: see :class:`RandFrameShuffle`.
        allow_missing_keys: whether a missing key is accepted.
    """

    def __init__(self, keys: KeysCollection, prob: float = 0.1, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, RandFrameShuffle(prob), allow_missing_keys)


class RandSimulatedClipd(RandClipd):
    """Dictionary form of :class:`RandSimulatedClip`; all keys get the same clip.

    Args:
        keys: the magnitude clips, all of one size.
        reference_key: entry for the amplitude that the SNR refers to; it is replaced with the clip.
        kinds: see :class:`RandSimulatedClip`.
        prob: see :class:`RandSimulatedClip`.
        allow_missing_keys: whether a missing key is accepted.
    """

    def __init__(
        self,
        keys: KeysCollection,
        reference_key: str = "reference",
        kinds: Sequence[Simulation] = ("time", "depth", "cine"),
        prob: float = 0.1,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, RandSimulatedClip(kinds, prob), allow_missing_keys)
        self.reference_key = reference_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace every clip, and the reference."""
        d = super().__call__(data)
        if self.transform.reference is not None:
            d[self.reference_key] = self.transform.reference
        return d
