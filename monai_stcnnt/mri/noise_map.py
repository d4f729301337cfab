# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
r"""Where an image's noise is how strong: a smooth map from its finest details.

On the acquired matrix noise is white, and second differences along rows, columns and frames hold little else. Small
blocks of the image are described by medians and quartiles of those at several distances, by what changes over frames,
by the typical cosine coefficient around them once the noise is white (anatomy takes few of these, so that the median is
noise, as in Donoho and Johnstone, 1994, doi:10.1093/biomet/81.3.425), and by their signal, whether it is distributed as
in air included. A small network of convolutions over the blocks makes levels of them, and says how sure they are: which
of the blocks' details are anatomy, and how magnitudes spread where there is little signal, it has learned from noise
simulated on drawn and scanned anatomy (``tools/train_noise_networks.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import log

import numpy as np
import torch
from scipy.fft import dct
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from monai_stcnnt.mri.axis_spectrum import AxisSpectrum
from monai_stcnnt.mri.noise_model import to_acquired
from monai_stcnnt.mri.spectra.band import trained

__all__ = ["LevelNet", "NoiseField", "block_features", "block_size", "blocks", "estimate_noise_field"]

_MEDIAN_OF_NORMAL = 0.6744897501960817
_MEDIAN_OVER_QUARTILE = 2.1168
_CELLS = 20
_SMALLEST_BLOCK = 6
_FEWEST_ALONG = 3
_FEWEST_SLICES, _MOST_ALONG_DEPTH = 4, 10
_FEWEST = 8
_ALONG_DEPTH, _FAR = 0.8, 3.0
_DETAILS, _CHANGES, _SIGNAL = 0, 2, 15  # features
_FEWEST_REPEATS, _REPEATED = 4, 1.0
_MOST_FRAMES = 8  # in training
_DISTANCES = (1, 2, 3)
_WINDOW, _WINDOW_FRAMES = 8, 8  # of cosine transforms
_LOW, _MIDDLE, _FINE = 2.0, 5.0, 4.0  # frequencies in the plane, in half waves a window
_PARTS = (0.25, 0.5, 0.75, 1.0)
_IN_OBJECT = 2.2
_MAX_VOXELS = 4_000_000
_WAVES_AT_ONCE = 2**22


@dataclass(frozen=True, eq=False)
class NoiseField:
    """Noise levels over an image.

    Attributes:
        field: standard deviation per component of blocks of the image, ``(Z, frames, rows, columns)``, smooth.
        level: its median over the object.
        spread: standard deviation of its logarithm over the object.
        error: expected absolute error of that logarithm.
    """

    field: Tensor
    level: float
    spread: float
    error: float


def estimate_noise_field(
    image: Tensor, spectra: Sequence[AxisSpectrum], is_volume: bool = False, num_coils: int = 1
) -> NoiseField | None:
    """Estimate the noise level everywhere in an image on its acquired matrix.

    Args:
        image: ``(Z, C, T, H, W)``, C = 1 for magnitudes, 2 for real and imaginary part; exact zeros count as masked.
        spectra: of the noise along ``(H, W)`` before the image was brought there, with the taper as far as it was not
            taken off.
        is_volume: whether T is depth, along which the field varies; it is the same for all frames in time.
        num_coils: of a magnitude that is a sum of squares.

    Returns:
        The field; None for an image too small, or where fewer than eight blocks have noise to be measured.
    """
    if min(image.shape[3:]) < _FEWEST_ALONG * _SMALLEST_BLOCK:
        return None
    step = max(1, -(-image[:, :1].numel() // _MAX_VOXELS)) if not is_volume else 1
    image = image[:, :, : image.shape[2] // step * step : step] if step > 1 and image.shape[2] // step > 3 else image
    features, valid, reference = block_features(image, spectra, is_volume, num_coils)
    if int(valid.sum()) < _FEWEST:
        return None
    logs, doubts = _network()(features, valid.flatten(0, 1))
    known = valid.numpy()
    levels, errors = (part.reshape(valid.shape).numpy() for part in (logs, doubts.exp()))
    if not is_volume and image.shape[2] >= _FEWEST_REPEATS:
        levels = np.maximum(levels, _of_repeats(features, levels, known))
    levels = np.where(known, levels, 0.0)
    weights = np.where(known, 1 / (errors + 0.02), 0.0)
    depth = _ALONG_DEPTH if valid.shape[1] > 1 else 0.0
    if depth:
        once = _smooth(levels, weights, (0, depth, 0, 0))
        levels = np.where(known, once + _smooth(levels - once, weights, (0, depth, 0, 0)), 0.0)  # keeps slopes
    levels = np.where(known, levels, _smooth(levels, weights, (0, depth, _FAR, _FAR)))
    inside = _in_object(features, levels, known)
    inside = inside if inside.sum() >= _FEWEST else known
    level, spread = float(np.median(levels[inside])), float(np.std(levels[inside]))
    field = torch.from_numpy(np.exp(levels + reference).astype(np.float32))
    return NoiseField(field, float(np.exp(level + reference)), spread, float(np.mean(errors[inside])))


def _of_repeats(features: Tensor, levels: np.ndarray, known: np.ndarray) -> np.ndarray:
    """What the levels are at least where frames repeat one image: what changes from frame to frame, in half of them.

    Frames do where most details of the object are far larger than what changes. The network takes what changes in the
    object, but not in the air around it, for motion; where nothing moves, it is noise that parallel imaging or the
    correction of the coils' sensitivities makes stronger there.
    """
    details, changes = (features[:, n].reshape(known.shape).numpy() for n in (_DETAILS, _CHANGES))
    inside = _in_object(features, levels, known)
    is_repeated = inside.any() and np.median((details - changes)[inside]) > _REPEATED
    return np.where(inside, changes, -np.inf) if is_repeated else np.full_like(levels, -np.inf)


def _in_object(features: Tensor, levels: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Known blocks whose signal is well above their noise."""
    signal = features[:, _SIGNAL].reshape(known.shape).numpy()
    return np.asarray(known & (signal - levels > log(_IN_OBJECT)))


