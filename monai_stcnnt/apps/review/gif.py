# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The report as an animated picture: a cine plays before and after denoising, a volume runs through its slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from monai_stcnnt.apps.review.png import RESIDUAL_RANGE
from monai_stcnnt.apps.review.quality import magnitude_values
from monai_stcnnt.apps.review.views import display_window, plane_view, removed_signal
from monai_stcnnt.data import SeriesRecord, write_aside
from monai_stcnnt.errors import LayoutError

__all__ = ["gif_frames", "gif_report"]

_HEIGHT = 300  # pixels of a panel, at least the image's own up to twice that
_GAP = 6
_HEADING = 26
_STEP = 100  # milliseconds, where the file does not tell
_SHORTEST, _LONGEST = 20, 500
_MOST = 120
_NAMES = ("before", "after", "removed")


def gif_report(before: SeriesRecord, after: SeriesRecord, path: str | Path, *, sigma: float | None = None) -> Path:
    """Write an animated picture of before, after and what was removed, side by side.

    A cine plays its middle slice at its own speed; a volume runs through its slices; a single image stands still.

    Args:
        before: the series as it was.
        after: the denoised series, of the same size ``(T, Z, Y, X)``.
        path: the picture; an existing one is replaced.
        sigma: noise standard deviation per component; what was removed is then shown from -4 to 4 of it, else of its
            own standard deviation.

    Returns:
        The path.

    Raises:
        LayoutError: if the series differ in size.
        OutputNotWritableError: if the picture cannot be written.
    """
    path = Path(path).expanduser()
    frames = gif_frames(before, after, sigma)
    height, width = plane_view(after.affine).pixel_size(after.spacing)
    panels = [_picture(shown, height / width) for shown in frames]
    step = after.frame_time if len(after.frame_times) > 1 else _STEP
    duration = round(float(np.clip(step if np.isfinite(step) and step > 0 else _STEP, _SHORTEST, _LONGEST)))
    with write_aside(path) as aside:
        panels[0].save(aside, format="GIF", save_all=True, append_images=panels[1:], duration=duration, loop=0)
    return path


def gif_frames(before: SeriesRecord, after: SeriesRecord, sigma: float | None = None) -> np.ndarray:
    """Choose and scale what the picture shows.

    Args:
        before: the series as it was.
        after: the denoised series.
        sigma: noise standard deviation per component, where it is known.

    Returns:
        Gray values ``(N, 3, rows, columns)``, uint8: before, after and removed, of the frames of the middle slice, or
        of the slices of the only frame; at most 120.

    Raises:
        LayoutError: if the series differ in size.
    """
    if before.array.shape[1:] != after.array.shape[1:]:
        raise LayoutError(
            f"The series of a report have the sizes (T, Z, Y, X) = {before.array.shape[1:]} and "
            f"{after.array.shape[1:]}. Give series of one size."
        )
    times, slices = after.array.shape[1:3]
    pick = np.s_[:_MOST, slices // 2] if times > 1 else np.s_[0, : _MOST * -(-slices // _MOST) : -(-slices // _MOST)]
    view = plane_view(after.affine)
    first, second, removed = (
        view.apply(values[pick])
        for values in (magnitude_values(before), magnitude_values(after), removed_signal(before, after))
    )
    low, high = display_window(second)
    reach = RESIDUAL_RANGE * (sigma or float(removed.std()) or 1.0)
    scaled = [(first - low) / (high - low), (second - low) / (high - low), (removed + reach) / (2 * reach)]
    return (255 * np.clip(np.stack(scaled, axis=1), 0, 1)).round().astype(np.uint8)


def _picture(panels: np.ndarray, aspect: float) -> Image.Image:
    """One frame: three panels side by side, each under its name."""
    rows, columns = panels.shape[1:]
    high = min(max(_HEIGHT, rows), 2 * _HEIGHT)
    wide = max(1, round(high * columns / (rows * aspect)))
    sheet = Image.new("L", (3 * wide + 2 * _GAP, high + _HEADING), 255)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=16)
    for n, (panel, name) in enumerate(zip(panels, _NAMES, strict=True)):
        left = n * (wide + _GAP)
        sheet.paste(Image.fromarray(panel).resize((wide, high), Image.Resampling.BICUBIC), (left, _HEADING))
        pen.text((left + wide / 2, _HEADING / 2), name, fill=40, font=font, anchor="mm")
    return sheet
