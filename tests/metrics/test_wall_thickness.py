# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Thickness of a wall that is known, in segments whose places are known."""

from __future__ import annotations

import numpy as np
import pytest

from monai_stcnnt.errors import EmptyImageError, LayoutError
from monai_stcnnt.metrics.wall_thickness import AHA_SEGMENTS, segment_thickness

# Columns to the patient's left, rows to the back, as images of the heart are shown.
AFFINE = np.diag([-1.2, -1.2, 8.0, 1.0])


def stack(slices: int = 6) -> np.ndarray:
    """Cavity of 20 mm, smaller to the apex; wall 8 mm, 14 mm at the bottom; the right ventricle on the left."""
    y, x = ((np.arange(100) - 50) * 1.2)[:, None], ((np.arange(100) - 50) * 1.2)[None, :]
    radius, below = np.hypot(y, x), np.degrees(np.arctan2(y, x)) - 90
    out = np.zeros((slices, 100, 100), np.uint8)
    for z in range(slices):
        inner = 20 - 2 * z
        outer = inner + np.where(np.abs(below) < 28, 14, 8)
        out[z][(radius < 45) & (x < -20) & (np.abs(y) < 20)] = 1
        out[z][radius < outer] = 2
        out[z][radius < inner] = 3
    return out


def test_segments_of_a_wall_that_is_thick_below() -> None:
    found = segment_thickness(stack(), AFFINE)
    assert found.basal_first
    by_name = dict(zip(AHA_SEGMENTS, found.millimeters, strict=True))
    for name in ("basal anterior", "mid anterolateral", "basal inferoseptal", "apical lateral", "apical septal"):
        assert by_name[name] == pytest.approx(8, abs=0.6), name
    for name in ("basal inferior", "mid inferior"):
        assert by_name[name] == pytest.approx(13.6, abs=1), name


def test_neither_the_order_of_slices_nor_the_orientation_of_the_image_matters() -> None:
    expected = segment_thickness(stack(), AFFINE).millimeters
    reverse = segment_thickness(stack()[::-1], AFFINE)
    assert not reverse.basal_first
    np.testing.assert_allclose(reverse.millimeters, expected)
    mirrored = AFFINE @ np.diag([-1, 1, 1, 1.0])
    np.testing.assert_allclose(segment_thickness(stack()[:, :, ::-1], mirrored).millimeters, expected, atol=0.4)
    swapped = AFFINE[:, [1, 0, 2, 3]]
    np.testing.assert_allclose(segment_thickness(stack().transpose(0, 2, 1), swapped).millimeters, expected, atol=0.4)


def test_what_cannot_be_placed_is_refused() -> None:
    with pytest.raises(EmptyImageError, match="right ventricle is missing"):
        segment_thickness(np.where(stack() == 1, 0, stack()), AFFINE)
    with pytest.raises(EmptyImageError, match="2 slices"):
        segment_thickness(stack(2), AFFINE)
    with pytest.raises(LayoutError, match="Z, Y, X"):
        segment_thickness(stack()[None], AFFINE)
