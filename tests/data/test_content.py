# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Values below zero: interpolation makes a few shallow ones, other kinds of images make many or deep ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import zoom

from monai_stcnnt.data.content import check_image, foreign_content
from monai_stcnnt.errors import EmptyImageError

__all__: list[str] = []


def test_an_image_without_voxels_is_refused() -> None:
    with pytest.raises(EmptyImageError, match="scan"):
        check_image(np.zeros((0, 4)), "scan")


def magnitudes() -> np.ndarray:
    """A disc with noise, (T, Z, Y, X)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:48j, -1:1:48j]
    clean = 100.0 * np.clip(6 - 10 * np.hypot(x, y), 0, 1)
    return np.asarray(np.abs(clean + rng.normal(0, 3, clean.shape) + 1j * rng.normal(0, 3, clean.shape)))[None, None]


def test_undershoot_of_interpolation_is_let_through() -> None:
    image = zoom(magnitudes(), (1, 1, 2, 2), order=3)
    assert image.min() < 0
    assert foreign_content(image) == ""


@pytest.mark.parametrize("image", [magnitudes() - 60, magnitudes() - np.roll(magnitudes(), 5, 3)])
def test_images_that_reach_far_below_zero_are_not_magnitudes(image: np.ndarray) -> None:
    assert "negative values" in foreign_content(image)