def _smooth(levels: np.ndarray, weights: np.ndarray, width: Sequence[float]) -> np.ndarray:
    total = gaussian_filter(weights, width, mode="nearest")
    return np.asarray(gaussian_filter(weights * levels, width, mode="nearest") / np.maximum(total, 1e-9))


@cache
def _network() -> LevelNet:
    return trained(LevelNet(), "level")


def block_features(
    image: Tensor, spectra: Sequence[AxisSpectrum], is_volume: bool = False, num_coils: int = 1
) -> tuple[Tensor, Tensor, float]:
    """Describe the blocks of an image on its acquired matrix.

    Args:
        image: ``(Z, C, T, H, W)``.
        spectra: along (H, W) before it was brought there, with the taper as far as it was not taken off.
        is_volume: whether T is depth.
        num_coils: of a magnitude that is a sum of squares.

    Returns:
        features ``(Z * frames, 34, rows, columns)``, valid blocks, and the reference level.
    """
    channels, frames = image.shape[1:3]
    block = block_size(image.shape[2:], is_volume)
    gains = [_gain(spectra, n) for n in _DISTANCES]
    near = [_differences(image, (3, 4), n) / gain**0.5 for n, gain in zip(_DISTANCES, gains, strict=True)]
    order = min(frames - 1, 2)
    over, over_far = near[:2] if order == 0 else (_over_frames(part, order) for part in near[:2])
    if frames > 1 and not is_volume:
        by_frame = _quantile(blocks(over.abs(), block[0], 1), 0.5)
        quiet = _quantile(by_frame.movedim(1, -1), 1 / 3)[:, None]
    else:
        quiet = _quantile(blocks(over.abs(), *block), 0.5)
    looks = [blocks(part.abs(), *block) for part in (*near, over, over_far)]
    typical = [_quantile(look, 0.5) for look in looks]
    lower = [_quantile(look, 0.25) * _MEDIAN_OVER_QUARTILE for look in (looks[0], looks[3])]
    edges = [_quantile(blocks(_differences(image, (dim,), 1).abs(), *block), 0.5) for dim in (3, 4)]
    waves = _typical_waves(image, spectra, block)
    power = blocks(image.square().sum(1, keepdim=True), *block)
    square = power.mean(-1)
    mean = power.sqrt().mean(-1)
    valid = (square > 0) & ((power > 0).float().mean(-1) > 0.9)
    for part in (*typical, *lower, quiet, *edges, *waves):
        valid &= torch.isfinite(part) & (part > 0)
    levels = [typical[0], typical[1], typical[3], quiet, *lower, *edges, typical[2], typical[4], *waves]
    logs = torch.stack([torch.log(torch.where(valid, part, 1.0) / _MEDIAN_OF_NORMAL) for part in levels])
    logs = torch.cat([logs, 0.5 * torch.log(torch.where(valid, square, 1.0) / channels)[None]])
    reference = float(torch.minimum(logs[0], logs[2])[valid].median()) if bool(valid.any()) else 0.0
    logs = torch.where(valid, (logs - reference).clamp(-4, 6), 0.0)
    shape = torch.where(valid, mean.square() / square.clamp(min=1e-30), 0.0)
    share = (spectra[0].acquired * spectra[1].acquired) / (spectra[0].size * spectra[1].size)
    constants = (
        float(channels == 2), log(num_coils), log(min(frames, _MOST_FRAMES)) / 2, float(is_volume), log(share),
        *(log(gain) for gain in gains), *(fall for axis in spectra for fall in _fall(axis)),
    )  # fmt: skip
    rows = [torch.full_like(shape, value) for value in constants]
    features = torch.stack([*logs, shape, valid.float(), *rows], 2)
    return features.flatten(0, 1), valid, reference


