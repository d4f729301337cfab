# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The report as one page: before, after and removed to look at, with the figures of quality control.

The page holds all of its data, and its policy (``Content-Security-Policy``) forbids it every request. Values are kept
as 16-bit levels, finer than a sixteenth of the noise level, so that the cursor tells them in the units of the file.
What is written into the page is escaped; nothing of a file's header but its geometry and frame times is in it.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import zlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from monai_stcnnt import __version__
from monai_stcnnt.apps.review.qc import LIMITS, QualityControl
from monai_stcnnt.apps.review.quality import magnitude_values
from monai_stcnnt.apps.review.views import PlaneView, display_window, moving_row, plane_view, removed_signal
from monai_stcnnt.data import SeriesRecord, write_aside
from monai_stcnnt.errors import LayoutError

__all__ = ["MAX_VOXELS", "Shown", "choose_shown", "html_page", "html_report"]

MAX_VOXELS = 4_000_000
"""Voxels of one image in a page, so that it stays below some 15 MB."""

_MAX_FRAMES = 64
_LEVELS_PER_SIGMA = 16
_REACH = 4.0  # noise levels at the ends of the scale of what was removed
_OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}


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
    step = 1
    while -(-rows // step) * -(-columns // step) > most:
        step += 1
    plane = -(-rows // step) * -(-columns // step)
    if frames * slices * plane > most:
        frames = min(frames, max(1, min(_MAX_FRAMES, most // plane)))
    slice_step = 1
    while frames * -(-slices // slice_step) * plane > most:
        slice_step += 1
    return Shown(frames, slice_step, step)


def html_report(
    before: SeriesRecord,
    after: SeriesRecord,
    path: str | Path,
    *,
    title: str = "",
    sigma: float | None = None,
    qc: QualityControl | None = None,
) -> Path:
    """Write a page that shows a series before and after denoising.

    Args:
        before: the series as it was.
        after: the denoised series, of the same size ``(T, Z, Y, X)``.
        path: the page; an existing one is replaced.
        title: a heading, usually the scan's name.
        sigma: noise standard deviation per component in the units of the series, where it is known.
        qc: the figures to show beside the images.

    Returns:
        The path.

    Raises:
        LayoutError: if the series differ in size.
        OutputNotWritableError: if the page cannot be written.
    """
    path = Path(path).expanduser()
    page = html_page(before, after, title=title, sigma=sigma, qc=qc)
    with write_aside(path) as aside:
        aside.write_text(page, encoding="utf-8")
    return path


def html_page(
    before: SeriesRecord,
    after: SeriesRecord,
    *,
    title: str = "",
    sigma: float | None = None,
    qc: QualityControl | None = None,
) -> str:
    """Make the page of :func:`html_report` as text."""
    shape = after.array.shape[1:]
    if before.array.shape[1:] != shape:
        raise LayoutError(
            f"The series of a report have the sizes (T, Z, Y, X) = {before.array.shape[1:]} and {shape}. "
            "Give series of one size."
        )
    shown = choose_shown(shape)
    style, script = (_template(f"report.{kind}") for kind in ("css", "js"))
    flags = () if qc is None else qc.flags
    verdict = "No quality control" if qc is None else "Nothing flagged" if not flags else f"{len(flags)} flagged"
    view = plane_view(after.affine)
    parts = {
        "title": html.escape(title or "Denoising report"),
        "subtitle": html.escape(_subtitle(after, sigma)),
        "verdict": verdict,
        "verdict_class": "warn" if flags else "" if qc is None else "good",
        "flags": _flag_list(qc),
        "table": _table(qc),
        "letters": _letters(view),
        "notes": html.escape(_notes(shown, shape, sigma)),
        "version": html.escape(__version__),
        "style": style,
        "script": script,
        "style_hash": _hash(style),
        "script_hash": _hash(script),
        "data": json.dumps(_payload(before, after, view, shown, sigma), allow_nan=False).replace("<", "\\u003c"),
    }
    return Template(_template("report.html")).substitute(parts)


def _payload(
    before: SeriesRecord, after: SeriesRecord, view: PlaneView, shown: Shown, sigma: float | None
) -> dict[str, Any]:
    pick = (
        slice(0, shown.frames), slice(None, None, shown.slice_step),
        slice(None, None, shown.pixel_step), slice(None, None, shown.pixel_step),
    )  # fmt: skip
    first, second = (view.apply(magnitude_values(series)[pick]) for series in (before, after))
    removed = view.apply(removed_signal(before, after)[pick]) if "complex" in (before.kind, after.kind) else None
    frames, slices, rows, columns = second.shape
    height, width = view.pixel_size(after.spacing)
    middle = slices // 2
    spread = float((first - second).std()) if removed is None else float(removed.std())
    frame_time = after.frame_time
    return {
        "shape": {"frames": frames, "slices": slices, "rows": rows, "columns": columns,
                  "allSlices": after.array.shape[2]},
        "stride": {"slice": shown.slice_step, "pixel": shown.pixel_step},
        "pixel": {"height": height, "width": width},
        "view": {"transpose": view.transpose, "flipRows": view.flip_rows, "flipColumns": view.flip_columns},
        "frameTime": frame_time if np.isfinite(frame_time) and frame_time > 0 else None,
        "sigma": sigma,
        "reach": _REACH if sigma else _REACH * (spread or 1.0),
        "window": list(display_window(second[:, middle])),
        "start": {"frame": 0, "slice": middle, "row": moving_row(second[:, middle]), "column": columns // 2},
        "before": _pack(first, sigma),
        "after": _pack(second, sigma),
        "removed": None if removed is None else _pack(removed, sigma),
    }  # fmt: skip


def _pack(values: np.ndarray, sigma: float | None) -> dict[str, Any]:
    """16-bit levels as differences along rows, low bytes before high bytes, deflated, in base64."""
    low, high = float(values.min()), float(values.max())
    step = max((high - low) / 65535, (sigma or 0.0) / _LEVELS_PER_SIGMA) or 1.0
    levels = np.rint((values.astype(np.float64) - low) / step).astype(np.uint16)
    change = np.diff(levels, axis=-1, prepend=np.zeros((*levels.shape[:-1], 1), np.uint16))
    plain = (change & 255).astype(np.uint8).tobytes() + (change >> 8).astype(np.uint8).tobytes()
    return {"data": base64.b64encode(zlib.compress(plain, 6)).decode("ascii"), "offset": low, "step": step}


def _template(name: str) -> str:
    return (files("monai_stcnnt") / "apps" / "review" / "templates" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _letters(view: PlaneView) -> str:
    places = {"left": view.left, "right": _OPPOSITE[view.left], "top": view.top, "bottom": _OPPOSITE[view.top]}
    return "".join(f'<span class="letter {place}">{letter}</span>' for place, letter in places.items())


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


def _flag_list(qc: QualityControl | None) -> str:
    if qc is None or not qc.flags:
        return ""
    items = "".join(f"<li>{html.escape(flag.message[:1].upper() + flag.message[1:])}.</li>" for flag in qc.flags)
    return f'<ul class="flags" id="flags">{items}</ul>'


def _table(qc: QualityControl | None) -> str:
    """The figures with their limits."""
    if qc is None:
        return "<p>This result was not compared with its noise level, so that there are no figures.</p>"
    broken = {flag.name for flag in qc.flags}
    rows = []
    for label, value, limit, name in _figures(qc):
        mark = ""
        if name:
            kind, word = ("warn", "look") if name in broken else ("good", "fine")
            mark = f'<span class="mark {kind}">{word}</span>'
        cells = f'<td class="number">{html.escape(value)}</td><td>{html.escape(limit)}</td><td>{mark}</td>'
        rows.append(f'<tr><th scope="row">{html.escape(label)}</th>{cells}</tr>')
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Figure", "Value", "Flagged", "Result"))
    caption = (
        "<caption>Without knowing the truth; in units of the noise level \u03c3 where nothing else is said.</caption>"
    )
    return f'<table id="qc">{caption}<thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _figures(qc: QualityControl) -> list[tuple[str, str, str, str]]:
    """Label, value, limit in words, and the name of the limit; the last two are empty where there is none."""
    unknown = "not told"
    after = unknown if qc.snr_after is None else f"{qc.snr_after:.1f}"
    edge = unknown if qc.edge_ratio is None else f"{qc.edge_ratio:.2f}"
    rows = [
        ("Noise level, in the units of the file", f"{qc.sigma:.4g}", "", ""),
        ("SNR before", f"{qc.snr_before:.1f}", "", ""),
        ("SNR after", after, "", ""),
        ("Removed: spread", f"{qc.removed_std:.2f}", _limit("removed_std"), "removed_std"),
        ("Removed: brightness", f"{qc.removed_mean:+.2f}", _limit("removed_mean"), "removed_mean"),
        ("Removed: edges over flat parts", edge, _limit("edge_ratio"), "edge_ratio"),
        ("Removed: whiteness", f"{qc.whiteness:.2f}", _limit("whiteness", "below"), "whiteness"),
        ("Pixels that changed by more than 5 \u03c3", f"{qc.changed_percent:.2g}%", _limit("changed_percent") + "%",
         "changed_percent"),
    ]  # fmt: skip
    if qc.temporal is not None:
        kept = unknown if qc.temporal.kept is None else f"{100 * qc.temporal.kept:.0f}%"
        limit = f"below {100 * LIMITS['motion_kept']:.0f}%"
        rows += [
            ("Change from frame to frame, before", f"{qc.temporal.before:.2f}", "", ""),
            ("Change from frame to frame, after", f"{qc.temporal.after:.2f}", "", ""),
            ("Motion that is kept", kept, limit, "" if qc.temporal.kept is None else "motion_kept"),
        ]
    return rows


def _limit(name: str, side: str = "above") -> str:
    return f"{side} {LIMITS[name]:g}"
