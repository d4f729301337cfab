# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What a clinician asks of the masks of a heart beside volumes: output, wall, certainty, and whether to trust them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from monai_stcnnt.errors import EmptyImageError
from monai_stcnnt.metrics import VentricularFunction, ejection_fraction_spread, heart_flags, segment_thickness

__all__ = ["HeartEvidence", "HeartFigures", "heart_figures"]

LEFT = 3
CLASSES = 4
LOW_CONFIDENCE = 0.7
"""Below it the decision about a slice is said to be uncertain."""


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


@dataclass(frozen=True, eq=False)
class HeartFigures:
    """Figures of one heart.

    Attributes:
        thickness: wall at end diastole in mm, in the 16 segments of :data:`monai_stcnnt.metrics.AHA_SEGMENTS`; None
            where segments cannot be placed.
        outputs: cardiac output of each ventricle in liters per minute; empty where the heart rate is not known.
        heart_rate: beats per minute, from the images' headers; None where they do not tell.
        spread: standard deviation of the left ventricle's ejection fraction over the views, in percent; None where
            there is one view.
        contoured: for every slice whether it is contoured, and how sure that is; empty where nobody decided.
        flags: sentences about what is odd.
    """

    thickness: np.ndarray | None
    outputs: Mapping[str, float]
    heart_rate: float | None
    spread: float | None
    contoured: tuple[tuple[bool, float], ...]
    flags: tuple[str, ...]

    @property
    def sentences(self) -> list[str]:
        """The figures in words."""
        said = [f"{name}: cardiac output {value:.1f} l/min at {self.heart_rate:.0f} beats per minute."
                for name, value in self.outputs.items()]  # fmt: skip
        if self.spread is not None:
            said.append(f"The ejection fraction varies by {self.spread:.1f} points over turned and mirrored images.")
        if self.contoured:
            out = [str(n) for n, (shown, _) in enumerate(self.contoured, 1) if not shown]
            if out:
                said.append(f"Slices {', '.join(out)} are not contoured: above the base or below the apex.")
        return [*said, *self.flags]


def heart_figures(
    labels: np.ndarray,
    affine: np.ndarray,
    volumes: np.ndarray,
    functions: Mapping[str, VentricularFunction],
    heart_rate: float | None,
    evidence: HeartEvidence,
) -> HeartFigures:
    """Measure a heart.

    Args:
        labels: mask ``(T, Z, Y, X)``: 1 right ventricle, 2 myocardium, 3 left ventricle.
        affine: 4x4, from voxel indices to mm.
        volumes: ``(T, 4)`` in milliliters, the background first.
        functions: of each ventricle that has an ejection fraction, by its name.
        heart_rate: beats per minute, None where unknown.
        evidence: what the network knew.

    Returns:
        The figures.
    """
    diastole = int(volumes[:, LEFT].argmax())
    try:
        thickness = segment_thickness(labels[diastole], affine).millimeters
    except EmptyImageError:
        thickness = None
    outputs = {} if not heart_rate else {
        name: function.stroke_volume * heart_rate / 1000 for name, function in functions.items()
    }  # fmt: skip
    contoured = () if evidence.slices is None else tuple((bool(c), float(p)) for c, p in evidence.slices)
    return HeartFigures(
        thickness=thickness,
        outputs=outputs,
        heart_rate=heart_rate if outputs else None,
        spread=_spread(evidence),
        contoured=contoured,
        flags=tuple([*heart_flags(labels, volumes), *_uncertain(contoured)]),
    )


def _spread(evidence: HeartEvidence) -> float | None:
    """Spread of the ejection fraction over the views, in the slices that are contoured."""
    areas = evidence.view_areas
    if areas is None or len(areas) < 2:
        return None
    kept = slice(None) if evidence.slices is None else evidence.slices[:, 0] > 0
    _, spread = ejection_fraction_spread(areas[:, kept, LEFT].sum(1))
    return spread if np.isfinite(spread) else None


def _uncertain(contoured: Sequence[tuple[bool, float]]) -> list[str]:
    doubtful = [str(n) for n, (_, sure) in enumerate(contoured, 1) if sure < LOW_CONFIDENCE]
    return [f"Whether slices {', '.join(doubtful)} show the left ventricle is uncertain."] if doubtful else []
