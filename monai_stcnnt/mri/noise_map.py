# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
r"""Where an image's noise is how strong: a smooth map from its finest details.

On the acquired matrix noise is white, and second differences along rows, columns and frames hold little else. Their
median in small blocks gives a level for each. Three things keep anatomy out: of detail that anatomy makes there is more
at twice the distance, and what that predicts is taken off; the blocks' levels are smoothed such that what stands out
above its surroundings counts less, since anatomy only adds; and the variation that is left is believed only where it
exceeds what such estimates scatter by themselves. In magnitudes, the spread that shrinks where there is little signal
is corrected (Koay and Basser, 2006, doi:10.1016/j.jmr.2006.01.016), and air, whose mean square needs no detail, counts
by that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import torch
from scipy.ndimage import correlate1d, gaussian_filter, percentile_filter, uniform_filter, zoom
from torch import Tensor

from monai_stcnnt.mri.noise_spectrum import AxisSpectrum
from monai_stcnnt.mri.rician import RicianTable, rician_table

__all__ = ["NoiseField", "estimate_noise_field"]

_MEDIAN_OF_NORMAL = 0.6744897501960817
_CELLS = 20
_SMALLEST_BLOCK = 6
_FEWEST_ALONG = 4
_STRUCTURE = 5.0
_BRIGHT = 2.0
_LIKE_AIR = 0.04
_AS_DETAIL = 1.4
_LOWEST = 0.6
_MOST_ANATOMY = 0.2
_FEWEST = 8
_MAX_VOXELS = 4_000_000
_SCALES = (5.2, 2.6, 1.3, 0.7)
_DOUBT = 2.0
_ROUNDS = 6
_STANDS_OUT = 1.5
_FEWEST_TIMES = 6
_QUIET = 1 / 3
_MOVING = 0.9
_THICK = 1.05


@dataclass(frozen=True, eq=False)
class NoiseField:
    """Noise levels over an image.

    Attributes:
        field: standard deviation per component of blocks of the image, ``(Z, frames, rows, columns)``, smooth.
        level: its median over the object.
        spread: standard deviation of its logarithm over the object.
        error: what is left in that of the scatter of the estimates.
        share: share of the blocks in the object that hold noise rather than anatomy.
        scatter: standard deviation of the logarithm of a block's level around the field.
    """

    field: Tensor
    level: float
    spread: float
    error: float
    share: float
    scatter: float


def estimate_noise_field(
    image: Tensor,
    spectra: tuple[AxisSpectrum, AxisSpectrum],
    is_volume: bool = False,
    num_coils: int = 1,
    scatter: float | None = None,
) -> NoiseField | None:
    """Estimate the noise level everywhere in an image on its acquired matrix.

    Args:
        image: ``(Z, C, T, H, W)``, C = 1 for magnitudes, 2 for real and imaginary part; exact zeros count as masked.
        spectra: of the noise along ``(H, W)`` before the image was brought there, with the taper as far as it was not
            taken off. Magnitudes need them, since noise in air leaks out of its band.
        is_volume: whether T is depth, along which the field varies; it is the same for all frames in time.
        num_coils: of a magnitude that is a sum of squares.
        scatter: standard deviation of the logarithm of a block's level where there is noise alone; blocks scatter more
            where anatomy adds to most of them, and the lowest then count. By default it is taken from the blocks.

    Returns:
        The field; None for an image too small, or where fewer than eight blocks have noise to be measured.
    """
    height, width = image.shape[3:]
    if min(height, width) < _FEWEST_ALONG * _SMALLEST_BLOCK:
        return None
    size = max(_SMALLEST_BLOCK, -(-max(height, width) // _CELLS))
    step = max(1, -(-image[:, :1].numel() // _MAX_VOXELS)) if not is_volume else 1
    image = image[:, :, : image.shape[2] // step * step : step] if step > 1 and image.shape[2] // step > 3 else image
    depth = max(1, round(image.shape[2] / 10)) if is_volume else image.shape[2]
    over_frames = image.shape[2] >= 3 and _frames_differ(image, is_volume)
    powers = [_powers(axis) for axis in spectra]
    details = [_detail(image, n, over_frames).abs() for n in (1, 2)]
    gains = [_gains(spectra, powers, n) for n in (1, 2)]
    power = image.square().sum(1, keepdim=True)
    block = (size, depth)
    details = [detail / gain[0] ** 0.5 for detail, gain in zip(details, gains, strict=True)]
    values, anatomy = _level(details, block, quiet=False)
    quiet = False
    if not is_volume and over_frames and image.shape[2] >= _FEWEST_TIMES:
        expected = [_quiet_level(image.shape[1], image.shape[2], size, n) for n in (1, 2)]
        scaled = [detail[:, :, 1:-1] / level for detail, level in zip(details, expected, strict=True)]
        still, other = _level(scaled, block, quiet=True)
        quiet = bool(np.median(still) < _MOVING * np.median(values))
        details, values, anatomy = (scaled, still, other) if quiet else (details, values, anatomy)
    if image.shape[1] == 1:
        near = power if is_volume else power.mean(2, keepdim=True)
        near = torch.from_numpy(uniform_filter(near.numpy(), (0, 0, 3 if is_volume else 0, 3, 3), mode="nearest"))
        ratios = [gain[1] / gain[0] for gain in gains]
        table = rician_table(num_coils)
        values, anatomy = _of_magnitudes(values, details, ratios, near, block, num_coils, table, quiet=quiet)
        values = _with_air(values, image, power, spectra, powers, block, table)
    else:
        values, anatomy = _or_air(values, anatomy, power, block)
    square = _blockwise(power, *block, "mean")
    valid = np.isfinite(values) & (values > 0) & (_blockwise((power > 0).float(), *block, "mean") > 0.9)
    if valid.sum() < _FEWEST:
        return None
    values = np.where(valid, values, 1.0)
    theta = np.sqrt(np.maximum(square / np.square(values) - 2 * num_coils, 0))
    doubt = np.where(np.isfinite(anatomy), anatomy, 0.0)
    return _smoothed(values, theta, valid, scatter, 1 / (1 + np.exp(np.clip((doubt - _MOST_ANATOMY) / 0.04, -30, 30))))


def _level(details: list[Tensor], block: tuple[int, int], *, quiet: bool) -> tuple[np.ndarray, np.ndarray]:
    """Noise level of blocks: the median of their details, less what those at twice the distance say of anatomy.

    Also returned is the share of the details' variance that anatomy has by that. Of a series over time the quiet frames
    of each block count, in which little moves.
    """
    near, far = (np.square(_typical(d, block, quiet=quiet) / _MEDIAN_OF_NORMAL) for d in details)
    share = (far / np.maximum(near, 1e-30) - 1) / (_STRUCTURE - 1)
    return np.sqrt(near * np.maximum(1 - share, 0.3)), share


def _typical(detail: Tensor, block: tuple[int, int], *, quiet: bool) -> np.ndarray:
    """Median of details in blocks; if quiet, that of their frames which a third of them do not exceed."""
    if not quiet:
        return _blockwise(detail, *block, "median")
    by_frame = _blockwise(detail, block[0], 1, "median")
    known = np.isfinite(by_frame).mean(1, keepdims=True) > 0.5
    out = np.nanquantile(np.where(known, by_frame, 0), _QUIET, axis=1, keepdims=True)
    return np.where(known, out, np.nan)


@cache
def _quiet_level(channels: int, frames: int, size: int, distance: int) -> float:
    """What quiet frames say of white noise with level 1, by a fixed draw."""
    draw = torch.randn(2, channels, frames, 8 * size, 8 * size, generator=torch.Generator().manual_seed(0))
    detail = _detail(draw, distance, over_frames=True).abs()[:, :, 1:-1]
    return float(np.mean(_typical(detail, (size, 1), quiet=True))) / _MEDIAN_OF_NORMAL


def _of_magnitudes(
    values: np.ndarray,
    details: list[Tensor],
    ratios: list[float],
    near: Tensor,
    block: tuple[int, int],
    num_coils: int,
    table: RicianTable,
    *,
    quiet: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Levels per component of blocks of magnitudes, from the voxels with signal; not a number where there are few.

    The second array is the share of anatomy in their details.

    Args:
        values: levels before correction.
        details: absolute differences, such that those of noise that follows the signal linearly are right.
        ratios: variance of differences of the rest of the noise over that, see :func:`_gains`.
        near: mean square around each voxel.
        block: frames and pixels of a block.
        num_coils: of a sum of squares.
        table: of magnitudes of that many coils.
        quiet: see :func:`_level`.
    """
    square = _blockwise(near.expand(-1, -1, details[0].shape[2], -1, -1), *block, "mean")
    values = np.full(values.shape, np.median(values[square >= np.quantile(square, 0.75)]))
    for _ in range(5):
        known = np.isfinite(values) & (values > 0)
        middle = float(np.median(values[known]))
        filled = np.log(np.clip(np.where(known, values, middle), _LOWEST * middle, None))
        field = torch.from_numpy(_expand(filled, details[0].shape))[:, None]
        theta = (near / field.square().clamp(min=1e-30) - 2 * num_coils).clamp(min=0).sqrt().numpy()
        linear, rest = _parts_of_variance(theta, table)
        for floor in (_BRIGHT, 0.0):
            bright = torch.from_numpy(np.where(theta >= floor, np.float32(1), np.float32("nan")))
            parts = zip(details, ratios, strict=True)
            scaled = [d * bright / torch.from_numpy((linear + rest * ratio) ** 0.5) for d, ratio in parts]
            values, anatomy = _level(scaled, block, quiet=quiet)
            if np.isfinite(values).sum() >= _FEWEST:
                break
    return values, anatomy


