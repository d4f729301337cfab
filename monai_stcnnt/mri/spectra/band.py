# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
r"""The band of k-space that the noise of magnitudes fills along an axis, and its taper there.

A small network of convolutions along the axis gets the profiles of :mod:`~monai_stcnnt.mri.spectra.profiles`. It says
where the band ends, if it does, and how the noise falls inside of it: the phase of the image makes that edge soft, and
in air the band is convolved with itself, which it has learned from simulated noise on drawn and scanned anatomy
(``tools/train_noise_networks.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from monai_stcnnt.mri.spectra.profiles import CHANNELS, MAX_FRAMES, SAME, band_profiles

__all__ = ["Band", "BandNet", "band_of", "depth_band", "magnitude_bands", "trained"]

_WEIGHTS = "weights/noise_networks.npz"
_BELIEVED = 0.1  # share of probability for a band that fills the axis, up to which one that does not is believed
_LOW = 0.34  # quantile of the width: the phase of most images spreads it less than that of training
_NEAR, _SAID = 4, 1.5
_RIM = 2  # samples whose weight the blur of the edge hides: one that is too low lets their noise pass
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
    step = max(1, planes.shape[0] // MAX_FRAMES)
    return band_of(_network(), band_profiles(planes[step // 2 :: step, None])[0], volume.shape[0])


@cache
def _network() -> BandNet:
    return trained(BandNet(), "band")


def band_of(net: BandNet, profiles: Tensor, size: int, expected: int | None = None) -> Band:
    """The band that a network finds in the profiles of an axis.

    Args:
        net: the network.
        profiles: by :func:`~monai_stcnnt.mri.spectra.profiles.band_profiles`.
        size: samples of the axis.
        expected: samples that were acquired by the header.
    """
    if not bool(profiles[: -SAME - 1].any()):
        return Band(size, (), 0.0)
    logits, decades = (part[0] for part in net(profiles[None]))
    acquired = torch.arange(2, len(logits) + 1)
    if expected is not None and expected < size:
        logits[:-1] += _SAID * ((acquired - expected).abs() <= _NEAR)
    shares = logits.softmax(0)
    filled = float(shares[-1])
    is_band = filled < _BELIEVED
    bands = shares[:-1]
    place = (bands.cumsum(0) < _LOW * bands.sum()).sum()
    width = int(acquired[int(place)]) if is_band else size
    fall = np.r_[0.0, decades.numpy()][: width // 2 + 1]
    fall[-_RIM:] = fall[-_RIM - 1]
    fall = (np.minimum.accumulate(fall) + np.maximum.accumulate(fall[::-1])[::-1]) / 2
    weights = np.sqrt(10.0 ** fall[np.abs(np.arange(width) - width // 2)])
    taper = tuple(weights.tolist()) if weights.min() < _EVEN else ()
    return Band(width, taper, 1 - filled if is_band else filled)


class BandNet(nn.Module):
    """Where the noise's band ends along an axis, and the noise within it.

    Args:
        channels: of the profiles of :func:`~monai_stcnnt.mri.spectra.profiles.band_profiles`.
        width: of the layers.
    """

    def __init__(self, channels: int = CHANNELS, width: int = 48) -> None:
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
    with files("monai_stcnnt.mri").joinpath(_WEIGHTS).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
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
