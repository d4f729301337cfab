# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
r"""Batches of noisy and clean clips as the noise model gives them to the network, drawn on the device.

The engine brings an image to its acquired matrix, removes the taper of complex noise, and divides by level and map.
What is left for the network is noise of about 1 that is nearly white, with what the model gets wrong: a level and a map
that are off by some percent, a taper that magnitudes keep, power that magnitudes leak out of the band and back. Here,
clips get exactly this.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from monai_stcnnt.data.training.clip_pool import ClipPool
from monai_stcnnt.mri.axis_spectrum import AxisSpectrum
from monai_stcnnt.mri.fft import fftc, ifftc
from monai_stcnnt.mri.noise_model import from_acquired, to_acquired

__all__ = ["NoisyClips", "leaked", "rician_means"]

Mode = Literal["complex", "magnitude"]
_DIMS = (-2, -1)


class NoisyClips:
    """Draw batches for a denoiser from a pool of clean clips.

    Args:
        pool: the clean clips.
        mode: ``complex`` gives real and imaginary part, ``magnitude`` magnitudes.
        snr_range: the SNR, mean over the foreground by noise per component, is log-uniform in it.
        level_error: standard deviation of the logarithm of the level that the network is told.
        map_prob: share of clips whose noise has a map; it is known up to 4%.
        clean_prob: share of clips without noise.
        limit_prob: share of clips whose signal fills 50% to 100% of k-space along each axis, as after interpolation
            before the noise was white again.
        kspace_prob: share of clips whose k-space may be weighted or zero-filled.
        seed: of the draws.
    """

    def __init__(
        self,
        pool: ClipPool,
        mode: Mode,
        snr_range: tuple[float, float] = (0.7, 60.0),
        level_error: float = 0.03,
        map_prob: float = 0.4,
        clean_prob: float = 0.1,
        limit_prob: float = 0.35,
        kspace_prob: float = 1.0,
        seed: int = 0,
    ) -> None:
        self.pool, self.mode, self.snr_range = pool, mode, snr_range
        self.level_error, self.map_prob, self.clean_prob = level_error, map_prob, clean_prob
        self.limit_prob, self.kspace_prob = limit_prob, kspace_prob
        self.rng, self.device = np.random.default_rng(seed), pool.device

    def draw(self, count: int, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Images (B, C + 1, T, H, W) with the map as last channel, and labels (B, C, T, H, W), in SNR units."""
        clean = self.pool.draw(count, size)
        low, high = (float(np.log(snr)) for snr in self.snr_range)
        snr = np.exp(self.rng.uniform(low, high, count))
        signal = clean * self._per_clip(snr)
        signal = self._limited(torch.polar(signal, self._phase(count, size)))
        gmap = self._maps(count, size)
        noise = torch.complex(*torch.randn((2, *signal.shape), device=self.device).unbind()) * gmap
        quiet = self._per_clip(self.rng.random(count) < self.clean_prob)
        noise = noise * (1 - quiet)
        noisy, clean_image = self._through_kspace(signal, noise)
        told = self._per_clip(np.exp(self.level_error * self.rng.standard_normal(count)))
        if self.mode == "complex":
            image = torch.stack([noisy.real, noisy.imag], 1)
            label = torch.stack([clean_image.real, clean_image.imag], 1)
        else:
            label = clean_image[:, None]
            image = torch.where(quiet[:, None] > 0, rician_means(label / gmap[:, None]) * gmap[:, None], noisy[:, None])
        channel = (gmap * self._map_errors(count, size)).expand(-1, size[0], -1, -1)[:, None]
        return torch.cat([image / told[:, None], channel], 1), label / told[:, None]

    def _per_clip(self, values: np.ndarray) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self.device).view(-1, 1, 1, 1)

    def _smooth(self, count: int, size: Sequence[int], points: int) -> Tensor:
        coarse = torch.randn(count, 1, points, points, device=self.device)
        return F.interpolate(coarse, tuple(size[1:]), mode="bicubic", align_corners=False)

    def _phase(self, count: int, size: Sequence[int]) -> Tensor:
        """Smooth phases (B, T, H, W) that drift a little over the frames."""
        drift = torch.linspace(-1, 1, size[0], device=self.device).view(1, -1, 1, 1)
        ramps = torch.randn(2, count, 1, 1, 1, device=self.device)
        rows = torch.linspace(-2, 2, size[1], device=self.device).view(1, 1, -1, 1)
        columns = torch.linspace(-2, 2, size[2], device=self.device).view(1, 1, 1, -1)
        phase = 1.5 * self._smooth(count, size, 5) + 0.2 * drift * self._smooth(count, size, 4)
        return (
            phase + ramps[0] * rows + ramps[1] * columns + 2 * math.pi * torch.rand(count, 1, 1, 1, device=self.device)
        )

    def _maps(self, count: int, size: Sequence[int]) -> Tensor:
        """Maps of the noise (B, 1, H, W) about 1, as of coils and of parallel imaging; ones in most clips."""
        coils = (0.25 * self._smooth(count, size, 4)).exp()
        rows = torch.linspace(-1, 1, size[1], device=self.device).view(1, 1, -1, 1)
        columns = torch.linspace(-1, 1, size[2], device=self.device).view(1, 1, 1, -1)
        center = torch.randn(2, count, 1, 1, 1, device=self.device) * 0.4
        width = torch.rand(count, 1, 1, 1, device=self.device) + 0.4
        height = 2.5 * torch.rand(count, 1, 1, 1, device=self.device)
        bump = height * torch.exp(
            -0.5 * ((rows - center[0]).square() + (columns - center[1]).square()) / width.square()
        )
        aliased = torch.rand(count, 1, 1, 1, device=self.device) < 0.5
        maps = torch.where(aliased, (1 + bump) * coils, coils)
        chosen = self._per_clip(self.rng.random(count) < self.map_prob)
        return torch.where(chosen > 0, maps, torch.ones_like(maps))

    def _map_errors(self, count: int, size: Sequence[int]) -> Tensor:
        chosen = self._per_clip(self.rng.random(count) < self.map_prob)
        return (0.04 * chosen * self._smooth(count, size, 4)).exp()

    def _limited(self, signal: Tensor) -> Tensor:
        """Cut k-space off at the rim, in some clips."""
        count = signal.shape[0]
        chosen = self.rng.random(count) < self.limit_prob
        if not chosen.any():
            return signal
        rows, columns = (
            torch.linspace(-1, 1, n, device=self.device).abs().view(1, 1, -1)
            <= self._per_clip(np.where(chosen, self.rng.uniform(0.5, 1.0, count), 1.0))[..., 0]
            for n in signal.shape[-2:]
        )
        return ifftc(fftc(signal, _DIMS) * (rows.unsqueeze(-1) & columns.unsqueeze(-2)), _DIMS)

    def _through_kspace(self, signal: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Noisy and clean images, complex or magnitudes, of which some had their k-space weighted or zero-filled."""
        count, size = signal.shape[0], signal.shape[-2:]
        kind = self.rng.random(count)
        any_of_it = self.rng.random(count) < self.kspace_prob
        most = 0.15 if self.mode == "complex" else 0.3  # a complex image has only what is left of a taper
        tapered, zero_filled = (kind < most) & any_of_it, (kind > 0.75) & any_of_it
        weights, power = self._tapers(count, size)
        chosen = self._per_clip(tapered)
        weights = torch.where(chosen > 0, weights, torch.ones_like(weights))
        power = torch.where(chosen > 0, power, torch.ones_like(power))
        if bool(tapered.any()):
            signal = ifftc(fftc(signal, _DIMS) * weights, _DIMS)
            noise = ifftc(fftc(noise, _DIMS) * (weights / power), _DIMS)
            signal = signal / power  # so that the noise has a level of 1
        noisy = signal + noise
        if self.mode == "complex":
            return noisy, signal
        results = [noisy.abs(), signal.abs()]
        if bool(zero_filled.any()):
            where = torch.tensor(zero_filled, device=self.device)
            share = float(self.rng.uniform(1.1, 2.0))
            for n, image in enumerate((noisy[where], signal[where])):
                results[n] = results[n].index_put((where.nonzero()[:, 0],), leaked(image, share))
        return results[0], results[1]

    def _tapers(self, count: int, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Weights of k-space (B, 1, H, W), 1 in the center, and their root mean square (B, 1, 1, 1)."""
        lines = []
        for n in size:
            edge = self._per_clip(self.rng.uniform(0.1, 1.0, count))
            place = torch.linspace(-1, 1, n, device=self.device).view(1, 1, -1, 1)
            start = self._per_clip(self.rng.uniform(0, 0.8, count))
            fall = ((place.abs() - start) / (1 - start)).clamp(0, 1)
            lines.append(edge + (1 - edge) * 0.5 * (1 + torch.cos(math.pi * fall)))
        weights = lines[0] * lines[1].transpose(-2, -1)
        return weights, weights.square().mean(_DIMS, keepdim=True).sqrt()


def leaked(image: Tensor, factor: float) -> Tensor:
    """Magnitudes of a zero-filled complex image, brought back to its own matrix."""
    axes = [AxisSpectrum.of_matrix(2 * round(n * factor / 2), n) for n in image.shape[-2:]]
    return to_acquired(from_acquired(image, axes).abs(), axes)


def rician_means(signal: Tensor) -> Tensor:
    """Mean of a Rician magnitude with sigma 1: of :func:`monai_stcnnt.mri.rician.rician_mean`, on any device."""
    x = signal.square() / 4
    return math.sqrt(math.pi / 2) * ((1 + 2 * x) * torch.special.i0e(x) + 2 * x * torch.special.i1e(x))
