# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The report of a segmentation: a page, or one picture of masks on the images and of the volumes over time.

A cine shows its slices at end diastole and end systole, a cine of one slice frames through the heart beat, a volume its
slices. Images stand as radiologists expect them (see :mod:`monai_stcnnt.apps.review.views`), cut to the surroundings of
the masks.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from monai_stcnnt.apps.review.heart_page import SURROUNDINGS_MM, heart_page, surroundings
from monai_stcnnt.apps.review.names import check_report_name
from monai_stcnnt.apps.review.sheet import QUIET, Sheet, mark_directions, show_image
from monai_stcnnt.apps.review.views import display_window, plane_view
from monai_stcnnt.apps.review.volume_plot import class_colors, draw_curves
from monai_stcnnt.apps.volumes import MaskMeasures, kind_of_structure
from monai_stcnnt.data import SeriesRecord
from monai_stcnnt.errors import LayoutError

__all__ = ["KINDS", "chosen_planes", "segmentation_report"]

KINDS = (".html", ".png")
"""Endings of reports of a segmentation: a page, a picture."""

MOST_COLUMNS = 8
FEWEST_FOR_A_CURVE = 3

# Lengths in inches.
_ALL_IMAGES = 13.0  # width of all images together
_WIDEST = 3.4  # of an image
_GAP = 0.08
_MARGIN = 0.2
_ROW_NAMES = 1.15
_COLUMN_NAMES = 0.3
_HEADING = 0.62
_CURVE = 2.9
_AXIS_NAMES = 0.6
_TEXT = 5.4  # width of the figures beside the curve
_LINE = 0.24


def segmentation_report(
    images: SeriesRecord,
    labels: SeriesRecord,
    measures: MaskMeasures,
    path: str | Path,
    *,
    class_values: Sequence[int],
    title: str = "",
    learned: str = "",
) -> Path:
    """Show masks on images, with the volumes over time where there are three frames at least.

    Args:
        images: what was segmented, complex or magnitude.
        labels: the mask ``(1, T, Z, Y, X)`` of the same size.
        measures: what it measures.
        path: the page (``.html``) or picture (``.png``); missing folders are made, and an existing file is replaced.
        class_values: values of the classes in the order of ``measures.names``.
        title: a heading, usually the scan's name.
        learned: what the network learned from, a sentence for the page.

    Returns:
        The path.

    Raises:
        LayoutError: if the mask is not of the images' size.
        OutputNotWritableError: if the name has another ending, or the report cannot be written.
    """
    path = check_report_name(path, KINDS)
    if labels.array.shape != (1, *images.array.shape[1:]):
        raise LayoutError(
            f"The mask has (1, T, Z, Y, X) = {labels.array.shape}, and the images {images.array.shape}. "
            "Give two of one size."
        )
    if path.suffix.lower() == ".html":
        return heart_page(
            images, labels.array[0], measures, path, class_values=class_values, title=title, learned=learned
        )
    return _draw(images, labels.array[0], measures, class_values, title).save(path)


def chosen_planes(measures: MaskMeasures, mask: np.ndarray) -> list[list[tuple[int, int]]]:
    """Choose the images that the report shows.

    Args:
        measures: of the mask.
        mask: ``(T, Z, Y, X)``.

    Returns:
        Rows of pairs of frame and slice: of a stack the slices that hold a class, at the ends of diastole and systole
        or in the middle frame; of one slice, frames through the cine. At most eight in a row, evenly spaced.
    """
    frames, slices = mask.shape[:2]
    if slices == 1:
        return [[(frame, 0) for frame in _spread(np.arange(frames))]]
    present = np.flatnonzero(mask.any(axis=(0, 2, 3)))
    places = _spread(present if len(present) else np.arange(slices))
    return [[(frame, place) for place in places] for frame in _ends(measures).values()]


def _spread(indices: np.ndarray) -> list[int]:
    """At most eight of the indices, evenly spaced, the first and the last among them."""
    count = min(len(indices), MOST_COLUMNS)
    return [int(n) for n in indices[np.linspace(0, len(indices) - 1, count).round().astype(int)]]


