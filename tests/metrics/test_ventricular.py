# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Volumes of known bodies, and the function that follows from them."""

from __future__ import annotations

import numpy as np
import pytest

from monai_stcnnt.errors import EmptyImageError, GeometryError, LayoutError
from monai_stcnnt.metrics import class_areas, class_volumes, slice_distance, ventricular_function

__all__: list[str] = []

TILTED = np.array([[1.2, -0.9, 0, 5], [0.9, 1.2, 0, -7], [0, 0, 10, 3], [0, 0, 0, 1.0]])  # 1.5 x 1.5 x 10 mm


def test_boxes_have_the_volume_of_their_sides() -> None:
    labels = np.zeros((2, 4, 20, 20), np.uint8)
    labels[0, 1:3, 5:9, 5:15] = 3
    labels[1, 1:2, 5:9, 5:10] = 3
    labels[:, 0, 0, 0] = 1
    volumes = class_volumes(labels, TILTED, [1, 2, 3])
    voxel = 1.5 * 1.5 * 10 / 1000
    np.testing.assert_allclose(volumes, [[voxel, 0, 80 * voxel], [voxel, 0, 20 * voxel]])
    areas = class_areas(labels, TILTED, [3])
    np.testing.assert_allclose(areas[0, :, 0], np.array([0, 40, 40, 0]) * 1.5 * 1.5 / 100)


def test_volume_of_a_ball_does_not_depend_on_the_grid() -> None:
    exact = 4 / 3 * np.pi * 30**3 / 1000
    for spacing in ((1.0, 1.0, 2.0), (2.0, 1.5, 5.0), (1.4, 1.4, 17.7)):
        sizes = [int(80 / s) for s in spacing]
        z, y, x = np.ogrid[: sizes[2], : sizes[1], : sizes[0]]
        inside = sum(((i - (n - 1) / 2) * s) ** 2 for i, n, s in zip((x, y, z), sizes, spacing, strict=True)) < 30**2
        volume = class_volumes(np.asarray(inside)[None], np.diag([*spacing, 1.0]), [1])
        assert volume[0, 0] == pytest.approx(exact, rel=0.03)


def test_slices_of_a_shifted_stack_are_measured_along_their_normal() -> None:
    sheared = np.diag([1.5, 1.5, 8.0, 1.0])
    sheared[0, 2] = 3
    assert slice_distance(TILTED) == pytest.approx(10)
    assert slice_distance(sheared) == pytest.approx(8)


def test_function_of_a_ventricle() -> None:
    function = ventricular_function(np.array([100.0, 160, 90, 64, 70]))
    assert (function.end_diastole, function.end_systole) == (1, 3)
    assert function.stroke_volume == pytest.approx(96)
    assert function.ejection_fraction == pytest.approx(60)


def test_what_has_no_function_is_refused() -> None:
    with pytest.raises(LayoutError, match="two frames"):
        ventricular_function(np.array([100.0]))
    with pytest.raises(EmptyImageError):
        ventricular_function(np.zeros(5))
    with pytest.raises(LayoutError, match="axes"):
        class_volumes(np.zeros((3, 4, 5)), TILTED, [1])
    with pytest.raises(GeometryError):
        class_areas(np.zeros((1, 3, 4, 5)), np.zeros((4, 4)), [1])
