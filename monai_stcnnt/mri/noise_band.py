# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
r"""The band of k-space that the noise of magnitudes fills along an axis, and its taper there.

What is left when the mean of the neighborhood (or, where there are frames, the second difference over them) is taken
off is noise and some anatomy. It is divided by its own local size, and looked at where that is smallest beside the
signal: there are few edges there, the noise of magnitudes is that of one component, and a map of it is divided out. Its
power along an axis, the median over the other lines of k-space, is then that of the noise.

To that a band is fitted: a raised cosine down to a rim, an edge, soft since the phase of the image shifts the noise of
magnitudes in k-space by its local slope, and what leaks beyond, the convolution of the band with itself. An edge is
believed when it falls by several decibels and explains much better what is seen than a taper alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, uniform_filter
from scipy.special import erfc
from torch import Tensor

from monai_stcnnt.mri.fft import fftc

__all__ = ["Band", "depth_band", "magnitude_bands"]

_MAX_FRAMES = 24
_WINDOW = 5
_WIDTH = 6.0
_QUIET = 0.65
_BRIGHT, _BRIGHTEST = 2.5, 0.95
_THICK = 1.25
_CUT = 0.03
_MEDIAN_OF_POWER = float(np.log(2))
_FALL, _FALL_IN_ALL, _BETTER = 4.5, 9.0, 1.35
_NEAR = 4
_NARROWEST = 0.4
_LOW_RIM, _GOOD = 0.25, 0.5
_SOFT = 1.4
_FIRST_LINES, _LINES = (0.2, 0.5), (0.25, 0.85)
_SMEARS = (0.3, 1.0, 2.0, 3.0, 4.5)
_STARTS = (0.0, 0.3, 0.6)
_RIMS = (1.0, 0.85, 0.7, 0.55, 0.4, 0.3, 0.2)


@dataclass(frozen=True)
class Band:
    """What was found along an axis.

    Attributes:
        acquired: samples with noise, around the center of k-space.
        taper: amplitude of the noise at these samples; empty where it is even.
        certainty: from 0 to 1.
    """

    acquired: int
    taper: tuple[float, ...]
    certainty: float


@dataclass(frozen=True)
class _Fit:
    """Parameters of a band in samples from the center of k-space, in units of its plateau, and how well it fits."""

    reach: float
    smear: float
    start: float
    rim: float
    leak: float
    floor: float
    cost: float

    def power(self, distance: float) -> float:
        d = np.array([[distance]])
        band = _band(d, *(np.array([[value]]) for value in (self.reach, self.smear, self.start, self.rim)))
        return float(band[0, 0] + self.leak * max(1 - distance / (2 * self.reach), 0) + self.floor)


def magnitude_bands(image: Tensor, expected: Sequence[int | None] = (None, None)) -> tuple[Band, Band]:
    """Find the bands along rows and columns.

    Args:
        image: magnitudes ``(Z, 1, T, H, W)``; exact zeros count as masked.
        expected: rows and columns that were acquired by the header: an edge there needs to be half as high.

    Returns:
        The bands of rows and columns.
    """
    details, response = _quiet_details(image[:, 0].numpy())
    details = details.reshape(-1, *details.shape[2:])
    details = details[:: max(1, len(details) // _MAX_FRAMES)]
    power = fftc(torch.from_numpy(details)).abs().square().numpy() / response
    halves = [n / 2 for n in power.shape[1:]]
    reach = list(halves)
    found: list[tuple[_Fit, _Fit]] = []
    for lines in (_FIRST_LINES, _LINES):
        found = [_fit(_profile(power, axis, reach[1 - axis], lines), halves[axis]) for axis in (0, 1)]
        reach = [
            edge.reach if _is_edge(edge, even, half, n) else half
            for (edge, even), half, n in zip(found, halves, expected, strict=True)
        ]
    bands = [_as_band(*pair, n, want) for pair, n, want in zip(found, power.shape[1:], expected, strict=True)]
    return bands[0], bands[1]


def depth_band(volume: Tensor, rows: Tensor, columns: Tensor) -> Band:
    """Find the band along the slices of a volume.

    Args:
        volume: magnitudes ``(T, H, W)``.
        rows: which rows of k-space hold noise and little anatomy, ``(H,)``.
        columns: which columns.
    """
    values = volume.numpy()
    mean = uniform_filter(values, (0, _WINDOW, _WINDOW))
    detail = values - mean
    details = _normalized(detail, mean, np.isfinite(detail) & (values != 0), (2.0, _WIDTH, _WIDTH))
    power = fftc(torch.from_numpy(details), (-3, -2, -1)).abs().square()[:, rows][:, :, columns].flatten(1).numpy()
    half = volume.shape[0] / 2
    return _as_band(*_fit(_folded(power), half), volume.shape[0], None)


def _quiet_details(stacks: np.ndarray) -> tuple[np.ndarray, np.ndarray | float]:
    """Noise of ``(n, T, H, W)`` where there is little else, over its local size, and the filter's response to it.

    Differences over frames are taken, unless they are larger than those to the neighborhood, as in thick slices.
    """
    mean = uniform_filter(stacks, (0, 0, _WINDOW, _WINDOW))
    detail = stacks - mean
    inside = stacks != 0
    over_plane = _normalized(detail, mean, inside, (0, _WIDTH, _WIDTH))
    sizes = [1 - np.outer(_box(stacks.shape[2]), _box(stacks.shape[3]))]
    response = np.maximum(np.square(sizes[0]), 0.05)
    if stacks.shape[1] < 3:
        return over_plane, response
    over_frames = np.diff(stacks, n=2, axis=1) / 6**0.5
    typical = [np.median(np.abs(part[inside[:, 1:-1]])) for part in (over_frames, detail[:, 1:-1]) if inside.any()]
    if typical and typical[0] > _THICK * typical[1]:
        return over_plane, response
    width = (0, 2.0 if over_frames.shape[1] > 3 else 0, _WIDTH, _WIDTH)
    near = uniform_filter(stacks, (0, 3, _WINDOW, _WINDOW))[:, 1:-1]
    return _normalized(over_frames, near, inside[:, 1:-1], width[1:]), 1.0


def _normalized(detail: np.ndarray, near: np.ndarray, inside: np.ndarray, width: Sequence[float]) -> np.ndarray:
    """Detail over its local root mean square, where the latter is smallest beside the signal; 0 elsewhere."""
    axes = (0.0,) * (detail.ndim - 3) + tuple(width)
    plane = (0.0,) * (detail.ndim - 2) + (2.0, 2.0)
    size = np.sqrt(gaussian_filter(np.square(detail), axes)) + 1e-12 * max(float(np.abs(near).max()), 1e-12)
    ratio = near / size
    whole = gaussian_filter(inside.astype(np.float32), plane) > 0.98
    values = ratio[whole]
    if not len(values):
        return np.zeros_like(detail)
    least = max(float(np.quantile(values, _QUIET)), min(_BRIGHT, float(np.quantile(values, _BRIGHTEST))))
    mask = gaussian_filter(((ratio > least) & whole).astype(np.float32), plane)
    return (detail / size * mask).astype(np.float32)


def _box(size: int) -> np.ndarray:
    """Response of the mean over a window along an axis, zero frequency in the center."""
    turn = 2 * np.pi * (np.arange(size) - size // 2) / size
    return np.asarray((1 + 2 * np.cos(turn) + 2 * np.cos(2 * turn)) / _WINDOW)


def _profile(power: np.ndarray, axis: int, reach: float, lines: tuple[float, float]) -> np.ndarray:
    """Power along an axis of ``(n, H, W)``, at 1, 2, ... samples from the center, over lines that hold noise."""
    size = power.shape[2 - axis]
    distance = np.abs(np.arange(size) - size // 2) / reach
    chosen = (distance > lines[0]) & (distance < lines[1])
    values = power[:, :, chosen] if axis == 0 else power[:, chosen].swapaxes(1, 2)
    return _folded(values.swapaxes(0, 1).reshape(values.shape[1], -1))


def _folded(values: np.ndarray) -> np.ndarray:
    """Median of both sides ``(samples, lines)`` at each distance from the center, as a mean of powers."""
    center = len(values) // 2
    sides = [np.r_[values[center - n], values[center + n]] for n in range(1, (len(values) - 1) // 2 + 1)]
    power = np.median(sides, axis=1) / _MEDIAN_OF_POWER
    largest = float(power.max())
    return np.maximum(power / largest, 1e-6) if largest > 0 else np.ones_like(power)


def _band(distance: np.ndarray, reach: np.ndarray, smear: np.ndarray, start: np.ndarray, rim: np.ndarray) -> np.ndarray:
    edge = 0.5 * erfc((distance - reach) / (2**0.5 * smear))
    return np.asarray(np.square(_taper(distance / reach, start, rim)) * edge)


def _taper(place: np.ndarray, start: np.ndarray | float, rim: np.ndarray | float) -> np.ndarray:
    """Amplitude of a raised cosine that begins at ``start`` of the band and falls to ``rim`` at its end."""
    return np.asarray(rim + (1 - rim) / 2 * (1 + np.cos(np.pi * np.clip((place - start) / (1 - start), 0, 1))))


def _fit(power: np.ndarray, half: float) -> tuple[_Fit, _Fit]:
    """The best band with an edge, first on a coarse grid, then near by; and the best taper over the whole axis.

    What is 15 dB below the middle hardly counts: it is leak.
    """
    power = power + _CUT * float(np.median(power[: max(len(power) * 2 // 5, 4)]))
    step = (1 - _NARROWEST) / 24 * half
    coarse = _best(power, np.linspace(_NARROWEST, 1, 25) * half, _SMEARS, _STARTS, _RIMS)
    reach = np.arange(coarse.reach - 1.5 * step, coarse.reach + 1.5 * step, max(0.25, step / 8))
    edge = _best(
        power,
        np.clip(reach, _NARROWEST * half, half),
        [coarse.smear * f for f in (0.6, 0.8, 1, 1.25, 1.6)],
        [np.clip(coarse.start + d, 0, 0.9) for d in (-0.15, 0, 0.15)],
        [min(coarse.rim * f, 1) for f in (0.85, 1, 1.15)],
    )
    even = _best(power, [half], [1e-3], (0, 0.25, 0.5, 0.75), (*_RIMS, 0.1), with_leak=False)
    return edge, even


def _best(
    power: np.ndarray,
    reach: Sequence[float] | np.ndarray,
    smear: Sequence[float],
    start: Sequence[float],
    rim: Sequence[float],
    *,
    with_leak: bool = True,
) -> _Fit:
    """The best of a grid, by the error in decibels; soft edges and low rims, which explain anything, cost extra."""
    grid = [values.ravel()[:, None] for values in np.meshgrid(reach, smear, start, rim, indexing="ij")]
    distance = np.arange(1, len(power) + 1.0)[None]
    band = _band(distance, *grid)
    parts = [band, np.clip(1 - distance / (2 * grid[0]), 0, None), np.ones_like(band)] if with_leak else [band]
    weights = _not_negative([part / power for part in parts])
    model = sum(weights[:, n : n + 1] * part for n, part in enumerate(parts))
    error = 10 * np.log10(np.maximum(model / power, 1e-9))
    cost = (2 * (np.sqrt(1 + np.square(error)) - 1)).sum(1)
    low_rim = -np.log(grid[3][:, 0])
    cost = cost + low_rim + 2 * np.square(np.maximum(grid[1][:, 0] - _SOFT, 0))
    best = int(np.argmin(cost))
    leak, floor = (weights[best, 1:] / weights[best, 0]).tolist() if with_leak else (0.0, 0.0)
    place = [float(values[best, 0]) for values in grid]
    return _Fit(place[0], place[1], place[2], place[3], leak, floor, float(cost[best]))


def _not_negative(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Weights, none negative, with which parts ``(n, samples)`` add up to 1 best, the first always among them."""
    count = len(parts)
    products = np.stack([np.stack([np.einsum("nl,nl->n", a, b) for a in parts], -1) for b in parts], -2)
    sums = np.stack([part.sum(1) for part in parts], -1)
    best, out = np.full(len(sums), np.inf), np.zeros_like(sums)
    for subset in ([0], [0, 1], [0, 2], [0, 1, 2])[: 1 if count == 1 else 4]:
        matrix = products[:, subset][:, :, subset] + 1e-9 * np.eye(len(subset))
        weights = np.linalg.solve(matrix, sums[:, subset][..., None])[..., 0]
        rest = parts[0].shape[1] - np.einsum("ni,ni->n", weights, sums[:, subset])
        better = (weights >= 0).all(1) & (weights[:, 0] > 0) & (rest < best)
        best = np.where(better, rest, best)
        out[better] = 0
        out[np.ix_(better, subset)] = weights[better]
    out[:, 0] = np.where(np.isfinite(best), out[:, 0], 1.0)
    return out


