# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""SNR of a known image."""

from __future__ import annotations

import pytest
import torch

from monai_stcnnt.errors import NoiseLevelError
from monai_stcnnt.mri.snr import foreground_mask, foreground_mean, image_snr, snr_scale

__all__: list[str] = []


def square() -> torch.Tensor:
    """A square of 100 on a faint background of 5."""
    image = torch.full((20, 20), 5.0)
    image[5:15, 5:15] = 100
    return image


def test_foreground_is_the_square() -> None:
    assert int(foreground_mask(square()).sum()) == 100
    assert foreground_mean(square()) == 100
    assert image_snr(square(), 4.0) == 25


@pytest.mark.parametrize("factor", [1e-3, 7.0])
def test_scaling_reaches_the_wanted_snr_in_any_units(factor: float) -> None:
    image = square() * factor
    assert foreground_mean(image * snr_scale(image, 12.0)) == pytest.approx(12, rel=1e-5)


def test_reference_replaces_the_amplitude_of_an_empty_crop() -> None:
    crop = square()[:4, :4]
    assert float((crop * snr_scale(crop, 10.0, reference=100.0)).max()) == pytest.approx(0.5)


def test_image_without_signal() -> None:
    empty = torch.zeros(4, 4)
    assert not foreground_mask(empty).any()
    assert foreground_mean(empty) == 0
    assert snr_scale(empty, 5.0) == 1


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan")])
def test_snr_needs_a_noise_level(sigma: float) -> None:
    with pytest.raises(NoiseLevelError):
        image_snr(square(), sigma)
