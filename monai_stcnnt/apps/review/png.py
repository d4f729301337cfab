# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The report: one picture of a scan before and after denoising, and of what was removed.

Images stand as radiologists expect them: the patient's left at the right of axial and coronal images, anterior at the
left of sagittal ones, superior or anterior on top. Oblique images are shown in their own plane, turned and flipped to
the closest of these views. Before and after share one gray scale; what was removed has a symmetric one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from monai_stcnnt.apps.review.quality import image_quality, magnitude_values
from monai_stcnnt.apps.review.views import (
    display_window,
    moving_row,
    plane_view,
    removed_signal,
    residual_statistics,
)
from monai_stcnnt.data import SeriesRecord, write_aside
from monai_stcnnt.errors import ImageSizeError, LayoutError, NoiseLevelError, OutputNotWritableError

__all__ = ["Panel", "check_report_path", "denoising_report", "report_panels"]

MIN_FRAMES_IN_TIME = 3
RESIDUAL_RANGE = 4.0
"""Standard deviations at which the scale of what was removed ends."""

_DPI = 150
# Lengths in inches.
_TALLEST = 3.4  # of an image
_ALL_IMAGES = 13.0  # width of all images together
_NARROWEST = 2.25  # so that the text above an image fits
_TIME_HEIGHT = 1.3
_GAP = 0.12
_CAPTION = 0.58
_HEADING = 0.42
_BAR = 0.12
_BAR_LABELS = 0.72
_MARGIN = 0.15
_TIME_LABEL = 0.28
_DARK, _QUIET, _ACCENT = "#222222", "#666666", "#e69f00"


@dataclass(frozen=True, eq=False)
class Panel:
    """One column of the report.

    Attributes:
        name: what it shows.
        note: a figure about it.
        frames: the middle slice as it stands on the screen, ``(T, rows, columns)``.
        limits: the values of black and white.
        is_difference: whether it is a difference of two images.
    """

    name: str
    note: str
    frames: np.ndarray
    limits: tuple[float, float]
    is_difference: bool = False


def denoising_report(
    before: SeriesRecord,
    after: SeriesRecord,
    path: str | Path,
    *,
    truth: SeriesRecord | None = None,
    title: str = "",
    sigma: float | None = None,
) -> Path:
    """Draw the middle slice and frame before and after denoising, what was removed, and a line of it through time.

    Without truth the panels are before, after and removed; with it they are truth, noisy, denoised, removed (noisy
    minus denoised) and error (denoised minus truth), with PSNR and SSIM of the whole series. From three frames on, a
    second row shows the line that changes most over time, marked at the edges of the image, with time running downward.
    Complex images are shown by magnitude; see :func:`monai_stcnnt.apps.review.views.removed_signal` for the residual.

    Args:
        before: the series as it was.
        after: the denoised series, of the same size ``(T, Z, Y, X)``.
        path: the picture to write, ``.png``; missing folders are made, and an existing picture is replaced.
        truth: the series without noise, where it is known.
        title: a heading, usually the scan's name.
        sigma: noise standard deviation per component in the units of the series; what was removed is then shown in its
            units, from -4 to 4, else in the image's, from -4 to 4 of its standard deviations.

    Returns:
        The path.

    Raises:
        LayoutError: if the series differ in size.
        NoiseLevelError: if ``sigma`` is not a positive number.
        OutputNotWritableError: if the name does not end in ``.png`` or the picture cannot be written.
    """
    path = check_report_path(path)
    panels = report_panels(before, after, truth=truth, sigma=sigma)
    figure = _draw(panels, after, title, "noise σ" if sigma else "image units")
    with write_aside(path) as aside:
        figure.savefig(aside, format="png", dpi=_DPI)
    return path


