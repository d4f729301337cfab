# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Noisy images whose truth is known, as the benchmarks of quality give them to the methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from monai_stcnnt.apps.review.quality import add_series_noise, magnitude_record
from monai_stcnnt.data import SeriesRecord

__all__ = ["Case", "Kind", "from_stacks", "make_case", "to_stacks"]

Kind = Literal["complex", "magnitude"]


@dataclass(frozen=True, eq=False)
class Case:
    """One noisy image and its truth, in SNR units: the noise has standard deviation 1 per component.

    Attributes:
        series: name of the scan.
        snr: mean clean magnitude over the foreground.
        seed: of the noise.
        kind: whether the methods get the complex image or its magnitude.
        truth: what it should be.
        noisy: what the methods get.
    """

    series: str
    snr: float
    seed: int
    kind: Kind
    truth: SeriesRecord
    noisy: SeriesRecord


def make_case(
    name: str, series: SeriesRecord, snr: float, seed: int, kind: Kind, repeats: SeriesRecord | None = None
) -> Case:
    """Add noise to a series and scale it to SNR units; the two kinds have the same noise.

    Args:
        name: of the scan.
        series: what noise is added to.
        snr: mean clean magnitude over the foreground by the noise per component.
        seed: of the noise.
        kind: what the methods get.
        repeats: magnitudes of the same image, whose mean over frames is the truth; without them it is the series.
    """
    added = add_series_noise(series, snr, seed)
    truth, noisy = (record.with_array(record.array / np.float32(added.sigma)) for record in (added.clean, added.noisy))
    if repeats is not None:
        mean = np.broadcast_to(repeats.magnitude.mean(0), series.magnitude.shape)[None]
        truth = magnitude_record(truth).with_array(np.ascontiguousarray(mean / np.float32(added.sigma)))
    if kind == "magnitude":
        truth, noisy = magnitude_record(truth), magnitude_record(noisy)
    return Case(name, snr, seed, kind, truth, noisy)


def to_stacks(array: np.ndarray) -> np.ndarray:
    """Lay ``(C, T, Z, Y, X)`` out as ``(stacks, C, frames, Y, X)``: frames are time, or depth where there is none."""
    return array.transpose(2, 0, 1, 3, 4) if array.shape[1] > 1 else array.transpose(1, 0, 2, 3, 4)


def from_stacks(stacks: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The inverse of :func:`to_stacks` for an array of this shape."""
    return stacks.transpose(1, 2, 0, 3, 4) if shape[1] > 1 else stacks.transpose(1, 0, 2, 3, 4)
