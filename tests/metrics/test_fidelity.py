# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Numbers of known images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from monai_stcnnt.errors import ConstantImageError, LayoutError
from monai_stcnnt.metrics.cumulative import MagnitudePSNRMetric, MagnitudeSSIMMetric
from monai_stcnnt.metrics.fidelity import magnitude_psnr, magnitude_ssim
from monai_stcnnt.mri.channels import complex_to_channels
from monai_stcnnt.mri.noise import complex_noise
from monai_stcnnt.mri.phantom import cine_phantom

__all__: list[str] = []


def images(sigma: float = 0.05) -> tuple[torch.Tensor, torch.Tensor]:
    """Clean and noisy cine, (2, T, H, W)."""
    clean = cine_phantom((8, 40, 44)).image
    noise = complex_noise(clean.shape, torch.Generator().manual_seed(0), sigma)
    return complex_to_channels(clean), complex_to_channels(clean + noise)


def magnitudes(clip: torch.Tensor) -> np.ndarray:
    """Magnitudes (T, H, W)."""
    return torch.hypot(clip[0], clip[1]).numpy()


def test_psnr_and_ssim_are_those_of_scikit_image() -> None:
    clean, noisy = images()
    truth, image = magnitudes(clean), magnitudes(noisy)
    peak = float(truth.max())
    assert magnitude_psnr(noisy, clean) == pytest.approx(
        peak_signal_noise_ratio(truth, image, data_range=peak), abs=1e-3
    )
    frames = [
        structural_similarity(
            t, i, data_range=peak, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, win_size=11, full=True
        )[1][5:-5, 5:-5].mean()
        for t, i in zip(truth, image, strict=True)
    ]
    assert magnitude_ssim(noisy, clean) == pytest.approx(float(np.mean(frames)), abs=1e-3)
    assert magnitude_ssim(clean, clean) == pytest.approx(1)


def test_units_do_not_matter() -> None:
    clean, noisy = images()
    assert magnitude_psnr(300 * noisy, 300 * clean) == pytest.approx(magnitude_psnr(noisy, clean), abs=1e-3)
    assert magnitude_ssim(300 * noisy, 300 * clean) == pytest.approx(magnitude_ssim(noisy, clean), abs=1e-4)


def test_wrong_shapes_and_empty_truth() -> None:
    clean, noisy = images()
    with pytest.raises(LayoutError):
        magnitude_psnr(noisy[:, :3], clean)
    with pytest.raises(LayoutError):
        magnitude_ssim(noisy[0], clean[0])
    with pytest.raises(ConstantImageError):
        magnitude_psnr(noisy, torch.zeros_like(clean))


@pytest.mark.parametrize(
    ("metric", "function"),
    [
        (MagnitudePSNRMetric, magnitude_psnr),
        (MagnitudeSSIMMetric, magnitude_ssim),
    ],
)
def test_metric_averages_over_items(metric: type, function: object) -> None:
    clean, noisy = images()
    worse = clean + 2 * (noisy - clean)
    accumulated = metric()
    accumulated(torch.stack((noisy, worse)), torch.stack((clean, clean)))
    accumulated(noisy[None], clean[None])
    assert callable(function)
    values = [function(noisy, clean), function(worse, clean), function(noisy, clean)]
    assert float(accumulated.aggregate()) == pytest.approx(np.mean(values), rel=1e-4)
    accumulated.reset()
    with pytest.raises(ValueError, match="no item"):
        accumulated.aggregate()
    with pytest.raises(ValueError, match="truth"):
        accumulated(noisy[None])
