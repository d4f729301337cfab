# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Residuals of known images."""

from __future__ import annotations

import pytest
import torch

from monai_stcnnt.errors import LayoutError
from monai_stcnnt.metrics.quality import residual_whiteness

__all__: list[str] = []


def test_white_residual() -> None:
    clean = torch.rand(2, 8, 40, 40)
    noise = torch.randn(2, 8, 40, 40)
    assert residual_whiteness(clean, clean + noise) > 0.97


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_structure_in_the_residual_is_found(dim: int) -> None:
    noise = torch.randn(1, 8, 40, 40)
    alike = (noise + noise.roll(1, dim)) / 2**0.5
    assert residual_whiteness(torch.zeros_like(noise), alike) == pytest.approx(0.5, abs=0.1)


def test_nothing_removed_and_wrong_shapes() -> None:
    image = torch.rand(1, 1, 5, 5)
    assert residual_whiteness(image, image) == 1
    with pytest.raises(LayoutError):
        residual_whiteness(image, image[:, :, :4])


def test_neighbors_that_the_noise_makes_alike_are_no_structure() -> None:
    noise = torch.randn(1, 8, 40, 40)
    alike = (noise + noise.roll(1, 3)) / 2**0.5
    assert residual_whiteness(torch.zeros_like(noise), alike, (0, 0, 0.5)) > 0.9
    assert residual_whiteness(torch.zeros_like(noise), noise, (0, 0, 0.5)) > 0.9
    assert residual_whiteness(torch.zeros_like(noise), alike, (0, 0.5, 0)) < 0.7
