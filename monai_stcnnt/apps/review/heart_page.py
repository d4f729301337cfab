# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The report of a segmentation as one page: masks over playing cines, volumes that follow the frame, flags.

As the page of denoising, it holds all of its data and forbids itself every request; what is written into it is escaped.
Images are cut to the surroundings of the masks, and shown in 256 gray levels.
"""

from __future__ import annotations

import base64
import html
import json
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from monai_stcnnt.apps.review.bulls_eye import LIMITS, RINGS
from monai_stcnnt.apps.review.html import choose_shown
from monai_stcnnt.apps.review.page import fill_page
from monai_stcnnt.apps.review.views import PlaneView, display_window, plane_view
from monai_stcnnt.apps.review.volume_plot import class_colors
from monai_stcnnt.apps.volumes import MaskMeasures, kind_of_structure
from monai_stcnnt.data import SeriesRecord, write_aside
from monai_stcnnt.metrics import AHA_SEGMENTS

__all__ = ["heart_page", "surroundings"]

SURROUNDINGS_MM = 25.0
_MOST_VOXELS = 6_000_000


def surroundings(present: np.ndarray, rows: float, columns: float) -> tuple[slice, slice]:
    """Choose the part of the screen to show.

    Args:
        present: where a class is ever, ``(rows, columns)``.
        rows: pixels to add above and below.
        columns: pixels to add left and right.

    Returns:
        All that ever holds a class, and as many pixels around; everything where there is no class.
    """
    found = np.argwhere(present) if present.any() else np.argwhere(np.ones_like(present))
    margin = np.round([rows, columns]).astype(int)
    low, high = np.maximum(found.min(axis=0) - margin, 0), np.minimum(found.max(axis=0) + 1 + margin, present.shape)
    return slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1]))


def heart_page(
    images: SeriesRecord,
    mask: np.ndarray,
    measures: MaskMeasures,
    path: Path,
    *,
    class_values: Sequence[int],
    title: str = "",
    learned: str = "",
) -> Path:
    """Write the page.

    Args:
        images: what was segmented.
        mask: ``(T, Z, Y, X)``.
        measures: what it measures.
        path: the page; an existing one is replaced.
        class_values: values of the classes in the order of ``measures.names``.
        title: a heading, usually the scan's name.
        learned: what the network learned from, a sentence.

    Returns:
        The path.

    Raises:
        OutputNotWritableError: if the page cannot be written.
    """
    view, heart = plane_view(images.affine), measures.heart
    flags = [*measures.notes, *(heart.flags if heart else ())]
    data, shown = _payload(images, mask, measures, class_values, view)
    page = fill_page(
        "heart",
        script="heart.js",
        title=html.escape(title or measures.scan),
        subtitle=html.escape(_subtitle(measures)),
        verdict=f"{len(flags)} to look at" if flags else "Nothing flagged",
        verdict_class="warn" if flags else "good",
        letters="".join(f'<span class="letter {place}">{letter}</span>' for place, letter in view.letters.items()),
        curve_name="Volumes" if measures.has_volumes else "Areas",
        figures=_figures(measures),
        flags=_list(flags, "flags") or "<p>No flag of quality control. Look at the masks anyway.</p>",
        notes=_list([s for s in heart.sentences if s not in heart.flags], "notes") if heart else "",
        bulls_eye=_bulls_eye(heart.thickness) if heart and heart.thickness else "",
        decisions=_decisions(heart.contoured) if heart and heart.contoured else "",
        learned=html.escape(learned or "The bundle does not tell."),
        shown=html.escape(shown),
        data=json.dumps(data, allow_nan=False).replace("<", "\\u003c"),
    )
    with write_aside(path) as aside:
        aside.write_text(page, encoding="utf-8")
    return path


def _payload(
    images: SeriesRecord, mask: np.ndarray, measures: MaskMeasures, class_values: Sequence[int], view: PlaneView
) -> tuple[dict[str, Any], str]:
    """What the script draws, and a sentence about what is left out."""
    height, width = view.pixel_size(images.spacing)
    turned = view.apply(mask)
    crop = surroundings(turned.max(axis=(0, 1)) > 0, SURROUNDINGS_MM / height, SURROUNDINGS_MM / width)
    values, labels = view.apply(images.magnitude)[(..., *crop)], turned[(..., *crop)]
    shown = choose_shown(values.shape, _MOST_VOXELS)
    every = slice(None, None, shown.pixel_step)
    pick = (slice(0, shown.frames), slice(None, None, shown.slice_step), every, every)
    values, labels = values[pick], labels[pick]
    grays = np.zeros_like(values, np.uint8)
    for place in range(values.shape[1]):  # slices differ in brightness
        low, high = display_window(values[:, place])
        grays[:, place] = 255 * np.clip((values[:, place] - low) / (high - low), 0, 1)
    frames, slices, rows, columns = values.shape
    numbers = [1 + n * shown.slice_step for n in range(slices)]
    areas = (labels > 0).sum((0, 2, 3))
    times = measures.times[:frames]
    is_timed = frames > 1 and bool(np.isfinite(times).all() and (np.diff(times) > 0).all())
    data = {
        "shape": {"frames": frames, "slices": slices, "rows": rows, "columns": columns, "allSlices": mask.shape[1]},
        "pixel": {"height": height, "width": width},
        "image": _packed(grays), "masks": _packed(labels.astype(np.uint8)),
        "classes": _classes(measures, class_values, frames),
        "curves": np.round(measures.curves[:frames].T, 3).tolist(),
        "unit": "ml" if measures.has_volumes else "cm\u00b2",
        "times": times.tolist() if is_timed else None,
        "frameTime": float(np.median(np.diff(times))) if is_timed else None,
        "sliceNumbers": numbers, "sliceNames": _slice_names(measures, numbers),
        "start": {"frame": 0, "slice": int(areas.argmax())},
    }  # fmt: skip
    return data, shown.sentence(mask.shape)


def _classes(measures: MaskMeasures, class_values: Sequence[int], frames: int) -> list[dict[str, Any]]:
    found = []
    for value, name, color in zip(class_values, measures.names, class_colors(measures.names), strict=True):
        function = measures.functions.get(name)
        ends = [] if function is None else [function.end_diastole, function.end_systole]
        is_shown = bool(ends) and max(ends) < frames
        found.append({"value": int(value), "name": name, "color": color, "ends": ends if is_shown else None})
    return found


def _slice_names(measures: MaskMeasures, numbers: Sequence[int]) -> list[str]:
    contoured = measures.heart.contoured if measures.heart else ()
    out = {n for n, (shown, _) in enumerate(contoured, 1) if not shown}
    return [f"Slice {n}{', not contoured' if n in out else ''}" for n in numbers]


def _packed(values: np.ndarray) -> str:
    """Bytes, deflated, in base64."""
    return base64.b64encode(zlib.compress(np.ascontiguousarray(values).tobytes(), 9)).decode("ascii")


def _subtitle(measures: MaskMeasures) -> str:
    parts = [f"{measures.slices} slice{'s' * (measures.slices > 1)}"]
    if measures.has_volumes:
        parts.append(f"{measures.distance:.4g} mm apart")
    if len(measures.times) > 1:
        parts.append(f"{len(measures.times)} frames")
    return " \u00b7 ".join(parts)


def _list(sentences: Sequence[str], kind: str) -> str:
    items = "".join(f"<li>{html.escape(sentence[:1].upper() + sentence[1:])}</li>" for sentence in sentences)
    return f'<ul class="{kind}">{items}</ul>' if items else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with names in the first column and numbers in the others."""
    cells = "".join(
        f'<tr><th scope="row">{html.escape(row[0])}</th>'
        + "".join(f'<td class="number">{html.escape(cell)}</td>' for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    top = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in head)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{cells}</tbody></table>"


def _figures(measures: MaskMeasures) -> str:
    """Figures of the ventricles in columns."""
    if not measures.functions:
        peaks = [[name, f"{values.max():.1f}"] for name, values in zip(measures.names, measures.curves.T, strict=True)]
        return _table(["", "largest, ml" if measures.has_volumes else "largest, cm\u00b2"], peaks)
    heart, functions = measures.heart, list(measures.functions.items())
    rows = [
        [
            "End-diastolic volume",
            *(f"{f.end_diastolic_volume:.0f} ml, frame {f.end_diastole + 1}" for _, f in functions),
        ],
        ["End-systolic volume", *(f"{f.end_systolic_volume:.0f} ml, frame {f.end_systole + 1}" for _, f in functions)],
        ["Stroke volume", *(f"{f.stroke_volume:.0f} ml" for _, f in functions)],
        ["Ejection fraction", *(_fraction(measures, name) for name, _ in functions)],
    ]
    if heart and heart.outputs:
        rows.append(["Cardiac output", *(f"{heart.outputs[name]:.1f} l/min" for name, _ in functions)])
    if measures.mass is not None:
        mass = [f"{measures.mass:.0f} g" if kind_of_structure(name) == "LV" else "" for name, _ in functions]
        rows.append(["Myocardial mass", *mass])
    return _table(["", *(name for name, _ in functions)], rows)


def _fraction(measures: MaskMeasures, name: str) -> str:
    text = f"{measures.functions[name].ejection_fraction:.0f}"
    spread = measures.heart.spread if measures.heart else math.nan
    return f"{text} \u00b1 {spread:.1f} %" if kind_of_structure(name) == "LV" and math.isfinite(spread) else f"{text} %"


def _decisions(contoured: Sequence[tuple[float, float]]) -> str:
    rows = [[f"Slice {n}", "yes" if shown else "no", f"{sure:.2f}"] for n, (shown, sure) in enumerate(contoured, 1)]
    head = '<section class="card" aria-labelledby="slices-head"><h2 id="slices-head">Slices</h2>'
    return f"{head}{_table(['', 'shows the left ventricle', 'confidence'], rows)}</section>"


def _bulls_eye(thickness: Sequence[float]) -> str:
    """Wall thickness in 16 segments as a drawing: the base outside, the anterior wall on top."""
    places = [(*ring, n) for ring in RINGS for n in range(ring[2])]
    parts = [_segment(*place, value, name) for place, value, name in zip(places, thickness, AHA_SEGMENTS, strict=True)]
    for name, x, y in (("anterior", 0, -1.1), ("inferior", 0, 1.1), ("septal", -1.22, 0), ("lateral", 1.22, 0)):
        parts.append(f'<text class="side" x="{x}" y="{y}">{name}</text>')
    drawing = f'<svg class="eye" viewBox="-1.45 -1.2 2.9 2.4" role="img" aria-label="Wall">{"".join(parts)}</svg>'
    head = '<section class="card" aria-labelledby="eye-head"><h2 id="eye-head">Wall thickness at end diastole, mm</h2>'
    return f"{head}{drawing}<p>Seen from the apex, in the 16 segments of the AHA.</p></section>"


def _segment(inner: float, outer: float, count: int, first: float, number: int, value: float, name: str) -> str:
    """One segment with its thickness."""
    width = 360 / count
    start, middle = first + number * width, math.radians(first + (number + 0.5) * width)
    x, y = ((inner + outer) / 2 * part for part in (math.cos(middle), -math.sin(middle)))
    label, fill, ink = "-", "none", "#888888"
    if math.isfinite(value):
        share = float(np.clip((value - LIMITS[0]) / (LIMITS[1] - LIMITS[0]), 0, 1))
        label, fill = f"{value:.0f}", mpl.colors.to_hex(mpl.colormaps["viridis"](share))
        ink = "#ffffff" if share < 0.6 else "#191c20"
    return (
        f'<path d="{_sector(inner, outer, start, width)}" fill="{fill}"><title>{name}: {label} mm</title></path>'
        f'<text x="{x:.3f}" y="{y:.3f}" fill="{ink}">{label}</text>'
    )


def _sector(inner: float, outer: float, first: float, width: float) -> str:
    """Outline of a sector of a ring, angles in degrees against the clock."""
    a, b = math.radians(first), math.radians(first + width)
    corners = [(r * math.cos(t), -r * math.sin(t)) for r, t in ((outer, a), (outer, b), (inner, b), (inner, a))]
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = corners
    return (
        f"M{x0:.3f} {y0:.3f}A{outer} {outer} 0 0 0 {x1:.3f} {y1:.3f}L{x2:.3f} {y2:.3f}"
        f"A{inner} {inner} 0 0 1 {x3:.3f} {y3:.3f}Z"
    )
