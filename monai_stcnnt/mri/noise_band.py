# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
r"""The band of k-space that the noise of magnitudes fills along an axis, and its taper there.

What is left when the mean of the neighborhood (or, where there are frames, the second difference over them) is taken
off is noise and some anatomy. It is divided by its own local size, and looked at where that is small beside the signal
(few edges are there, and the noise of magnitudes is that of one component), smallest, where magnitudes are distributed
as in air, and everywhere. Its power along an axis, over three ranges of lines of k-space, is what a small network of
convolutions along the axis gets. It says where the band ends, if it does, and how the noise falls inside of it: the
phase of the image makes that edge soft, and in air the band is convolved with itself, which it has learned from
simulated noise on drawn and scanned anatomy (``tools/train_noise_networks.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import log
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, uniform_filter
from torch import Tensor, nn

from monai_stcnnt.mri.fft import fftc

__all__ = ["Band", "BandNet", "band_of", "band_profiles", "depth_band", "magnitude_bands", "trained"]

_WEIGHTS = "weights/noise_networks.npz"
_MAX_FRAMES = 24
_WINDOW = 5
_WIDTH = 6.0
_QUIET, _QUIETER = 0.65, 0.9
_BRIGHT, _BRIGHTEST = 2.5, 0.95
_AIR = 2.3
_THICK = 1.25
_CONSTANTS = 9
_LINES = ((0.06, 0.2), (0.2, 0.4), (0.4, 0.7))
_MEDIAN_OF_POWER = log(2)
_LEAST_AREA = 0.005
_BELIEVED = 0.1  # share of probability for a band that fills the axis, up to which one that does not is believed
_LOW = 0.38  # quantile of the width: the phase of most images spreads it less than that of training
_NEAR, _SAID = 4, 1.5
_EVEN = 0.8


Network = TypeVar("Network", bound=nn.Module)


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


def magnitude_bands(image: Tensor, expected: Sequence[int | None] = (None, None)) -> tuple[Band, Band]:
    """Find the bands along rows and columns.

    Args:
        image: magnitudes ``(Z, 1, T, H, W)``; exact zeros count as masked.
        expected: rows and columns that were acquired by the header: a band of about that width is likelier.

    Returns:
        The bands of rows and columns.
    """
    rows, columns = band_profiles(image[:, 0])
    net = _network()
    return band_of(net, rows, image.shape[3], expected[0]), band_of(net, columns, image.shape[4], expected[1])


def depth_band(volume: Tensor) -> Band:
    """Find the band along the slices of a volume of magnitudes ``(T, H, W)``."""
    planes = volume.transpose(0, 1)
    step = max(1, planes.shape[0] // _MAX_FRAMES)
    return band_of(_network(), band_profiles(planes[step // 2 :: step, None])[0], volume.shape[0])


@cache
def _network() -> BandNet:
    return trained(BandNet(), "band")


def band_of(net: BandNet, profiles: Tensor, size: int, expected: int | None = None, *, likeliest: bool = False) -> Band:
    """The band that a network finds in the profiles of an axis.

    Args:
        net: the network.
        profiles: by :func:`band_profiles`.
        size: samples of the axis.
        expected: samples that were acquired by the header.
        likeliest: whether to take the likeliest width, with its neighbors, in the place of one at the low end.
    """
    if not bool(profiles[: -_CONSTANTS - 1].any()):
        return Band(size, (), 0.0)
    logits, decades = (part[0] for part in net(profiles[None]))
    acquired = torch.arange(2, len(logits) + 1)
    if expected is not None and expected < size:
        logits[:-1] += _SAID * ((acquired - expected).abs() <= _NEAR)
    shares = logits.softmax(0)
    filled = float(shares[-1])
    is_band = filled < _BELIEVED
    bands = shares[:-1]
    near = bands + bands.roll(1) + bands.roll(-1)
    place = near.argmax() if likeliest else (bands.cumsum(0) < _LOW * bands.sum()).sum()
    width = int(acquired[int(place)]) if is_band else size
    fall = np.r_[0.0, decades.numpy()][: width // 2 + 1]
    fall = (np.minimum.accumulate(fall) + np.maximum.accumulate(fall[::-1])[::-1]) / 2
    weights = np.sqrt(10.0 ** fall[np.abs(np.arange(width) - width // 2)])
    taper = tuple(weights.tolist()) if weights.min() < _EVEN else ()
    return Band(width, taper, 1 - filled if is_band else filled)


class _Look(NamedTuple):
    """A detail image ``(n, H, W)``, its filter's power at every sample of k-space, and the share of it that counts."""

    detail: np.ndarray
    response: np.ndarray | float
    area: float


