# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
r"""Batches of magnitudes whose noise a filter of k-space colored, for the network for real images.

A complex image is acquired on a part of k-space, perhaps tapered or sampled on one side only, zero-filled, and its
magnitude taken. The engine makes the noise of that white again, as well as it knows the spectrum, with some of k-space
around the band; what is left is a real image whose mean has the bias of magnitudes, filtered. Labels are what comes out
when the filter is put on again: the mean of the magnitudes, and the magnitude without noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from monai_stcnnt.data.training.clip_noise import NoisyClips, rician_means
from monai_stcnnt.data.training.clip_pool import ClipPool
from monai_stcnnt.mri.axis_spectrum import AxisSpectrum
from monai_stcnnt.mri.noise_model import beyond_band, from_acquired, to_acquired

__all__ = ["FilteredClips"]

_WIDE = 1.6  # by which the engine keeps more of k-space than the band
_LARGEST = 145
_FEWEST_ACQUIRED = 16
_ONE_AXIS, _PARTIAL, _EVEN, _GAUSSIAN, _KNOWN, _MASKED = 0.4, 0.08, 0.25, 0.2, 0.4, 0.1
_TAPER_ERROR = 0.2


class FilteredClips(NoisyClips):
    """Draw batches for a network for real images from a pool of clean clips.

    Args:
        pool: the clean clips.
        snr_range: see :class:`~monai_stcnnt.data.training.clip_noise.NoisyClips`.
        level_error: see there.
        map_prob: share of clips whose noise has a map.
        clean_prob: share of clips without noise.
        seed: of the draws.
    """

    def __init__(
        self,
        pool: ClipPool,
        snr_range: tuple[float, float] = (0.8, 50.0),
        level_error: float = 0.05,
        map_prob: float = 0.6,
        clean_prob: float = 0.06,
        seed: int = 0,
    ) -> None:
        super().__init__(pool, "magnitude", snr_range, level_error, map_prob, clean_prob, seed=seed)

    def draw(self, count: int, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Images (B, 2, T, h, w) with the map as last channel, and labels (B, 3, T, h, w), in SNR units.

        The labels are mean and magnitude in the file's band, with its taper, and the weights of k-space that make the
        image so. The size (T, h, w) is about that asked for: that of the band and what lies around it.
        """
        shares = self._shares()
        extents = [_odd(min(n / min(1.0, _WIDE * share), _LARGEST)) for n, share in zip(size[1:], shares, strict=True)]
        plain = [
            AxisSpectrum.of_matrix(n, max(_FEWEST_ACQUIRED, round(share * n)))
            for n, share in zip(extents, shares, strict=True)
        ]
        full = (size[0], *extents)
        clean = self.pool.draw(count, full)
        signal = torch.polar(clean, self._phase(count, full))
        gmap = self._maps(count, full)
        low, high = (float(np.log(snr)) for snr in self.snr_range)
        drawn = [self._one(*one, float(np.exp(self.rng.uniform(low, high))), plain)
                 for one in zip(signal, gmap, strict=True)]  # fmt: skip
        image, label = (torch.stack(part) for part in zip(*drawn, strict=True))
        image[:, 1:] *= self._map_errors(count, (size[0], *image.shape[-2:]))[:, None]
        return image, label

    def _shares(self) -> list[float]:
        """How much of k-space was acquired along rows and columns; in some batches all along one of them."""
        shares = [float(self.rng.uniform(0.42, 0.95)) for _ in range(2)]
        if self.rng.random() < _ONE_AXIS:
            shares[int(self.rng.integers(2))] = 1.0
        return shares

    def _one(self, signal: Tensor, gmap: Tensor, snr: float, plain: Sequence[AxisSpectrum]) -> tuple[Tensor, Tensor]:
        """Image and label of one clip, of a complex signal (T, H, W) and a map (1, H, W)."""
        frames, rng = signal.shape[0], self.rng
        partial = int(rng.integers(2)) if rng.random() < _PARTIAL else None
        true, told = zip(*(self._filters(axis, is_partial=n == partial) for n, axis in enumerate(plain)), strict=True)
        acquired = [axis.acquired for axis in plain]
        clean = from_acquired(to_acquired(signal, plain), true)
        clean = clean * (snr / self._foreground(clean.abs()))
        coarse = F.interpolate(gmap[None], acquired, mode="bilinear", align_corners=False)[0]
        noise = torch.complex(*torch.randn((2, frames, *acquired), device=self.device).unbind()) * coarse
        magnitude = clean.abs()
        mean = rician_means(magnitude / gmap) * gmap
        noisy = mean if rng.random() < self.clean_prob else (clean + from_acquired(noise, true)).abs()
        if rng.random() < _MASKED:
            mask = (F.avg_pool2d((magnitude > 0.15 * snr).float()[None], 5, 1, 2) > 0.3)[0]
            noisy, mean, magnitude = noisy * mask, mean * mask, magnitude * mask
        wide = [beyond_band(axis) for axis in told]
        bare = [axis.bare() for axis in wide]
        rows, columns = (axis.weights().to(self.device)[axis.start : axis.stop] for axis in wide)
        white = to_acquired(noisy, wide)
        size = white.shape[-2:]
        channel = F.interpolate(gmap[None], size, mode="bilinear", align_corners=False)[0].expand(frames, -1, -1)
        level = math.exp(self.level_error * rng.standard_normal())
        label = [to_acquired(part, bare) / level for part in (mean, magnitude)]
        weights = (rows[:, None] * columns).expand(frames, *size)
        return torch.stack([white / level, channel]), torch.stack([*label, weights])

    def _foreground(self, magnitude: Tensor) -> float:
        return max(float(magnitude[magnitude > 0.1 * magnitude.amax()].mean()), 1e-6)

    def _filters(self, axis: AxisSpectrum, *, is_partial: bool) -> tuple[AxisSpectrum, AxisSpectrum]:
        """An axis with a taper, and with what is known of it."""
        count, rng = axis.acquired, self.rng
        place = np.abs(np.arange(count) - (axis.size // 2 - axis.start)) / (count / 2)
        kind = rng.random()
        if kind < _EVEN:
            weights = np.ones(count)
        elif kind < 1 - _GAUSSIAN:
            start, rim = rng.uniform(0, 0.8), rng.uniform(0.1, 1)
            weights = rim + (1 - rim) * 0.5 * (1 + np.cos(np.pi * np.clip((place - start) / (1 - start), 0, 1)))
        else:
            weights = np.exp(-0.5 * (place / rng.uniform(0.5, 1.2)) ** 2)
        if is_partial:
            weights[: int(count * rng.uniform(0.1, 0.35))] = 0
        error = 1.0 if rng.random() < _KNOWN else float(np.exp(_TAPER_ERROR * rng.standard_normal()))
        return axis.tapered(weights), axis.tapered(weights**error)


def _odd(extent: float) -> int:
    return 2 * round((extent - 1) / 2) + 1
