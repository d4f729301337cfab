# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
r"""Power of the noise of magnitudes along an axis of k-space, in several ways of looking at it.

What is left when the mean of the neighborhood (or, where there are frames, the second difference over them) is taken
off is noise and some anatomy. It is divided by its own local size, and looked at where that is small beside the signal
(few edges are there, and the noise of magnitudes is that of one component), smallest, where magnitudes are distributed
as in air, and everywhere; over three ranges of lines of k-space. Squares of magnitudes, whose band ends sharply at
twice the width of the image's, are looked at as well.

Looking at a part of the image blurs its power spectrum by that of the part. Of some of these looks the correlation of
pixels at each distance is divided by how many pairs of the part have that distance, which undoes the blur. The phase
of the image blurs it too, by as much as it changes from pixel to pixel, which differs from place to place: how the
power in small windows varies from window to window tells that blur from a taper.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import log
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, uniform_filter
from torch import Tensor

from monai_stcnnt.mri.fft import fftc

__all__ = ["CHANNELS", "MAX_FRAMES", "SAME", "band_profiles"]

CHANNELS = 64
"""Of the profiles of an axis."""
SAME = 9
"""How many of them, the last ones, are the same at all samples."""
MAX_FRAMES = 24
"""That are looked at."""

_WINDOW = 5
_WIDTH = 6.0
_QUIET, _QUIETER = 0.65, 0.9
_BRIGHT, _BRIGHTEST = 2.5, 0.95
_AIR = 2.3
_THICK = 1.25
_LINES = ((0.06, 0.2), (0.2, 0.4), (0.4, 0.7))
_WIDE_LINES = ((0.06, 0.4), (0.4, 0.75))
_LEAST_AREA = 0.005
_FEWEST_PAIRS = 0.08  # of those of a pixel with itself
_FAR = 0.3  # of the axis: distance of pixels at which their correlation counts less
_WINDOWS = (16, 28)
_COVERED, _FEWEST_WINDOWS, _WINDOWS_ALONG = 0.35, 4, 10
_MOST_PIXELS = 200_000


class _Look(NamedTuple):
    """A detail image ``(n, H, W)``, its filter's power at every sample of k-space, and how much each pixel counts."""

    detail: np.ndarray
    response: np.ndarray | float
    mask: np.ndarray

    @property
    def area(self) -> float:
        """Share of the image that counts."""
        return float(self.mask.mean())