def _with_air(
    values: np.ndarray,
    image: Tensor,
    power: Tensor,
    spectra: Sequence[AxisSpectrum],
    powers: Sequence[tuple[np.ndarray, np.ndarray]],
    block: tuple[int, int],
    table: RicianTable,
) -> np.ndarray:
    """Fill in the levels of blocks whose magnitudes are distributed as in air, from their mean square."""
    kept = 1.0
    for axis, (_, twice) in zip(spectra, powers, strict=True):
        kept *= float(twice[axis.start : axis.stop].sum() / twice.sum())
    bias, variance = float(table.mean[0]), float(table.variance[0])
    expected = bias**2 + variance * kept
    square = _blockwise(power, *block, "mean")
    ratio = np.square(_blockwise(image, *block, "mean")) / np.maximum(square, 1e-30)
    air = ~np.isfinite(values) & (np.abs(ratio - bias**2 / expected) < 0.06)
    return np.where(air, np.sqrt(square / expected), values)


def _or_air(
    values: np.ndarray, anatomy: np.ndarray, power: Tensor, block: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Levels of blocks of complex images that are distributed as in air by their mean square, which is surer."""
    square = _blockwise(power, *block, "mean")
    ratio = np.square(_blockwise(power.sqrt(), *block, "mean")) / np.maximum(square, 1e-30)
    air = (np.abs(ratio - np.pi / 4) < _LIKE_AIR) & (square < 4 * np.quantile(square, 0.2))
    air &= square < 2 * np.square(_AS_DETAIL * values)  # weak tissue has less detail
    return np.where(air, np.sqrt(square / 2), values), np.where(air, 0.0, anatomy)


def _parts_of_variance(theta: np.ndarray, table: RicianTable) -> tuple[np.ndarray, np.ndarray]:
    """Variance of magnitudes ``(..., T, H, W)``: what follows the noise linearly, and the rest, as differences see it.

    The linear part is the squared slope of the mean over the signal, the first term of an expansion in Hermite
    polynomials; it has the spectrum of the noise, the rest that of the noise convolved with itself.
    """
    variance, slope = (np.interp(theta, table.signal, values) for values in (table.variance, table.slope))
    linear = np.minimum(np.square(slope), variance)
    out = []
    for part in (linear, variance - linear):
        for axis in range(theta.ndim - 3, theta.ndim):
            part = correlate1d(part, [1 / 6, 4 / 6, 1 / 6], axis=axis, mode="nearest")
        out.append(part.astype(np.float32))
    return out[0], out[1]


def _frames_differ(image: Tensor, is_volume: bool) -> bool:
    """Whether the noise of neighboring frames is independent, by details in the dark part with and without frames.

    What stays the same over time is anatomy. Between thick slices there is more of it than within them.
    """
    frames = image.shape[2]
    changing = image if is_volume else (image - image.mean(2, keepdim=True)) * (frames / (frames - 1)) ** 0.5
    with_frames, without = (_detail(part, 1, flag).abs() for part, flag in ((image, True), (changing, False)))
    smooth = image.square().sum(1, keepdim=True).mean(2, keepdim=True)
    dark = (smooth < smooth.flatten().kthvalue(max(1, int(0.3 * smooth.numel()))).values).expand_as(image)
    if not bool(dark.any()):
        return True
    independent = float(with_frames[dark].median()) > 0.6 * float(without[dark].median())
    return independent and (not is_volume or float(with_frames.median()) < _THICK * float(without.median()))


def _detail(image: Tensor, distance: int, over_frames: bool) -> Tensor:
    """Second differences along rows and columns, and along frames where there are three, with the noise's variance."""
    for dim in (3, 4) if not over_frames else (2, 3, 4):
        reach = 1 if dim == 2 else distance
        length = image.shape[dim] - 2 * reach
        parts = [image.narrow(dim, n * reach, length) for n in range(3)]
        image = (parts[0] - 2 * parts[1] + parts[2]) / 6**0.5
    pads = (distance, distance, distance, distance, int(over_frames), int(over_frames))
    return torch.nn.functional.pad(image, pads, mode="replicate")


@lru_cache(maxsize=16)
def _powers(axis: AxisSpectrum) -> tuple[np.ndarray, np.ndarray]:
    """Power of noise along an axis; and that convolved with itself, the spectrum of the square of its correlation."""
    power = np.square(axis.weights().numpy().astype(np.float64))
    return power, np.roll(np.fft.ifft(np.square(np.abs(np.fft.fft(power)))).real, len(power) // 2)


def _gains(
    spectra: Sequence[AxisSpectrum], powers: Sequence[tuple[np.ndarray, np.ndarray]], distance: int
) -> tuple[float, float]:
    """Variance of the differences of noise with these spectra, and of noise with them convolved with themselves.

    Both are of an image on the acquired matrix whose noise has variance 1 on the matrix of the file.
    """
    gains = [1.0, 1.0]
    for axis, both in zip(spectra, powers, strict=True):
        inside = slice(axis.start, axis.stop)
        turn = 2 * np.pi * distance * (np.arange(axis.start, axis.stop) - axis.size // 2) / axis.acquired
        response = np.square(2 * np.cos(turn) - 2) / 6
        for n, power in enumerate(both):
            gains[n] *= float((power[inside] * response).sum() / power.sum())
    return max(gains[0], 1e-3), max(gains[1], 1e-3)


def _blockwise(values: Tensor, size: int, depth: int, what: str) -> np.ndarray:
    """Median or mean of blocks of ``depth`` frames and ``size`` squared pixels, ``(Z, frames, rows, columns)``."""
    z, channels, frames, height, width = values.shape
    counts = (max(1, frames // depth), max(1, height // size), max(1, width // size))
    cut = values[:, :, : counts[0] * depth, : counts[1] * size, : counts[2] * size]
    tiles = cut.reshape(z, channels, counts[0], -1, counts[1], size, counts[2], size).permute(0, 2, 4, 6, 1, 3, 5, 7)
    flat = tiles.reshape(z, *counts, -1)
    if what == "mean":
        return np.asarray(flat.mean(-1).numpy())
    enough = flat.isfinite().sum(-1) >= max(_FEWEST, flat.shape[-1] // 5)
    return np.where(enough.numpy(), flat.nanmedian(-1).values.numpy(), np.nan)


def _smoothed(
    values: np.ndarray, theta: np.ndarray, valid: np.ndarray, scatter: float | None, trust: np.ndarray
) -> NoiseField:
    """Smooth the logarithms of the blocks' levels, with less weight for what stands out above its surroundings."""
    logs = np.log(np.maximum(values, 1e-30))
    weights = np.where(valid, np.where(theta < 1.5, 0.3, 1.0), 0.0) * np.maximum(trust, 0.02)
    logs = np.where(valid, logs, np.median(logs[valid]))
    width = (0, 0.8 if logs.shape[1] > 1 else 0, 1.3, 1.3)
    robust = weights
    if scatter is not None:
        low = percentile_filter(logs, 20, size=(1, 3 if logs.shape[1] > 1 else 1, 5, 5), mode="nearest") + scatter
        robust = weights / (1 + np.exp(np.clip((logs - low - scatter) / (0.5 * scatter), -30, 30)))
    for _ in range(_ROUNDS):
        total = gaussian_filter(robust, width, mode="nearest")
        far = gaussian_filter(robust, [4 * w for w in width], mode="nearest")
        broad = gaussian_filter(robust * logs, [4 * w for w in width], mode="nearest") / np.maximum(far, 1e-9)
        fit = (gaussian_filter(robust * logs, width, mode="nearest") + 0.02 * broad) / (total + 0.02)
        residual = logs - fit
        found = max(1.4826 * float(np.median(np.abs(residual[valid]))), 0.02)
        far_out = 2.5 * found if scatter is None else _STANDS_OUT * scatter
        robust = weights / (1 + np.exp(np.clip((residual - far_out) / (0.2 * far_out), -30, 30)))
    inside = valid & ((theta > 2) | (trust > 0.9))
    inside = inside if inside.sum() >= _FEWEST else valid
    fit, error = _shrunk(logs, robust, inside, found if scatter is None else scatter)
    level, spread = float(np.exp(np.median(fit[inside]))), float(np.std(fit[inside]))
    share = float(trust[inside].mean())
    return NoiseField(torch.from_numpy(np.exp(fit).astype(np.float32)), level, spread, error, share, found)


def _shrunk(logs: np.ndarray, weights: np.ndarray, inside: np.ndarray, scatter: float) -> tuple[np.ndarray, float]:
    """Smooth at several scales, and keep of each as much as varies more than the blocks scatter by themselves.

    Returns:
        The smooth logarithms, and the standard deviation of the error that is left in them.
    """
    deep = logs.shape[1] > 1
    blocks = logs[0, 0].size * logs.shape[1]

    def smooth(width: float, coarser: np.ndarray | float) -> np.ndarray:
        axes = (0, width if deep else 0, width, width)
        total = gaussian_filter(weights, axes, mode="nearest")
        return np.asarray((gaussian_filter(weights * logs, axes, mode="nearest") + 0.02 * coarser) / (total + 0.02))

    def shared(one: float, other: float) -> float:
        """Covariance of two such means, in units of a block's variance."""
        span = 2 * np.pi * (one**2 + other**2)
        frames = min(span**0.5, logs.shape[1]) if deep else 1.0
        return max(1 / (span * frames), 1 / blocks)

    whole = float(np.average(logs[inside], weights=np.maximum(weights[inside], 1e-6)))
    out, error = np.full_like(logs, whole), scatter**2 / blocks
    coarser, last = out, None
    for width in _SCALES:
        fit = smooth(width, coarser)
        expected = shared(width, width)
        if last is not None:
            expected += shared(last, last) - 2 * shared(width, last)
        noise = max(expected, 0.0) * scatter**2
        band = fit - coarser
        offset = float(band[inside].mean())
        kept = max(0.0, 1 - _DOUBT * noise / max(float(np.var(band[inside])), 1e-12))
        out = out + offset + kept * (band - offset)
        error += kept**2 * noise
        coarser, last = fit, width
    return out, float(error**0.5)


def _expand(fit: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """From the blocks' logarithms to levels of every voxel, ``(Z, frames or 1, H, W)``."""
    frames = 1 if fit.shape[1] == 1 else shape[2]
    target = (shape[0], frames, *shape[3:])
    factors = [n / m for n, m in zip(target, fit.shape, strict=True)]
    return np.exp(zoom(fit, factors, order=1, mode="nearest", grid_mode=True)).astype(np.float32)
