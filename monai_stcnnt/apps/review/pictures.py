# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The report as a picture: a scan before and after denoising, and the residual; still, or animated.

Images stand as radiologists expect them: the patient's left at the right of axial and coronal images, anterior at the
left of sagittal ones, superior or anterior on top. Oblique images are shown in their own plane, turned and flipped to
the closest of these views. Before and after share one gray scale; the residual has a symmetric one. In an animated
picture a cine plays, and a volume runs through its slices.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from PIL import Image, ImageDraw, ImageFont

from monai_stcnnt.apps.review.quality import image_quality
from monai_stcnnt.apps.review.review import Review
from monai_stcnnt.apps.review.sheet import ACCENT, DARK, QUIET, Sheet, mark_directions, show_image
from monai_stcnnt.apps.review.views import RESIDUAL_RANGE, display_window, foreground, moving_row
from monai_stcnnt.data import SeriesRecord, write_aside
from monai_stcnnt.errors import ImageSizeError, LayoutError

__all__ = ["Panel", "gif_frames", "gif_report", "png_report", "report_panels"]

MIN_FRAMES_IN_TIME = 3

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

# Pixels of an animated picture.
_PANEL = 300  # height of a panel, at least the image's own up to twice that
_PANEL_GAP = 6
_PANEL_HEADING = 26
_STEP = 100  # milliseconds, where the file does not tell
_SHORTEST, _LONGEST = 20, 500
_MOST_PICTURES = 120
_NAMES = ("before", "after", "residual")


@dataclass(frozen=True, eq=False)
class Panel:
    """One column of the report.

    Attributes:
        name: what it shows.
        note: a figure about it.
        frames: the middle slice as it stands on the screen, ``(T, rows, columns)``.
        limits: the values of black and white.
    """

    name: str
    note: str
    frames: np.ndarray
    limits: tuple[float, float]


def png_report(review: Review, path: Path, truth: SeriesRecord | None = None) -> Path:
    """Draw the middle slice and frame before and after denoising, the residual, and a line of each through time.

    Without truth the panels are before, after and residual; with it they are truth, noisy, denoised, residual (noisy
    minus denoised) and error (denoised minus truth), with PSNR and SSIM of the whole series. From three frames on, a
    second row shows the line that changes most over time, marked at the edges of the image, with time running downward.
    Complex images are shown by magnitude. The residual is shown from -4 to 4 in units of the noise, or where the noise
    level is unknown from -4 to 4 of its own standard deviations in the image's units.

    Args:
        review: the series before and after.
        path: the picture to write; missing folders are made, and an existing picture is replaced.
        truth: the series without noise, where it is known.

    Returns:
        The path.

    Raises:
        LayoutError: if the truth has another size.
        OutputNotWritableError: if the picture cannot be written.
    """
    return _draw(report_panels(review, truth), review).save(path)


def report_panels(review: Review, truth: SeriesRecord | None = None) -> list[Panel]:
    """Choose what the report shows, without drawing it.

    Args:
        review: the series before and after.
        truth: the series without noise.

    Returns:
        Three panels, or five where the truth is known.

    Raises:
        LayoutError: if the truth has another size.
    """
    middle, view, window = review.middle, review.view, review.window
    clean = review.after.magnitude
    reference = clean if truth is None else truth.magnitude
    if reference.shape != clean.shape:
        raise LayoutError(
            f"The truth has (T, Z, Y, X) = {reference.shape}, the images {clean.shape}. Give series of one size."
        )
    inside = foreground(reference[:, middle])
    unit = review.sigma or 1.0
    reach = RESIDUAL_RANGE * review.residual_unit / unit

    def image(name: str, record: SeriesRecord) -> Panel:
        note = "" if truth is None or record is truth else _quality_note(truth, record)
        return Panel(name, note, view.apply(record.magnitude[:, middle]), window)

    def difference(name: str, values: np.ndarray, measure: str, center: float) -> Panel:
        values = values[:, middle] / unit
        number = float(np.sqrt(np.square(values[inside] - center / unit).mean()))
        note = f"{measure} {number:.2f} σ in foreground" if review.sigma else f"{measure} {number:.3g} in foreground"
        return Panel(name, note, view.apply(values), (-reach, reach))

    mean = float(review.residual[:, middle][inside].mean())
    residual = difference("Residual", review.residual, "SD", mean)
    if truth is None:
        return [image("Before", review.before), image("After", review.after), residual]
    return [
        image("Truth", truth),
        image("Noisy", review.before),
        image("Denoised", review.after),
        residual,
        difference("Error", clean - reference, "RMS", 0.0),
    ]


def _quality_note(truth: SeriesRecord, image: SeriesRecord) -> str:
    """PSNR and SSIM; nothing for an image that is too small for SSIM."""
    try:
        quality = image_quality(truth, image)
    except ImageSizeError:
        return ""
    return f"PSNR {quality.psnr:.1f} dB, SSIM {quality.ssim:.3f}"


