# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The whole model of simulated noise: level, map, kind, and what is done where nothing is sure."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_stcnnt.errors import NoiseLevelError, NoiseModelError
from monai_stcnnt.mri.axis_spectrum import AxisSpectrum
from monai_stcnnt.mri.noise import complex_noise, noncentral_chi_magnitude
from monai_stcnnt.mri.noise_estimation import KnownNoise, bring_image, estimate_noise_model
from monai_stcnnt.mri.noise_model import NoiseModel, demodulate, from_acquired, map_of_frames
from monai_stcnnt.mri.phantom import cine_phantom

__all__: list[str] = []

SIZE = (6, 96, 96)


def heart(snr: float = 10.0) -> torch.Tensor:
    return snr * cine_phantom(SIZE).image


def noise(seed: int = 0) -> torch.Tensor:
    return complex_noise(SIZE, torch.Generator().manual_seed(seed))


def channels(image: torch.Tensor) -> torch.Tensor:
    return torch.stack((image.real, image.imag))[None]


def hill() -> torch.Tensor:
    """A map that rises to 2.5 in the middle."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 96), torch.linspace(-1, 1, 96), indexing="ij")
    return 1 + 1.5 * torch.exp(-(y**2 + x**2) / 0.3)


def full_map(model: NoiseModel) -> torch.Tensor:
    return model.level * map_of_frames(model, 0, slice(0, 6), 6, SIZE[1:])


def test_white_noise_has_a_level_and_nothing_else() -> None:
    for image in (channels(heart() + noise()), (heart() + noise()).abs()[None, None]):
        model = estimate_noise_model(3 * image)
        assert model.level == pytest.approx(3, rel=0.08)
        assert model.noise_map is None
        assert all(axis.is_white for axis in model.spectrum)


def test_a_map_is_found() -> None:
    inside = heart().abs() > 2
    for image in (channels(heart() + hill() * noise()), (heart() + hill() * noise()).abs()[None, None]):
        model = estimate_noise_model(image)
        error = (full_map(model) / hill() - 1).abs()[inside]
        assert float(error.median()) < 0.1


def test_a_map_survives_zero_filling() -> None:
    axes = (AxisSpectrum.of_matrix(96, 48), AxisSpectrum.of_matrix(96, 64))
    white = complex_noise((6, 48, 64), torch.Generator().manual_seed(0))
    coarse = torch.nn.functional.interpolate(hill()[None, None], (48, 64), mode="bilinear")[0, 0]
    model = estimate_noise_model(channels(heart() + from_acquired(white * coarse, axes)))
    assert max(abs(have - want) for have, want in zip(model.matrix, (6, 48, 64), strict=True)) <= 2
    inside = heart().abs() > 2
    assert float((full_map(model) / hill() - 1).abs()[inside].median()) < 0.13


def test_what_is_told_is_taken() -> None:
    image = channels(heart() + noise())
    spectrum = (AxisSpectrum(6), AxisSpectrum.of_matrix(96, 60), AxisSpectrum(96))
    model = estimate_noise_model(image, KnownNoise(level=2.5, spectrum=spectrum, is_constant=True))
    assert (model.level, model.spectrum, model.noise_map) == (2.5, spectrum, None)
    assert {model.origins[part].source for part in ("level", "spectrum")} == {"told"}
    absolute = estimate_noise_model(image, KnownNoise(noise_map=4 * hill()[None, None]))
    torch.testing.assert_close(full_map(absolute)[0], 4 * hill())
    relative = estimate_noise_model(channels(heart() + hill() * noise()), KnownNoise(gmap=hill()[None, None]))
    assert relative.level == pytest.approx(1, rel=0.1)


def test_a_header_that_says_otherwise_is_noted() -> None:
    model = estimate_noise_model(channels(heart() + noise()), KnownNoise(matrix=(48, None)))
    assert all(axis.is_white for axis in model.spectrum)
    assert "the header says 48" in model.origins["spectrum"].remark


def test_sums_of_squares_are_recognized() -> None:
    coils = torch.stack([heart(20), heart(15), heart(10), heart(5)])
    image = noncentral_chi_magnitude(coils, 1.0, torch.Generator().manual_seed(0))
    model = estimate_noise_model(image[None, None])
    assert model.kind == "chi"
    assert 3 <= model.num_coils <= 6
    assert model.level == pytest.approx(1, rel=0.2)


def test_an_echo_off_the_center_changes_nothing() -> None:
    image = heart() + noise()
    plain, turned = (estimate_noise_model(channels(demodulate(image, shift))) for shift in ((0, 0), (-20.3, 13.0)))
    assert turned.level == pytest.approx(plain.level, rel=1e-3)
    assert turned.echo_shift[0] - plain.echo_shift[0] == pytest.approx(20.3, abs=0.15)
    first, second = (
        bring_image(channels(demodulate(image, s)), m) for s, m in (((0, 0), plain), ((-20.3, 13.0), turned))
    )
    assert float((first - second).square().mean().sqrt()) < 0.1


@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 8, 8), (1, 1, 1, 31, 45), (2, 2, 1, 16, 16), (1, 1, 5, 13, 9), (1, 1, 30, 24, 24)]
)
def test_pure_noise_of_any_size_has_a_model(shape: tuple[int, ...]) -> None:
    image = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    image = image.abs() if shape[1] == 1 else image
    for is_volume in (False, True):
        model = estimate_noise_model(image, is_volume=is_volume)
        assert np.isfinite(model.level)
        assert full_or_plain(model, shape).isfinite().all()


def full_or_plain(model: NoiseModel, shape: tuple[int, ...]) -> torch.Tensor:
    return map_of_frames(model, 0, slice(0, shape[2]), shape[2], shape[3:])


def test_masks_and_constants() -> None:
    mask = (heart().abs() > 5).float()[None, None]
    assert estimate_noise_model(mask).level > 0
    with pytest.raises(NoiseLevelError, match="no noise"):
        estimate_noise_model(torch.ones(1, 1, 4, 32, 32))
    with pytest.raises(NoiseLevelError, match="finite"):
        estimate_noise_model(torch.full((1, 1, 4, 32, 32), float("nan")))
    with pytest.raises(NoiseModelError, match="positive"):
        estimate_noise_model(mask, KnownNoise(noise_map=torch.zeros(1, 1, 96, 96)))
    with pytest.raises(NoiseModelError, match="fit"):
        estimate_noise_model(mask, KnownNoise(gmap=torch.ones(1, 1, 95, 96)))
