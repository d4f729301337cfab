# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
r"""Noise level of an image, estimated from the image alone.

Three sources are used. *Background*: in air a magnitude image is Rayleigh distributed, so that
:math:`\sigma^2 = \overline{M^2} / 2`; blocks of air are recognized by the shape of that distribution and by agreeing on
:math:`\sigma` (in the spirit of Koay et al., 2009, doi:10.1016/j.jmr.2009.03.005, who do it per pixel over
repetitions). *Wavelets*: the finest diagonal coefficients hold little but noise (Donoho and Johnstone, 1994,
doi:10.1093/biomet/81.3.425); so do differences of frames. In magnitude images the spread that remains at low SNR is
corrected for the Rician distribution (Koay and Basser, 2006, doi:10.1016/j.jmr.2006.01.016; Coupé et al., 2010,
doi:10.1016/j.media.2010.03.001), here coefficient by coefficient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import torch
from scipy.special import gamma
from torch import Tensor

from monai_stcnnt.errors import NoiseLevelError
from monai_stcnnt.mri.channels import image_magnitude
from monai_stcnnt.mri.gfactor import check_gfactor_map
from monai_stcnnt.mri.rician import rician_table
from monai_stcnnt.mri.snr import foreground_mean

__all__ = [
    "NoiseEstimate",
    "NoiseSource",
    "background_noise_level",
    "estimate_noise_level",
    "noise_floor",
    "temporal_noise_level",
    "wavelet_noise_level",
]

_BLOCK = 6
_MIN_BLOCKS = 12
_MAX_STRUCTURE = 1.2
_MAX_DETAIL = 1.2
_SHAPE_MEAN, _SHAPE_FOURTH = 0.015, 0.06
_MAX_VOXELS = 1_500_000
_FLOOR = 1e-3
_SHARE_OF_FOREGROUND = 0.1
_MEDIAN_OF_NORMAL = 0.6744897501960817
# High-pass filter of the Daubechies wavelet with two vanishing moments; its squares sum to 1.
_HIGH_PASS = np.array([1 - np.sqrt(3), -(3 - np.sqrt(3)), 3 + np.sqrt(3), -(1 + np.sqrt(3))]) / (4 * np.sqrt(2))


NoiseSource = Literal["background", "wavelet", "temporal", "floor"]


@dataclass(frozen=True)
class NoiseEstimate:
    """A noise level and where it comes from.

    Attributes:
        sigma: noise standard deviation per real and imaginary component, in the units of the image.
        method: ``"background"`` (air), ``"wavelet"`` (finest details of the frames), ``"temporal"`` (changes over
            frames), or ``"floor"`` (an image without noise: a thousandth of the mean foreground magnitude).
        background_share: share of the image that was recognized as air.
    """

    sigma: float
    method: NoiseSource
    background_share: float


def background_noise_level(magnitude: Tensor, num_coils: int = 1) -> tuple[float, float]:
    r"""Noise level from air.

    Blocks of 6 x 6 pixels count as air when :math:`\overline{M}^2 / \overline{M^2}` fits pure noise, and when they
    agree with the largest group of such blocks on :math:`\overline{M^2}`. Blocks with many exact zeros (masked
    images) are left out. Weak or structured tissue can look like that too. The group is refused when parts of its
    blocks differ more than noise allows, or when its finest details are larger than those of all other blocks: air
    explains its whole :math:`\overline{M^2}` by noise. Neighboring pixels of filtered or interpolated noise resemble
    each other, so every second and every third pixel is tried next.

    Args:
        magnitude: magnitudes ``(..., H, W)``.
        num_coils: number of independent coils whose squares were added up (1: Rayleigh, more: central chi).

    Returns:
        Noise standard deviation per component and the share of blocks that are air; ``(0, 0)`` when fewer than 12
        blocks or 2% of them are.
    """
    for stride in (1, 2, 3):
        blocks = _blocks(magnitude, stride)
        group = _noise_like(blocks, num_coils)
        share = float(group.mean()) if len(group) else 0.0
        if group.sum() >= _MIN_BLOCKS and share >= 0.02 and _is_air(blocks, group, num_coils):
            return float(np.sqrt(np.square(blocks[group]).mean() / (2 * num_coils))), share
    return 0.0, 0.0


def _blocks(magnitude: Tensor, stride: int) -> np.ndarray:
    """Cut every ``stride``-th pixel of ``(..., H, W)`` into blocks ``(number, 6, 6)``, for all phases of the stride.

    At most a few million voxels are used, spread over the leading axes.
    """
    images = magnitude.detach().cpu().reshape(-1, *magnitude.shape[-2:])
    images = images[:: max(1, -(-images.numel() // _MAX_VOXELS))]
    phases = [images[:, y::stride, x::stride] for y in range(stride) for x in range(stride)]
    tiles = [
        phase.unfold(1, _BLOCK, _BLOCK).unfold(2, _BLOCK, _BLOCK).reshape(-1, _BLOCK, _BLOCK)
        for phase in phases
        if min(phase.shape[-2:]) >= _BLOCK
    ]
    return torch.cat(tiles).double().numpy() if tiles else np.zeros((0, _BLOCK, _BLOCK))


def _noise_like(blocks: np.ndarray, num_coils: int) -> np.ndarray:
    """Which blocks look like pure noise of one level: the largest group that agrees on the mean square."""
    samples = _BLOCK**2
    expected, spread, _ = _chi_shape(num_coils, samples)
    mean_square = np.square(blocks).mean((1, 2))
    ratio = np.square(blocks.mean((1, 2))) / np.maximum(mean_square, np.finfo(float).tiny)
    noisy = (np.abs(ratio - expected) < 3 * spread) & ((blocks == 0).mean((1, 2)) < 0.3)
    if not noisy.any():
        return noisy
    power = np.sort(mean_square[noisy])
    width = 3.5 / np.sqrt(samples * num_coils)
    upper = np.searchsorted(power, power * (1 + width) / (1 - width), side="right")
    largest = int(np.argmax(upper - np.arange(len(power))))
    center = float(np.median(power[largest : upper[largest]]))
    for narrowing in (1.0, 0.8, 0.6, 0.6, 0.6):
        near = power[np.abs(power / center - 1) < narrowing * width]
        center = float(near.mean()) if len(near) else center
    return noisy & (np.abs(mean_square / center - 1) < 0.6 * width)


def _is_air(blocks: np.ndarray, group: np.ndarray, num_coils: int) -> bool:
    """Whether a group of blocks that look like noise has neither structure nor larger details than the other blocks."""
    half = _BLOCK // 2
    quarters = blocks[group].reshape(-1, 2, half, 2, half)
    between = quarters.mean((2, 4)).var((1, 2), ddof=1) * half**2
    if np.median(between / quarters.var((2, 4), ddof=1).mean((1, 2))) > _MAX_STRUCTURE:
        return False
    if num_coils > 1 and not _is_chi(blocks[group], num_coils):
        return False
    rest = ~group & (blocks > 0).all((1, 2))
    if rest.sum() < _MIN_BLOCKS:
        return True
    in_group = wavelet_noise_level(torch.from_numpy(blocks[group]))
    detail = _chi_shape(num_coils, _BLOCK**2)[2]
    return in_group / detail < _MAX_DETAIL * wavelet_noise_level(torch.from_numpy(blocks[rest]), num_coils)


def _is_chi(values: np.ndarray, num_coils: int) -> bool:
    """Whether magnitudes as a whole are distributed like noise of several coils: mean and fourth moment fit."""
    expected_mean = 2 * (gamma(num_coils + 0.5) / gamma(num_coils)) ** 2 / (2 * num_coils)
    expected_fourth = 1 + 1 / num_coils
    square = np.square(values)
    mean = values.mean() ** 2 / square.mean() / expected_mean
    fourth = np.square(square).mean() / square.mean() ** 2 / expected_fourth
    return bool(abs(mean - 1) < _SHAPE_MEAN and abs(fourth - 1) < _SHAPE_FOURTH)


@cache
def _chi_shape(num_coils: int, samples: int) -> tuple[float, float, float]:
    """Mean and spread of mean squared over mean square for blocks of noise, and spread of a pixel (a fixed draw)."""
    draws = np.random.RandomState(0).chisquare(2 * num_coils, (4000, samples))
    ratio = np.square(np.sqrt(draws).mean(-1)) / draws.mean(-1)
    return float(ratio.mean()), float(ratio.std()), float(np.sqrt(draws).std())


def wavelet_noise_level(image: Tensor, num_coils: int | None = None) -> float:
    """Noise level from the finest diagonal wavelet coefficients of every frame.

    Noise that was low-pass filtered (zero filling, interpolation, smoothing) has little there, and is underestimated.

    Args:
        image: real image or component ``(..., H, W)``; exact zeros count as masked pixels.
        num_coils: number of coils that a magnitude image was combined from, whose spread shrinks where there is little
            signal (1: Rician); None for a real or imaginary component.

    Returns:
        Noise standard deviation per component; 0 when fewer than 16 coefficients lie outside of the mask.
    """
    frames = image.detach().cpu().reshape(-1, 1, *image.shape[-2:])
    frames = frames[:: max(1, -(-frames.numel() // _MAX_VOXELS))].double()
    if min(frames.shape[-2:]) < len(_HIGH_PASS):
        return 0.0
    high = torch.from_numpy(_HIGH_PASS)
    diagonal = torch.nn.functional.conv2d(frames, torch.outer(high, high)[None, None], stride=2)
    window = torch.nn.functional.avg_pool2d
    inside = window((frames != 0).double(), len(high), stride=2) == 1
    coefficients = diagonal[inside].abs().numpy()
    if coefficients.size < 16:
        return 0.0
    return _median_level(coefficients, window(frames.square(), len(high), stride=2)[inside].numpy(), num_coils)


def temporal_noise_level(image: Tensor, num_coils: int | None = None) -> float:
    """Noise level from second differences over frames (first differences of two frames), in the foreground.

    Anatomy that stands still, or in three frames and more moves evenly, cancels out. What changes quickly adds to the
    level, frames that were smoothed or interpolated over time lower it.

    Args:
        image: real image or component ``(..., T, H, W)``; exact zeros count as masked pixels.
        num_coils: see :func:`wavelet_noise_level`.

    Returns:
        Noise standard deviation per component; 0 when there are fewer than 2 frames or 16 pixels.
    """
    series = image.detach().cpu().reshape(-1, *image.shape[-3:])
    if series.shape[1] < 2:
        return 0.0
    series = series[:: max(1, -(-series.numel() // _MAX_VOXELS))].double()
    power = series.square().mean(1)
    visible = (power > (_SHARE_OF_FOREGROUND * power.sqrt().quantile(0.99)) ** 2)[:, None] & (series != 0).all(1, True)
    order = min(series.shape[1] - 1, 2)
    difference = series.diff(n=order, dim=1) / np.sqrt(2 if order == 1 else 6)
    inside = visible.expand_as(difference)
    coefficients = difference[inside].abs().numpy()
    if coefficients.size < 16:
        return 0.0
    return _median_level(coefficients, power[:, None].expand_as(difference)[inside].numpy(), num_coils)


def _median_level(coefficients: np.ndarray, mean_square: np.ndarray, num_coils: int | None) -> float:
    """Noise level of normalized coefficients (absolute values); where there is little signal they are less spread."""
    sigma = float(np.median(coefficients)) / _MEDIAN_OF_NORMAL
    if num_coils is None or sigma == 0:
        return sigma
    table = rician_table(num_coils)
    for _ in range(20):
        signal = np.sqrt(np.clip(mean_square / sigma**2 - 2 * num_coils, 0, None))
        spread = np.sqrt(np.interp(signal, table.signal, table.variance))
        previous, sigma = sigma, float(np.median(coefficients / spread)) / _MEDIAN_OF_NORMAL
        if abs(sigma - previous) < 1e-4 * sigma:
            break
    return sigma


def noise_floor(magnitude: Tensor) -> float:
    """The lowest noise level that is told from none: a thousandth of the mean foreground of magnitudes."""
    return _FLOOR * foreground_mean(magnitude)


def estimate_noise_level(image: Tensor, channel_dim: int = 0, gmap: Tensor | None = None) -> NoiseEstimate:
    """Estimate the noise standard deviation per component of an MR image in any units.

    Air is preferred where there is some (see :func:`background_noise_level`), since its noise is seen at all
    frequencies, whatever filters colored it. Else the smaller of two levels is taken: that of the finest details of
    the frames (:func:`wavelet_noise_level`), which structure can only raise, and that of changes over frames
    (:func:`temporal_noise_level`), which motion can only raise; with slices as frames the latter rarely matters.

    Measured on simulated noise over smoothed scans of brain, heart and abdomen, at SNRs of 2 to 30: within 5% where an
    air background is seen (within 10% at an SNR of 1, where weak tissue resembles air), also with filtered,
    interpolated or zero-filled noise. Without air, or with air masked to zero: within 10% at SNRs of 2 to 20 for
    brains and up to an SNR of 10 for all; images full of fine structure (a heart, an abdomen at 3 mm) come out up to
    50% too high at 30. On repeated scans (fMRI) the level agrees with the changes from volume to volume.

    Filtered noise without air is underestimated, by more than a half for twofold interpolation: give the noise level
    where it is known. An air background that the scanner has suppressed leads to too low a level, and parallel
    imaging makes air and tissue differ: give the map.

    Args:
        image: real tensor with one channel (magnitude) or two (real, imaginary) along ``channel_dim``, and ``(H, W)``
            last: ``(C, T, H, W)`` by default, or ``(Z, C, T, H, W)`` with ``channel_dim=1``.
        channel_dim: the channel axis.
        gmap: g-factor map that broadcasts to the image with one channel; it is divided out first.

    Returns:
        The estimate. An image without noise gets a thousandth of its mean foreground magnitude.

    Raises:
        NoiseLevelError: when the image is empty, constant, or not finite.
        GFactorMapError: when the map does not fit or is not positive.
    """
    if image.numel() == 0 or not bool(torch.isfinite(image).all()):
        raise NoiseLevelError(
            f"The noise level of an image of shape {tuple(image.shape)} that is empty or not finite is unknown."
        )
    image = image.float()
    if all(float(component.max()) == float(component.min()) for component in image.unbind(channel_dim)):
        raise NoiseLevelError(
            f"All voxels of the image are {float(image.max()):g}: there is no noise to estimate. "
            "Give the noise level yourself."
        )
    magnitude = image_magnitude(image, channel_dim)
    if gmap is not None:
        given = check_gfactor_map(gmap, magnitude.shape)
        image, magnitude = image / given, magnitude / given
    floor = noise_floor(magnitude)
    sigma, share = background_noise_level(magnitude)
    if sigma > floor:
        return NoiseEstimate(sigma, "background", share)
    components = image.unbind(channel_dim)
    num_coils = 1 if len(components) == 1 else None
    levels: dict[NoiseSource, float] = {}
    sources: tuple[tuple[NoiseSource, Callable[[Tensor, int | None], float]], ...] = (
        ("wavelet", wavelet_noise_level),
        ("temporal", temporal_noise_level),
    )
    for source, measure in sources:
        level = float(np.sqrt(np.mean([measure(component, num_coils) ** 2 for component in components])))
        if level > floor:
            levels[source] = level
    if not levels:
        return NoiseEstimate(floor, "floor", share)
    source = min(levels, key=lambda name: levels[name])
    return NoiseEstimate(levels[source], source, share)
