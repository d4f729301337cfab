# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The report as an animated picture: a cine plays before and after denoising, a volume runs through its slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from monai_stcnnt.apps.review.review import Review
from monai_stcnnt.apps.review.views import RESIDUAL_RANGE, display_window
from monai_stcnnt.data import write_aside

__all__ = ["gif_frames", "gif_report"]

_HEIGHT = 300  # pixels of a panel, at least the image's own up to twice that
_GAP = 6
_HEADING = 26
_STEP = 100  # milliseconds, where the file does not tell
_SHORTEST, _LONGEST = 20, 500
_MOST = 120
_NAMES = ("before", "after", "residual")


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
    pick = np.s_[:_MOST, review.middle] if times > 1 else np.s_[0, :: -(-slices // _MOST)]
    shown = (review.before.magnitude, review.after.magnitude, review.residual)
    first, second, residual = (review.view.apply(values[pick]) for values in shown)
    low, high = display_window(second)
    reach = RESIDUAL_RANGE * review.residual_unit
    scaled = [(first - low) / (high - low), (second - low) / (high - low), (residual + reach) / (2 * reach)]
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
