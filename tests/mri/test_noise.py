# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Noise has a standard deviation of 1 per component, whatever colored it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from monai_stcnnt.errors import NoiseLevelError
from monai_stcnnt.mri.gfactor import draw_gfactor_map
from monai_stcnnt.mri.noise import (
    NoiseColoring,
    RandomSource,
    amplify_noise,
    color_noise,
    coloring_weights,
    complex_noise,
    draw_coloring,
    filter_signal,
    noncentral_chi_magnitude,
    rician_magnitude,
)

__all__: list[str] = []

SIZE = (16, 256, 256)  # 2^20 samples
STEPS = {
    "white": NoiseColoring(),
    "gaussian": NoiseColoring(gaussian=(1.5, 2.25)),
    "partial_fourier": NoiseColoring(partial_fourier=(0.625, 1.0), partial_fourier_side=("post", "pre")),
    "resolution": NoiseColoring(resolution=(0.55, 0.75)),
    "zero_filling": NoiseColoring(zero_filling=0.5),
    "temporal": NoiseColoring(temporal=1.5),
}


def components(noise: torch.Tensor) -> tuple[float, float]:
    """Standard deviations of real and imaginary part."""
    return float(noise.real.std()), float(noise.imag.std())


@pytest.mark.parametrize("step", STEPS)
def test_every_step_keeps_the_noise_level(step: str) -> None:
    noise = color_noise(complex_noise(SIZE, torch.Generator().manual_seed(1)), STEPS[step])
    assert components(noise) == pytest.approx((1, 1), abs=0.01)
    assert float(noise.mean().abs()) < 0.01


@pytest.mark.parametrize("seed", range(4))
def test_random_combinations_keep_the_noise_level(seed: int) -> None:
    steps = dict.fromkeys(("gaussian", "partial_fourier", "resolution", "zero_filling", "temporal"), 0.7)
    coloring = draw_coloring(np.random.RandomState(seed), steps)  # type: ignore[arg-type] # the names are checked there
    assert not coloring.is_white
    noise = color_noise(complex_noise(SIZE, torch.Generator().manual_seed(seed)), coloring)
    assert components(noise) == pytest.approx((1, 1), abs=0.01)


def test_noise_follows_the_gfactor_map() -> None:
    gmap = draw_gfactor_map(np.random.RandomState(0), (32, 32))
    generator = torch.Generator().manual_seed(0)
    noise = color_noise(complex_noise((2048, 32, 32), generator), NoiseColoring(gaussian=(1.0, 1.0)))
    measured = torch.view_as_real(amplify_noise(noise, gmap)).square().mean((0, 3)).sqrt()
    assert float(((measured / gmap) - 1).abs().max()) < 5 * 0.5 / math.sqrt(2048)
    assert float((measured / gmap).mean()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("step", [name for name in STEPS if name != "white"])
def test_every_step_correlates_neighbors(step: str) -> None:
    noise = color_noise(complex_noise((16, 64, 64), torch.Generator().manual_seed(2)), STEPS[step])
    lags = [(noise * noise.roll(1, dim).conj()).mean().abs() / 2 for dim in range(3)]
    assert float(max(lags)) > 0.05
    assert (float(lags[0]) > 0.05) == (step == "temporal")


@pytest.mark.parametrize("make", [torch.Generator, lambda: np.random.RandomState(3), lambda: np.random.default_rng(3)])
def test_same_state_same_noise(make: type[torch.Generator]) -> None:
    def source() -> RandomSource:
        made = make()
        return made.manual_seed(3) if isinstance(made, torch.Generator) else made

    first, second, other = source(), source(), source()
    torch.testing.assert_close(complex_noise((4, 5), first), complex_noise((4, 5), second))
    assert not torch.equal(complex_noise((4, 5), first), complex_noise((4, 5), other))
    assert complex_noise((2000,), other, sigma=3.0).real.std() == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize("sigma", [-1.0, float("nan"), float("inf")])
def test_impossible_level_is_refused(sigma: float) -> None:
    with pytest.raises(NoiseLevelError, match=str(sigma)):
        complex_noise((2,), torch.Generator(), sigma)


def test_weights_have_unit_rms() -> None:
    for coloring in STEPS.values():
        temporal, spatial = coloring_weights(coloring, (9, 24, 20))
        assert float(temporal.square().mean()) == pytest.approx(1, abs=1e-5)
        assert float(spatial.square().mean()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("frames", [1, 2])
def test_few_frames_have_no_temporal_filter(frames: int) -> None:
    noise = complex_noise((frames, 8, 8), torch.Generator().manual_seed(0))
    torch.testing.assert_close(color_noise(noise, NoiseColoring(temporal=2.0)), noise, atol=1e-5, rtol=1e-5)


def test_filtered_signal_keeps_the_mean_and_its_motion() -> None:
    image = torch.rand(6, 16, 16).to(torch.complex64)
    coloring = replace(STEPS["gaussian"], temporal=2.0)
    filtered = filter_signal(image, coloring)
    torch.testing.assert_close(filtered.mean((1, 2)), image.mean((1, 2)))
    assert float(filtered.real.std((1, 2)).max()) < float(image.real.std((1, 2)).min())
    assert torch.equal(filter_signal(image, NoiseColoring()), image)


@pytest.mark.parametrize("prob", [{"gauss": 0.5}, {"gaussian": 1.5}])
def test_unknown_step_is_refused(prob: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="Coloring step"):
        draw_coloring(np.random.RandomState(0), prob)  # type: ignore[arg-type] # the point of the test


def test_no_steps_are_white() -> None:
    assert draw_coloring(np.random.RandomState(0), {}).is_white


def test_magnitude_has_the_moments_of_rice() -> None:
    magnitude = rician_magnitude(torch.full((200_000,), 3.0), 2.0, torch.Generator().manual_seed(0))
    assert float(magnitude.square().mean()) == pytest.approx(9 + 2 * 4, rel=0.01)
    assert float(rician_magnitude(torch.zeros(200_000), 2.0, torch.Generator()).mean()) == pytest.approx(
        2 * math.sqrt(math.pi / 2), rel=0.01
    )


def test_coils_make_noncentral_chi() -> None:
    coils = torch.full((4, 50_000), 1.5)
    magnitude = noncentral_chi_magnitude(coils, 2.0, torch.Generator().manual_seed(0))
    assert magnitude.shape == (50_000,)
    assert float(magnitude.square().mean()) == pytest.approx(4 * (1.5**2 + 2 * 4), rel=0.01)
