# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The look that all pictures share: colors, letters of directions, and places in inches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from monai_stcnnt.apps.review.views import PlaneView
from monai_stcnnt.data import write_aside

__all__ = ["ACCENT", "DARK", "QUIET", "Sheet", "mark_directions", "show_image"]

DARK, QUIET, ACCENT = "#222222", "#666666", "#e69f00"
DPI = 150


class Sheet:
    """A white picture on which things stand at places in inches from its lower left corner.

    Args:
        width: in inches.
        height: in inches.
        options: for matplotlib's ``Figure``.
    """

    def __init__(self, width: float, height: float, **options: Any) -> None:  # noqa: ANN401 - matplotlib's
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", **options)
        FigureCanvasAgg(self.figure)

    def axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        """Bare axes."""
        axes = self.figure.add_axes((*self.share(left, bottom), *self.share(width, height)))
        axes.set_axis_off()
        return axes

    def text(self, left: float, bottom: float, text: str, **style: Any) -> None:  # noqa: ANN401 - matplotlib's
        """Text; ``style`` goes to matplotlib."""
        self.figure.text(*self.share(left, bottom), text, **{"fontsize": 10.5, "color": DARK, **style})

    def title(self, left: float, bottom: float, text: str) -> None:
        """A heading."""
        self.text(left, bottom, text, fontsize=14, weight="bold")

    def share(self, across: float, up: float) -> tuple[float, float]:
        """Inches as shares of the picture's width and height."""
        return across / self.width, up / self.height

    def save(self, path: Path) -> Path:
        """Write the picture as PNG, complete or not at all.

        Raises:
            OutputNotWritableError: if it cannot be written.
        """
        with write_aside(path) as aside:
            self.figure.savefig(aside, format="png", dpi=DPI)
        return path


def mark_directions(axes: Axes, view: PlaneView) -> None:
    """Write the letters of the patient's directions at the left and the top, as on a viewer."""
    style: dict[str, Any] = {"transform": axes.transAxes, "color": ACCENT, "fontsize": 10, "weight": "bold"}
    axes.text(0.02, 0.5, view.left, ha="left", va="center", **style)
    axes.text(0.5, 0.985, view.top, ha="center", va="top", **style)


def show_image(axes: Axes, values: np.ndarray, limits: tuple[float, float]) -> None:
    """Show an image ``(rows, columns)`` in gray; its pixels' edges are at whole numbers, the first row on top."""
    rows, columns = values.shape
    axes.imshow(
        values, cmap="gray", vmin=limits[0], vmax=limits[1], aspect="auto", extent=(0, columns, rows, 0),
        interpolation="antialiased",
    )  # fmt: skip