def _typical_waves(image: Tensor, spectra: Sequence[AxisSpectrum], block: tuple[int, int]) -> list[Tensor]:
    """Medians and a quartile of cosine coefficients around blocks, ``(Z, frames, rows, columns)`` each.

    Windows are 8 x 8 pixels of up to 8 frames, or of the slices of a block; the noise is made white first. The five are
    the median without low frequencies, that of fine ones, of middle ones, of those that change quickly over frames, and
    the lower quartile of the first.
    """
    white = to_acquired(image, [axis.cropped() for axis in spectra])
    z, channels, frames, height, width = white.shape
    size, depth = block
    stride, length = size // 2, min(depth, _WINDOW_FRAMES)
    groups = max(1, frames // depth)
    runs = white[:, :, : groups * depth].reshape(z, channels, groups, depth, height, width)
    runs = runs[:, :, :, : depth // length * length].unflatten(3, (-1, length))  # (Z, C, groups, runs, frames, H, W)
    time, plane = _cosines(length), _cosines(_WINDOW)
    runs = torch.einsum("kt,zcgrthw->zgcrkhw", time, runs).flatten(0, 1)
    at_once = max(1, _WAVES_AT_ONCE * stride**2 // (runs[0].numel() * _WINDOW**2))
    parts: list[Tensor] = []
    for some in runs.split(at_once):
        windows = some.unfold(4, _WINDOW, stride).unfold(5, _WINDOW, stride)
        parts.append(_quantiles_of_waves(torch.einsum("ay,ncrkijyx,bx->nijcrkab", plane, windows, plane).abs_()))
    found = torch.cat(parts, 1)
    rows, columns = (
        _window_places(n, size, stride, count) for n, count in zip((height, width), found.shape[2:], strict=True)
    )
    return list(torch.einsum("ai,qnij,bj->qnab", rows, found, columns).unflatten(1, (z, groups)))


def _quantiles_of_waves(waves: Tensor) -> Tensor:
    """The five of absolute coefficients (n, rows, columns, C, runs, T, 8, 8): (5, n, rows, columns)."""
    far = torch.hypot(*torch.meshgrid(*[torch.arange(float(_WINDOW))] * 2, indexing="ij"))
    changing = waves.shape[5] // 2
    most = waves[..., far >= _LOW].flatten(3)
    chosen = (
        most, waves[..., far >= _FINE].flatten(3), waves[..., (far >= _LOW) & (far < _MIDDLE)].flatten(3),
        waves[..., changing:, :, :][..., far >= _LOW].flatten(3),
    )  # fmt: skip
    medians = [_quantile(part, 0.5) for part in chosen]
    return torch.stack([*medians, _quantile(most, 0.25) * _MEDIAN_OVER_QUARTILE])


def _window_places(extent: int, size: int, stride: int, count: int) -> Tensor:
    """Weights (blocks, windows) of the windows around each block, which add up to 1."""
    centers = stride * torch.arange(count) + (_WINDOW - 1) / 2
    middles = size * torch.arange(extent // size) + (size - 1) / 2
    near = (1 - (middles[:, None] - centers).abs() / size).clamp(min=0)
    return near / near.sum(1, keepdim=True)


@cache
def _cosines(length: int) -> Tensor:
    """Orthonormal cosine transform."""
    return torch.from_numpy(dct(np.eye(length, dtype=np.float32), axis=0, norm="ortho"))


def _quantile(values: Tensor, share: float) -> Tensor:
    return values.kthvalue(max(1, round(share * values.shape[-1])), -1).values


def _differences(image: Tensor, dims: Sequence[int], distance: int) -> Tensor:
    """Second differences, which keep the variance of white noise."""
    for dim in dims:
        length = image.shape[dim] - 2 * distance
        parts = [image.narrow(dim, n * distance, length) for n in range(3)]
        image = (parts[0] - 2 * parts[1] + parts[2]) / 6**0.5
    pads = [distance if dim in dims else 0 for dim in (4, 4, 3, 3)]
    return torch.nn.functional.pad(image, (*pads, 0, 0), mode="replicate")


def _over_frames(image: Tensor, order: int) -> Tensor:
    out = image.diff(n=order, dim=2) / (2 if order == 1 else 6) ** 0.5
    return torch.nn.functional.pad(out, (0, 0, 0, 0, order - order // 2, order // 2), mode="replicate")


def _gain(spectra: Sequence[AxisSpectrum], distance: int) -> float:
    """Variance of the differences of noise with these spectra, brought to the acquired matrix, beside that of white."""
    gain = 1.0
    for axis in spectra:
        power = np.square(axis.weights().numpy().astype(np.float64))
        turn = 2 * np.pi * distance * (np.arange(axis.start, axis.stop) - axis.size // 2) / axis.acquired
        gain *= float((power[axis.start : axis.stop] * np.square(2 * np.cos(turn) - 2)).sum() / 6 / power.sum())
    return max(gain, 1e-3)


def _fall(axis: AxisSpectrum) -> list[float]:
    """Logarithm of the taper at some parts of the way from the center of k-space to the rim, beside the center."""
    weights = axis.weights().numpy().astype(np.float64)
    center, reach = axis.size // 2, axis.stop - 1 - axis.size // 2
    places = [center + round(part * reach) for part in _PARTS]
    return [log(max(weights[place] / weights[center], 1e-2)) for place in places]


def block_size(size: Sequence[int], is_volume: bool) -> tuple[int, int]:
    """Pixels along rows and columns, and frames, of the blocks of an image of ``(T, H, W)``."""
    frames, height, width = size
    depth = frames // min(_MOST_ALONG_DEPTH, max(1, round(frames / _FEWEST_SLICES))) if is_volume else frames
    return max(_SMALLEST_BLOCK, -(-max(height, width) // _CELLS)), depth


def blocks(values: Tensor, size: int, depth: int) -> Tensor:
    """Cut ``(Z, C, T, H, W)`` into blocks of ``depth`` frames, ``(Z, frames, rows, columns, voxels)``."""
    z, channels, frames, height, width = values.shape
    counts = (max(1, frames // depth), height // size, width // size)
    cut = values[:, :, : counts[0] * depth, : counts[1] * size, : counts[2] * size]
    tiles = cut.reshape(z, channels, counts[0], -1, counts[1], size, counts[2], size).permute(0, 2, 4, 6, 1, 3, 5, 7)
    return tiles.reshape(z, *counts, -1)


class LevelNet(nn.Module):
    """Levels of the noise of blocks by :func:`block_features`.

    Args:
        channels: of the features.
        width: of the layers.
    """

    def __init__(self, channels: int = 34, width: int = 48) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 1)
        self.layers = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, padding_mode="replicate") for _ in range(3))
        self.mixes = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(3))
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, features: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Look at blocks ``(n, channels, rows, columns)``.

        Returns:
            Logarithms of the levels beside the reference, and of their expected errors, both ``(n, rows, columns)``.
        """
        weight = valid[:, None].float()
        count = weight.sum((2, 3)).clamp(min=1)
        x = self.stem(features)
        for layer, mix in zip(self.layers, self.mixes, strict=True):
            y = torch.nn.functional.silu(x)
            mean = (y * weight).sum((2, 3)) / count
            low = torch.where(valid[:, None], y, 10.0).amin((2, 3))
            x = x + layer(y) + mix(torch.cat([mean, low], 1))[:, :, None, None]
        out = self.head(torch.nn.functional.silu(x))
        return out[:, 0], out[:, 1].clamp(-6, 2)
