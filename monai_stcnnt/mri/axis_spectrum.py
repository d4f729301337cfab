# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The part of k-space that noise fills along one axis, and its taper there."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from monai_stcnnt.errors import NoiseModelError

__all__ = ["AxisSpectrum"]


@dataclass(frozen=True)
class AxisSpectrum:
    """The part of k-space that noise fills along one axis.

    Attributes:
        size: samples of the axis in the image; its zero frequency is at ``size // 2``.
        start: first sample with noise.
        stop: the sample after the last one.
        taper: amplitude of the noise at the samples from ``start`` to ``stop``, with a root mean square of 1; empty
            where it is the same for all. A weight of 0 is a part without noise, as partial Fourier leaves one.
        acquired: samples with noise; follows from the others.
        is_white: whether noise fills the axis evenly; follows from the others.

    Raises:
        NoiseModelError: when the support is not within the axis, or the weights do not fit it.
    """

    size: int
    start: int = 0
    stop: int = -1
    taper: tuple[float, ...] = ()
    acquired: int = field(init=False, repr=False, compare=False)
    is_white: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the support and scale the weights."""
        if self.stop < 0:
            object.__setattr__(self, "stop", self.size)
        if not 0 <= self.start <= self.size // 2 < self.stop <= self.size:
            raise NoiseModelError(
                f"The noise is said to fill samples {self.start} to {self.stop} of an axis of {self.size}; they have "
                f"to lie within it and hold its center, {self.size // 2}."
            )
        if self.taper:
            weights = np.asarray(self.taper, dtype=np.float64)
            fits = len(weights) == self.stop - self.start and bool((np.isfinite(weights) & (weights >= 0)).all())
            if not fits or weights[self.size // 2 - self.start] == 0:
                raise NoiseModelError(
                    f"The taper has {len(weights)} weights from {np.min(weights):g}. Give {self.stop - self.start}, "
                    "none below 0, and one above 0 at the center of k-space."
                )
            scaled = weights / np.sqrt(np.square(weights).mean())
            object.__setattr__(self, "taper", tuple(round(float(w), 5) for w in scaled))
        object.__setattr__(self, "acquired", self.stop - self.start)
        object.__setattr__(self, "is_white", self.acquired == self.size and not self.taper)

    @classmethod
    def of_matrix(cls, size: int, acquired: int) -> AxisSpectrum:
        """Noise in the central ``acquired`` of ``size`` samples.

        Raises:
            NoiseModelError: when more were acquired than there are.
        """
        if not 1 <= acquired <= size:
            raise NoiseModelError(f"The acquired matrix has {acquired} samples along an axis of {size} pixels.")
        start = size // 2 - acquired // 2
        return cls(size, start, start + acquired)

    def bare(self) -> AxisSpectrum:
        """The support without its taper."""
        return AxisSpectrum(self.size, self.start, self.stop)

    def tapered(self, weights: np.ndarray) -> AxisSpectrum:
        """The support with a taper of these weights; with none where they are even."""
        values = np.asarray(weights, dtype=np.float64)
        taper = tuple(values.tolist()) if np.ptp(values) > 0 else ()
        return AxisSpectrum(self.size, self.start, self.stop, taper)

    def cropped(self) -> AxisSpectrum:
        """The taper alone, as of an image that was brought to the samples that were acquired."""
        return AxisSpectrum(self.acquired, 0, self.acquired, self.taper)

    def likeness(self) -> float:
        """Correlation of neighbors along the axis, of noise with this spectrum: 0 where it is white."""
        power = self.weights().square()
        turn = 2 * torch.pi * (torch.arange(self.size) - self.size // 2) / self.size
        return 0.0 if self.is_white else float((power * torch.cos(turn)).sum() / power.sum())

    def weights(self) -> Tensor:
        """Amplitude of the noise at every sample of the axis, ``(size,)``; 0 where there is none."""
        out = torch.zeros(self.size)
        out[self.start : self.stop] = torch.tensor(self.taper) if self.taper else 1.0
        return out
