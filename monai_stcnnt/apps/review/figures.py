# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
r"""The figures of quality control, one row each: was noise removed from a series, and nothing but noise?

The truth is not needed: the residual, before minus after, is compared with the noise level. Removed noise is as strong
along edges as elsewhere, whatever filters colored it; removed anatomy is strongest along edges. Noise has no mean
beyond the Rician bias of magnitudes, is rarely beyond five standard deviations, and leaves motion as it is. The limits
were set by experiment, see ``benchmarks/qc_calibration.py``: a result that breaks one is flagged, and should be looked
at before it is used.

:data:`FIGURES` is the only list of them. JSON, pages, pictures, the table on the command line and the documentation
are made from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from scipy import ndimage

from monai_stcnnt.apps.review.views import foreground, residual_signal
from monai_stcnnt.data import SeriesRecord
from monai_stcnnt.metrics import residual_whiteness
from monai_stcnnt.mri.noise_level import background_noise_level, wavelet_noise_level
from monai_stcnnt.mri.noise_model import NoiseModel
from monai_stcnnt.mri.rician import rician_shape

__all__ = [
    "FIGURES",
    "Compared",
    "Figure",
    "Measured",
    "broken",
    "compare",
    "figure_columns",
    "figure_table",
    "limits",
    "measure",
]

_LARGE = 5.0  # standard deviations
_EDGES, _FLAT, _MOVING = 90, 50, 90  # percentiles of the local contrast, and of the change over time
_WINDOW = 5  # pixels, of the local contrast that tells edges from flat regions
_MIN_PIXELS = 50
_FEWEST_FRAMES = 4  # for a correlation of neighbors in time
_LEAST_MOTION = 2.0  # motion is measured where its mean square change exceeds that of the noise
_MOTION_SMOOTHING = 2.0  # pixels, so that noise does not choose where motion is measured
_AIR_POWER = (0.4, 1.7)  # local mean square of air, in units of its own
_LEAST_AIR = 0.02  # share of the pixels
_LEAST_LEFT = 0.2  # share of the noise: the error of the noise level hides anything smaller


@dataclass(frozen=True, eq=False)
class Compared:
    """A series before and after denoising in units of the noise, all arrays ``(T, Z, Y, X)``.

    Attributes:
        sigma: noise standard deviation per component, in the units of the series.
        noisy: magnitudes before.
        image: magnitudes after.
        residual: what was removed, see :func:`~monai_stcnnt.apps.review.views.residual_signal`.
        bias: mean of the noise in the magnitudes of ``image``; zero for complex images.
        variance: its variance; one for complex images.
        num_coils: of magnitudes that are a sum of squares.
        likeness: correlations of neighbors that the noise has by itself, along rows and columns.
    """

    sigma: float
    noisy: np.ndarray
    image: np.ndarray
    residual: np.ndarray
    bias: np.ndarray
    variance: np.ndarray
    num_coils: int = 1
    likeness: tuple[float, float] = (0.0, 0.0)

    @cached_property
    def inside(self) -> np.ndarray:
        """Foreground of the result."""
        return foreground(self.image)

    @cached_property
    def spread(self) -> float:
        """Standard deviation of the residual in the foreground."""
        return float(self.residual[self.inside].std())

    @cached_property
    def motion(self) -> tuple[float, float, float | None] | None:
        """Root mean square change from frame to frame before and after, and the share of the motion that is kept."""
        visible = self.inside[1:] & self.inside[:-1]
        if not visible.any():
            return None
        start, end = np.diff(self.noisy, axis=0), np.diff(self.image, axis=0)
        change = ndimage.gaussian_filter(np.square(start).mean(axis=0), (0, _MOTION_SMOOTHING, _MOTION_SMOOTHING))
        moving = visible & (change > np.percentile(change[self.inside.any(axis=0)], _MOVING))
        motion = float(np.square(start[moving]).mean()) - 2 if moving.sum() >= _MIN_PIXELS else 0.0
        return (
            float(np.sqrt(np.square(start[visible]).mean())),
            float(np.sqrt(np.square(end[visible]).mean())),
            float(np.square(end[moving]).mean()) / motion if motion > _LEAST_MOTION else None,
        )


@dataclass(frozen=True)
class Figure:
    """One row of the table.

    Attributes:
        name: its key in JSON.
        label: its name on pages.
        meaning: what it measures, for the documentation.
        function: computes it; None where it cannot be told.
        form: how a value is written, a format specification.
        unit: what follows a value.
        column: heading in the table on the command line; empty: it is not shown there unless it is flagged.
        limit: where a result is flagged, if anywhere.
        side: which side of the limit is flagged; above counts the size, whatever the sign.
        message: what it may mean, with ``{value}`` and ``{limit}``.
        frames: the fewest frames that it takes.
    """

    name: str
    label: str
    meaning: str
    function: Callable[[Compared], float | None]
    form: str = ".2f"
    unit: str = ""
    column: str = ""
    limit: float | None = None
    side: Literal["above", "below"] = "above"
    message: str = ""
    frames: int = 1

    def text(self, value: float | None) -> str:
        """Write a value with its unit."""
        return "n/a" if value is None else f"{value:{self.form}}{self.unit}"

    @property
    def rule(self) -> str:
        """Where it is flagged, in words; empty where it never is."""
        if self.limit is None:
            return ""
        limit = f"{self.limit:{self.form}}" if "%" in self.form else f"{self.limit:g}"
        return f"{self.side} {limit}{self.unit}"

    def breaks(self, value: float | None) -> bool:
        """Whether a value is beyond the limit."""
        if value is None or self.limit is None:
            return False
        return value < self.limit if self.side == "below" else abs(value) > self.limit


@dataclass(frozen=True)
class Measured:
    """A figure of one series."""

    figure: Figure
    value: float | None

    @property
    def name(self) -> str:
        """Name of the figure."""
        return self.figure.name

    @property
    def text(self) -> str:
        """The value with its unit."""
        return self.figure.text(self.value)

    @property
    def is_flagged(self) -> bool:
        """Whether it breaks its limit."""
        return self.figure.breaks(self.value)

    @property
    def message(self) -> str:
        """What a broken limit may mean, in a sentence without its full stop."""
        return self.figure.message.format(value=self.text, limit=self.figure.rule.removeprefix(f"{self.figure.side} "))


def compare(
    before: SeriesRecord,
    after: SeriesRecord,
    sigma: float,
    gmap: np.ndarray | None = None,
    noise: NoiseModel | None = None,
) -> Compared:
    """Bring a series before and after denoising to units of the noise.

    Args:
        before: the series as it was.
        after: the denoised series, of the same size.
        sigma: noise standard deviation per component, in the units of the series.
        gmap: g-factor map that broadcasts to ``(T, Z, Y, X)``.
        noise: what is known of the noise; it is taken as white by default.

    Returns:
        What the figures are computed from.
    """
    level = sigma if gmap is None else sigma * gmap
    noisy, image = before.magnitude / level, after.magnitude / level
    bias, variance = rician_shape(image) if before.kind == "magnitude" else (np.zeros(1), np.ones(1))
    return Compared(
        sigma,
        noisy,
        image,
        residual_signal(before, after) / level,
        np.broadcast_to(bias, image.shape),
        np.broadcast_to(variance, image.shape),
        *(() if noise is None else (noise.num_coils, (noise.spectrum[1].likeness(), noise.spectrum[2].likeness()))),
    )


def measure(compared: Compared) -> tuple[Measured, ...]:
    """Compute every figure that the series has frames enough for.

    Args:
        compared: the series in units of the noise.

    Returns:
        The figures in the order of :data:`FIGURES`.
    """
    frames = len(compared.image)
    return tuple(Measured(figure, figure.function(compared)) for figure in FIGURES if frames >= figure.frames)


def broken(figures: Iterable[Measured]) -> dict[str, str]:
    """Messages of the figures that break their limits, by their names."""
    return {one.name: one.message for one in figures if one.is_flagged}


def limits() -> dict[str, float]:
    """Limits of the figures that have one, by their names."""
    return {figure.name: figure.limit for figure in FIGURES if figure.limit is not None}


def figure_table() -> str:
    """The table of the figures in Markdown, for the documentation."""
    rows = [(f"`{figure.name}`", figure.meaning, figure.rule) for figure in FIGURES]
    return "\n".join(f"| {' | '.join(row)} |" for row in [("Figure", "What it is", "Flagged"), ("---",) * 3, *rows])


def figure_columns(figures: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """What the table says of each result.

    Args:
        figures: of quality control, by the target of the result.

    Returns:
        Heading, then the text by the target.
    """
    columns = {
        figure.column: {
            target: figure.text(found[figure.name]) for target, found in figures.items() if found.get(figure.name)
        }
        for figure in FIGURES
        if figure.column
    }
    columns["flagged"] = {
        target: ", ".join(flag["name"] for flag in found["flags"]) or "no"
        for target, found in figures.items()
        if "flags" in found
    }
    return columns


def _snr_before(series: Compared) -> float:
    return float(series.image[series.inside].mean())


def _snr_after(series: Compared) -> float | None:
    """SNR over the noise that is left: by its variance, or by the finest details, whichever is more."""
    removed = series.spread**2 / float(series.variance[series.inside].mean())
    if removed > 1:
        return None
    masked = [torch.from_numpy(np.where(series.inside, x, 0)) for x in (series.noisy, series.image)]
    start, end = map(wavelet_noise_level, masked)
    details = min(end / start, 1.0) if start > 0 else 0.0
    return _snr_before(series) / max(float(np.sqrt(1 - removed)), details, _LEAST_LEFT)


def _residual_mean(series: Compared) -> float:
    mean = float(series.residual[series.inside].mean())
    return min(mean, 0.0) + max(mean - float(series.bias[series.inside].mean()), 0.0)


def _edge_ratio(series: Compared) -> float | None:
    inside = series.inside
    if not series.spread:
        return None
    residual = (series.residual - series.bias) / np.sqrt(series.variance)
    size = (1, 1, _WINDOW, _WINDOW)
    shifted = (series.image - series.image[inside].mean()).astype(np.float64)
    contrast = ndimage.uniform_filter(shifted**2, size) - ndimage.uniform_filter(shifted, size) ** 2
    strong, flat = np.percentile(contrast[inside], (_EDGES, _FLAT))
    at_edges, elsewhere = residual[inside & (contrast > strong)], residual[inside & (contrast < flat)]
    if min(at_edges.size, elsewhere.size) < _MIN_PIXELS or elsewhere.var() == 0:
        return None
    return float(at_edges.var() / elsewhere.var())


def _whiteness(series: Compared) -> float:
    centered = series.residual - series.residual[series.inside].mean()
    clips = torch.from_numpy(np.where(series.inside, centered, 0).astype(np.float32).transpose(1, 0, 2, 3)[:, None])
    if clips.shape[2] < _FEWEST_FRAMES:  # what is taken from one of few frames is given to the others
        clips = clips.transpose(1, 2).flatten(0, 1).unsqueeze(1)
    return residual_whiteness(torch.zeros_like(clips), clips, (0.0, *(max(one, 0.0) for one in series.likeness)))


def _noise_left(series: Compared) -> float | None:
    """Share of the noise that is left in air; none where there is no air, or it was cut off or set to zero."""
    level = background_noise_level(torch.from_numpy(series.noisy), series.num_coils)[0] or 1.0
    size = (1, 1, _WINDOW, _WINDOW)
    whole = ndimage.minimum_filter(series.noisy, size) > 0
    power = ndimage.uniform_filter(np.square(series.noisy), size)
    lowest, highest = (2 * series.num_coils * level**2 * share for share in _AIR_POWER)
    air = whole & (power > lowest) & (power < highest)
    values = series.noisy[air]
    if values.size < max(4 * _MIN_PIXELS, _LEAST_AIR * air.size):
        return None
    bias, _ = rician_shape(np.zeros(()), series.num_coils)
    if abs(float(values.mean()) ** 2 / float(np.square(values).mean()) / (bias**2 / (2 * series.num_coils)) - 1) > 0.1:
        return None
    before, after = (float((x - ndimage.uniform_filter(x, size))[air].std()) for x in (series.noisy, series.image))
    return after / before if before else None


def _changed_percent(series: Compared) -> float:
    return 100 * float((np.abs(series.residual) > _LARGE).mean())


FIGURES: tuple[Figure, ...] = (
    Figure(
        "sigma", "Noise level, in the units of the file",
        "noise standard deviation per component, in the units of the file",
        lambda series: float(series.sigma), form=".4g", column="noise level",
    ),
    Figure(
        "snr_before", "SNR before", "mean magnitude of the foreground over the noise level",
        _snr_before, form=".1f", column="SNR before",
    ),
    Figure(
        "snr_after", "SNR after",
        "the same over the noise that is left, which is the larger of what the variance of the residual leaves of the "
        "noise's and of the share of the finest details that is left; at most five times `snr_before`, as far as the "
        "error of the noise level allows; not available where more was removed than the noise",
        _snr_after, form=".1f", column="SNR after",
    ),
    Figure(
        "residual_std", "Residual: standard deviation", "standard deviation of the residual, in noise levels",
        lambda series: series.spread, unit=" σ", limit=1.15,
        message="the residual is larger than the noise level explains ({value}, limit {limit})",
    ),
    Figure(
        "residual_mean", "Residual: mean",
        "mean of the residual beyond the Rician bias, in noise levels: a change of brightness",
        _residual_mean, form="+.2f", unit=" σ", limit=0.35,
        message="the brightness changed ({value} on average, limit {limit})",
    ),
    Figure(
        "edge_ratio", "Residual: edges over flat regions",
        "variance of the residual along edges over that in flat regions, each relative to the noise: lost detail",
        _edge_ratio, limit=2.3,
        message="the residual is stronger along edges ({value} times, limit {limit}): detail may be lost",
    ),
    Figure(
        "whiteness", "Residual: whiteness",
        "1 minus the largest correlation of neighbors in the residual beyond that of the noise, in the plane and, "
        "from 4 frames on, in time: structure that was removed",
        _whiteness, limit=0.25, side="below",
        message="the residual is structured (whiteness {value}, limit {limit}): detail may be lost",
    ),
    Figure(
        "changed_percent", "Pixels that changed by more than 5 σ",
        "percentage of pixels that changed by more than 5 noise levels: lost small structures",
        _changed_percent, form=".2g", unit="%", limit=0.1,
        message="{value} of the pixels changed by more than 5 noise levels (limit {limit})",
    ),
    Figure(
        "noise_left", "Noise left in air",
        "standard deviation of fine detail in air in the result over that before; not available where air is masked or "
        "cut off",
        _noise_left, form=".0%", limit=0.5,
        message="{value} of the noise is left in air (limit {limit}): its level or spectrum may be wrong",
    ),
    Figure(
        "frame_change_before", "Change from frame to frame, before",
        "root mean square change from frame to frame, in noise levels; noise alone gives 1.4",
        lambda series: series.motion and series.motion[0], unit=" σ", frames=2,
    ),
    Figure(
        "frame_change_after", "Change from frame to frame, after", "the same in the result",
        lambda series: series.motion and series.motion[1], unit=" σ", frames=2,
    ),
    Figure(
        "motion_kept", "Motion that is kept",
        "share of the motion's mean square that is left where most moves; not available where noise hides the motion",
        lambda series: series.motion and series.motion[2], form=".0%", limit=0.7, side="below", frames=2,
        message="{value} of the motion is kept (limit {limit}): it may be blurred over time",
    ),
)  # fmt: skip
"""All figures; what can be measured of a series is in its JSON in this order."""
