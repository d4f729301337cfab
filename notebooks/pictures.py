# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""How the notebooks draw: rows of images, matplotlib's settings, and movies. Nothing here computes."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["BLUE", "GRAY", "GREEN", "RED", "YELLOW", "movie", "panels", "show", "use_style"]

BLUE, RED, GREEN, YELLOW, GRAY = "#2166ac", "#c0392b", "#1b8a5a", "#e0a100", "#8a8f98"

Window = tuple[float, float]


def use_style() -> None:
    """Set matplotlib up for pictures that can be read from the last row."""
    plt.close("all")
    mpl.rcParams.update(
        {
            "figure.dpi": 100,
            "savefig.dpi": 100,
            "figure.constrained_layout.use": True,
            "font.size": 13,
            "axes.titlesize": 14,
            "axes.titlepad": 8,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": False,
            "axes.edgecolor": "#555555",
            "axes.prop_cycle": mpl.cycler(color=[BLUE, RED, GREEN, YELLOW, GRAY]),
            "lines.linewidth": 2.2,
            "legend.frameon": False,
            "image.interpolation": "antialiased",
        }
    )


def show(
    axes: Axes,
    image: np.ndarray,
    title: str = "",
    *,
    window: Window | None = None,
    cmap: str = "gray",
    bar: str | None = None,
    aspect: float = 1.0,
) -> None:
    """Show one image ``(rows, columns)`` without axes.

    Args:
        axes: where to draw.
        image: real values.
        title: what stands above.
        window: values of the darkest and the brightest color; those of the image by default.
        cmap: matplotlib's name of the colors.
        bar: label of a color bar, which is drawn where this is given.
        aspect: height of a pixel over its width.
    """
    low, high = window if window is not None else (None, None)
    shown = axes.imshow(image, cmap=cmap, vmin=low, vmax=high, aspect=aspect)
    axes.set_title(title)
    axes.set_axis_off()
    if bar is not None:
        scale = axes.figure.colorbar(shown, ax=axes, shrink=0.82, pad=0.02, label=bar)
        scale.outline.set_visible(False)


def panels(
    images: Sequence[np.ndarray],
    titles: Sequence[str],
    *,
    window: Window | Sequence[Window | None] | None = None,
    cmap: str | Sequence[str] = "gray",
    bar: str | Sequence[str | None] | None = None,
    height: float = 3.8,
    columns: int | None = None,
    aspect: float = 1.0,
) -> Figure:
    """Show images side by side.

    Args:
        images: each ``(rows, columns)``.
        titles: one for each.
        window: values of black and white, one pair for all or one for each image.
        cmap: colors, for all or for each image.
        bar: label of a color bar, for the last image or for each.
        height: inches of a row of images.
        columns: images in a row; all by default.
        aspect: height of a pixel over its width.

    Returns:
        The figure.
    """
    count = len(images)
    windows = list(window) if isinstance(window, list) else [window] * count
    cmaps = [cmap] * count if isinstance(cmap, str) else list(cmap)
    bars = [None] * (count - 1) + [bar] if bar is None or isinstance(bar, str) else list(bar)
    columns = columns or count
    rows = -(-count // columns)
    width = height * images[0].shape[1] / (images[0].shape[0] * aspect)
    extra = 0.9 * max(sum(label is not None for label in bars[n * columns : (n + 1) * columns]) for n in range(rows))
    figure, grid = plt.subplots(
        rows, columns, figsize=(columns * (width + 0.1) + extra, rows * (height + 0.5)), squeeze=False
    )
    for axes, image, title, limits, colors, label in zip(grid.flat, images, titles, windows, cmaps, bars, strict=False):
        show(axes, image, title, window=limits, cmap=colors, bar=label, aspect=aspect)
    for axes in grid.flat[count:]:
        axes.set_axis_off()
    return figure


def movie(figure: Figure, draw: Callable[[int], object], frames: int, *, fps: float = 12, dpi: int = 72) -> Image:
    """Draw a figure again and again and return the movie, which plays in the notebook.

    Args:
        figure: what to draw; it is closed afterwards.
        draw: called with the number of a frame, changes the figure.
        frames: number of frames.
        fps: frames in a second.
        dpi: dots in an inch.

    Returns:
        An animated picture.
    """

    def step(frame: int) -> list[object]:
        draw(frame)
        return []

    animation = FuncAnimation(figure, step, frames=frames, blit=False)
    folder = io.BytesIO()
    writer = _MemoryWriter(fps=fps, target=folder)
    animation.save("movie.gif", writer=writer, dpi=dpi)
    plt.close(figure)
    return Image(data=folder.getvalue(), format="gif")


class _MemoryWriter(PillowWriter):
    """Write the movie to memory: no file beside the notebook."""

    def __init__(self, *, fps: float, target: io.BytesIO) -> None:
        super().__init__(fps=fps)
        self.target = target

    def finish(self) -> None:
        """Put the frames together, with one palette of 64 colors to keep the notebook small."""
        pictures = [frame.convert("RGB").quantize(64) for frame in self._frames]
        pictures[0].save(
            self.target,
            format="gif",
            save_all=True,
            append_images=pictures[1:],
            duration=round(1000 / self.fps),
            loop=0,
        )
