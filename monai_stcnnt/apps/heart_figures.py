# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What a clinician asks of the masks of a heart beside volumes: output, wall, certainty, and whether to trust them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from monai_stcnnt.errors import EmptyImageError
from monai_stcnnt.metrics import VentricularFunction, ejection_fraction_spread, heart_flags, segment_thickness

__all__ = ["HeartEvidence", "HeartFigures", "heart_figures"]

LEFT = 3
LOW_CONFIDENCE = 0.7
"""Below it the decision about a slice is said to be uncertain."""
SIZES = (20.0, 600.0)
"""Milliliters that an adult's left ventricle may hold at end diastole."""


@dataclass(frozen=True, eq=False)
class HeartEvidence:
    """What the network knew beside the masks.

    Attributes:
        view_areas: area in square mm of every class, by view, slice, class and frame ``(V, Z, 4, T)``; None where the
            network was asked once.
        slices: for every slice whether it is contoured, and how sure that is, ``(Z, 2)``; None where nobody decided.
    """

    view_areas: np.ndarray | None = None
    slices: np.ndarray | None = None


@dataclass(frozen=True)
class HeartFigures:
    """Figures of one heart, in types that JSON has; NaN is what is not known.

    Attributes:
        thickness: wall at end diastole in mm, in the 16 segments of :data:`monai_stcnnt.metrics.AHA_SEGMENTS`; empty
            where segments cannot be placed.
        outputs: cardiac output of each ventricle in liters per minute; empty where the heart rate is not known.
        heart_rate: beats per minute, from the images' headers.
        spread: standard deviation of the left ventricle's ejection fraction over turned and mirrored images, in
            percent.
        contoured: for every slice whether it is contoured (1 or 0), and how sure that is; empty where nobody decided.
        flags: sentences about what is odd.
    """

    thickness: tuple[float, ...] = ()
    outputs: Mapping[str, float] = field(default_factory=dict)
    heart_rate: float = math.nan
    spread: float = math.nan
    contoured: tuple[tuple[float, float], ...] = ()
    flags: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> HeartFigures:
        """Make the figures from what JSON kept of them."""
        contoured = tuple((float(shown), float(sure)) for shown, sure in values["contoured"])
        lists = {name: tuple(values[name]) for name in ("thickness", "flags")}
        return cls(**{**values, **lists, "contoured": contoured})

    @property
    def sentences(self) -> list[str]:
        """The figures in words."""
        said = [
            f"{name}: cardiac output {value:.1f} l/min at {self.heart_rate:.0f} beats per minute."
            for name, value in self.outputs.items()
        ]
        if math.isfinite(self.spread):
            said.append(
                f"The left ventricle's ejection fraction varies by {self.spread:.1f} points over turned images; its "
                "error can be larger."
            )
        out = [str(n) for n, (shown, _) in enumerate(self.contoured, 1) if not shown]
        if out:
            said.append(f"Not contoured, as above the base or below the apex: {_slices(out)}.")
        return [*said, *self.flags]


def heart_figures(
    labels: np.ndarray,
    affine: np.ndarray,
    volumes: np.ndarray,
    functions: Mapping[str, VentricularFunction],
    heart_rate: float,
    evidence: HeartEvidence,
) -> HeartFigures:
    """Measure a heart.

    Args:
        labels: mask ``(T, Z, Y, X)``: 1 right ventricle, 2 myocardium, 3 left ventricle.
        affine: 4x4, from voxel indices to mm.
        volumes: ``(T, 4)`` in milliliters, the background first.
        functions: of each ventricle that has an ejection fraction, by its name.
        heart_rate: beats per minute, NaN where unknown.
        evidence: what the network knew.

    Returns:
        The figures.
    """
    diastole = int(volumes[:, LEFT].argmax())
    try:
        thickness = tuple(float(value) for value in segment_thickness(labels[diastole], affine).millimeters)
    except EmptyImageError:
        thickness = ()
    rate = {name: one.stroke_volume * heart_rate / 1000 for name, one in functions.items()}
    contoured = () if evidence.slices is None else tuple((float(c), float(p)) for c, p in evidence.slices)
    return HeartFigures(
        thickness=thickness,
        outputs=rate if math.isfinite(heart_rate) else {},
        heart_rate=heart_rate,
        spread=_spread(evidence) if functions else math.nan,
        contoured=contoured,
        flags=(*_size(float(volumes[:, LEFT].max())), *heart_flags(labels, volumes), *_uncertain(contoured)),
    )


def _spread(evidence: HeartEvidence) -> float:
    """Spread of the ejection fraction over the views, in the slices that are contoured."""
    areas = evidence.view_areas
    if areas is None or len(areas) < 2:
        return math.nan
    kept = slice(None) if evidence.slices is None else evidence.slices[:, 0] > 0
    return ejection_fraction_spread(areas[:, kept, LEFT].sum(1))[1]


def _size(milliliters: float) -> list[str]:
    if not milliliters:
        return ["No left ventricle was found. The network knows short-axis views of the heart, and nothing else."]
    return (
        [] if SIZES[0] <= milliliters <= SIZES[1] else [f"A left ventricle of {milliliters:.0f} ml is hardly possible."]
    )


def _uncertain(contoured: Sequence[tuple[float, float]]) -> list[str]:
    doubtful = [str(n) for n, (_, sure) in enumerate(contoured, 1) if sure < LOW_CONFIDENCE]
    verb = "shows" if len(doubtful) == 1 else "show"
    return [f"Whether {_slices(doubtful)} {verb} the left ventricle is uncertain."] if doubtful else []


def _slices(numbers: Sequence[str]) -> str:
    return f"slice{'s' * (len(numbers) > 1)} {', '.join(numbers)}"
