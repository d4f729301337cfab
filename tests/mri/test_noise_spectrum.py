# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The support and the taper that are found, against those that were simulated."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch

from monai_stcnnt.mri.axis_spectrum import AxisSpectrum
from monai_stcnnt.mri.fft import resize_matrix
from monai_stcnnt.mri.noise import complex_noise
from monai_stcnnt.mri.noise_model import from_acquired
from monai_stcnnt.mri.phantom import cine_phantom
from monai_stcnnt.mri.snr import foreground_mean
from monai_stcnnt.mri.spectra.estimation import estimate_spectrum

__all__: list[str] = []

SIZE = (6, 96, 80)
Kind = Literal["complex", "magnitude"]


def item(axes: tuple[AxisSpectrum, AxisSpectrum], snr: float, kind: Kind, seed: int = 0) -> torch.Tensor:
    """A beating heart with noise of level 1, ``(1, C, T, H, W)``."""
    clean = cine_phantom(SIZE, np.random.RandomState(seed)).image
    clean = resize_matrix(resize_matrix(clean, [a.acquired for a in axes], keep="signal"), SIZE[1:], keep="signal")
    noise = complex_noise((SIZE[0], *(a.acquired for a in axes)), torch.Generator().manual_seed(seed))
    image = clean * snr / foreground_mean(clean.abs()) + from_acquired(noise, axes)
    return image.abs()[None, None] if kind == "magnitude" else torch.stack((image.real, image.imag))[None]


@pytest.mark.parametrize("kind", ["complex", "magnitude"])
@pytest.mark.parametrize("snr", [3.0, 8.0])
@pytest.mark.parametrize("acquired", [(48, 80), (64, 56)])
def test_the_support_is_found_within_a_sample_or_two_at_low_snr(
    acquired: tuple[int, int], snr: float, kind: Kind
) -> None:
    axes = (AxisSpectrum.of_matrix(96, acquired[0]), AxisSpectrum.of_matrix(80, acquired[1]))
    (frames, *found), certainty = estimate_spectrum(item(axes, snr, kind), 1.0)
    assert frames.is_white
    assert certainty > 0
    off = 2 if kind == "magnitude" and snr < 5 else 1  # the phase makes the edge of magnitudes soft
    for axis, true in zip(found, axes, strict=True):
        assert abs(axis.start - true.start) <= off
        assert abs(axis.stop - true.stop) <= off


@pytest.mark.parametrize("kind", ["complex", "magnitude"])
@pytest.mark.parametrize("sigma", [1.0, None])
@pytest.mark.parametrize("snr", [3.0, 20.0])
def test_white_noise_is_white(snr: float, sigma: float | None, kind: Kind) -> None:
    found, _ = estimate_spectrum(item((AxisSpectrum(96), AxisSpectrum(80)), snr, kind), sigma)
    assert all(axis.is_white for axis in found)


def test_a_taper_on_one_side_is_found() -> None:
    weights = np.clip(1.2 - np.arange(96) / 96, 0.3, 1.0)
    axes = (AxisSpectrum(96, 0, 96, tuple(weights)), AxisSpectrum(80))
    found, _ = estimate_spectrum(item(axes, 5.0, "complex"), 1.0)
    assert found[2].is_white
    np.testing.assert_allclose(found[1].taper, axes[0].taper, atol=0.25)
    assert found[1].taper[-1] < 0.6


def test_the_slices_of_a_volume_are_looked_at() -> None:
    axes = (AxisSpectrum.of_matrix(40, 24), AxisSpectrum(48), AxisSpectrum(48))
    noise = from_acquired(complex_noise((24, 48, 48), torch.Generator().manual_seed(0)), axes, (0, 1, 2))
    image = torch.stack((noise.real + 5, noise.imag))[None]
    found, _ = estimate_spectrum(image, 1.0, is_volume=True)
    assert abs(found[0].acquired - 24) <= 1
    assert found[1].is_white
    assert estimate_spectrum(image, 1.0)[0][0].is_white


def test_a_header_makes_a_weak_edge_believed_no_more() -> None:
    image = item((AxisSpectrum(96), AxisSpectrum(80)), 5.0, "magnitude")
    found, _ = estimate_spectrum(image, 1.0, expected=(64, 56))
    assert all(axis.is_white for axis in found)


@pytest.mark.parametrize("shape", [(1, 1, 1, 8, 8), (1, 2, 1, 23, 40), (3, 1, 2, 30, 31)])
def test_small_images_have_an_answer(shape: tuple[int, ...]) -> None:
    found, _ = estimate_spectrum(torch.rand(shape, generator=torch.Generator().manual_seed(0)), 0.3)
    assert [axis.size for axis in found] == list(shape[2:])
