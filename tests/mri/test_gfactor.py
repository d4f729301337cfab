# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""G-factor maps: the formula, and what random maps look like."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_stcnnt.errors import GFactorMapError
from monai_stcnnt.mri.gfactor import (
    check_gfactor_map,
    check_gfactor_size,
    coil_sensitivities,
    draw_gfactor_map,
    sense_gfactor,
)

__all__: list[str] = []


def ring(coils: int) -> np.ndarray:
    """Coil positions on a circle."""
    angles = 2 * np.pi * np.arange(coils) / coils
    return 1.3 * np.stack((np.sin(angles), np.cos(angles)), axis=1)


def test_no_acceleration_no_amplification() -> None:
    gmap = sense_gfactor(coil_sensitivities((12, 12), ring(8)), (1, 1))
    torch.testing.assert_close(gmap, torch.ones(12, 12), atol=1e-3, rtol=0)


def test_separate_coils_unfold_without_loss() -> None:
    sensitivities = torch.zeros(2, 8, 4, dtype=torch.complex64)
    sensitivities[0, :4] = 1
    sensitivities[1, 4:] = 1
    torch.testing.assert_close(sense_gfactor(sensitivities, (2, 1)), torch.ones(8, 4), atol=1e-3, rtol=0)


def test_noise_of_a_sense_reconstruction_is_what_the_map_says() -> None:
    sensitivities = coil_sensitivities((8, 4), ring(6))
    gmap = sense_gfactor(sensitivities, (2, 1), regularization=0.0)
    folded = torch.stack((sensitivities[:, :4], sensitivities[:, 4:]), -1).permute(1, 2, 0, 3)
    noise = torch.randn(4000, 4, 4, 6, 1, dtype=torch.complex64)
    unfolded = (torch.linalg.pinv(folded) @ noise)[..., 0]
    optimal = 1 / sensitivities.abs().square().sum(0).sqrt()
    measured = torch.cat((unfolded[..., 0].std(0), unfolded[..., 1].std(0))) / optimal
    torch.testing.assert_close(measured, gmap, rtol=0.1, atol=0)


@pytest.mark.parametrize("seed", range(5))
def test_random_maps_are_smooth_and_bounded(seed: int) -> None:
    gmap = draw_gfactor_map(np.random.RandomState(seed), (40, 56), max_gfactor=4.0)
    assert gmap.shape == (40, 56)
    assert 1 <= float(gmap.min()) < float(gmap.max()) <= 4.001
    assert float(gmap.diff(dim=0).abs().max()) < 1
    torch.testing.assert_close(gmap, draw_gfactor_map(np.random.RandomState(seed), (40, 56), max_gfactor=4.0))


def test_more_acceleration_more_amplification() -> None:
    means = [
        np.mean([float(draw_gfactor_map(np.random.RandomState(s), (16, 16), (r, r)).mean()) for s in range(10)])
        for r in (2, 3, 5)
    ]
    assert 1 < means[0] < means[1] < means[2]


def test_acceleration_has_to_divide_the_matrix() -> None:
    with pytest.raises(GFactorMapError, match="3 x 1"):
        sense_gfactor(coil_sensitivities((8, 8), ring(4)), (3, 1))


IMAGE_SHAPE = (1, 7, 3, 4, 5)


@pytest.mark.parametrize("shape", [IMAGE_SHAPE, (1, 1, 3, 4, 5), (1, 1, 1, 4, 5), (1, 7, 1, 4, 5), (1, 1, 1, 1, 1)])
def test_maps_that_broadcast_are_taken(shape: tuple[int, ...]) -> None:
    check_gfactor_map(torch.full(shape, 1.3), IMAGE_SHAPE)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_values_are_refused(bad: float) -> None:
    with pytest.raises(GFactorMapError, match="has 1 values of 2"):
        check_gfactor_map(torch.tensor([1.0, bad]), name="map.nii")
    with pytest.raises(GFactorMapError, match="0 values of 0"):
        check_gfactor_map(torch.ones(0))


@pytest.mark.parametrize("shape", [(3, 5), (2, 4, 5)])
def test_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(GFactorMapError, match="does not fit"):
        check_gfactor_map(torch.ones(shape), (4, 5))
    assert check_gfactor_map(torch.ones(1, 5), (4, 5)).shape == (1, 5)


@pytest.mark.parametrize("size", [(1, 1, 3, 5, 4), (1, 1, 2, 4, 5), (1, 6, 3, 4, 5), (2, 1, 3, 4, 5)])
def test_wrong_sizes_are_refused(size: tuple[int, ...]) -> None:
    with pytest.raises(GFactorMapError, match="does not fit"):
        check_gfactor_size(size, IMAGE_SHAPE)