def check_report_path(path: str | Path) -> Path:
    """Make sure of a picture's name, before the work that it is to show.

    Args:
        path: the picture to write; ``~`` is the home folder.

    Returns:
        The path.

    Raises:
        OutputNotWritableError: if the name does not end in ``.png``, or is that of a folder.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() != ".png" or path.is_dir():
        raise OutputNotWritableError(f"{path} is no name for a picture. Choose one that ends in .png.")
    return path


def report_panels(
    before: SeriesRecord, after: SeriesRecord, *, truth: SeriesRecord | None = None, sigma: float | None = None
) -> list[Panel]:
    """Choose what the report shows, without drawing it.

    Args:
        before: see :func:`denoising_report`, as for all arguments.
        after: the denoised series.
        truth: the series without noise.
        sigma: noise standard deviation per component.

    Returns:
        Three panels, or five where the truth is known.

    Raises:
        LayoutError: if the series differ in size.
        NoiseLevelError: if ``sigma`` is not a positive number.
    """
    _check(before, after, truth, sigma)
    view, middle = plane_view(after.affine), after.array.shape[2] // 2
    clean = magnitude_values(after)
    reference = clean if truth is None else magnitude_values(truth)
    window = display_window(clean[:, middle])
    removed = removed_signal(before, after)
    unit = sigma or 1.0
    reach = RESIDUAL_RANGE * (1.0 if sigma else float(removed[:, middle].std()) or 1.0)

    def image(name: str, record: SeriesRecord) -> Panel:
        note = "" if truth is None or record is truth else _quality_note(truth, record)
        return Panel(name, note, view.apply(magnitude_values(record)[:, middle]), window)

    def difference(name: str, values: np.ndarray, measure: Literal["SD", "RMS"] = "SD") -> Panel:
        statistics = residual_statistics(values[:, middle], reference[:, middle], sigma)
        number = statistics.std if measure == "SD" else statistics.rms
        note = f"{measure} {number:.2f} σ in foreground" if sigma else f"{measure} {number:.3g} in foreground"
        return Panel(name, note, view.apply(values[:, middle] / unit), (-reach, reach), is_difference=True)

    if truth is None:
        return [image("Before", before), image("After", after), difference("Removed", removed)]
    return [
        image("Truth", truth),
        image("Noisy", before),
        image("Denoised", after),
        difference("Removed", removed),
        difference("Error", clean - reference, "RMS"),
    ]


def _check(before: SeriesRecord, after: SeriesRecord, truth: SeriesRecord | None, sigma: float | None) -> None:
    if sigma is not None and not (np.isfinite(sigma) and sigma > 0):
        raise NoiseLevelError(f"The noise level is {sigma}. Give a positive number, or none where it is unknown.")
    size = after.array.shape[1:]
    for other in (before, after if truth is None else truth):
        if other.array.shape[1:] != size:
            raise LayoutError(
                f"The series of a report have the sizes (T, Z, Y, X) = {other.array.shape[1:]} and {size}. "
                "Give series of one size."
            )


def _quality_note(truth: SeriesRecord, image: SeriesRecord) -> str:
    """PSNR and SSIM; nothing for an image that is too small for SSIM."""
    try:
        quality = image_quality(truth, image)
    except ImageSizeError:
        return ""
    return f"PSNR {quality.psnr:.1f} dB, SSIM {quality.ssim:.3f}"


@dataclass(frozen=True)
class _Layout:
    """Where things stand, in inches from the lower left corner of the figure.

    Attributes:
        panels: number of columns.
        image: height and width of an image.
        has_time: whether there is a row for the line through time.
        has_title: whether there is a heading.
    """

    panels: int
    image: tuple[float, float]
    has_time: bool
    has_title: bool

    @property
    def pitch(self) -> float:
        """From a panel to the next; wide enough for the text above a narrow image."""
        return max(self.image[1], _NARROWEST) + _GAP

    @property
    def bottom(self) -> float:
        """Lower edge of the images."""
        return _MARGIN + (_TIME_HEIGHT + _GAP if self.has_time else 0.0)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the figure."""
        heading = _HEADING if self.has_title else 0.0
        return self.left(self.panels) + _BAR + _BAR_LABELS, self.bottom + self.image[0] + _CAPTION + heading

    def left(self, panel: int) -> float:
        """Left edge of the image of a panel; that of the color bar after the last."""
        start = _MARGIN + (_TIME_LABEL if self.has_time else 0.0)
        return start + panel * self.pitch + (self.pitch - _GAP - self.image[1]) / 2 * (panel < self.panels)

    def axes(self, figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
        """Bare axes at a place in inches."""
        wide, high = self.size
        axes = figure.add_axes((left / wide, bottom / high, width / wide, height / high))
        axes.set_axis_off()
        return axes

    def text(self, figure: Figure, left: float, bottom: float, text: str, **style: Any) -> None:  # noqa: ANN401
        """Text at a place in inches; ``style`` goes to matplotlib."""
        figure.text(left / self.size[0], bottom / self.size[1], text, **style)


def _draw(panels: list[Panel], after: SeriesRecord, title: str, unit: str) -> Figure:
    frames, rows, columns = panels[0].frames.shape
    view = plane_view(after.affine)
    pixel_height, pixel_width = view.pixel_size(after.spacing)
    shape = rows * pixel_height / (columns * pixel_width)
    height = min(_TALLEST, _ALL_IMAGES / len(panels) * shape)
    layout = _Layout(len(panels), (height, height / shape), frames >= MIN_FRAMES_IN_TIME, bool(title))
    figure = Figure(figsize=layout.size, dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    line = moving_row(panels[-1 - len(panels) // 2].frames)
    for n, panel in enumerate(panels):
        left, wide = layout.left(n), layout.image[1]
        axes = layout.axes(figure, left, layout.bottom, wide, height)
        _show(axes, panel, panel.frames[frames // 2])
        if n == 0:
            _mark_directions(axes, view.left, view.top)
        if layout.has_time:
            _mark_line(axes, (line + 0.5) / rows)
            _show(layout.axes(figure, left, _MARGIN, wide, _TIME_HEIGHT), panel, panel.frames[:, line])
    _write_texts(figure, layout, panels, title, after)
    _draw_bar(figure, layout, panels[-1].limits[1], unit)
    return figure


def _show(axes: Axes, panel: Panel, values: np.ndarray) -> None:
    low, high = panel.limits
    axes.imshow(values, cmap="gray", vmin=low, vmax=high, aspect="auto", interpolation="antialiased")


def _mark_directions(axes: Axes, left: str, top: str) -> None:
    """Letters of the patient's directions, as on a viewer."""
    style: dict[str, Any] = {"transform": axes.transAxes, "color": _ACCENT, "fontsize": 10, "weight": "bold"}
    axes.text(0.02, 0.5, left, ha="left", va="center", **style)
    axes.text(0.5, 0.985, top, ha="center", va="top", **style)


def _mark_line(axes: Axes, depth: float) -> None:
    """Short ticks at both edges, at a share of the height from the top, where the line through time lies."""
    for ends in ((0, 0.05), (0.95, 1)):
        axes.plot(ends, (1 - depth,) * 2, transform=axes.transAxes, color=_ACCENT, linewidth=1.5)


def _write_texts(figure: Figure, layout: _Layout, panels: list[Panel], title: str, after: SeriesRecord) -> None:
    top = layout.bottom + layout.image[0]
    for n, panel in enumerate(panels):
        middle = layout.left(n) + layout.image[1] / 2
        layout.text(figure, middle, top + 0.29, panel.name, ha="center", fontsize=14, color=_DARK)
        layout.text(figure, middle, top + 0.09, panel.note, ha="center", fontsize=10.5, color=_QUIET)
    if title:
        layout.text(figure, _MARGIN, layout.size[1] - 0.32, title, fontsize=14, weight="bold", color=_DARK)
    if layout.has_time:
        text = _duration(after)
        style: dict[str, Any] = {"rotation": 90, "ha": "center", "va": "center", "fontsize": 10.5, "color": _QUIET}
        layout.text(figure, layout.left(0) - 0.16, _MARGIN + _TIME_HEIGHT / 2, text, **style)


def _duration(series: SeriesRecord) -> str:
    """Label of the time axis, which runs downward: from the first frame to the end of the last."""
    duration = series.frame_time * len(series.frame_times)
    if not np.isfinite(duration) or duration <= 0:
        return f"\u2190 {len(series.frame_times)} frames"
    return f"\u2190 {duration / 1e3:.3g} s" if duration >= 1e3 else f"\u2190 {duration:.0f} ms"


def _draw_bar(figure: Figure, layout: _Layout, reach: float, unit: str) -> None:
    """The scale of the differences, right of the last panel."""
    axes = layout.axes(figure, layout.left(layout.panels), layout.bottom, _BAR, layout.image[0])
    axes.set_axis_on()
    axes.imshow(np.linspace(1, -1, 256)[:, None], cmap="gray", aspect="auto", extent=(0, 1, -reach, reach))
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.set_yticks([-reach, 0, reach], labels=[f"\u2212{reach:.3g}", "0", f"+{reach:.3g}"])
    axes.tick_params(labelsize=10.5, length=3, color=_QUIET, labelcolor=_DARK)
    axes.yaxis.set_label_position("right")
    axes.set_ylabel(unit, fontsize=10.5, color=_QUIET, labelpad=-4)
    for spine in axes.spines.values():
        spine.set_visible(False)
