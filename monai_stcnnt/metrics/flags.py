# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Signs that masks of a heart are wrong, as sentences for whoever has to look at them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from monai_stcnnt.errors import LayoutError

__all__ = ["heart_flags", "missing_slices"]

WALL, CAVITY = 2, 3
EF_RANGE = (8.0, 82.0)
"""Ejection fractions in percent, beyond which even sick and athletic hearts are seldom."""
JUMP = 0.15
"""Share of the largest volume by which one frame may leave the line between its neighbors."""
WALL_CHANGE = 0.3
"""Share by which the wall's volume may change: muscle is not compressible, but slices are thick."""
CUT_SHARE = 0.6
"""Share of the largest cavity that the last slice may show before the stack is taken for cut off."""


def heart_flags(labels: np.ndarray, volumes: np.ndarray) -> list[str]:
    """Look for what a heart does not do.

    Args:
        labels: ``(T, Z, Y, X)``: 1 right ventricle, 2 wall, 3 cavity.
        volumes: ``(T, 4)``, volume of every class in every frame, in any unit.

    Returns:
        One sentence for each kind of fault; frames and slices count from 1. Empty where nothing is odd.

    Raises:
        LayoutError: for other axes.
    """
    if labels.ndim != 4 or len(volumes) != len(labels):
        raise LayoutError(f"Masks are (T, Z, Y, X), not {labels.shape}, with as many volumes, not {volumes.shape}.")
    cavity = volumes[:, CAVITY]
    flags = [*_shape_flags(labels), *_jump_flags(cavity)]
    if len(cavity) > 2 and cavity.max() > 0:
        fraction = 100 * (1 - cavity.min() / cavity.max())
        if not EF_RANGE[0] <= fraction <= EF_RANGE[1]:
            flags.append(f"An ejection fraction of {fraction:.0f} % is hardly possible.")
        wall = volumes[[int(cavity.argmax()), int(cavity.argmin())], WALL]
        if wall.min() < (1 - WALL_CHANGE) * wall.max():
            flags.append(
                f"The wall's volume changes by {100 * (1 - wall.min() / wall.max()):.0f} % between diastole and "
                "systole, but muscle keeps its volume."
            )
    return [*flags, *missing_slices(labels)]


def missing_slices(labels: np.ndarray) -> list[str]:
    """Say where the left ventricle is not covered by slices.

    A slice between others counts as missing where it shows the ventricle in less than half of the frames.

    Args:
        labels: ``(T, Z, Y, X)``.

    Returns:
        Sentences; empty where the stack reaches beyond both ends.
    """
    all_areas = np.asarray((labels == CAVITY).sum((2, 3)), float)
    areas, usual = all_areas.max(0), np.median(all_areas, 0)
    shown = np.flatnonzero(areas)
    if len(shown) < 2:
        return []
    said = []
    gaps = [int(z) + 1 for z in range(shown[0], shown[-1]) if usual[z] == 0]
    if gaps:
        verb = "shows" if len(gaps) == 1 else "show"
        said.append(f"{_listed('Slice', gaps)} between others {verb} no left ventricle.")
    for z, name in ((0, "first"), (len(areas) - 1, "last")):
        if areas[z] > CUT_SHARE * areas.max():
            said.append(f"The {name} slice still shows a large cavity: the stack may end before the heart does.")
    return said


def _shape_flags(labels: np.ndarray) -> list[str]:
    parts, holes, opened = [], [], []
    for t, z in np.argwhere((labels == CAVITY).any((2, 3))):
        cavity, left = labels[t, z] == CAVITY, labels[t, z] >= WALL
        if ndimage.label(cavity)[1] > 1 or ndimage.label(left, np.ones((3, 3)))[1] > 1:
            parts.append(int(z) + 1)
        if (ndimage.binary_fill_holes(left) & ~left).any():
            holes.append(int(z) + 1)
        around = ndimage.binary_dilation(cavity) & ~cavity
        if (labels[t, z][around] != WALL).mean() > 0.1:
            opened.append(int(z) + 1)
    texts = (
        (parts, "the left ventricle is in several parts"), (holes, "the left ventricle has holes"),
        (opened, "the wall is open"),
    )  # fmt: skip
    return [f"In {_listed('slice', sorted(set(found)))} {text}." for found, text in texts if found]


def _jump_flags(cavity: np.ndarray) -> list[str]:
    """A sentence about the frames whose volume leaves the line between its neighbors."""
    if len(cavity) < 5 or cavity.max() == 0:
        return []
    away = np.zeros(len(cavity))
    away[1:-1] = np.abs(cavity[1:-1] - (cavity[:-2] + cavity[2:]) / 2)
    worst = ndimage.maximum_filter1d(away, 3)  # a frame that jumps makes its neighbors look odd as well
    odd = [int(t) + 1 for t in np.flatnonzero((away > JUMP * cavity.max()) & (away == worst))]
    return [f"The volume of the left ventricle jumps at {_listed('frame', odd)}."] if odd else []


def _listed(noun: str, numbers: Sequence[int]) -> str:
    """``slice 3``, or ``slices 3, 4``."""
    return f"{noun}{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"
