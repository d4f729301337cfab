# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
r"""Quality control of a denoised series without knowing the truth: was noise removed, and nothing but noise?

What was removed is compared with the noise level. Removed noise is as strong along edges as elsewhere, whatever filters
colored it; removed anatomy is strongest along edges. Noise has no mean beyond the Rician bias of magnitudes, is rarely
beyond five standard deviations, and leaves motion as it is. The limits of :data:`LIMITS` were set by experiment, see
``benchmarks/qc_calibration.py``: a result that breaks one is flagged, and should be looked at before it is used.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from monai_stcnnt.apps.review.quality import magnitude_values
from monai_stcnnt.apps.review.views import removed_signal
from monai_stcnnt.data import SeriesRecord, write_aside
from monai_stcnnt.errors import LayoutError, NoiseLevelError
from monai_stcnnt.metrics import residual_whiteness
from monai_stcnnt.mri.noise_level import wavelet_noise_level
from monai_stcnnt.mri.rician import rician_shape
from monai_stcnnt.mri.snr import foreground_mask

__all__ = ["LIMITS", "Flag", "QualityControl", "TemporalDifference", "quality_control", "write_qc"]

LIMITS: Mapping[str, float] = MappingProxyType(
    {
        "removed_std": 1.15,
        "removed_mean": 0.35,
        "edge_ratio": 2.3,
        "whiteness": 0.25,
        "changed_percent": 0.1,
        "motion_kept": 0.7,
    }
)
"""Where a result is flagged: below it for ``whiteness`` and ``motion_kept``, above it (in size) for the others."""

_LARGE = 5.0  # standard deviations
_EDGES, _FLAT, _MOVING = 90, 50, 90  # percentiles of the local contrast, and of the change over time
_WINDOW = 5  # pixels, of the local contrast that tells edges from flat parts
_MIN_PIXELS = 50
_FEWEST_FRAMES = 4  # that neighbors in time are compared of
_LEAST_MOTION = 2.0  # motion is measured where its mean square change exceeds that of the noise
_MOTION_SMOOTHING = 2.0  # pixels, so that noise does not choose where motion is measured
_LEAST_LEFT = 0.2  # of the noise that is left: as far as the error of the noise level lets it be told

_MESSAGES = {
    "removed_std": "more was removed than the noise level explains ({value:.2f} of it, limit {limit:g})",
    "removed_mean": "the brightness changed ({value:+.2f} of the noise level on average, limit {limit:g})",
    "edge_ratio": "what was removed is stronger along edges ({value:.1f} times, limit {limit:g}): detail may be lost",
    "whiteness": "what was removed is structured (whiteness {value:.2f}, limit {limit:g}): detail may be lost",
    "changed_percent": "{value:.2g}% of the pixels changed by more than 5 noise levels (limit {limit:g}%)",
    "motion_kept": "{value:.0%} of the motion is kept (limit {limit:.0%}): it may be blurred over time",
}


@dataclass(frozen=True)
class Flag:
    """One reason to look at a result before it is used.

    Attributes:
        name: the figure that broke its limit, a key of :data:`LIMITS`.
        message: what it may mean, in a sentence.
    """

    name: str
    message: str


@dataclass(frozen=True)
class TemporalDifference:
    """Changes from frame to frame in the foreground.

    Attributes:
        before: root mean square before denoising, in noise levels; noise alone makes 1.4.
        after: the same afterwards.
        kept: share of the motion's mean square that is left where most moves; None where noise hides the motion.
    """

    before: float
    after: float
    kept: float | None


@dataclass(frozen=True, eq=False)
class QualityControl:
    """The figures of one series.

    Attributes:
        sigma: noise standard deviation per component, in the units of the series.
        snr_before: mean magnitude of the foreground over ``sigma``.
        snr_after: the same over the noise that is left: the larger of what the variance that was removed leaves of
            the noise's, and of the share of the finest details that is left; five times ``snr_before`` at most, which
            is as far as the error of the noise level lets it be told. None where more was removed than the noise.
        removed_std: standard deviation of what was removed from the foreground, in noise levels.
        removed_mean: its mean, in noise levels; for magnitudes beyond the Rician bias, or below zero.
        edge_ratio: variance of what was removed along edges over that in flat parts; None where there are too few.
        whiteness: 1 minus the largest correlation of neighbors in what was removed from the foreground; neighbors in
            time where there are at least 4 frames.
        changed_percent: share of all pixels that changed by more than 5 noise levels.
        temporal: changes from frame to frame; None for a single frame.
        flags: the limits that were broken.
        residual_map: root mean square of what was removed over the frames, in noise levels, ``(Z, Y, X)``.
    """

    sigma: float
    snr_before: float
    snr_after: float | None
    removed_std: float
    removed_mean: float
    edge_ratio: float | None
    whiteness: float
    changed_percent: float
    temporal: TemporalDifference | None
    flags: tuple[Flag, ...] = ()
    residual_map: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0)), repr=False)

    def as_dict(self) -> dict[str, Any]:
        """The figures for JSON, without the map."""
        listed = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "residual_map"}
        temporal = None if self.temporal is None else dataclasses.asdict(self.temporal)
        return {**listed, "temporal": temporal, "flags": [dataclasses.asdict(flag) for flag in self.flags]}


def quality_control(
    before: SeriesRecord, after: SeriesRecord, *, sigma: float, gmap: np.ndarray | None = None
) -> QualityControl:
    """Put in numbers what was removed from a series, and flag what does not look like noise.

    Args:
        before: the series as it was.
        after: the denoised series, of the same size ``(T, Z, Y, X)``.
        sigma: noise standard deviation per component, in the units of the series.
        gmap: g-factor map that broadcasts to ``(T, Z, Y, X)``.

    Returns:
        The figures, with flags.

    Raises:
        LayoutError: if the sizes differ.
        NoiseLevelError: if ``sigma`` is not a positive number.
    """
    if not (np.isfinite(sigma) and sigma > 0):
        raise NoiseLevelError(f"The noise level is {sigma}. Quality control needs a positive number.")
    if before.array.shape[1:] != after.array.shape[1:]:
        raise LayoutError(
            f"The series have the sizes (T, Z, Y, X) = {before.array.shape[1:]} and {after.array.shape[1:]}. "
            "Give series of one size."
        )
    level = sigma if gmap is None else sigma * gmap
    noisy, image = magnitude_values(before) / level, magnitude_values(after) / level
    removed = removed_signal(before, after) / level
    inside = foreground_mask(torch.from_numpy(np.ascontiguousarray(image))).numpy()
    inside = inside if inside.any() else np.ones_like(inside)
    bias, variance = rician_shape(image) if before.kind == "magnitude" else (np.zeros(1), np.ones(1))
    bias, variance = np.broadcast_to(bias, image.shape), np.broadcast_to(variance, image.shape)
    mean, spread = float(removed[inside].mean()), float(removed[inside].std())
    snr = float(image[inside].mean())
    left = _noise_left(noisy, image, inside, spread**2 / float(variance[inside].mean()))
    found = QualityControl(
        sigma=float(sigma),
        snr_before=snr,
        snr_after=None if left is None else snr / left,
        removed_std=spread,
        removed_mean=min(mean, 0.0) + max(mean - float(bias[inside].mean()), 0.0),
        edge_ratio=_edge_ratio((removed - bias) / np.sqrt(variance), image, inside) if spread else None,
        whiteness=_whiteness(removed, inside),
        changed_percent=100 * float((np.abs(removed) > _LARGE).mean()),
        temporal=_temporal_difference(noisy, image, inside),
        residual_map=np.sqrt(np.square(removed).mean(axis=0)).astype(np.float32),
    )
    return dataclasses.replace(found, flags=_flags(found))


def write_qc(entries: Sequence[Mapping[str, Any]], path: str | Path) -> Path:
    """Write the figures of several series as JSON: ``{"limits": {...}, "series": [...]}``.

    Args:
        entries: one object per series, such as that of :meth:`QualityControl.as_dict` with the series' name.
        path: the file; an existing one is replaced.

    Returns:
        The path.

    Raises:
        OutputNotWritableError: if it cannot be written.
    """
    path = Path(path).expanduser()
    text = json.dumps({"limits": dict(LIMITS), "series": [dict(entry) for entry in entries]}, indent=2, allow_nan=False)
    with write_aside(path) as aside:
        aside.write_text(text + "\n", encoding="utf-8")
    return path


def _noise_left(noisy: np.ndarray, image: np.ndarray, inside: np.ndarray, removed: float) -> float | None:
    """Share of the noise that is left, of the share of its variance that was removed and the finest details."""
    if removed > 1:
        return None
    start, end = (wavelet_noise_level(torch.from_numpy(np.where(inside, x, 0))) for x in (noisy, image))
    details = min(end / start, 1.0) if start > 0 else 0.0
    return max(float(np.sqrt(1 - removed)), details, _LEAST_LEFT)


def _edge_ratio(removed: np.ndarray, image: np.ndarray, inside: np.ndarray) -> float | None:
    """Variance of what was removed where the result has most contrast in the plane, over that in its flat half."""
    size = (1, 1, _WINDOW, _WINDOW)
    shifted = (image - image[inside].mean()).astype(np.float64)
    contrast = ndimage.uniform_filter(shifted**2, size) - ndimage.uniform_filter(shifted, size) ** 2
    strong, flat = np.percentile(contrast[inside], (_EDGES, _FLAT))
    at_edges, elsewhere = removed[inside & (contrast > strong)], removed[inside & (contrast < flat)]
    if min(at_edges.size, elsewhere.size) < _MIN_PIXELS or elsewhere.var() == 0:
        return None
    return float(at_edges.var() / elsewhere.var())


def _whiteness(removed: np.ndarray, inside: np.ndarray) -> float:
    masked = np.where(inside, removed - removed[inside].mean(), 0).astype(np.float32)
    clips = torch.from_numpy(masked.transpose(1, 0, 2, 3)[:, None])  # (Z, C, T, H, W)
    if clips.shape[2] < _FEWEST_FRAMES:  # what is taken from one of few frames is given to the others
        clips = clips.transpose(1, 2).flatten(0, 1).unsqueeze(1)
    return residual_whiteness(torch.zeros_like(clips), clips)


def _temporal_difference(noisy: np.ndarray, image: np.ndarray, inside: np.ndarray) -> TemporalDifference | None:
    if len(image) < 2:
        return None
    visible = inside[1:] & inside[:-1]
    if not visible.any():
        return None
    start, end = np.diff(noisy, axis=0), np.diff(image, axis=0)
    change = ndimage.gaussian_filter(np.square(start).mean(axis=0), (0, _MOTION_SMOOTHING, _MOTION_SMOOTHING))
    moving = visible & (change > np.percentile(change[inside.any(axis=0)], _MOVING))
    motion = float(np.square(start[moving]).mean()) - 2 if moving.sum() >= _MIN_PIXELS else 0.0
    return TemporalDifference(
        float(np.sqrt(np.square(start[visible]).mean())),
        float(np.sqrt(np.square(end[visible]).mean())),
        float(np.square(end[moving]).mean()) / motion if motion > _LEAST_MOTION else None,
    )


def _flags(found: QualityControl) -> tuple[Flag, ...]:
    values = {name: getattr(found, name, None) for name in LIMITS}
    values["motion_kept"] = None if found.temporal is None else found.temporal.kept
    flags = []
    for name, limit in LIMITS.items():
        value = values[name]
        if value is None:
            continue
        is_low = name in ("whiteness", "motion_kept")
        if value < limit if is_low else abs(value) > limit:
            flags.append(Flag(name, _MESSAGES[name].format(value=value, limit=limit)))
    return tuple(flags)
