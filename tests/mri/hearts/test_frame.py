# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Crops in the network's pixels, there and back, and the scale of intensities."""

from __future__ import annotations

import pytest
import torch

from monai_stcnnt.errors import LayoutError
from monai_stcnnt.mri.hearts.frame import crop_heart, heart_scale, uncrop_heart

SPACING = (1.4, 1.2)


def disk(shape: tuple[int, int], center: tuple[float, float], radius: float) -> torch.Tensor:
    """Smooth disk (1, 1, 1, H, W), sizes in mm."""
    y = torch.arange(shape[0])[:, None] * SPACING[0] - center[0]
    x = torch.arange(shape[1])[None, :] * SPACING[1] - center[1]
    return torch.sigmoid((radius - torch.hypot(y, x)) / 2)[None, None, None]


def test_the_point_comes_to_the_middle() -> None:
    crop = crop_heart(disk((90, 80), (60.0, 40.0), 12.0), SPACING, (60.0, 40.0), (33, 33), 2.0)[0, 0, 0]
    weights = crop / crop.sum()
    places = torch.arange(33) - 16.0
    assert float((weights.sum(1) * places).sum()) == pytest.approx(0, abs=0.02)
    assert float((weights.sum(0) * places).sum()) == pytest.approx(0, abs=0.02)
    assert float(crop.sum() * 4) == pytest.approx(float(disk((90, 80), (60, 40), 12).sum() * 1.4 * 1.2), rel=0.01)


def test_there_and_back_is_the_same_image() -> None:
    cavity = disk((90, 80), (50.0, 45.0), 15.0)
    probabilities = torch.cat([1 - cavity, cavity], dim=1)
    crops = crop_heart(probabilities, SPACING, (60.0, 48.0), (64, 56), 1.5)
    back = uncrop_heart(crops, (90, 80), SPACING, (60.0, 48.0), 1.5)
    torch.testing.assert_close(back.sum(1), torch.ones(1, 1, 90, 80))
    assert float((back - probabilities).abs().max()) < 0.03


def test_a_finer_image_is_smoothed_first() -> None:
    noise = torch.randn(1, 1, 1, 128, 128, generator=torch.Generator().manual_seed(0))
    crop = crop_heart(noise, (0.5, 0.5), (32.0, 32.0), (24, 24), 2.0)
    assert float(crop.std()) < 0.45


def test_the_scale_does_not_depend_on_the_unit_nor_on_the_rim() -> None:
    clip = torch.rand(2, 1, 3, 40, 40)
    brighter = clip * 250
    brighter[..., :5, :] = 1e5
    scaled, other = heart_scale(clip), heart_scale(brighter)
    torch.testing.assert_close(scaled[..., 5:, :], other[..., 5:, :])
    assert float(other.max()) == 3
    assert not heart_scale(torch.zeros(1, 1, 2, 8, 8)).any()


def test_other_axes_are_refused() -> None:
    with pytest.raises(LayoutError, match="Z, C, T, H, W"):
        crop_heart(torch.rand(1, 9, 9), SPACING, (3, 3), (4, 4), 1.0)
