# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What a picture of a series shows: the plane as radiologists look at it, its gray scale, what was removed from it."""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np
import torch

from monai_stcnnt.apps.review.quality import magnitude_values
from monai_stcnnt.data import SeriesRecord
from monai_stcnnt.mri.snr import foreground_mask

__all__ = [
    "PlaneView",
    "ResidualStatistics",
    "display_window",
    "moving_row",
    "plane_view",
    "removed_signal",
    "residual_statistics",
]

_WINDOW_PERCENTILES = (1.0, 99.5)


@dataclass(frozen=True)
class PlaneView:
    """How to lay the plane of an image, ``(Y, X)``, before a radiologist.

    Attributes:
        transpose: whether rows and columns change places, first of all.
        flip_rows: whether the rows (after that) are then turned upside down.
        flip_columns: whether the columns are mirrored.
        left: the direction of the patient that is at the left edge: one of R, L, A, P, S, I.
        top: the direction that is at the top edge.
    """

    transpose: bool
    flip_rows: bool
    flip_columns: bool
    left: str
    top: str

    def apply(self, plane: np.ndarray) -> np.ndarray:
        """Turn ``(..., Y, X)`` into ``(..., rows, columns)`` of the screen, the first row on top."""
        turned = plane.swapaxes(-1, -2) if self.transpose else plane
        turned = turned[..., ::-1, :] if self.flip_rows else turned
        return turned[..., ::-1] if self.flip_columns else turned

    def pixel_size(self, spacing: np.ndarray) -> tuple[float, float]:
        """Height and width of a pixel on the screen in mm, of the spacing along x, y, z."""
        x, y = float(spacing[0]), float(spacing[1])
        return (x, y) if self.transpose else (y, x)


@dataclass(frozen=True)
class ResidualStatistics:
    """What was removed, in numbers, each in units of the noise where its level is known.

    Attributes:
        mean: mean over the foreground.
        std: standard deviation over the foreground, where the magnitude exceeds a tenth of its 99th percentile.
        std_image: standard deviation over everything, air included.
    """

    mean: float
    std: float
    std_image: float

    @property
    def rms(self) -> float:
        """Root mean square over the foreground, which counts a bias as well."""
        return float(np.hypot(self.mean, self.std))


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
    return PlaneView(transpose, down_sign > 0, across_sign > 0, names[across][1], names[down][1])


def removed_signal(before: SeriesRecord, after: SeriesRecord) -> np.ndarray:
    """What denoising removed, as real numbers.

    For magnitudes: before minus after. For complex images: the part of the complex difference that is in phase with the
    denoised image. Noise then keeps the standard deviation of a component, and a lost edge shows in full.

    Args:
        before: the noisy series.
        after: the denoised one, of the same size; where only one of them is complex, magnitudes are compared.

    Returns:
        ``(T, Z, Y, X)``.
    """
    if before.kind != after.kind or after.kind == "magnitude":
        return magnitude_values(before) - magnitude_values(after)
    difference = before.array - after.array
    magnitude = magnitude_values(after)
    has_phase = magnitude > 0
    direction = after.array / np.where(has_phase, magnitude, 1)
    return np.where(has_phase, (difference * direction).sum(axis=0), difference[0])


def residual_statistics(residual: np.ndarray, reference: np.ndarray, sigma: float | None = None) -> ResidualStatistics:
    """Put a residual in numbers.

    Args:
        residual: what was removed, any shape.
        reference: magnitudes that tell the foreground, of that shape: the truth where known, else the result.
        sigma: noise standard deviation per component, or None where it is unknown.

    Returns:
        Mean and standard deviations.
    """
    unit = 1.0 if sigma is None else sigma
    inside = foreground_mask(torch.tensor(np.ascontiguousarray(reference))).numpy()
    values = residual[inside] if inside.any() else residual.ravel()
    return ResidualStatistics(float(values.mean()) / unit, float(values.std()) / unit, float(residual.std()) / unit)


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
