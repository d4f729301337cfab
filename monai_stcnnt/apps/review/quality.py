# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""How good a denoised image is: noise on a scan whose truth is then known, PSNR and SSIM.

Both figures are those of magnitudes, over the whole image, with the largest clean magnitude as the data range. SSIM
follows Wang et al. (2004, doi:10.1109/TIP.2003.819861): Gaussian windows with a standard deviation of 1.5 pixels in
every two-dimensional image, then the mean over all slices and frames.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from monai_stcnnt.data import SeriesRecord
from monai_stcnnt.errors import ConstantImageError, ImageSizeError, LayoutError, NoiseLevelError
from monai_stcnnt.metrics import magnitude_psnr, magnitude_ssim
from monai_stcnnt.mri.noise import complex_noise
from monai_stcnnt.mri.phantom import smooth_phase
from monai_stcnnt.mri.snr import foreground_mean

__all__ = ["ImageQuality", "NoisySeries", "add_series_noise", "image_quality", "magnitude_record"]

_SSIM_WINDOW = 11  # pixels that the Gaussian window covers


@dataclass(frozen=True)
class ImageQuality:
    """How close an image is to the truth.

    Attributes:
        psnr: peak signal-to-noise ratio in dB; infinite for the truth itself.
        ssim: structural similarity, 1 for the truth itself.
    """

    psnr: float
    ssim: float


@dataclass(frozen=True, eq=False)
class NoisySeries:
    """A series with noise that was added to it, and the series without.

    Attributes:
        clean: complex record, in the units of the scan.
        noisy: complex record, the same with white noise.
        sigma: standard deviation of that noise per real and imaginary component, in the units of the scan.
    """

    clean: SeriesRecord
    noisy: SeriesRecord
    sigma: float


def magnitude_record(record: SeriesRecord) -> SeriesRecord:
    """Record of the magnitudes ``(1, T, Z, Y, X)`` of a record, with the same geometry, times and metadata."""
    return replace(record, array=record.magnitude[None], metadata={**record.metadata, "kind": "magnitude"})


def add_series_noise(record: SeriesRecord, snr: float, seed: int) -> NoisySeries:
    """Add white complex noise to a scan, so that the scan is the truth.

    The SNR is the mean magnitude over the foreground (where it exceeds a tenth of its 99th percentile), divided by the
    noise standard deviation per component. A magnitude scan gets a smooth random phase first: another one for every
    slice, or one for the whole volume where there is no time. Divide by ``sigma`` to have SNR units.

    Args:
        record: the scan, complex or magnitude; what noise it has itself counts as truth.
        snr: the wanted SNR.
        seed: of the phase and of the noise.

    Returns:
        Clean and noisy series, both complex, and the noise level.

    Raises:
        NoiseLevelError: if the SNR is not a positive number.
        ConstantImageError: if the scan is empty of signal.
    """
    if not (np.isfinite(snr) and snr > 0):
        raise NoiseLevelError(f"The SNR is {snr}. Give a positive number.")
    signal = foreground_mean(torch.tensor(record.magnitude))
    if signal <= 0:
        raise ConstantImageError(f"{record.metadata.get('source', 'The image')} has no signal to compare noise with.")
    rng = np.random.RandomState(seed)
    array = record.array if record.kind == "complex" else _with_phase(record.array[0], rng)
    noise = complex_noise(array.shape[1:], rng, signal / snr)
    noisy = array + np.stack([noise.real.numpy(), noise.imag.numpy()])
    clean = replace(record, array=array, metadata={**record.metadata, "kind": "complex"})
    return NoisySeries(clean, clean.with_array(noisy), signal / snr)


def image_quality(truth: SeriesRecord, image: SeriesRecord) -> ImageQuality:
    """Compare an image with the truth.

    Args:
        truth: the clean series, complex or magnitude.
        image: series of the same size ``(T, Z, Y, X)`` and units, complex or magnitude.

    Returns:
        PSNR and SSIM of the magnitudes.

    Raises:
        LayoutError: if the sizes differ.
        ConstantImageError: if the truth is zero everywhere.
        ImageSizeError: if rows or columns are fewer than the 11 pixels of SSIM's window.
    """
    if truth.array.shape[1:] != image.array.shape[1:]:
        raise LayoutError(
            f"The image has (T, Z, Y, X) = {image.array.shape[1:]}, the truth {truth.array.shape[1:]}. "
            "Give two of one size."
        )
    if min(truth.array.shape[-2:]) < _SSIM_WINDOW:
        raise ImageSizeError(
            f"SSIM needs at least {_SSIM_WINDOW} rows and columns, and the image has (Y, X) = {truth.array.shape[-2:]}."
        )
    other, clean = (torch.tensor(series.magnitude)[:, None] for series in (image, truth))
    return ImageQuality(magnitude_psnr(other, clean), magnitude_ssim(other, clean))


def _with_phase(magnitude: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Real and imaginary part ``(2, T, Z, Y, X)`` of magnitudes ``(T, Z, Y, X)`` with a smooth random phase."""
    frames, slices, height, width = magnitude.shape
    if frames == 1:
        phase = smooth_phase(rng, (slices, height, width)).numpy()[None]
    else:
        phase = np.stack([smooth_phase(rng, (frames, height, width)).numpy() for _ in range(slices)], axis=1)
    return np.stack([magnitude * np.cos(phase), magnitude * np.sin(phase)])
