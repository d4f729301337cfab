# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Volumes and areas of masks over time, and what the heart pumps.

A volume is the number of voxels times the volume that a voxel stands for, which reaches from one slice to the next: the
sum of the areas times the distance of the slices (the method of disks). The thickness of the slices plays no part, so
that gaps between them count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monai_stcnnt.errors import EmptyImageError, GeometryError, LayoutError

__all__ = [
    "MYOCARDIAL_DENSITY",
    "VentricularFunction",
    "class_areas",
    "class_volumes",
    "slice_distance",
    "ventricular_function",
]

MYOCARDIAL_DENSITY = 1.05
"""Grams per milliliter."""

_MM3_PER_ML = 1000.0
_MM2_PER_CM2 = 100.0


@dataclass(frozen=True)
class VentricularFunction:
    """What a ventricle does in a heart beat.

    Attributes:
        end_diastole: frame of the largest volume, counted from 0.
        end_systole: frame of the smallest volume.
        end_diastolic_volume: in milliliters.
        end_systolic_volume: in milliliters.
    """

    end_diastole: int
    end_systole: int
    end_diastolic_volume: float
    end_systolic_volume: float

    @property
    def stroke_volume(self) -> float:
        """Milliliters per beat."""
        return self.end_diastolic_volume - self.end_systolic_volume

    @property
    def ejection_fraction(self) -> float:
        """Stroke volume over end-diastolic volume, in percent."""
        return 100.0 * self.stroke_volume / self.end_diastolic_volume


def class_volumes(labels: np.ndarray, affine: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Volume of every class in every frame.

    Args:
        labels: mask ``(T, Z, Y, X)`` with the value of the class in every voxel.
        affine: 4x4, from voxel indices (x, y, z) to millimeters.
        classes: K values.

    Returns:
        ``(T, K)`` in milliliters.

    Raises:
        LayoutError: if the mask has other axes.
        GeometryError: if the affine is not an invertible 4x4 matrix.
    """
    voxel = abs(float(np.linalg.det(_directions(affine))))
    return _counts(labels, classes).sum(axis=1) * (voxel / _MM3_PER_ML)


def class_areas(labels: np.ndarray, affine: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Area of every class in every slice and frame.

    Args:
        labels: mask ``(T, Z, Y, X)``.
        affine: 4x4, from voxel indices (x, y, z) to millimeters.
        classes: K values.

    Returns:
        ``(T, Z, K)`` in square centimeters.

    Raises:
        LayoutError: if the mask has other axes.
        GeometryError: if the affine is not an invertible 4x4 matrix.
    """
    directions = _directions(affine)
    pixel = float(np.linalg.norm(np.cross(directions[:, 0], directions[:, 1])))
    return _counts(labels, classes) * (pixel / _MM2_PER_CM2)


def slice_distance(affine: np.ndarray) -> float:
    """Distance from slice to slice along their normal.

    Args:
        affine: 4x4, from voxel indices (x, y, z) to millimeters.

    Returns:
        Millimeters.

    Raises:
        GeometryError: if the affine is not an invertible 4x4 matrix.
    """
    directions = _directions(affine)
    pixel = float(np.linalg.norm(np.cross(directions[:, 0], directions[:, 1])))
    return abs(float(np.linalg.det(directions))) / pixel


def ventricular_function(volumes: np.ndarray) -> VentricularFunction:
    """Find end diastole and end systole of one ventricle by its volume.

    Args:
        volumes: ``(T,)`` in milliliters, two frames at least.

    Returns:
        The frames and the volumes, from which stroke volume and ejection fraction follow.

    Raises:
        LayoutError: if there is one frame only, or another shape.
        EmptyImageError: if the ventricle is empty in all frames.
    """
    if volumes.ndim != 1 or len(volumes) < 2:
        raise LayoutError(
            f"An ejection fraction needs the volumes of two frames at least, (T,), not the shape {volumes.shape}."
        )
    if not volumes.max() > 0:
        raise EmptyImageError("The ventricle is empty in all frames, so that it has no ejection fraction.")
    largest, smallest = int(np.argmax(volumes)), int(np.argmin(volumes))
    return VentricularFunction(largest, smallest, float(volumes[largest]), float(volumes[smallest]))


def _counts(labels: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Number of voxels ``(T, Z, K)``."""
    if labels.ndim != 4:
        raise LayoutError(f"A mask has the axes (T, Z, Y, X), not the shape {labels.shape}.")
    return np.stack([np.count_nonzero(labels == value, axis=(2, 3)) for value in classes], axis=-1)


def _directions(affine: np.ndarray) -> np.ndarray:
    """Steps from voxel to voxel, in columns."""
    directions = np.asarray(affine, np.float64)[:3, :3]
    if np.shape(affine) != (4, 4) or not np.isfinite(directions).all() or np.linalg.det(directions) == 0:
        raise GeometryError(f"The affine is not an invertible 4x4 matrix: {np.asarray(affine).tolist()}.")
    return directions