def _draw(panels: list[Panel], review: Review) -> Sheet:
    frames, rows, columns = panels[0].frames.shape
    pixel_height, pixel_width = review.view.pixel_size(review.after.spacing)
    shape = rows * pixel_height / (columns * pixel_width)
    high = min(_TALLEST, _ALL_IMAGES / len(panels) * shape)
    wide = high / shape
    has_time, heading = frames >= MIN_FRAMES_IN_TIME, _heading(review)
    pitch = max(wide, _NARROWEST) + _GAP  # from a panel to the next
    start = _MARGIN + (_TIME_LABEL if has_time else 0.0)
    bottom = _MARGIN + (_TIME_HEIGHT + _GAP if has_time else 0.0)
    bar, top = start + len(panels) * pitch, bottom + high
    sheet = Sheet(bar + _BAR + _BAR_LABELS, top + _CAPTION + (_HEADING if heading else 0.0))
    sheet.title(_MARGIN, sheet.height - 0.32, heading)
    line = moving_row(panels[-1 - len(panels) // 2].frames)
    for n, panel in enumerate(panels):
        left = start + n * pitch + (pitch - _GAP - wide) / 2
        axes = sheet.axes(left, bottom, wide, high)
        show_image(axes, panel.frames[frames // 2], panel.limits)
        if n == 0:
            mark_directions(axes, review.view)
        if has_time:
            for ends in ((0, 0.05), (0.95, 1)):  # where the line through time lies
                axes.plot(ends, (1 - (line + 0.5) / rows,) * 2, transform=axes.transAxes, color=ACCENT, linewidth=1.5)
            show_image(sheet.axes(left, _MARGIN, wide, _TIME_HEIGHT), panel.frames[:, line], panel.limits)
        sheet.text(left + wide / 2, top + 0.29, panel.name, ha="center", fontsize=14)
        sheet.text(left + wide / 2, top + 0.09, panel.note, ha="center", color=QUIET)
    if has_time:
        place = start + (pitch - _GAP - wide) / 2 - 0.16, _MARGIN + _TIME_HEIGHT / 2
        sheet.text(*place, _duration(review.after), rotation=90, ha="center", va="center", color=QUIET)
    _draw_bar(sheet.axes(bar, bottom, _BAR, high), panels[-1].limits[1], "noise σ" if review.sigma else "image units")
    return sheet


def _heading(review: Review) -> str:
    """The title, and the names of the figures that are flagged."""
    flagged = ", ".join(flag.name for flag in review.flags)
    return "   flagged: ".join(filter(None, (review.title, flagged)))


def _duration(series: SeriesRecord) -> str:
    """Label of the time axis, which runs downward: from the first frame to the end of the last."""
    duration = series.frame_time * len(series.frame_times)
    if not np.isfinite(duration) or duration <= 0:
        return f"\u2190 {len(series.frame_times)} frames"
    return f"\u2190 {duration / 1e3:.3g} s" if duration >= 1e3 else f"\u2190 {duration:.0f} ms"


def _draw_bar(axes: Axes, reach: float, unit: str) -> None:
    """The scale of the differences, right of the last panel."""
    axes.set_axis_on()
    axes.imshow(np.linspace(1, -1, 256)[:, None], cmap="gray", aspect="auto", extent=(0, 1, -reach, reach))
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.set_yticks([-reach, 0, reach], labels=[f"\u2212{reach:.3g}", "0", f"+{reach:.3g}"])
    axes.tick_params(labelsize=10.5, length=3, color=QUIET, labelcolor=DARK)
    axes.yaxis.set_label_position("right")
    axes.set_ylabel(unit, fontsize=10.5, color=QUIET, labelpad=-4)
    axes.spines[:].set_visible(False)


def gif_report(review: Review, path: Path) -> Path:
    """Write an animated picture of before, after and residual, side by side.

    A cine plays its middle slice at its own speed; a volume runs through its slices; a single image stands still.

    Args:
        review: the series before and after.
        path: the picture; an existing one is replaced.

    Returns:
        The path.

    Raises:
        OutputNotWritableError: if the picture cannot be written.
    """
    height, width = review.view.pixel_size(review.after.spacing)
    panels = [_picture(shown, height / width) for shown in gif_frames(review)]
    step = review.after.frame_time
    duration = round(float(np.clip(step if step > 0 else _STEP, _SHORTEST, _LONGEST)))
    with write_aside(path) as aside:
        panels[0].save(aside, format="GIF", save_all=True, append_images=panels[1:], duration=duration, loop=0)
    return path


def gif_frames(review: Review) -> np.ndarray:
    """Choose and scale what the picture shows.

    Args:
        review: the series before and after.

    Returns:
        Gray values ``(N, 3, rows, columns)``, uint8: before, after and residual, of the frames of the middle slice, or
        of the slices of the only frame; at most 120.
    """
    times, slices = review.residual.shape[:2]
    pick = np.s_[:_MOST_PICTURES, review.middle] if times > 1 else np.s_[0, :: -(-slices // _MOST_PICTURES)]
    shown = (review.before.magnitude, review.after.magnitude, review.residual)
    first, second, residual = (review.view.apply(values[pick]) for values in shown)
    low, high = display_window(second)
    reach = RESIDUAL_RANGE * review.residual_unit
    scaled = [(first - low) / (high - low), (second - low) / (high - low), (residual + reach) / (2 * reach)]
    return (255 * np.clip(np.stack(scaled, axis=1), 0, 1)).round().astype(np.uint8)


def _picture(panels: np.ndarray, aspect: float) -> Image.Image:
    """One frame: three panels side by side, each under its name."""
    rows, columns = panels.shape[1:]
    high = min(max(_PANEL, rows), 2 * _PANEL)
    wide = max(1, round(high * columns / (rows * aspect)))
    sheet = Image.new("L", (3 * wide + 2 * _PANEL_GAP, high + _PANEL_HEADING), 255)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=16)
    for n, (panel, name) in enumerate(zip(panels, _NAMES, strict=True)):
        left = n * (wide + _PANEL_GAP)
        sheet.paste(Image.fromarray(panel).resize((wide, high), Image.Resampling.BICUBIC), (left, _PANEL_HEADING))
        pen.text((left + wide / 2, _PANEL_HEADING / 2), name, fill=40, font=font, anchor="mm")
    return sheet
