# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Noise on scans with known truth, and the figures that compare an image with it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from monai_stcnnt.apps.review.quality import add_series_noise, image_quality, magnitude_record
from monai_stcnnt.data import SeriesRecord
from monai_stcnnt.errors import ConstantImageError, ImageSizeError, LayoutError, NoiseLevelError

__all__: list[str] = []


def block_series(shape: tuple[int, ...] = (1, 2, 3, 24, 32), value: float = 100.0) -> SeriesRecord:
    """Bright block in air."""
    array = np.zeros(shape, np.float32)
    array[0, ..., 6:-6, 8:-8] = value
    return SeriesRecord(array, np.eye(4), np.zeros(shape[1]), {"kind": "magnitude"})


def small_series(rows: int) -> SeriesRecord:
    """Ramp of few rows."""
    return SeriesRecord(np.arange(rows * 32.0).reshape(1, 1, 1, rows, 32), np.eye(4), np.zeros(1))


@pytest.mark.parametrize("snr", [1.0, 5.0, 20.0])
@pytest.mark.parametrize("frames", [1, 2])
def test_noise_has_the_asked_snr(snr: float, frames: int) -> None:
    scan = block_series((1, frames, 4, 24, 32))
    noisy = add_series_noise(scan, snr, seed=0)
    assert noisy.sigma == pytest.approx(100.0 / snr)
    noise = noisy.noisy.array - noisy.clean.array
    assert noise.std(axis=(1, 2, 3, 4)) == pytest.approx([noisy.sigma] * 2, rel=0.05)
    assert np.corrcoef(noise.reshape(2, -1))[0, 1] == pytest.approx(0, abs=0.06)


def test_phase_leaves_the_magnitude_and_fills_both_components() -> None:
    clean = add_series_noise(block_series(), 5, seed=3).clean
    np.testing.assert_allclose(clean.magnitude, block_series().array[0], rtol=1e-5)
    assert (np.abs(clean.array).max(axis=(1, 2, 3, 4)) > 50).all()
    assert clean.kind == clean.metadata["kind"] == "complex"


def test_complex_scan_keeps_its_phase() -> None:
    scan = block_series((2, 2, 3, 24, 32))
    np.testing.assert_array_equal(add_series_noise(scan, 5, seed=0).clean.array, scan.array)


def test_same_seed_same_noise() -> None:
    first, again, other = (add_series_noise(block_series(), 5, seed).noisy.array for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("snr", [0.0, -1.0, math.nan, math.inf])
def test_snr_that_is_none_is_refused(snr: float) -> None:
    with pytest.raises(NoiseLevelError, match="SNR"):
        add_series_noise(block_series(), snr, seed=0)


def test_scan_without_signal_is_refused() -> None:
    with pytest.raises(ConstantImageError, match="no signal"):
        add_series_noise(block_series(value=0), 5, seed=0)


def test_psnr_follows_its_definition() -> None:
    truth = block_series()
    wrong = truth.with_array(truth.array + 5)
    assert image_quality(truth, wrong).psnr == pytest.approx(20 * math.log10(100 / 5))


def test_truth_is_perfect_and_noise_only_lowers() -> None:
    series = add_series_noise(block_series(), 20, seed=0)
    worse = add_series_noise(block_series(), 2, seed=0)
    perfect = image_quality(series.clean, series.clean)
    better, bad = image_quality(series.clean, series.noisy), image_quality(worse.clean, worse.noisy)
    assert (perfect.psnr, perfect.ssim) == (math.inf, 1.0)
    assert perfect.psnr > better.psnr > bad.psnr
    assert perfect.ssim > better.ssim > bad.ssim


def test_figures_do_not_depend_on_units_or_kind() -> None:
    series = add_series_noise(block_series(), 5, seed=0)
    expected = image_quality(series.clean, series.noisy)
    scaled = image_quality(
        series.clean.with_array(series.clean.array * 7), series.noisy.with_array(series.noisy.array * 7)
    )
    magnitudes = image_quality(magnitude_record(series.clean), magnitude_record(series.noisy))
    for other in (scaled, magnitudes):
        assert (other.psnr, other.ssim) == pytest.approx((expected.psnr, expected.ssim), rel=1e-4)


@pytest.mark.parametrize(
    ("truth", "image", "error"),
    [
        (block_series(), block_series((1, 2, 3, 24, 30)), LayoutError),
        (block_series(value=0), block_series(), ConstantImageError),
        (small_series(10), small_series(10).with_array(small_series(10).array + 1), ImageSizeError),
    ],
)
def test_what_cannot_be_compared_is_refused(truth: SeriesRecord, image: SeriesRecord, error: type[Exception]) -> None:
    with pytest.raises(error):
        image_quality(truth, image)
