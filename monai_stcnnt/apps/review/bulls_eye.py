# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The wall in 16 segments, as rings seen from the apex: the base outside, the anterior wall on top."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.patches import Wedge

from monai_stcnnt.apps.review.names import check_report_name
from monai_stcnnt.apps.review.sheet import DARK, QUIET, Sheet
from monai_stcnnt.errors import LayoutError

__all__ = ["LIMITS", "RINGS", "bulls_eye_plot", "draw_bulls_eye"]

RINGS = ((0.7, 1.0, 6, 60.0), (0.4, 0.7, 6, 60.0), (0.1, 0.4, 4, 45.0))
"""Radii, number of segments, and the angle at which the anterior segment begins."""
LIMITS = (4.0, 16.0)
"""Millimeters of wall thickness, ends of the color scale."""


def draw_bulls_eye(axes: Axes, values: np.ndarray, limits: tuple[float, float]) -> None:
    """Draw values of 16 segments.

    Args:
        axes: where to draw.
        values: ``(16,)`` in the order of :data:`monai_stcnnt.metrics.AHA_SEGMENTS`; NaN is left white.
        limits: of the color scale.

    Raises:
        LayoutError: for another number of values.
    """
    if np.shape(values) != (16,):
        raise LayoutError(f"A bull's eye has 16 segments, not the shape {np.shape(values)}.")
    colors, scale = mpl.colormaps["viridis"], Normalize(*limits)
    number = 0
    for inner, outer, count, first in RINGS:
        width = 360 / count
        for n in range(count):
            value, start = float(values[number]), first + n * width
            face = colors(scale(value)) if np.isfinite(value) else "white"
            wedge = Wedge((0, 0), outer, start, start + width, width=outer - inner, facecolor=face, edgecolor="white")
            axes.add_patch(wedge)
            place = np.radians(start + width / 2)
            radius = (inner + outer) / 2
            dark = np.isfinite(value) and scale(value) < 0.6
            text = f"{value:.0f}" if np.isfinite(value) else "-"
            axes.text(
                radius * np.cos(place), radius * np.sin(place), text, ha="center", va="center", fontsize=11,
                color="white" if dark else DARK,
            )  # fmt: skip
            number += 1
    for name, x, y in (("anterior", 0, 1.08), ("inferior", 0, -1.08), ("septal", -1.05, 0), ("lateral", 1.05, 0)):
        side = {0: "center", -1.05: "right", 1.05: "left"}[x]
        axes.text(x, y, name, ha=side, va="center", fontsize=10.5, color=QUIET)
    axes.set_xlim(-1.5, 1.5)
    axes.set_ylim(-1.2, 1.2)
    axes.set_aspect("equal")
    axes.set_axis_off()


def bulls_eye_plot(thickness: np.ndarray, title: str, path: str | Path) -> Path:
    """Draw the wall thickness of one frame.

    Args:
        thickness: ``(16,)`` in mm.
        title: stands above.
        path: the picture to write, ``.png``.

    Returns:
        The path.

    Raises:
        OutputNotWritableError: if the name does not end in ``.png`` or the picture cannot be written.
        LayoutError: for another number of segments.
    """
    path = check_report_name(path, (".png",))
    sheet = Sheet(5.2, 4.6)
    sheet.title(0.3, 4.2, title)
    draw_bulls_eye(sheet.axes(0.2, 0.35, 4.8, 3.8), thickness, LIMITS)
    sheet.text(0.3, 0.15, "Wall thickness in mm, seen from the apex", color=QUIET)
    return sheet.save(path)