def band_profiles(stacks: Tensor) -> tuple[Tensor, Tensor]:
    """Power of the noise along rows and along columns.

    Args:
        stacks: magnitudes ``(n, T, H, W)``; exact zeros count as masked.

    Returns:
        Two tensors ``(46, samples)``, from the center of k-space outwards without the zero frequency: decades of power
        and power itself, and channels that are the same at all samples.
    """
    looks = _looks(stacks.numpy())
    powers = [_power(look) for look in looks]
    out = []
    for axis, size in enumerate(stacks.shape[2:]):
        channels = [one for power in powers for lines in _LINES for one in _profile(power, axis, lines)]
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
    step = max(1, -(-len(flat[0]) // _MAX_FRAMES))
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
    return [*looks, _Look(square.astype(np.float32), 1.0, 1.0)]


def _soft(mask: np.ndarray) -> np.ndarray:
    return np.asarray(gaussian_filter(mask.astype(np.float32), (0, 2.0, 2.0)))


def _looked(detail: np.ndarray, mask: np.ndarray, response: np.ndarray | float) -> _Look:
    return _Look((detail * mask).astype(np.float32), response, float(mask.mean()))


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
    near = slice(half // 10, max(half * 4 // 10, 2))
    decades = np.log10(np.median(sides, axis=1) + 1e-12)
    mean = np.square(np.sqrt(sides).mean(1))
    even = mean / max(float(np.median(mean[near])), 1e-12)
    return np.clip(decades - np.median(decades[near]), -5, 3), np.minimum(even, 3)


class BandNet(nn.Module):
    """Where the noise's band ends along an axis, and the noise within it, by :func:`band_profiles`.

    Args:
        channels: of the profiles.
        width: of the layers.
    """

    def __init__(self, channels: int = 46, width: int = 48) -> None:
        super().__init__()
        self.stem = nn.Conv1d(channels, width, 3, padding=1, padding_mode="replicate")
        self.layers = nn.ModuleList(
            nn.Conv1d(width, width, 3, padding=d, dilation=d, padding_mode="replicate") for d in (1, 2, 4, 8, 1)
        )
        self.head = nn.Conv1d(width, 3, 1)
        self.whole = nn.Linear(2 * width, 1)

    def forward(self, profiles: Tensor) -> tuple[Tensor, Tensor]:
        """Look at axes.

        Args:
            profiles: ``(n, channels, samples)``.

        Returns:
            Logits ``(n, 2 * samples + 1)`` of bands of 2, 3, ... samples, the last of one that fills the axis; and
            decades of power ``(n, samples)`` that the noise has from the center outwards.
        """
        x = self.stem(profiles)
        for layer in self.layers:
            x = x + layer(torch.nn.functional.silu(x))
        x = torch.nn.functional.silu(x)
        out = self.head(x)
        filled = self.whole(torch.cat([x.mean(-1), x.amax(-1)], 1))
        return torch.cat([out[:, :2].transpose(1, 2).flatten(1), filled], 1), out[:, 2]


@cache
def _weights() -> dict[str, np.ndarray]:
    with files(__package__).joinpath(_WEIGHTS).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def trained(network: Network, name: str) -> Network:
    """Load the weights that the package has for a network.

    Args:
        network: with the names and shapes that were saved by ``tools/train_noise_networks.py``.
        name: ``"band"`` or ``"level"``.

    Returns:
        The same network, for evaluation.
    """
    start = f"{name}."
    state = {k[len(start) :]: torch.from_numpy(v).float() for k, v in _weights().items() if k.startswith(start)}
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)
