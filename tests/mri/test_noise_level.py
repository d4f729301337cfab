# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The estimated noise level against the one that was simulated."""

from __future__ import annotations

import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from monai_stcnnt.errors import GFactorMapError, NoiseLevelError
from monai_stcnnt.mri.noise import NoiseColoring, color_noise, complex_noise
from monai_stcnnt.mri.noise_level import (
    background_noise_level,
    estimate_noise_level,
    temporal_noise_level,
    wavelet_noise_level,
)
from monai_stcnnt.mri.phantom import smooth_phase
from monai_stcnnt.mri.snr import foreground_mean

__all__: list[str] = []


@pytest.fixture(scope="module")
def head() -> torch.Tensor:
    """Real EPI volume (T = slices, H, W), smoothed, background set to zero, with a foreground mean of 1."""
    path = Path(nib.__file__).parent / "tests" / "data" / "example4d.nii.gz"
    volume = np.asarray(nib.load(path).dataobj, dtype=np.float32)[..., 0].transpose(2, 1, 0)  # type: ignore[attr-defined]
    smooth = torch.from_numpy(gaussian_filter(volume, (0, 0.7, 0.7)))
    smooth *= smooth > 0.12 * np.percentile(smooth.numpy(), 99)
    return smooth[::3] / foreground_mean(smooth)


def noisy(clean: torch.Tensor, sigma: float, coloring: NoiseColoring | None = None) -> torch.Tensor:
    """Complex image with a smooth phase and noise."""
    phase = smooth_phase(np.random.RandomState(0), clean.shape)
    noise = complex_noise(clean.shape, torch.Generator().manual_seed(0), sigma)
    return torch.polar(clean, phase) + color_noise(noise, coloring or NoiseColoring())


@pytest.mark.parametrize("snr", [2, 5, 10, 30])
@pytest.mark.parametrize("kind", ["magnitude", "complex"])
def test_with_air(head: torch.Tensor, snr: float, kind: str) -> None:
    image = noisy(head, 1 / snr)
    channels = image.abs()[None] if kind == "magnitude" else torch.stack((image.real, image.imag))
    estimate = estimate_noise_level(channels)
    assert estimate.method == "background"
    assert estimate.sigma * snr == pytest.approx(1, abs=0.02)
    assert estimate.background_share > 0.1


@pytest.mark.parametrize("snr", [2, 10, 30])
@pytest.mark.parametrize("coloring", [NoiseColoring(gaussian=(1.0, 1.0)), NoiseColoring(resolution=(0.5, 0.5))])
def test_filtered_noise_with_air(head: torch.Tensor, snr: float, coloring: NoiseColoring) -> None:
    estimate = estimate_noise_level(noisy(head, 1 / snr, coloring).abs()[None])
    assert estimate.method == "background"
    assert estimate.sigma * snr == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("snr", [2, 5, 10, 20])
def test_air_masked_to_zero(head: torch.Tensor, snr: float) -> None:
    estimate = estimate_noise_level((noisy(head, 1 / snr).abs() * (head > 0))[None])
    assert estimate.method == "wavelet"
    assert estimate.sigma * snr == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("snr", [2, 10, 20])
@pytest.mark.parametrize("kind", ["magnitude", "complex"])
def test_without_air(head: torch.Tensor, snr: float, kind: str) -> None:
    image = noisy(head, 1 / snr)[:, 30:66, 40:88]
    channels = image.abs()[None] if kind == "magnitude" else torch.stack((image.real, image.imag))
    assert estimate_noise_level(channels).sigma * snr == pytest.approx(1, abs=0.1)


def test_scaling_and_layout_do_not_matter(head: torch.Tensor) -> None:
    image = noisy(head, 0.1).abs()
    sigma = estimate_noise_level(image[None]).sigma
    assert estimate_noise_level(1000 * image[None]).sigma == pytest.approx(1000 * sigma, rel=1e-3)
    assert estimate_noise_level(image[:, None, None], channel_dim=1).sigma == pytest.approx(sigma)


