# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The report as one page: before, after and residual to look at, with the figures of quality control.

The page holds all of its data, and its policy (``Content-Security-Policy``) forbids it every request. Values are kept
as 16-bit levels, finer than a sixteenth of the noise level, so that the cursor tells them in the units of the file.
What is written into the page is escaped; nothing of a file's header but its geometry and frame times is in it.
"""

from __future__ import annotations

import base64
import html
import io
import itertools
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from monai_stcnnt.apps.review.page import fill_page
from monai_stcnnt.apps.review.review import Review
from monai_stcnnt.apps.review.views import RESIDUAL_RANGE, PlaneView, display_window, moving_row, plane_view
from monai_stcnnt.data import SeriesRecord, write_aside

__all__ = ["MAX_VOXELS", "Shown", "choose_shown", "html_page", "html_report"]

MAX_VOXELS = 4_000_000
"""Voxels of one image in a page, so that it stays below some 15 MB."""

_MAX_FRAMES = 64
_AXES = ("column", "row", "slice")
_LONGER_SIDE = 160  # pixels of a thumbnail
_LEVELS_PER_SIGMA = 16


@dataclass(frozen=True)
class Shown:
    """Which part of a series a page holds.

    Attributes:
        frames: number of frames, from the first on.
        slice_step: every so many slices.
        pixel_step: every so many rows and columns.
    """

    frames: int
    slice_step: int
    pixel_step: int

    def sentence(self, shape: tuple[int, ...]) -> str:
        """Say what is left out of ``(T, Z, Y, X)``; empty where nothing is."""
        parts = []
        if self.frames < shape[0]:
            parts.append(f"the first {self.frames} of {shape[0]} frames")
        if self.slice_step > 1:
            parts.append(f"one of {self.slice_step} slices")
        if self.pixel_step > 1:
            parts.append(f"one of {self.pixel_step} rows and columns")
        return f"To keep the page small it shows {', '.join(parts)}." if parts else ""


def choose_shown(shape: tuple[int, ...], most: int = MAX_VOXELS) -> Shown:
    """Choose what a page holds of a series.

    Args:
        shape: ``(T, Z, Y, X)``.
        most: voxels that it may hold.

    Returns:
        All of it where that is little enough; else fewer frames, then fewer slices, and fewer pixels of a plane that is
        too large by itself.
    """
    frames, slices, rows, columns = shape
    step = next(n for n in itertools.count(1) if -(-rows // n) * -(-columns // n) <= most)
    plane = -(-rows // step) * -(-columns // step)
    if frames * slices * plane > most:
        frames = min(frames, max(1, min(_MAX_FRAMES, most // plane)))
    slice_step = next(n for n in itertools.count(1) if frames * -(-slices // n) * plane <= most)
    return Shown(frames, slice_step, step)


def html_report(review: Review, path: Path) -> Path:
    """Write a page that shows a series before and after denoising.

    Args:
        review: the series before and after, with its figures.
        path: the page; an existing one is replaced.

    Returns:
        The path.

    Raises:
        OutputNotWritableError: if the page cannot be written.
    """
    with write_aside(path) as aside:
        aside.write_text(html_page(review), encoding="utf-8")
    return path


def html_page(review: Review) -> str:
    """Make the page of :func:`html_report` as text."""
    shape = review.residual.shape
    shown = choose_shown(shape)
    flags, has_figures = review.flags, bool(review.figures)
    verdict = "No quality control" if not has_figures else f"{len(flags)} flagged" if flags else "Nothing flagged"
    return fill_page(
        "report",
        script="report.js",
        title=html.escape(review.title or "Denoising report"),
        subtitle=html.escape(_subtitle(review.after, review.sigma)),
        verdict=verdict,
        verdict_class="warn" if flags else "good" if has_figures else "",
        flags=_flag_list(review),
        table=_table(review),
        letters=_letters(review.view),
        origin=_origin(review) + _noise_pictures(review),
        thumbnail=_thumbnail(review),
        notes=html.escape(_notes(shown, shape, review.sigma)),
        data=json.dumps(_payload(review, shown), allow_nan=False).replace("<", "\\u003c"),
    )


def _payload(review: Review, shown: Shown) -> dict[str, Any]:
    every, view = slice(None, None, shown.pixel_step), review.view
    pick = (slice(0, shown.frames), slice(None, None, shown.slice_step), every, every)
    before, after = review.before.magnitude, review.after.magnitude
    first, second = (view.apply(values[pick]) for values in (before, after))
    is_complex = "complex" in (review.before.kind, review.after.kind)
    frames, slices, rows, columns = second.shape
    height, width = view.pixel_size(review.after.spacing)
    spacing = (width * shown.pixel_step, height * shown.pixel_step, float(review.after.spacing[2]) * shown.slice_step)
    middle = slices // 2
    frame_time = review.after.frame_time
    return {
        "shape": {"frames": frames, "slices": slices, "rows": rows, "columns": columns, "allSlices": after.shape[1]},
        "stride": {"slice": shown.slice_step, "pixel": shown.pixel_step},
        "spacing": dict(zip(_AXES, spacing, strict=True)),
        "planes": _planes(view.directions(review.after.affine)),
        "view": {"transpose": view.transpose, "flipRows": view.flip_rows, "flipColumns": view.flip_columns},
        "frameTime": frame_time if np.isfinite(frame_time) and frame_time > 0 else None,
        "sigma": review.sigma,
        "reach": RESIDUAL_RANGE if review.sigma else RESIDUAL_RANGE * review.residual_unit,
        "window": list(display_window(second[:, middle])),
        "start": {"frame": 0, "slice": middle, "row": moving_row(second[:, middle]), "column": columns // 2},
        "before": _pack(first, review.sigma),
        "after": _pack(second, review.sigma),
        "residual": _pack(view.apply(review.residual[pick]), review.sigma) if is_complex else None,
    }


def _planes(affine: np.ndarray) -> list[dict[str, Any]]:
    """The planes of a volume as radiologists look at them: that of the images first, as it is, and the two others.

    Args:
        affine: 4x4, whose first three columns are the directions of columns, rows and slices on the screen.
    """
    planes = []
    for across, down, through in ((0, 1, 2), (0, 2, 1), (1, 2, 0)):
        turned = affine.copy()
        turned[:, :3] = affine[:, (across, down, through)]
        view = plane_view(turned)
        axes = (down, across) if view.transpose else (across, down)
        planes.append(
            {
                "name": view.name, "across": _AXES[axes[0]], "down": _AXES[axes[1]],
                "flipAcross": view.flip_columns, "flipDown": view.flip_rows, "letters": view.letters,
            }
        )  # fmt: skip
    return planes


def _pack(values: np.ndarray, sigma: float | None) -> dict[str, Any]:
    """16-bit levels as differences along rows, low bytes before high bytes, deflated, in base64."""
    low, high = float(values.min()), float(values.max())
    step = max((high - low) / 65535, (sigma or 0.0) / _LEVELS_PER_SIGMA) or 1.0
    levels = np.rint((values.astype(np.float64) - low) / step).astype(np.uint16)
    change = np.diff(levels, axis=-1, prepend=np.zeros((*levels.shape[:-1], 1), np.uint16))
    plain = (change & 255).astype(np.uint8).tobytes() + (change >> 8).astype(np.uint8).tobytes()
    return {"data": base64.b64encode(zlib.compress(plain, 6)).decode("ascii"), "offset": low, "step": step}


def _letters(view: PlaneView) -> str:
    return "".join(f'<span class="letter {place}">{letter}</span>' for place, letter in view.letters.items())


def _thumbnail(review: Review) -> str:
    """The middle of the result, small, as an address that holds the picture."""
    frames = review.after.magnitude[:, review.middle]
    low, high = review.window
    gray = (255 * np.clip((review.view.apply(frames[len(frames) // 2]) - low) / (high - low), 0, 1)).astype(np.uint8)
    return _picture(gray, review)


def _picture(gray: np.ndarray, review: Review) -> str:
    """A plane as an address that holds the picture."""
    height, width = np.array(gray.shape) * review.view.pixel_size(review.after.spacing)
    scale = _LONGER_SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    file = io.BytesIO()
    Image.fromarray(gray).resize(size, Image.Resampling.LANCZOS).save(file, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _origin(review: Review) -> str:
    """How the result came about."""
    rows = "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in review.origin.items())
    head = '<section class="card" aria-labelledby="origin-head"><h2 id="origin-head">How it was made</h2>'
    return f"{head}<dl>{rows}</dl></section>" if rows else ""


def _noise_pictures(review: Review) -> str:
    """The map of the noise in the middle slice, and its spectrum along rows and columns; empty where it has neither."""
    if review.noise is None or (review.gmap is None and review.noise.is_white):
        return ""
    parts = []
    if review.gmap is not None:
        values = np.broadcast_to(review.gmap, review.after.array.shape[1:])[0, review.middle]
        low, high = np.quantile(values, (0.01, 0.99))
        gray = (255 * np.clip((review.view.apply(values) - low) / max(high - low, 1e-6), 0, 1)).astype(np.uint8)
        parts.append(
            f'<figure><img alt="Map of the noise" src="{_picture(gray, review)}"><figcaption>Noise level, from '
            f"{low:.2f} (black) to {high:.2f} (white) times σ</figcaption></figure>"
        )
    for name, axis in zip(("rows", "columns"), review.noise.spectrum[1:], strict=True):
        weights = axis.weights().numpy()
        places = np.linspace(0, 200, len(weights))
        heights = 60 - 55 * weights / weights.max()
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(places, heights, strict=True))
        parts.append(
            f'<figure><svg viewBox="0 0 200 62" width="200" height="62" role="img" aria-label="Spectrum along {name}">'
            f'<polyline points="{points}" fill="none" stroke="currentColor"/></svg><figcaption>Amplitude of the noise '
            f"in k-space along {name}: {axis.acquired} of {axis.size} samples</figcaption></figure>"
        )
    head = '<section class="card" aria-labelledby="noise-head"><h2 id="noise-head">The noise</h2>'
    return f"{head}{''.join(parts)}</section>"


def _subtitle(series: SeriesRecord, sigma: float | None) -> str:
    frames, slices, rows, columns = series.array.shape[1:]
    parts = [f"{columns} \u00d7 {rows} pixels", f"{slices} slice{'s' * (slices > 1)}"]
    if frames > 1:
        time = f", {series.frame_time:.4g} ms apart" if np.isfinite(series.frame_time) else ""
        parts.append(f"{frames} frames{time}")
    parts.append(series.kind)
    if sigma:
        parts.append(f"noise level \u03c3 = {sigma:.4g}")
    return " \u00b7 ".join(parts)


def _notes(shown: Shown, shape: tuple[int, ...], sigma: float | None) -> str:
    unit = f" in steps of {sigma / _LEVELS_PER_SIGMA:.2g} or less" if sigma else ""
    sentences = [f"Values are in the units of the file{unit}; complex images show their magnitude."]
    return " ".join(filter(None, [*sentences, shown.sentence(shape)]))


def _flag_list(review: Review) -> str:
    items = "".join(f"<li>{html.escape(flag.message[:1].upper() + flag.message[1:])}.</li>" for flag in review.flags)
    return f'<ul class="flags" id="flags">{items}</ul>' if items else ""


def _table(review: Review) -> str:
    """The figures with their limits."""
    if not review.figures:
        return "<p>The noise level is unknown, so there are no figures.</p>"
    rows = []
    for one in review.figures:
        mark = ""
        if one.figure.limit is not None and one.value is not None:
            kind, word = ("warn", "flagged") if one.is_flagged else ("good", "ok")
            mark = f'<span class="mark {kind}">{word}</span>'
        name = f'<th scope="row" title="{html.escape(one.figure.meaning)}">{html.escape(one.figure.label)}</th>'
        cells = f'<td class="number">{html.escape(one.text)}</td><td>{html.escape(one.figure.rule)}</td><td>{mark}</td>'
        rows.append(f"<tr>{name}{cells}</tr>")
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Figure", "Value", "Flagged", "Result"))
    caption = "<caption>Measured without knowing the truth; σ is the noise level.</caption>"
    return f'<table id="qc">{caption}<thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
