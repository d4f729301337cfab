# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""A series before and after denoising, with its figures: computed once, and all that reports are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from monai_stcnnt.apps.review.figures import Measured, broken, compare, measure
from monai_stcnnt.apps.review.views import PlaneView, display_window, plane_view, residual_signal
from monai_stcnnt.data import SeriesRecord
from monai_stcnnt.errors import GFactorMapError, LayoutError, NoiseLevelError
from monai_stcnnt.mri.noise_model import NoiseModel

__all__ = ["Flag", "Review", "review_series"]


@dataclass(frozen=True)
class Flag:
    """One reason to look at a result before it is used.

    Attributes:
        name: the figure that broke its limit, see :data:`~monai_stcnnt.apps.review.figures.FIGURES`.
        message: what it may mean, in a sentence without its full stop.
    """

    name: str
    message: str


@dataclass(frozen=True, eq=False)
class Review:
    """What :func:`review_series` returns.

    Attributes:
        before: the series as it was.
        after: the denoised series.
        sigma: noise standard deviation per component in the units of the series; None where unknown.
        figures: of quality control; none where the noise level is unknown.
        title: a heading, usually the scan's name.
        origin: how the result came about, name and value in words, for the page.
        noise: what is known of the noise.
        gmap: its relative level, which broadcasts to ``(T, Z, Y, X)``.
    """

    before: SeriesRecord
    after: SeriesRecord
    sigma: float | None
    figures: tuple[Measured, ...]
    title: str = ""
    origin: Mapping[str, str] = field(default_factory=dict)
    noise: NoiseModel | None = None
    gmap: np.ndarray | None = None

    @cached_property
    def residual(self) -> np.ndarray:
        """What was removed ``(T, Z, Y, X)``, see :func:`~monai_stcnnt.apps.review.views.residual_signal`."""
        return residual_signal(self.before, self.after)

    @property
    def flags(self) -> tuple[Flag, ...]:
        """The limits that were broken."""
        return tuple(Flag(name, message) for name, message in broken(self.figures).items())

    @property
    def values(self) -> dict[str, float | None]:
        """The figures by name."""
        return {one.figure.name: one.value for one in self.figures}

    @property
    def view(self) -> PlaneView:
        """How the planes of the series stand on a screen."""
        return plane_view(self.after.affine)

    @property
    def residual_unit(self) -> float:
        """The noise level; where it is unknown, the residual's own standard deviation."""
        return self.sigma or float(self.residual.std()) or 1.0

    @property
    def middle(self) -> int:
        """The slice that pictures show."""
        return self.after.array.shape[2] // 2

    @property
    def window(self) -> tuple[float, float]:
        """Values that are black and white in pictures, those of the middle slice of the result."""
        return display_window(self.after.magnitude[:, self.middle])

    def as_dict(self) -> dict[str, Any]:
        """The figures and flags for JSON, without numbers that JSON does not have."""
        values = {name: value if value is None or np.isfinite(value) else None for name, value in self.values.items()}
        return {**values, "flags": [{"name": flag.name, "message": flag.message} for flag in self.flags]}


def review_series(
    before: SeriesRecord,
    after: SeriesRecord,
    *,
    sigma: float | None = None,
    gmap: np.ndarray | None = None,
    title: str = "",
    origin: Mapping[str, str] | None = None,
    noise: NoiseModel | None = None,
) -> Review:
    """Compare a denoised series with what it was made from, once; reports of every kind are written from the result.

    Args:
        before: the series as it was.
        after: the denoised series, of the same size ``(T, Z, Y, X)``.
        sigma: noise standard deviation per component in the units of the series; None where unknown, which gives
            no figures.
        gmap: g-factor map that broadcasts to ``(T, Z, Y, X)``.
        title: a heading, usually the scan's name.
        origin: how the result came about, name and value in words, for the page.
        noise: what is known of the noise; it is taken as white by default.

    Returns:
        The comparison with its figures and flags.

    Raises:
        LayoutError: if the series differ in size.
        NoiseLevelError: if ``sigma`` is not a positive number.
        GFactorMapError: if the map does not have the series' size.
    """
    shape = after.array.shape[1:]
    if before.array.shape[1:] != shape:
        raise LayoutError(
            f"The series have the sizes (T, Z, Y, X) = {before.array.shape[1:]} and {shape}. Give series of one size."
        )
    if sigma is not None and not (np.isfinite(sigma) and sigma > 0):
        raise NoiseLevelError(f"The noise level is {sigma}. Give a positive number, or none where it is unknown.")
    if gmap is not None and any(n not in (1, wanted) for n, wanted in zip(gmap.shape[::-1], shape[::-1], strict=False)):
        raise GFactorMapError(
            f"The g-factor map has the size {gmap.shape}, and the image {shape}. Give a map of its size."
        )
    figures = () if sigma is None else measure(compare(before, after, sigma, gmap, noise))
    return Review(before, after, sigma, figures, title, origin or {}, noise, gmap)
