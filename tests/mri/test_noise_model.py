# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The description of noise, and the way to the acquired matrix and back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from monai_stcnnt.errors import NoiseModelError
from monai_stcnnt.mri.axis_spectrum import AxisSpectrum
from monai_stcnnt.mri.fft import fftc
from monai_stcnnt.mri.noise import complex_noise
from monai_stcnnt.mri.noise_model import (
    NoiseModel,
    Origin,
    as_complex,
    beyond_band,
    check_noise_map,
    demodulate,
    echo_shift,
    from_acquired,
    map_of_frames,
    to_acquired,
    without_leak,
)

__all__: list[str] = []

TAPER = tuple(1 - 0.6 * abs(k - 10) / 10 for k in range(20))
SPECTRA = (AxisSpectrum(32, 6, 26, TAPER), AxisSpectrum.of_matrix(24, 17))


def model(**options: Any) -> NoiseModel:  # noqa: ANN401
    return NoiseModel(**{"level": 2.0, "kind": "complex", "spectrum": (AxisSpectrum(4), *SPECTRA), **options})


def test_noise_of_the_acquired_matrix_is_white_and_keeps_its_level() -> None:
    white = complex_noise((400, 20, 17), torch.Generator().manual_seed(0))
    image = from_acquired(white, SPECTRA)
    assert image.shape == (400, 32, 24)
    assert float(torch.view_as_real(image).std()) == pytest.approx(1, rel=0.01)
    back = to_acquired(image, SPECTRA)
    torch.testing.assert_close(back, white, atol=1e-4, rtol=1e-4)
    power = fftc(back).abs().square().mean(0)
    assert float(power.std() / power.mean()) < 0.15


def test_only_the_band_changes() -> None:
    generator = torch.Generator().manual_seed(0)
    image = complex_noise((2, 32, 24), generator)
    change = from_acquired(complex_noise((2, 20, 17), generator), SPECTRA)
    kspace = fftc(image + change) - fftc(image)
    inside = SPECTRA[0].weights()[:, None] * SPECTRA[1].weights()
    assert float(kspace[:, inside == 0].abs().max()) < 1e-5
    assert float(kspace[:, inside > 0].abs().min()) > 0
    torch.testing.assert_close(from_acquired(to_acquired(change, SPECTRA), SPECTRA), change)


def test_a_mean_stays_without_taper_and_real_images_stay_real() -> None:
    axes = [AxisSpectrum.of_matrix(n, m) for n, m in ((32, 20), (25, 11))]
    there = to_acquired(torch.full((3, 32, 25), 7.0), axes)
    torch.testing.assert_close(there, torch.full((3, 20, 11), 7.0))
    torch.testing.assert_close(from_acquired(there, axes), torch.full((3, 32, 25), 7.0))
    image = torch.randn(4, 6)
    assert to_acquired(image, [AxisSpectrum(4), AxisSpectrum(6)]) is image
    with pytest.raises(NoiseModelError, match="samples"):
        to_acquired(image, axes)


def test_a_linear_phase_shifts_the_echo_and_is_taken_off() -> None:
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(24.0), indexing="ij")
    blob = torch.exp(-((y - 16) ** 2 + (x - 12) ** 2) / 40).to(torch.complex64)
    before = echo_shift(blob)
    shifted = demodulate(blob, (-5.3, 2.2))
    after = echo_shift(shifted)
    assert after[0] - before[0] == pytest.approx(5.3, abs=1e-3)
    assert after[1] - before[1] == pytest.approx(-2.2, abs=1e-3)
    torch.testing.assert_close(demodulate(shifted, after), demodulate(blob, before), atol=1e-4, rtol=1e-4)


def test_the_model_survives_json() -> None:
    noise_map = 1 + torch.rand(2, 1, 5, 6)
    first = model(noise_map=noise_map, echo_shift=(1.5, 0.0), origins={"level": Origin("air", 0.9, "quiet")})
    text = json.dumps(first.as_dict(), allow_nan=False)
    second = NoiseModel.from_dict(json.loads(text), noise_map)
    assert second.as_dict() == first.as_dict()
    assert second.spectrum == first.spectrum
    assert "rows 20 of 32, tapered" in second.describe()
    assert second.matrix == (4, 20, 17)
    assert not second.is_plain
    assert NoiseModel(1.0, "rician", (AxisSpectrum(1), AxisSpectrum(8), AxisSpectrum(8))).is_plain