def _is_edge(edge: _Fit, even: _Fit, half: float, expected: int | None) -> bool:
    said = expected is not None and abs(2 * edge.reach - expected) <= _NEAR
    fall, in_all = _falls(edge, half)
    needed = 0.5 if said else 1.0
    better = 1 + needed * (_BETTER - 1)
    return fall > needed * _FALL and in_all > needed * _FALL_IN_ALL and even.cost > better * edge.cost


def _falls(edge: _Fit, half: float) -> tuple[float, float]:
    """By how many decibels the power falls at the edge, and from the center to the rim of k-space."""
    inside, outside = edge.power(edge.reach - 2 * edge.smear), edge.power(min(edge.reach + 2.5 * edge.smear, half))
    return 10 * float(np.log10(inside / outside)), 10 * float(np.log10(edge.power(0) / edge.power(half)))


def _as_band(edge: _Fit, even: _Fit, size: int, expected: int | None) -> Band:
    is_edge = _is_edge(edge, even, size / 2, expected)
    acquired = min(round(2 * edge.reach), size) if is_edge else size
    fit = edge if is_edge else even
    distance = np.abs(np.arange(acquired) - acquired // 2).astype(float)
    shape = [np.array([value]) for value in (fit.reach, fit.smear, fit.start, fit.rim)]
    weights = np.sqrt(_band(distance, *shape))
    is_tapered = is_edge or (fit.rim < _LOW_RIM and fit.cost < _GOOD * size)
    taper = tuple(weights.tolist()) if is_tapered else ()
    return Band(acquired, taper, min(1.0, _falls(edge, size / 2)[0] / _FALL / 1.5) if is_edge else 0.5)
