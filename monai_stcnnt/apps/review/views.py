# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What a picture of a series shows: the plane as radiologists look at it, its gray scale, its residual."""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np
import torch

from monai_stcnnt.data import SeriesRecord
from monai_stcnnt.mri.snr import foreground_mask

__all__ = ["RESIDUAL_RANGE", "PlaneView", "display_window", "foreground", "moving_row", "plane_view", "residual_signal"]

RESIDUAL_RANGE = 4.0
"""Noise levels at which the gray scale of residuals ends."""

_WINDOW_PERCENTILES = (1.0, 99.5)
_OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}


@dataclass(frozen=True)
class PlaneView:
    """How to lay the plane of an image, ``(Y, X)``, before a radiologist.

    Attributes:
        transpose: whether rows and columns change places, first of all.
        flip_rows: whether the rows (after that) are then turned upside down.
        flip_columns: whether the columns are mirrored.
        left: the direction of the patient that is at the left edge: one of R, L, A, P, S, I.
        top: the direction that is at the top edge.
        name: axial, coronal or sagittal, whichever is closest.
    """

    transpose: bool
    flip_rows: bool
    flip_columns: bool
    left: str
    top: str
    name: str

    @property
    def letters(self) -> dict[str, str]:
        """Directions of the patient at the four edges: left, right, top, bottom."""
        return {"left": self.left, "right": _OPPOSITE[self.left], "top": self.top, "bottom": _OPPOSITE[self.top]}

    def apply(self, plane: np.ndarray) -> np.ndarray:
        """Turn ``(..., Y, X)`` into ``(..., rows, columns)`` of the screen, the first row on top."""
        turned = plane.swapaxes(-1, -2) if self.transpose else plane
        turned = turned[..., ::-1, :] if self.flip_rows else turned
        return turned[..., ::-1] if self.flip_columns else turned

    def directions(self, affine: np.ndarray) -> np.ndarray:
        """The affine of a volume whose planes were turned: its columns belong to columns, rows and slices."""
        turned = affine[:, (1, 0, 2, 3)] if self.transpose else affine.copy()
        return turned * (-1.0 if self.flip_columns else 1.0, -1.0 if self.flip_rows else 1.0, 1.0, 1.0)

    def pixel_size(self, spacing: np.ndarray) -> tuple[float, float]:
        """Height and width of a pixel on the screen in mm, of the spacing along x, y, z."""
        x, y = float(spacing[0]), float(spacing[1])
        return (x, y) if self.transpose else (y, x)


def plane_view(affine: np.ndarray) -> PlaneView:
    """Find the view that brings a plane closest to the way that radiologists look at it.

    Args:
        affine: 4x4, from voxel indices (x, y, z) to millimeters in RAS orientation; x and y span the plane.

    Returns:
        The view: left of the patient at the right, anterior at the left where right and left are not in the plane;
        superior on top, or anterior where superior and inferior are not in the plane.
    """
    axes = nib.orientations.io_orientation(affine)
    x_axis, y_axis = int(axes[0, 0]), int(axes[1, 0])
    x_sign, y_sign = float(axes[0, 1]), float(axes[1, 1])
    # Of the two anatomical axes in the plane, the lower one (R-L before A-P before I-S) goes along the columns.
    transpose = x_axis > y_axis
    across, down = (y_axis, x_axis) if transpose else (x_axis, y_axis)
    across_sign, down_sign = (y_sign, x_sign) if transpose else (x_sign, y_sign)
    names = (("L", "R"), ("P", "A"), ("I", "S"))
    # From left to right: R to L or A to P, which is against the positive (RAS) direction; from top to bottom likewise.
    through = ("sagittal", "coronal", "axial")[3 - across - down]
    return PlaneView(transpose, down_sign > 0, across_sign > 0, names[across][1], names[down][1], through)


def residual_signal(before: SeriesRecord, after: SeriesRecord) -> np.ndarray:
    """The residual, before minus after, as real numbers.

    For magnitudes: before minus after. For complex images: the part of the complex difference that is in phase with the
    denoised image. Noise then keeps the standard deviation of a component, and a lost edge shows in full.

    Args:
        before: the noisy series.
        after: the denoised one, of the same size; where only one of them is complex, magnitudes are compared.

    Returns:
        ``(T, Z, Y, X)``.
    """
    if before.kind != after.kind or after.kind == "magnitude":
        return before.magnitude - after.magnitude
    difference = before.array - after.array
    magnitude = after.magnitude
    has_phase = magnitude > 0
    direction = after.array / np.where(has_phase, magnitude, 1)
    return np.where(has_phase, (difference * direction).sum(axis=0), difference[0])


def foreground(magnitude: np.ndarray) -> np.ndarray:
    """Where an image exceeds a tenth of its 99th percentile.

    Args:
        magnitude: any shape.

    Returns:
        Mask of that shape; everything, where there is no foreground.
    """
    inside = foreground_mask(torch.from_numpy(np.ascontiguousarray(magnitude))).numpy()
    return inside if inside.any() else np.ones_like(inside)


def display_window(magnitude: np.ndarray) -> tuple[float, float]:
    """Gray scale of an image: black at its 1st percentile, white at its 99.5th.

    Args:
        magnitude: the image that sets the scale, any shape.

    Returns:
        The values of black and white; white is above black even for a constant image.
    """
    low, high = (float(v) for v in np.percentile(magnitude, _WINDOW_PERCENTILES))
    if high > low:
        return low, high
    low, high = float(magnitude.min()), float(magnitude.max())
    return (low, high) if high > low else (low, low + 1.0)


def moving_row(frames: np.ndarray) -> int:
    """Choose the row of the screen along which an image changes most over time.

    Args:
        frames: magnitudes ``(T, rows, columns)``.

    Returns:
        Index of the row whose variance over time, added up along it and smoothed over a tenth of the rows, is largest;
        the middle one of an image that does not change.
    """
    variance = frames.astype(np.float64).var(axis=0).sum(axis=1)
    smooth = np.convolve(variance, np.ones(max(1, len(variance) // 10)), mode="same")
    return int(np.argmax(smooth)) if smooth.max() > 0 else len(variance) // 2