def test_a_coarse_map_is_brought_to_the_frames() -> None:
    grid = torch.tensor([1.0, 3.0])[None, :, None, None].expand(1, 2, 2, 3)
    known = model(noise_map=grid)
    whole = map_of_frames(known, 0, slice(0, 8), 8, (10, 12))
    assert whole.shape == (8, 10, 12)
    even = torch.tensor([3.0 ** ((frame + 0.5) / 4 - 0.5) for frame in range(8)])  # by logarithms, beyond the ends too
    torch.testing.assert_close(whole, even[:, None, None].expand(8, 10, 12))
    torch.testing.assert_close(map_of_frames(known, 0, slice(3, 5), 8, (10, 12)), whole[3:5])
    assert map_of_frames(model(), 0, slice(0, 2), 8, (3, 3)).unique().tolist() == [1]


def test_a_leak_goes_where_the_result_is_dark() -> None:
    image, inside = torch.tensor([1.0, 100.0]), torch.tensor([0.5, 99.5])
    out = without_leak(image, torch.tensor([0.0, 99.5]), inside, 1.0, is_biased=False)
    torch.testing.assert_close(out, torch.tensor([0.0, 100.0]), atol=0.02, rtol=0)


def test_ringing_of_strong_edges_is_not_taken_for_noise() -> None:
    image, inside = torch.full((3,), 100.0), torch.tensor([90.0, 101.0, 120.0])
    out = without_leak(image, torch.full((3,), 100.0), inside, torch.tensor([1.0, 1.0, 2.0]), is_biased=False)
    assert out.tolist() == [103.0, 99.0, 94.0]


def test_magnitudes_do_not_become_negative() -> None:
    image = torch.tensor([0.5, 3.0, -2.0])
    out = without_leak(image, torch.full((3,), 4.0), torch.full((3,), 9.0), torch.ones(3), is_biased=False)
    assert bool((out[:2] >= 0).all())
    assert float(out[2]) >= -2.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": 0.0}, "level"),
        ({"level": float("nan")}, "level"),
        ({"kind": "gaussian"}, "kind"),
        ({"num_coils": 0}, "coils"),
        ({"noise_map": torch.zeros(1, 1, 3, 3)}, "positive"),
        ({"noise_map": torch.full((1, 1, 3, 3), float("nan"))}, "positive"),
        ({"noise_map": torch.ones(3, 3)}, "shape"),
    ],
)
def test_models_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(NoiseModelError, match=message):
        model(**options)


def test_maps_and_entries_that_do_not_fit_are_refused() -> None:
    with pytest.raises(NoiseModelError, match="does not fit"):
        check_noise_map(torch.ones(1, 1, 3, 4), (2, 5, 3, 3))
    with pytest.raises(NoiseModelError, match="entry"):
        NoiseModel.from_dict({"level": 1.0})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((8, 5, 8), "within"), ((8, 0, 9), "within"), ((8, 2, 6, (1.0,)), "taper"), ((4, 0, 4, (1.0, -1, 1, 1)), "taper")],
)
def test_supports_that_make_no_sense_are_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(NoiseModelError, match=message):
        AxisSpectrum(*arguments)


def test_an_acquired_matrix_larger_than_the_image_is_refused() -> None:
    with pytest.raises(NoiseModelError, match="300 samples"):
        AxisSpectrum.of_matrix(256, 300)


@pytest.mark.parametrize("signal", [0.0, 1.0, 3.0, 20.0])
def test_the_mean_of_magnitudes_becomes_their_signal(signal: float) -> None:
    """What is left in the band when all noise is taken off is the mean of magnitudes."""
    noise = from_acquired(complex_noise((300, 20, 17), torch.Generator().manual_seed(0)), SPECTRA)
    image = (signal + noise).abs()
    mean = image.mean(0, keepdim=True).expand_as(image)
    out = without_leak(image, mean, image, 1.0, is_biased=True)
    assert float(out.mean()) == pytest.approx(signal, abs=0.35 if signal < 2 else 0.05)
    assert float(out.std()) < 0.3


