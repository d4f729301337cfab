# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Noisy clips for training: laws of level, map, means and k-space."""

import numpy as np
import pytest
import torch

from monai_stcnnt.data.training.clip_noise import NoisyClips, leaked, rician_means
from monai_stcnnt.data.training.clip_pool import ClipPool
from monai_stcnnt.mri.fft import fftc
from monai_stcnnt.mri.rician import rician_mean


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> ClipPool:
    """Clips of a smooth blob."""
    y, x = np.mgrid[-1:1:48j, -1:1:48j]
    blob = np.rint(250 * np.exp(-3 * (y**2 + x**2))).astype(np.uint8)
    path = tmp_path_factory.mktemp("clips") / "clips.npz"
    np.savez(path, **{"train/time/blob_0": np.broadcast_to(blob, (4, 48, 48))})  # type: ignore[arg-type]
    return ClipPool(path, "cpu")


def plain(pool: ClipPool, mode: str, snr: float, **options: float) -> NoisyClips:
    """Clips at one SNR with the level told, no map and noise in all, unless options say otherwise."""
    chosen = {"level_error": 0.0, "map_prob": 0.0, "clean_prob": 0.0, "limit_prob": 0.0, "kspace_prob": 0.0, **options}
    return NoisyClips(pool, mode, (snr, snr), **chosen)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{}, {"map_prob": 1.0}, {"kspace_prob": 1.0}])
def test_noise_has_the_level_of_the_map(pool: ClipPool, options: dict[str, float]) -> None:
    """One per component where the map is 1, weighted k-space or not; the map that is told is off by some percent."""
    torch.manual_seed(0)
    image, label = plain(pool, "complex", 10.0, **options).draw(6, (4, 40, 40))
    assert image.shape == (6, 3, 4, 40, 40)
    assert label.shape == (6, 2, 4, 40, 40)
    errors = (image[:, :2] - label) / image[:, 2:]
    assert float(errors.square().mean()) == pytest.approx(1.0, rel=0.08)


def test_magnitudes_are_those_of_complex_images_with_noise(pool: ClipPool) -> None:
    """Without signal their mean is that of Rayleigh's distribution; the label is the clean magnitude."""
    torch.manual_seed(0)
    image, label = plain(pool, "magnitude", 1e-4).draw(4, (4, 40, 40))
    assert float(image[:, 0].mean()) == pytest.approx(np.sqrt(np.pi / 2), rel=0.02)
    assert float(label.amax()) < 0.01


def test_a_level_that_is_wrong_scales_image_and_label_alike(pool: ClipPool) -> None:
    """As an estimate does that is off."""
    torch.manual_seed(0)
    image, label = plain(pool, "complex", 5.0, level_error=0.5, clean_prob=1.0).draw(4, (2, 32, 32))
    assert torch.equal(image[:, :2], label)
    assert float(label.square().sum(1).sqrt().amax((1, 2, 3)).std()) > 0.5


def test_clean_magnitudes_are_means_over_the_noise(pool: ClipPool) -> None:
    """So that the network leaves them where it would leave the mean of many repeats."""
    image, label = plain(pool, "magnitude", 5.0, clean_prob=1.0).draw(2, (2, 32, 32))
    assert torch.allclose(image[:, :1], rician_means(label), atol=1e-5)


def test_a_limited_signal_ends_inside_of_k_space(pool: ClipPool) -> None:
    """The rim of k-space is empty in at least a third of these clips."""
    torch.manual_seed(0)
    _, label = plain(pool, "complex", 50.0, limit_prob=1.0).draw(8, (1, 32, 32))
    power = fftc(torch.complex(label[:, 0, 0], label[:, 1, 0]), (-2, -1)).abs()
    assert int((power[:, 0].amax(1) < 1e-3 * power.amax((1, 2))).sum()) >= 3


def test_zero_filled_magnitudes_of_a_smooth_image_come_back() -> None:
    """What magnitudes leak out of the band is noise, or signal at sharp edges, not smooth signal."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij")
    smooth = (2 + torch.cos(2 * y) * torch.cos(x)).to(torch.complex64)[None, None]
    inside = slice(4, -4)
    assert torch.allclose(leaked(smooth, 1.5)[..., inside, inside], smooth.abs()[..., inside, inside], rtol=0.02)
    torch.manual_seed(0)
    noise = torch.complex(torch.randn(1, 8, 32, 32), torch.randn(1, 8, 32, 32))
    assert float(leaked(noise, 1.5).mean()) == pytest.approx(np.sqrt(np.pi / 2), rel=0.05)


def test_means_are_those_of_the_noise_model() -> None:
    """On any device, by scaled Bessel functions."""
    signal = np.linspace(0, 30, 100)
    assert rician_means(torch.from_numpy(signal)).numpy() == pytest.approx(rician_mean(signal), rel=1e-5)
