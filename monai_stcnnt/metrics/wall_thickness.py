# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Thickness of the left ventricle's wall in the 16 segments of the American Heart Association.

References:
    Cerqueira et al., "Standardized myocardial segmentation and nomenclature for tomographic imaging of the heart",
    Circulation 2002, https://doi.org/10.1161/hc0402.102975
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monai_stcnnt.errors import EmptyImageError, LayoutError

__all__ = ["AHA_SEGMENTS", "SegmentThickness", "segment_thickness"]

AHA_SEGMENTS = (
    "basal anterior", "basal anteroseptal", "basal inferoseptal", "basal inferior", "basal inferolateral",
    "basal anterolateral", "mid anterior", "mid anteroseptal", "mid inferoseptal", "mid inferior", "mid inferolateral",
    "mid anterolateral", "apical anterior", "apical septal", "apical inferior", "apical lateral",
)  # fmt: skip

RIGHT, WALL, CAVITY = 1, 2, 3
_ANTERIOR = np.array([0.0, 1.0, 1.0])
"""Where the anterior wall lies, as seen from the middle of the cavity, in the axes right, anterior, superior."""


@dataclass(frozen=True, eq=False)
class SegmentThickness:
    """Wall thickness of one frame.

    Attributes:
        millimeters: ``(16,)`` in the order of :data:`AHA_SEGMENTS`; NaN where a segment has no closed wall.
        basal_first: whether the first slice of the stack is the basal one.
    """

    millimeters: np.ndarray
    basal_first: bool


def segment_thickness(labels: np.ndarray, affine: np.ndarray) -> SegmentThickness:
    """Measure the wall of one frame.

    Slices in which the cavity is surrounded by wall are split into thirds, from the larger, basal end of the heart to
    the smaller one. The middle of the septum is where the right ventricle lies as seen from the left one, and the
    anterior wall is on the side of the septum's ends that the affine calls more anterior and superior. In a sector the
    radii of cavity and wall are those of circles with the sector's areas, and the thickness is their difference.

    Args:
        labels: ``(Z, Y, X)``: 1 right ventricle, 2 wall, 3 cavity.
        affine: 4x4, from voxel indices (x, y, z) to mm in the axes right, anterior, superior.

    Returns:
        Thickness by segment.

    Raises:
        LayoutError: for other axes.
        EmptyImageError: if there are fewer than three slices with wall and cavity, or no right ventricle, so that
            nothing tells where the segments are.
    """
    if labels.ndim != 3:
        raise LayoutError(f"The mask of a frame has the axes (Z, Y, X), not the shape {labels.shape}.")
    slices = [z for z in range(len(labels)) if (labels[z] == CAVITY).any() and (labels[z] == WALL).any()]
    if len(slices) < 3 or not (labels[slices] == RIGHT).any():
        raise EmptyImageError(
            f"{len(slices)} slices show wall and cavity, and the right ventricle is "
            f"{'there' if (labels == RIGHT).any() else 'missing'}. Segments take three slices and both ventricles."
        )
    basal_first = _is_basal_first([int((labels[z] >= WALL).sum()) for z in slices])
    ordered = slices if basal_first else slices[::-1]
    axes = np.asarray(affine, float)[:3, :2]
    angles = _segment_angles(labels, ordered, axes)
    thirds = np.array_split(np.array(ordered), 3)
    values = []
    for group, count, first in zip(thirds, (6, 6, 4), (60.0, 60.0, 45.0), strict=True):
        per_slice = [_sectors(labels[z], angles[z], axes, count, first) for z in group]
        known = np.isfinite(per_slice).any(0)
        mean = np.full(count, np.nan)
        mean[known] = np.nanmean(np.array(per_slice)[:, known], axis=0)
        values.append(mean)
    return SegmentThickness(np.concatenate(values), basal_first)


def _is_basal_first(areas: list[int]) -> bool:
    third = max(len(areas) // 3, 1)
    return sum(areas[:third]) >= sum(areas[-third:])


def _positions(mask: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Pixels (N, 3) of a mask (Y, X) in mm, in the patient's axes."""
    y, x = np.nonzero(mask)
    return np.asarray(np.stack([x, y], 1) @ axes.T)


def _segment_angles(labels: np.ndarray, slices: list[int], axes: np.ndarray) -> dict[int, np.ndarray]:
    """Angle of every pixel in degrees, by slice: 180 the middle of the septum, 90 the anterior wall."""
    centers = {z: _positions(labels[z] == CAVITY, axes).mean(0) for z in slices}
    right = [_positions(labels[z] == RIGHT, axes) - centers[z] for z in slices if (labels[z] == RIGHT).any()]
    septum = np.concatenate(right).mean(0)
    septum = septum / np.linalg.norm(septum)
    normal = np.cross(axes[:, 0], axes[:, 1])
    across = np.cross(normal / np.linalg.norm(normal), septum)
    anterior = across if across @ _ANTERIOR >= 0 else -across
    found = {}
    for z in slices:
        offset = _positions(np.ones(labels.shape[1:], bool), axes) - centers[z]
        degrees = np.degrees(np.arctan2(offset @ anterior, -(offset @ septum))) % 360
        found[z] = degrees.reshape(labels.shape[1:])
    return found


def _sectors(labels: np.ndarray, degrees: np.ndarray, axes: np.ndarray, count: int, first: float) -> np.ndarray:
    """Thickness (count,) of one slice, the anterior segment first, then over the septum."""
    width = 360 / count
    pixel = float(np.linalg.norm(np.cross(axes[:, 0], axes[:, 1])))
    out = np.full(count, np.nan)
    for n in range(count):
        inside = ((degrees - first - n * width) % 360) < width
        wall, cavity = (labels == WALL) & inside, (labels == CAVITY) & inside
        if wall.any() and cavity.any():
            inner, outer = (
                np.sqrt(2 * area * pixel / np.radians(width)) for area in (cavity.sum(), (wall | cavity).sum())
            )
            out[n] = outer - inner
    return out
