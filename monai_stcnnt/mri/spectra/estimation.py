# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
r"""Which part of k-space an image's noise fills, axis by axis, found from the image alone.

Scanners write images that are zero-filled (half to three quarters of each axis acquired), filtered, or partly sampled.
In complex images the power spectrum of the noise tells: what is left of the
image after the mean of its neighborhood (or, where there are frames, their second difference) is taken away is noise
and some anatomy, and of its spectrum, along an axis, the median over all other lines is taken, since anatomy fills few
of them. Noise is seen best in air, where it is alone. Magnitudes are another matter:
:mod:`~monai_stcnnt.mri.spectra.band`.

An edge is believed when the power falls by several decibels within a few samples, more than on either side, and when
what lies beyond is less than white noise of the image's level would put there: anatomy that ends in white noise is no
edge of the noise. A taper is believed when the profile, with the level that it implies, explains the noise in air.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, median_filter, uniform_filter
from torch import Tensor

from monai_stcnnt.mri.axis_spectrum import AxisSpectrum
from monai_stcnnt.mri.fft import fftc
from monai_stcnnt.mri.spectra.band import Band, depth_band, magnitude_bands

__all__ = ["estimate_spectrum"]

_MAX_FRAMES = 24
_SHORTEST = 24
_SMALLEST_WEIGHT = 0.2
_JUMP = 2.6
_JUMP_WITHOUT_AIR = 3.5
_NOTHING = 0.02
_DARK = 0.4
_RIM = 0.6
_NOISE_LIKE = 1.2
_SURE_FALL = 0.6
_FEWEST_SLICES = 4
_EVEN = 0.8
_ASYMMETRY = 0.25
_EMPTY = 1e-3
_MEDIAN_OF_POWER = log(2)
_OF_FLOATS = 1e-11
_ABOVE_ROUNDING = 2.0
_SHARP = 5.0
_MOST_LOOKED_AT = 2_000_000


def estimate_spectrum(
    image: Tensor,
    sigma: float | None = None,
    is_volume: bool = False,
    expected: Sequence[int | None] = (None, None),
) -> tuple[tuple[AxisSpectrum, ...], float]:
    """Find the part of k-space that the noise of a series fills along frames, rows and columns.

    Args:
        image: ``(Z, C, T, H, W)``, C = 1 for magnitudes, 2 for real and imaginary part.
        sigma: noise level per component where air tells it, in the units of the image; without it only an edge
            between two parts that both look like noise is believed, and no taper.
        is_volume: whether T is depth, whose spectrum is then looked at as well; frames in time are taken as white.
        expected: rows and columns of the acquired matrix by the header, where it says so: an edge there needs to be
            half as steep to be believed.

    Returns:
        The spectra of the axes ``(T, H, W)``, and how sure they are, from 0 to 1.
    """
    frames, height, width = image.shape[2:]
    white = (AxisSpectrum(frames), AxisSpectrum(height), AxisSpectrum(width))
    if min(height, width) < _SHORTEST:
        return white, 0.0
    if image.shape[1] == 1:
        return _of_magnitudes(image, is_volume, expected)
    stacks = torch.complex(image[:, 0], image[:, 1])
    details, share = _details(stacks, has_air=sigma is not None)
    level = None if sigma is None else 2 * sigma**2
    rounding = _rounding(image)
    filled = [_filled(stacks, dim, rounding) for dim in (1, 2, 3)]
    found = _in_plane(details, share, level, expected, filled[1:])
    depth = white[0]
    if is_volume and frames >= _FEWEST_SLICES and filled[0] is not None:
        return (AxisSpectrum(frames, *filled[0]), found[0][0], found[1][0]), min(found[0][1], found[1][1])
    if is_volume and frames >= _FEWEST_SLICES and sigma is not None:
        depth = _depth_in_air(stacks)
    elif is_volume and frames >= _SHORTEST and image.shape[0] == 1:
        depth = _along_depth(stacks[0], (found[0][0], found[1][0]), level)
    return (depth, found[0][0], found[1][0]), min(found[0][1], found[1][1])


def _rounding(image: Tensor) -> float:
    """Power that rounding leaves in a sample of k-space: of values that are multiples of a step, or of floats."""
    values = image.flatten()[:: max(1, image.numel() // 100_000)].double().unique()
    step = float(values.diff().min()) if len(values) > 1 else 0.0
    whole = step > 0 and bool(((values / step - (values / step).round()).abs() < 0.02).all())
    return max(step**2 / 6 if whole else 0.0, _OF_FLOATS * float(image.square().mean()))


def _filled(stacks: Tensor, dim: int, rounding: float) -> tuple[int, int] | None:
    """The part of k-space along an axis beyond which there is nothing but rounding, where it ends sharply."""
    step = max(1, stacks.numel() // _MOST_LOOKED_AT)
    part = stacks[:, ::step] if dim != 1 else stacks[..., ::step]
    power = fftc(part, (dim,)).abs().square().mean([d for d in range(4) if d != dim]).numpy()
    there = np.flatnonzero(power > _ABOVE_ROUNDING * rounding)
    if not len(there) or len(there) == len(power) or there[-1] - there[0] < len(power) // 4:
        return None
    start, stop = int(there[0]), int(there[-1]) + 1
    rims = [power[start : start + 2].max() if start else np.inf, power[stop - 2 : stop].max()]
    rims = [rims[0], rims[1] if stop < len(power) else np.inf]
    sharp = min(rims) > _SHARP * _ABOVE_ROUNDING * rounding
    return (start, stop) if sharp and start <= len(power) // 2 < stop else None


def _of_magnitudes(
    image: Tensor, is_volume: bool, expected: Sequence[int | None]
) -> tuple[tuple[AxisSpectrum, ...], float]:
    frames, height, width = image.shape[2:]
    rows, columns = magnitude_bands(image, expected)
    plane = [_around_center(band, size) for band, size in zip((rows, columns), (height, width), strict=True)]
    depth = Band(frames, (), 1.0)
    if is_volume and frames >= _SHORTEST and image.shape[0] == 1:
        depth = depth_band(image[0, 0])
    certainty = min(band.certainty for band in (rows, columns, depth))
    return (_around_center(depth, frames), *plane), certainty


def _around_center(band: Band, size: int) -> AxisSpectrum:
    start = size // 2 - band.acquired // 2
    return AxisSpectrum(size, start, start + band.acquired, band.taper)


def _details(stacks: Tensor, *, has_air: bool) -> tuple[list[Tensor], float]:
    """Fine detail of complex frames ``(n, T, H, W)``: everywhere, and in the dark part; and the latter's share."""
    smooth = uniform_filter(stacks.abs().numpy().mean(1), (0, 5, 5))
    chosen = smooth < np.quantile(smooth, _DARK)
    mask = torch.from_numpy(gaussian_filter(chosen.astype(np.float32), (0, 2, 2)))[:, None]
    if stacks.shape[1] >= 3:
        step = max(1, stacks.shape[0] * (stacks.shape[1] - 2) // _MAX_FRAMES)
        detail = stacks.diff(n=2, dim=1)[:, ::step] / 6**0.5
        seen = stacks[:, 1:-1:step] if has_air else detail
    else:
        detail, seen = stacks - _mean(stacks, (0, 0, 5, 5)), stacks
    most = max(1, _MAX_FRAMES // detail.shape[1])
    detail, seen, mask = detail[:most], seen[:most], mask[:most]
    return [detail.flatten(0, 1), (seen * mask).flatten(0, 1)], float(mask.square().mean())


def _mean(image: Tensor, window: tuple[int, ...]) -> Tensor:
    """Mean of the neighborhood of a complex image."""
    parts = [torch.from_numpy(uniform_filter(part.numpy(), window)) for part in (image.real, image.imag)]
    return torch.complex(parts[0], parts[1])


def _in_plane(
    details: Sequence[Tensor],
    share: float,
    level: float | None,
    expected: Sequence[int | None],
    filled: Sequence[tuple[int, int] | None],
) -> tuple[tuple[AxisSpectrum, float], tuple[AxisSpectrum, float]]:
    """Spectra along rows and columns: first roughly, over all lines; then over the lines that hold noise."""
    powers = [fftc(detail).abs().square() for detail in details]
    sizes = powers[0].shape[-2:]
    lines: list[np.ndarray | None] = [None, None]
    found: list[tuple[AxisSpectrum, float]] = [(AxisSpectrum(n), 0.0) for n in sizes]
    for _ in range(2):
        edges = []
        for axis in (0, 1):
            profiles = [_profile(power, axis, lines[1 - axis]) for power in powers]
            known = filled[axis]
            edges.append(_edge(profiles, share, level, expected[axis]) if known is None else (known, 1.0))
        for axis in (0, 1):
            (start, stop), _ = edges[axis]
            distance = np.abs(np.arange(sizes[axis]) - sizes[axis] // 2)
            lines[axis] = (distance > 0.05 * sizes[axis] / 2) & (distance < 0.9 * min(stop - start, sizes[axis]) / 2)
    gain, kept = 1.0, 1.0
    tapers = []
    for axis in (0, 1):
        (start, stop), _ = edges[axis]
        profile = _profile(powers[1], axis, lines[1 - axis])
        weights, plateau = _taper(profile[0], start, stop)
        tapers.append((weights, plateau / share, profile[1]))
        gain *= float(np.square(weights).sum() / sizes[axis])
        kept *= (stop - start) / sizes[axis]
    for axis in (0, 1):
        (start, stop), certainty = edges[axis]
        weights, plateau, likeness = tapers[axis]
        rim = plateau * float(np.square(weights).min())
        inner = likeness[start + (stop - start) // 4 : stop - (stop - start) // 4]
        if level is None:
            rims = np.r_[likeness[start + 2 : start + 8], likeness[stop - 8 : stop - 2]]
            believed = weights.min() < _SURE_FALL and max(np.median(inner), np.median(rims)) < _NOISE_LIKE
        else:
            believed = rim < _RIM * level / kept and 0.3 < plateau * gain / level < 3.5
            believed = believed and float(np.median(inner)) < _NOISE_LIKE
        taper = tuple(weights) if believed else ()
        found[axis] = (AxisSpectrum(sizes[axis], start, stop, taper), certainty)
    return found[0], found[1]


def _profile(power: Tensor, axis: int, lines: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Median power of noise along an axis, over other lines, and how far it spreads (1 for noise, more for anatomy)."""
    along = (power if axis == 0 else power.transpose(-1, -2)).numpy()
    if lines is None:
        other = along.shape[-1]
        distance = np.abs(np.arange(other) - other // 2)
        total = along.mean((0, 1))
        reference = np.quantile(total[distance > 0.05 * other / 2], 0.9)
        lines = (distance > 0.05 * other / 2) & (distance < 0.5 * other / 2) & (total > 1e-4 * reference)
        if not lines.any():
            lines = distance > 0
    values = along[..., lines].swapaxes(0, 1).reshape(along.shape[1], -1)
    return _median_and_spread(values)


def _median_and_spread(power: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean power of noise in rows of samples, by their medians, and their upper quartile in units of noise's."""
    median, upper = np.quantile(power, (0.5, 0.75), axis=1)
    return median / _MEDIAN_OF_POWER, upper / np.maximum(2 * median, np.finfo(np.float32).tiny)


def _edge(
    profiles: Sequence[tuple[np.ndarray, np.ndarray]],
    share: float,
    level: float | None,
    expected: int | None = None,
) -> tuple[tuple[int, int], float]:
    """First and last sample of the support, by the profiles of the whole image and of its dark part."""
    size = len(profiles[0][0])
    center = size // 2
    sides = [[_side(p, center, sign) for sign in (-1, 1)] for p, _ in profiles]
    likeness = [_side(profiles[1][1], center, sign) for sign in (-1, 1)]
    widths, sure = [], []
    for n in range(2):
        width, jump = _jump(sides[0][n])
        enough = _enough(width, expected)
        if jump < enough:
            width, jump = _jump(sides[1][n])
            enough = _enough(width, expected)
        dark = sides[1][n]
        if jump < enough or width == len(dark):
            widths.append(len(dark))
            sure.append(1.0 if level is not None else 0.5)
            continue
        beyond = _typical(dark[width:]) / share
        inside = _typical(sides[0][n][max(width - 6, 1) : max(width - 1, 2)])
        if level is not None:
            believed = beyond < _NOTHING * level
        else:
            noisy = float(np.median(likeness[n][max(width - 6, 1) : width])) < _NOISE_LIKE
            empty = _typical(sides[0][n][width:]) < _NOTHING * inside
            believed = (noisy and jump > _JUMP_WITHOUT_AIR) or empty
        widths.append(width if believed else len(dark))
        sure.append(min(1.0, jump / 6) if believed else 0.5)
    before, after = widths[0] - 1, widths[1]
    if abs(before - after) > _ASYMMETRY * max(before, after):
        before = after = max(before, after)
    start, stop = max(center - before, 0), min(center + after, size)
    return ((0, size) if start <= 1 and stop >= size - 1 else (start, stop)), min(sure)


def _typical(power: np.ndarray) -> float:
    return float(np.exp(np.median(np.log(power + 1e-30)))) if len(power) else 0.0


def _enough(width: int, expected: int | None) -> float:
    """Decibels that an edge has to fall; half as much where the header says that there is one."""
    return _JUMP if expected is None or abs(2 * width - expected) > 4 else _JUMP / 2


def _side(profile: np.ndarray, center: int, sign: int) -> np.ndarray:
    """The profile from the zero frequency outwards."""
    return profile[center:] if sign > 0 else profile[center::-1]


def _jump(power: np.ndarray) -> tuple[int, float]:
    """First sample after the steepest fall, and by how many decibels it falls more than around there.

    The power runs outwards from the zero frequency.
    """
    decibels = 10 * np.log10(power + 1e-12 * power.max() + 1e-30)
    decibels = np.maximum(decibels, decibels.max() - 60)
    size = len(decibels)
    falls = np.zeros(size)
    for e in range(max(size // 5, 5), size - 2):
        falls[e] = decibels[e - 4 : e].mean() - decibels[e + 1 : e + 5].mean()
    around = np.array([_around(falls, e) for e in range(size)])
    excess = falls - around
    best = int(np.argmax(excess))
    outside = best + 1 if decibels[best] - decibels[best + 1] > decibels[best - 1] - decibels[best] else best
    spread = float(np.median(np.abs(np.diff(decibels)))) / 0.6745 / 2**0.5
    if excess[best] < 4 * spread * (1 / 4 + 1 / 4) ** 0.5:
        return size, 0.0
    return outside, float(excess[best])


def _around(falls: np.ndarray, e: int) -> float:
    near = np.concatenate((falls[max(e - 10, 0) : max(e - 4, 0)], falls[e + 5 : e + 11]))
    near = near[near != 0]
    return max(float(np.median(near)), 0.0) if len(near) else 0.0


def _taper(profile: np.ndarray, start: int, stop: int) -> tuple[np.ndarray, float]:
    """Amplitudes over the support, at most 1 and falling outwards, and the power at 1."""
    center = len(profile) // 2
    half = max(center - start, stop - center)
    inner = np.r_[profile[center - half // 2 : center - half // 8], profile[center + half // 8 : center + half // 2]]
    plateau = float(np.median(inner))
    inside = profile[start:stop].copy()
    if stop - start < len(profile):
        inside[:2], inside[-2:] = inside[2], inside[-3]
    power = np.minimum(median_filter(inside, 5, mode="nearest") / max(plateau, 1e-30), 1.0)
    middle = center - start
    falling = [
        np.minimum.accumulate(np.exp(gaussian_filter(np.log(side + 1e-9), 1.5, mode="nearest")))
        for side in (power[middle::-1], power[middle:])
    ]
    weights = np.sqrt(np.r_[falling[0][:0:-1], falling[1]])
    return np.where(weights**2 < _EMPTY, 0.0, np.clip(weights, _SMALLEST_WEIGHT, 1.0)), plateau


def _depth_in_air(volumes: Tensor) -> AxisSpectrum:
    """Spectrum along the slices of complex volumes ``(n, T, H, W)``, from the power in their dark part."""
    smooth = torch.from_numpy(uniform_filter(volumes.abs().numpy().mean(1), (0, 7, 7)))
    dark = smooth < torch.quantile(smooth.flatten()[:: max(1, smooth.numel() // 100_000)], _DARK)
    size = volumes.shape[1]
    values = volumes.movedim(1, 0)[:, dark]
    power = fftc(values, (0,)).abs().square().mean(1).numpy()
    weights = np.sqrt(np.minimum(power / np.quantile(power, 0.75), 1.0))
    filled = np.flatnonzero(weights**2 > _NOTHING)
    start, stop = int(filled[0]), int(filled[-1]) + 1
    is_even = bool(weights[start:stop].min() > _EVEN)
    if not start <= size // 2 < stop or (is_even and stop - start == size):
        return AxisSpectrum(size)
    taper = () if is_even else tuple(np.clip(weights[start:stop], _SMALLEST_WEIGHT, 1.0))
    return AxisSpectrum(size, start, stop, taper)


def _along_depth(volume: Tensor, planes: tuple[AxisSpectrum, AxisSpectrum], level: float | None) -> AxisSpectrum:
    """Spectrum along the slices of ``(T, H, W)``, over the frequencies in plane that hold noise."""
    detail = volume - _mean(volume, (0, 5, 5))
    smooth = uniform_filter(volume.abs().numpy(), (3, 5, 5))
    mask = torch.from_numpy(gaussian_filter((smooth < np.quantile(smooth, _DARK)).astype(np.float32), (2, 2, 2)))
    rows, columns = (_ring(plane) for plane in planes)
    profiles = []
    for part in (detail, detail * mask):
        power = fftc(part, (-3, -2, -1)).abs().square()[:, rows][:, :, columns].flatten(1).numpy()
        profiles.append(_median_and_spread(power))
    (start, stop), _ = _edge(profiles, float(mask.square().mean()), level)
    return AxisSpectrum(volume.shape[0], start, stop)


def _ring(spectrum: AxisSpectrum) -> Tensor:
    distance = (torch.arange(spectrum.size) - spectrum.size // 2).abs()
    return (distance > 0.1 * spectrum.acquired / 2) & (distance < 0.8 * spectrum.acquired / 2)
