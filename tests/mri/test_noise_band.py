# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The band of the noise of magnitudes: its width, its taper, and that white noise has none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_stcnnt.mri.axis_spectrum import AxisSpectrum
from monai_stcnnt.mri.fft import resize_matrix
from monai_stcnnt.mri.noise import complex_noise
from monai_stcnnt.mri.noise_model import from_acquired
from monai_stcnnt.mri.phantom import cine_phantom
from monai_stcnnt.mri.snr import foreground_mean
from monai_stcnnt.mri.spectra.band import depth_band, magnitude_bands

__all__: list[str] = []

SIZE = (6, 96, 96)


def heart(axes: tuple[AxisSpectrum, AxisSpectrum], snr: float, gmap: torch.Tensor | None = None) -> torch.Tensor:
    """Magnitudes ``(1, 1, T, H, W)`` of a beating heart with noise of level 1 times a map on the acquired matrix."""
    matrix = [axis.acquired for axis in axes]
    clean = resize_matrix(resize_matrix(cine_phantom(SIZE).image, matrix, keep="signal"), SIZE[1:], keep="signal")
    noise = complex_noise((SIZE[0], *matrix), torch.Generator().manual_seed(0))
    noise = from_acquired(noise if gmap is None else noise * gmap, axes)
    return (clean * snr / foreground_mean(clean.abs()) + noise).abs()[None, None]


@pytest.mark.parametrize("snr", [3.0, 5.0, 20.0])
@pytest.mark.parametrize("acquired", [(48, 64), (60, 96)])
def test_bands_are_found_without_air_and_with_a_map(acquired: tuple[int, int], snr: float) -> None:
    axes = tuple(AxisSpectrum.of_matrix(96, n) for n in acquired)
    gmap = torch.linspace(1, 2.5, acquired[0])[:, None].expand(*acquired)
    for one in (None, gmap):
        bands = magnitude_bands(heart((axes[0], axes[1]), snr, one)[..., 16:80, 16:80])
        scaled = [n * 64 / 96 for n in acquired]
        assert all(abs(band.acquired - n) <= 3 for band, n in zip(bands, scaled, strict=True))


@pytest.mark.parametrize("snr", [3.0, 20.0])
def test_white_noise_fills_all(snr: float) -> None:
    white = (AxisSpectrum(96), AxisSpectrum(96))
    bands = magnitude_bands(heart(white, snr, torch.linspace(1, 2.5, 96)[:, None].expand(96, 96)))
    assert all((band.acquired, band.taper) == (96, ()) for band in bands)


def test_a_taper_is_found() -> None:
    weights = tuple(np.linspace(1, 0.4, 33)[np.abs(np.arange(64) - 32)])
    axes = (AxisSpectrum(96, 16, 80, weights), AxisSpectrum(96))
    rows, columns = magnitude_bands(heart(axes, 5.0))
    assert abs(rows.acquired - 64) <= 3
    assert min(rows.taper) < 0.7 * max(rows.taper)
    assert columns.acquired == 96


def test_the_blur_of_the_edge_is_no_taper() -> None:
    """The outermost samples, whose power the phase spreads, get the weight of those inside."""
    axes = (AxisSpectrum.of_matrix(96, 60), AxisSpectrum.of_matrix(96, 60))
    for band in magnitude_bands(heart(axes, 5.0)):
        assert not band.taper or (band.taper[-1] == band.taper[-3] and min(band.taper) > 0.6)


def test_interpolated_slices_are_found() -> None:
    axes = (AxisSpectrum.of_matrix(40, 24), AxisSpectrum(48), AxisSpectrum(48))
    noise = from_acquired(complex_noise((24, 48, 48), torch.Generator().manual_seed(0)), axes, (0, 1, 2))
    assert abs(depth_band((noise + 8).abs()).acquired - 24) <= 2
    white = complex_noise((40, 48, 48), torch.Generator().manual_seed(1))
    assert depth_band((white + 8).abs()).acquired == 40


@pytest.mark.parametrize("values", [torch.zeros(1, 1, 1, 32, 32), torch.ones(1, 1, 4, 33, 31)])
def test_images_without_noise_have_an_answer(values: torch.Tensor) -> None:
    for band, size in zip(magnitude_bands(values), values.shape[-2:], strict=True):
        assert band.acquired == size