def band_profiles(stacks: Tensor) -> tuple[Tensor, Tensor]:
    """Power of the noise along rows and along columns.

    Args:
        stacks: magnitudes ``(n, T, H, W)``; exact zeros count as masked.

    Returns:
        Two tensors ``(64, samples)``, from the center of k-space outwards without the zero frequency: decades of power
        and power itself, the place, and channels that are the same at all samples.
    """
    looks = _looks(stacks.numpy())
    powers = [_power(look) for look in looks]
    sharp = [_unblurred(look) for look in (looks[0], looks[2], looks[3])]
    out = []
    for axis, size in enumerate(stacks.shape[2:]):
        channels = [one for power in powers for lines in _LINES for one in _profile(power, axis, lines)]
        channels += [one for power in sharp for lines in _WIDE_LINES for one in _even_profile(power, axis, lines)]
        channels += [one for width in _WINDOWS for one in _by_window(looks[0], axis, width)]
        place = torch.linspace(0, 1, size // 2 + 1)[1:]
        areas = [look.area for look in looks]
        constants = [
            *areas,
            float(stacks.shape[1] >= 3),
            log(min(size, 144) / 80),
            log(min(len(looks[0].detail), 8)) / 3,
        ]
        rows = [torch.full_like(place, value) for value in constants]
        out.append(torch.stack([*(torch.from_numpy(c) for c in channels), place, *rows]).float())
    return out[0], out[1]


def _looks(stacks: np.ndarray) -> list[_Look]:
    mean = uniform_filter(stacks, (0, 0, _WINDOW, _WINDOW))
    plane, inside, near = stacks - mean, stacks != 0, mean
    box = [_box(n) for n in stacks.shape[2:]]
    response: np.ndarray | float = np.maximum(np.square(1 - np.outer(*box)), 0.05)
    detail, over_plane = plane, response
    square = np.square(stacks / max(float(stacks.max()), 1e-12))
    if stacks.shape[1] >= 3:
        frames = np.diff(stacks, n=2, axis=1) / 6**0.5
        typical = [np.median(np.abs(part[inside[:, 1:-1]])) for part in (frames, plane[:, 1:-1]) if inside.any()]
        if not typical or typical[0] <= _THICK * typical[1]:
            detail, response, square = frames, 1.0, np.diff(square, n=2, axis=1)
            near, inside, plane = (part[:, 1:-1] for part in (uniform_filter(stacks, (0, 3, 5, 5)), inside, plane))
    flat = [part.reshape(-1, *part.shape[2:]) for part in (detail, plane, near, inside, square)]
    step = max(1, -(-len(flat[0]) // MAX_FRAMES))
    detail, plane, near, inside, square = (part[::step] for part in flat)
    whole = _soft(inside) > 0.98
    looks = []
    for one, filtered in ((detail, response), (plane, over_plane)):
        size = np.sqrt(gaussian_filter(np.square(one), (0, _WIDTH, _WIDTH))) + 1e-12 * max(float(near.max()), 1e-12)
        ratio = near / size
        values = ratio[whole] if whole.any() else np.ones(1)
        for share in (_QUIET, _QUIETER) if one is detail else (_QUIET,):
            least = max(float(np.quantile(values, share)), min(_BRIGHT, float(np.quantile(values, _BRIGHTEST))))
            looks.append(_looked(one / size, _soft((ratio > least) & whole), filtered))
        if one is detail:
            looks.append(_looked(one / size, _soft((ratio < _AIR) & whole), filtered))
            looks.append(_looked(one, _soft(inside), filtered))
    return [*looks, _Look(square.astype(np.float32), 1.0, np.ones_like(square))]


def _soft(mask: np.ndarray) -> np.ndarray:
    return np.asarray(gaussian_filter(mask.astype(np.float32), (0, 2.0, 2.0)))


def _looked(detail: np.ndarray, mask: np.ndarray, response: np.ndarray | float) -> _Look:
    return _Look((detail * mask).astype(np.float32), response, mask)


def _box(size: int) -> np.ndarray:
    """Response of the mean over a window along an axis, zero frequency in the center."""
    turn = 2 * np.pi * (np.arange(size) - size // 2) / size
    return np.asarray((1 + 2 * np.cos(turn) + 2 * np.cos(2 * turn)) / _WINDOW)


def _power(look: _Look) -> np.ndarray:
    """Power of a detail image at every sample of k-space; zeros where there is too little of it."""
    if look.area < _LEAST_AREA:
        return np.zeros_like(look.detail)
    return np.asarray(fftc(torch.from_numpy(look.detail)).abs().square().numpy() / look.response)


def _profile(power: np.ndarray, axis: int, lines: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Power along an axis of ``(n, H, W)`` over lines of k-space, beside that near the center: decades, and itself.

    The former are medians, which anatomy on few lines leaves alone; the latter means, which vary less.
    """
    along = power if axis == 0 else power.swapaxes(1, 2)
    size, other = along.shape[1:]
    distance = np.abs(np.arange(other) - other // 2) / (other / 2)
    values = along[:, :, (distance > lines[0]) & (distance <= lines[1])].swapaxes(0, 1).reshape(size, -1)
    half = size // 2
    largest = float(values.max()) if values.size else 0.0
    if largest <= 0:
        return np.zeros(half), np.zeros(half)
    outwards = np.arange(1, half + 1)
    sides = np.concatenate([values[(half + outwards) % size], values[half - outwards]], 1) / largest
    near = _near(half)
    decades = np.log10(np.median(sides, axis=1) + 1e-12)
    mean = np.square(np.sqrt(sides).mean(1))
    even = mean / max(float(np.median(mean[near])), 1e-12)
    return np.clip(decades - np.median(decades[near]), -5, 3), np.minimum(even, 3)


def _unblurred(look: _Look) -> np.ndarray:
    """Mean power of a look at every sample of k-space ``(H, W)``, without the blur by the part that is looked at."""
    if look.area < _LEAST_AREA:
        return np.zeros(look.detail.shape[1:])
    products, pairs = (
        np.fft.ifft2(np.square(np.abs(np.fft.fft2(part))).mean(0)).real for part in (look.detail, look.mask)
    )
    rows, columns = (np.minimum(np.arange(n), n - np.arange(n)) / n for n in products.shape)
    near = np.exp(-(rows[:, None] ** 2 + columns**2) / (2 * _FAR**2))
    share = pairs / pairs[0, 0]
    known = np.clip(2 * share / _FEWEST_PAIRS - 1, 0, 1) / np.maximum(share, _FEWEST_PAIRS)
    return np.asarray(np.fft.fftshift(np.fft.fft2(products * known * near).real) / look.response)


def _even_profile(power: np.ndarray, axis: int, lines: tuple[float, float]) -> Iterator[np.ndarray]:
    """Mean power ``(H, W)`` along an axis, beside that near the center: itself, and decades."""
    along = power if axis == 0 else power.T
    size, other = along.shape
    distance, half = np.abs(np.arange(other) - other // 2) / (other / 2), size // 2
    if not power.any():
        yield from np.zeros((2, half))
        return
    mean = along[:, (distance > lines[0]) & (distance <= lines[1])].mean(1)
    outwards = np.arange(1, half + 1)
    sides = (mean[(half + outwards) % size] + mean[half - outwards]) / 2
    sides = sides / max(float(np.median(sides[_near(half)])), 1e-12)
    yield np.clip(sides, -0.5, 3)
    yield np.log10(np.clip(sides, 1e-3, 1e2))


def _near(half: int) -> slice:
    """Samples near the center of k-space, of ``half`` from there to its rim."""
    return slice(half // 10, max(half * 4 // 10, 2))


def _by_window(look: _Look, axis: int, width: int) -> Iterator[np.ndarray]:
    """How the power along an axis varies over windows; decades of their mean, and of the quarter with the lowest.

    Odd and even lines of k-space vary by themselves, and together only as far as the windows differ.
    """
    step = max(1, look.detail.size // _MOST_PIXELS)
    detail, mask = (np.moveaxis(part[::step], 1 + axis, 1) for part in (look.detail, look.mask))
    half, hop = detail.shape[1] // 2, max(width // 2, min(detail.shape[1:]) // _WINDOWS_ALONG)
    if min(detail.shape[1:]) < width + hop:
        yield from np.zeros((3, half))
        return
    details, masks = (
        torch.from_numpy(np.ascontiguousarray(part, dtype=np.float32)).unfold(1, width, hop).unfold(2, width, hop)
        for part in (detail, mask)
    )
    covered = masks.mean((-2, -1))
    chosen = covered.mean(0) > _COVERED
    if int(chosen.sum()) < _FEWEST_WINDOWS:
        yield from np.zeros((3, half))
        return
    window = torch.hann_window(width + 2, periodic=False)[1:-1]
    lines = torch.fft.fft(details[:, chosen] * window[:, None] * window, dim=-1)[..., 1 : width // 2]
    count = lines.shape[-1]
    lines = lines[..., max(1, count // 10) : int(0.85 * count)]
    power = torch.fft.fft(lines, n=detail.shape[1], dim=-2).abs().square()
    power = (power + power.flip(-2).roll(1, -2))[..., 1 : half + 1, :] / 2
    weight = covered[:, chosen, None]
    odd, even = ((power[..., n::2].mean(-1) * weight).sum(0) / weight.sum(0) for n in (0, 1))
    inner = (odd + even)[:, _near(half)].mean(1, keepdim=True).clamp(min=1e-12) / 2
    odd, even = odd / inner, even / inner
    mean = (odd.mean(0) + even.mean(0)) / 2
    together = ((odd - odd.mean(0)) * (even - even.mean(0))).sum(0) / (len(odd) - 1)
    lowest = ((odd + even) / 2).sort(0).values[: max(1, len(odd) // 4)].mean(0)
    yield (together / (mean.square() + 1e-4)).clamp(-1, 3).numpy()
    for one in (mean, lowest):
        yield torch.log10(one.clamp(1e-3, 10)).numpy()
