# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The volumes of masks over time, as a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from monai_stcnnt.apps.review.names import check_report_name
from monai_stcnnt.apps.review.sheet import DARK, QUIET, Sheet
from monai_stcnnt.apps.volumes import MaskMeasures, kind_of_structure

__all__ = ["class_colors", "draw_curves", "frame_axis", "volume_plot"]

# Okabe and Ito's colors, which all eyes tell apart.
_COLORS = {"RV": "#56b4e9", "MYO": "#009e73", "LV": "#e66100"}


def class_colors(names: Sequence[str]) -> list[str]:
    """Choose colors for classes, the same for the same part of the heart everywhere.

    Args:
        names: of the classes.

    Returns:
        A color for each.
    """
    others = mpl.colormaps["tab20"].colors  # type: ignore[attr-defined] # matplotlib's stubs know no listed colors
    return [
        _COLORS.get(kind_of_structure(name), mpl.colors.to_hex(others[n % len(others)])) for n, name in enumerate(names)
    ]


def frame_axis(measures: MaskMeasures) -> tuple[np.ndarray, str]:
    """Choose what stands along the horizontal axis.

    Args:
        measures: of a scan.

    Returns:
        ``(T,)`` and a label: milliseconds where they are known, else frames, counted from 1.
    """
    if np.isfinite(measures.times).all() and (np.diff(measures.times) > 0).all():
        return measures.times, "time (ms)"
    return np.arange(1, len(measures.times) + 1), "frame"


def draw_curves(axes: Axes, measures: MaskMeasures) -> None:
    """Draw the volumes (of one slice: areas) of all classes over time, with the ends of diastole and systole.

    Args:
        axes: where to draw.
        measures: of a scan.
    """
    along, label = frame_axis(measures)
    curves = measures.curves
    for k, (name, color) in enumerate(zip(measures.names, class_colors(measures.names), strict=True)):
        is_wall = kind_of_structure(name) == "MYO"
        axes.plot(along, curves[:, k], color=color, linewidth=1.4 if is_wall else 2.2, label=name, zorder=2)
        if (function := measures.functions.get(name)) is not None:
            ends = [function.end_diastole, function.end_systole]
            axes.plot(along[ends], curves[ends, k], "o", color=color, markersize=7, zorder=3)
    axes.set_ylim(0, max(float(curves.max()) * 1.08, 1.0))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    axes.set_xlabel(label, fontsize=10.5, color=QUIET)
    axes.set_ylabel("volume (ml)" if measures.has_volumes else "area (cm²)", fontsize=10.5, color=QUIET)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=10, color=QUIET, labelcolor=DARK)
    axes.spines[["top", "right"]].set_visible(False)


def volume_plot(measures: MaskMeasures, path: str | Path) -> Path:
    """Draw the volumes of one scan over time; of one slice, the areas.

    Args:
        measures: of the scan.
        path: the picture to write, ``.png``; missing folders are made, and an existing picture is replaced.

    Returns:
        The path.

    Raises:
        OutputNotWritableError: if the name does not end in ``.png`` or the picture cannot be written.
    """
    path = check_report_name(path, (".png",))
    sheet = Sheet(7.5, 4.6, layout="constrained")
    axes = sheet.figure.add_subplot()
    draw_curves(axes, measures)
    axes.set_title(measures.scan, loc="left", fontsize=13, weight="bold", color=DARK)
    handles, names = axes.get_legend_handles_labels()
    labels = [_with_fraction(name, measures) for name in names]
    sheet.figure.legend(handles, labels, loc="outside lower left", frameon=False, fontsize=10.5, ncols=1)
    return sheet.save(path)


def _with_fraction(name: str, measures: MaskMeasures) -> str:
    function = measures.functions.get(name)
    if function is None:
        return name
    return (
        f"{name}: {function.end_diastolic_volume:.0f} \u2192 {function.end_systolic_volume:.0f} ml, "
        f"stroke volume {function.stroke_volume:.0f} ml, ejection fraction {function.ejection_fraction:.0f} %"
    )