def test_map_is_divided_out(head: torch.Tensor) -> None:
    gmap = torch.linspace(1, 4, head.shape[-1]).expand(1, 1, *head.shape[1:])
    phase = torch.polar(head, smooth_phase(np.random.RandomState(0), head.shape))
    image = phase + gmap[0] * complex_noise(head.shape, torch.Generator().manual_seed(0), 0.05)
    assert estimate_noise_level(image.abs()[None], gmap=gmap).sigma == pytest.approx(0.05, rel=0.05)
    with pytest.raises(GFactorMapError):
        estimate_noise_level(image.abs()[None], gmap=gmap - 1)


def test_coils_add_up() -> None:
    noise = complex_noise((4, 6, 96, 96), torch.Generator().manual_seed(0), 3.0)
    sigma, share = background_noise_level(noise.abs().square().sum(0).sqrt(), num_coils=4)
    assert sigma == pytest.approx(3, rel=0.02)
    assert share > 0.5


def test_image_without_noise_gets_the_floor() -> None:
    disk = (torch.hypot(*torch.meshgrid(*[torch.linspace(-1, 1, 64)] * 2, indexing="ij")) < 0.5).float()
    estimate = estimate_noise_level(200 * disk.expand(1, 2, 64, 64))
    assert estimate.method == "floor"
    assert estimate.sigma == pytest.approx(0.2)


@pytest.mark.parametrize(
    "image",
    [
        torch.zeros(1, 1, 8, 8),
        torch.full((1, 1, 8, 8), 3.0),
        torch.zeros(1, 0, 8, 8),
        torch.tensor([1.0, 2.0]).reshape(2, 1, 1, 1).expand(2, 1, 8, 8),
    ],
)
def test_nothing_to_estimate(image: torch.Tensor) -> None:
    with pytest.raises(NoiseLevelError):
        estimate_noise_level(image)


def test_not_finite_is_refused() -> None:
    with pytest.raises(NoiseLevelError, match="not finite"):
        estimate_noise_level(torch.tensor([[[[1.0, float("nan")]]]]))


def test_tiny_image_has_no_estimate() -> None:
    assert wavelet_noise_level(torch.rand(2, 3)) == 0
    assert background_noise_level(torch.rand(3, 3)) == (0, 0)


def test_integers_are_taken(head: torch.Tensor) -> None:
    image = (500 * noisy(head, 0.1).abs()).round().to(torch.int16)
    assert estimate_noise_level(image[None]).sigma == pytest.approx(50, rel=0.05)


def test_frames_tell_noise_from_structure() -> None:
    texture = 30 + 5 * torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    image = noisy(texture.expand(3, 8, 32, 32).reshape(24, 32, 32), 1.0).abs().reshape(3, 1, 8, 32, 32)
    estimate = estimate_noise_level(image, channel_dim=1)
    assert estimate.method == "temporal"
    assert estimate.sigma == pytest.approx(1, rel=0.05)
    assert wavelet_noise_level(image, 1) > 4
    assert temporal_noise_level(image[:, 0, :2], 1) == pytest.approx(1, rel=0.1)
    assert temporal_noise_level(image[:, 0, :1], 1) == 0
    assert temporal_noise_level(torch.zeros(1, 5, 8, 8), 1) == 0


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_frames_at_low_signal_are_corrected(scale: float) -> None:
    image = noisy(torch.full((20, 32, 32), scale), 1.0)
    assert temporal_noise_level(image.abs(), 1) == pytest.approx(1, rel=0.1)
    assert temporal_noise_level(image.real) == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("name", ["fmri_studyforrest/bold_vol1-16.nii.gz", "spine_sct/fmri_30vol.nii.gz"])
def test_repeated_scans_agree_with_their_differences(shared_data: Path, name: str) -> None:
    volumes = np.asarray(nib.load(shared_data / name).dataobj, dtype=np.float32)  # type: ignore[attr-defined]
    series = torch.from_numpy(volumes.transpose(2, 3, 1, 0).copy())
    mean = series.mean(1)
    between = (
        float(series.diff(dim=1).abs().median(1).values[mean > mean.quantile(0.8)].median()) / 0.6745 / math.sqrt(2)
    )
    assert estimate_noise_level(series[:, None], channel_dim=1).sigma == pytest.approx(between, rel=0.3)
