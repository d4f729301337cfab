# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Contrast and residuals of known images."""

from __future__ import annotations

import pytest
import torch

from monai_stcnnt.errors import EmptyImageError, LayoutError, NoiseLevelError
from monai_stcnnt.metrics.quality import contrast_to_noise, residual_level, residual_whiteness

__all__: list[str] = []


def test_contrast_to_noise() -> None:
    image = torch.cat((torch.full((2000,), 10.0), torch.full((2000,), 4.0))) + 2 * torch.randn(4000)
    first = torch.arange(4000) < 2000
    assert contrast_to_noise(image, first, ~first) == pytest.approx(3, rel=0.1)
    assert contrast_to_noise(image, ~first, first, sigma=1.0) == pytest.approx(6, rel=0.1)


def test_contrast_needs_regions_and_noise() -> None:
    image, mask = torch.ones(10), torch.arange(10) < 5
    with pytest.raises(NoiseLevelError):
        contrast_to_noise(image, mask, ~mask)
    with pytest.raises(EmptyImageError):
        contrast_to_noise(image, mask, torch.zeros(10, dtype=torch.bool))
    with pytest.raises(LayoutError):
        contrast_to_noise(image, mask[:5], mask)


def test_white_residual() -> None:
    clean = torch.rand(2, 8, 40, 40)
    noise = torch.randn(2, 8, 40, 40)
    assert residual_whiteness(clean, clean + noise) > 0.97
    assert residual_level(clean, clean + noise) == pytest.approx(1, abs=0.02)
    gmap = torch.linspace(1, 3, 40)
    assert residual_level(clean, clean + noise * gmap, gmap) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_structure_in_the_residual_is_found(dim: int) -> None:
    noise = torch.randn(1, 8, 40, 40)
    alike = (noise + noise.roll(1, dim)) / 2**0.5
    assert residual_whiteness(torch.zeros_like(noise), alike) == pytest.approx(0.5, abs=0.1)


def test_nothing_taken_away_and_wrong_shapes() -> None:
    image = torch.rand(1, 1, 5, 5)
    assert residual_whiteness(image, image) == 1
    assert residual_level(image, image) == 0
    with pytest.raises(LayoutError):
        residual_level(image, image[:, :, :4])