def _ends(measures: MaskMeasures) -> dict[str, int]:
    """Frames by name: both ends of the left ventricle's cycle, or of what else has a cycle."""
    functions = {kind_of_structure(name): function for name, function in measures.functions.items()}
    if not functions:
        return {"": len(measures.times) // 2}
    function = functions.get("LV", list(functions.values())[-1])
    return {"end diastole": function.end_diastole, "end systole": function.end_systole}


def _frame_name(measures: MaskMeasures, frame: int) -> str:
    time = float(measures.times[frame])
    return f"frame {frame + 1}" + (f", {time:.0f} ms" if np.isfinite(time) and len(measures.times) > 1 else "")


def _draw(
    images: SeriesRecord, mask: np.ndarray, measures: MaskMeasures, class_values: Sequence[int], title: str
) -> Sheet:
    rows, view, values = chosen_planes(measures, mask), plane_view(images.affine), images.magnitude
    frames, slices = mask.shape[:2]
    has_names = slices > 1 and frames > 1
    names = _ROW_NAMES if has_names else 0.0
    height, width = view.pixel_size(images.spacing)
    crop = surroundings(view.apply(mask.max(axis=(0, 1)) > 0), SURROUNDINGS_MM / height, SURROUNDINGS_MM / width)
    shape = (crop[0].stop - crop[0].start) * height / ((crop[1].stop - crop[1].start) * width)
    wide = min(_WIDEST, (_ALL_IMAGES - names) / len(rows[0]))
    high = wide * shape
    has_curve = frames >= FEWEST_FOR_A_CURVE
    lower = _CURVE + _AXIS_NAMES if has_curve else 0.3 + _LINE * max(1, len(_lines(measures)))
    total = max(2 * _MARGIN + names + len(rows[0]) * (wide + _GAP), 9.0)
    sheet = Sheet(total, _HEADING + _COLUMN_NAMES + len(rows) * (high + _GAP) + lower + 2 * _MARGIN)
    classes = list(zip(class_values, class_colors(measures.names), strict=True))
    for row, (name, planes) in enumerate(zip(_ends(measures), rows, strict=False)):
        up = _MARGIN + lower + (len(rows) - 1 - row) * (high + _GAP) + _GAP
        for column, (frame, place) in enumerate(planes):
            left = _MARGIN + names + column * (wide + _GAP)
            axes = sheet.axes(left, up, wide, high)
            limits = display_window(view.apply(values[:, place])[(..., *crop)])
            _overlay(
                axes, view.apply(values[frame, place])[crop], view.apply(mask[frame, place])[crop], limits, classes
            )
            if row == 0:
                label = f"slice {place + 1}" if slices > 1 else _frame_name(measures, frame)
                sheet.text(left + wide / 2, up + high + 0.07, label, ha="center", color=QUIET)
            if row == column == 0:
                mark_directions(axes, view)
        if has_names:
            label = f"{name}\n{_frame_name(measures, planes[0][0])}".replace(", ", "\n")
            sheet.text(_MARGIN, up + high / 2, label, va="center")
    _write_heading(sheet, measures, title)
    _draw_lower(sheet, measures, has_curve, lower)
    return sheet


def _overlay(
    axes: Axes,
    image: np.ndarray,
    mask: np.ndarray,
    limits: tuple[float, float],
    classes: Sequence[tuple[int, str]],
) -> None:
    """An image with every class as a veil with an outline along the edges of its pixels."""
    rows, columns = image.shape
    centers = np.arange(columns) + 0.5, np.arange(rows) + 0.5
    show_image(axes, image, limits)
    for value, color in classes:
        inside = mask == value
        if not inside.any():
            continue
        axes.contourf(*centers, inside.astype(float), levels=[0.5, 1.5], colors=[color], alpha=0.22)
        axes.contour(*centers, inside.astype(float), levels=[0.5], colors=[color], linewidths=1.3)
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)


def _write_heading(sheet: Sheet, measures: MaskMeasures, title: str) -> None:
    """Title and legend."""
    sheet.title(_MARGIN, sheet.height - 0.36, title or measures.scan)
    lines = [Line2D([], [], color=color, linewidth=4) for color in class_colors(measures.names)]
    sheet.figure.legend(
        lines, measures.names, loc="upper left", bbox_to_anchor=sheet.share(_MARGIN - 0.08, sheet.height - 0.44),
        ncols=len(lines), frameon=False, fontsize=10.5, handlelength=1.2, columnspacing=1.6, borderpad=0.2,
    )  # fmt: skip


def _draw_lower(sheet: Sheet, measures: MaskMeasures, has_curve: bool, lower: float) -> None:
    """Volumes over time at the left, what they come to at the right."""
    left = _MARGIN
    if has_curve:
        width = sheet.width - 2 * _MARGIN - 0.55 - _TEXT
        axes = sheet.axes(_MARGIN + 0.55, _MARGIN + _AXIS_NAMES - 0.1, width, _CURVE - 0.25)
        axes.set_axis_on()
        draw_curves(axes, measures)
        left = _MARGIN + 0.55 + width + 0.35
    for n, line in enumerate(_lines(measures)):
        sheet.text(left, _MARGIN + lower - 0.4 - n * _LINE, line, va="baseline")


def _lines(measures: MaskMeasures) -> list[str]:
    """The results in words, short enough for the place beside the curve."""
    result = []
    for name, f in measures.functions.items():
        result += [
            f"{name[:1].upper()}{name[1:]}: ejection fraction {f.ejection_fraction:.0f} %",
            f"    {f.end_diastolic_volume:.0f} ml (frame {f.end_diastole + 1}) to {f.end_systolic_volume:.0f} ml "
            f"(frame {f.end_systole + 1}), stroke volume {f.stroke_volume:.0f} ml",
        ]
    if not measures.functions:
        result += _ranges(measures)
    if measures.mass is not None:
        result.append(f"Myocardial mass at end diastole: {measures.mass:.0f} g")
    if measures.has_volumes:
        result.append(f"{measures.slices} slices, {measures.distance:.4g} mm apart")
    for note in measures.notes:
        result += textwrap.wrap(note, 62)
    return result


def _ranges(measures: MaskMeasures) -> list[str]:
    """The smallest and the largest value of every class, where there is no more to say."""
    unit = "ml" if measures.has_volumes else "cm²"
    result = []
    for name, low, high in zip(measures.names, measures.curves.min(axis=0), measures.curves.max(axis=0), strict=True):
        values = f"{high:.1f}" if len(measures.times) == 1 else f"{low:.1f} to {high:.1f}"
        result.append(f"{name[:1].upper()}{name[1:]}: {values} {unit}")
    return result