@pytest.mark.parametrize("size", [48, 49])
def test_what_lies_around_a_band_keeps_the_noise_in_it_white(size: int) -> None:
    for acquired in (24, 25, size):
        plain = AxisSpectrum.of_matrix(size, acquired)
        weights = np.linspace(1, 0.4, size)[np.abs(np.arange(acquired) - acquired // 2)]
        axis = AxisSpectrum(size, plain.start, plain.stop, tuple(weights))
        wide = beyond_band(axis)
        assert axis.acquired <= wide.acquired <= 1.6 * axis.acquired + 1
        inside = slice(axis.start, axis.stop)
        ratio = wide.weights()[inside] / axis.weights()[inside]
        torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), rtol=1e-3, atol=0)
        assert wide.acquired == size or wide.taper[0] < 0.8 * wide.weights()[axis.start]
    assert beyond_band(AxisSpectrum(8)) == AxisSpectrum(8)


@pytest.mark.parametrize("size", [20, 21])
def test_a_real_image_stays_real_in_the_band_around_its_own(size: int) -> None:
    """So it does not matter whether a taper is taken off together with the crop of k-space or after it."""
    weights = np.linspace(1, 0.5, 10)
    weights[:3] = 0
    wide = beyond_band(AxisSpectrum(size, size // 2 - 5, size // 2 + 5, tuple(weights)))
    image = torch.rand(4, size, generator=torch.Generator().manual_seed(0)) + 0j
    brought = to_acquired(image, [wide], [-1])
    torch.testing.assert_close(brought.imag, torch.zeros_like(brought.imag), rtol=0, atol=1e-5)
    assert float(brought.real.std()) > 0.1
    power = wide.weights()[size // 2 - 4 : size // 2 + 5].square()
    torch.testing.assert_close(power, power.flip(0))


def test_the_other_component_is_noise_of_the_level_whatever_frames_it_is_drawn_with() -> None:
    white = torch.rand(1, 1, 6, 30, 40)
    level = torch.linspace(1, 2, 40)
    both = as_complex(white, "noise", level, item=2, start=3)
    assert torch.equal(both[:, :1], white)
    torch.testing.assert_close((both[:, 1] / level).std(), torch.tensor(1.0), rtol=0.05, atol=0)
    assert torch.equal(as_complex(white[:, :, 2:4], "noise", level, 2, 5), both[:, :, 2:4])
    assert not torch.equal(as_complex(white, "noise", level, 1, 3), both)
    real = as_complex(white, "zero", level, item=2)
    assert torch.equal(real, torch.cat([white, torch.zeros_like(white)], 1))


def test_a_taper_is_put_on_a_support_and_kept_when_it_is_cropped() -> None:
    """Even weights are no taper."""
    plain = AxisSpectrum.of_matrix(32, 20)
    weights = np.linspace(1, 0.4, 20)
    tapered = plain.tapered(weights)
    assert tapered == AxisSpectrum(32, plain.start, plain.stop, tuple(weights.tolist()))
    assert tapered.cropped() == AxisSpectrum(20, 0, 20, tapered.taper)
    assert plain.tapered(np.ones(20)) == plain == tapered.bare()
    assert plain.cropped().is_white


def test_neighbors_are_alike_as_far_as_the_band_says() -> None:
    noise = from_acquired(complex_noise((400, 20, 17), torch.Generator().manual_seed(0)), SPECTRA)
    for axis, dim in zip(SPECTRA, (-2, -1), strict=True):
        pairs = noise * torch.roll(noise, 1, dim).conj()
        assert axis.likeness() == pytest.approx(float(pairs.mean().real / noise.abs().square().mean()), abs=0.02)
    assert AxisSpectrum(32).likeness() == 0
