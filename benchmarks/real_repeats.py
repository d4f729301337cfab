# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Measure denoising of real noise, without a simulated truth: on repeated acquisitions that no network was trained on.

``python -m benchmarks.real_repeats --data DIR`` denoises series of magnitudes as users do, with the noise level
estimated, and prints a table; README.md says what its figures mean. All are of pixels whose signal, averaged over time,
is in the foreground and above 3 noise levels; the Rician bias is taken off every mean that serves as a reference (Koay
and Basser, 2006, doi:10.1016/j.jmr.2006.01.016), and off the results of the methods that leave it in.

To add a method, write a function from a series of magnitudes and its noise level to the denoised series and list it in
:data:`METHODS`.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.signal import detrend

from benchmarks.classical_denoisers import block_matching
from benchmarks.held_out import crop_series
from benchmarks.quality_cases import from_stacks, to_stacks
from benchmarks.quality_report import write_results
from monai_stcnnt.apps.denoising import denoise
from monai_stcnnt.apps.review.quality import magnitude_record
from monai_stcnnt.data import SeriesRecord, read_series, write_nifti
from monai_stcnnt.errors import ConstantImageError, LayoutError
from monai_stcnnt.mri.noise_level import estimate_noise_level
from monai_stcnnt.mri.rician import rician_signal
from monai_stcnnt.mri.snr import foreground_mask

__all__ = [
    "METHODS",
    "SERIES",
    "Denoiser",
    "Repeats",
    "Row",
    "evaluate",
    "main",
    "make_repeats",
    "table",
]

logger = logging.getLogger("real_repeats")

Denoiser = Callable[[SeriesRecord, float], SeriesRecord]

SERIES = {
    "brain EPI (GE)": "dicom_ge_fmri_repeats/ref_run4.nii.gz",
    "brain BOLD (studyforrest)": "fmri_studyforrest/bold_vol1-16.nii.gz",
    "spinal cord fMRI": "spine_sct/fmri_30vol.nii.gz",
}
"""Time series of subjects that are in no training set: name -> path below the data folder."""

SIZE = (16, 80, 80, 1)
"""Largest numbers of frames, rows, columns and slices."""
LEAST_SNR = 3.0
GAUSSIAN_WIDTH = 0.8  # pixels
CHANGE_WIDTH = 2.0  # pixels
MIN_FRAMES = 4
MIN_PIXELS = 20


@dataclass(frozen=True, eq=False)
class Repeats:
    """A time series of magnitudes in SNR units.

    Attributes:
        name: of the series.
        sigma: its noise level per component, in the units of the file.
        noisy: the series over its noise level, ``(1, T, Z, Y, X)``.
        mask: the pixels ``(Z, Y, X)`` that the figures are of.
    """

    name: str
    sigma: float
    noisy: SeriesRecord
    mask: np.ndarray


@dataclass(frozen=True)
class Row:
    """Figures of one method on one series, over the pixels of the mask.

    Attributes:
        series: its name.
        method: its name.
        sigma: noise level per component that was estimated, in the units of the file.
        snr: mean signal over the noise level.
        tsnr: median of mean over standard deviation through time, after a linear trend of each pixel is taken off.
        bias: mean over time of the result less that of the noisy series without its Rician bias; its mean over
            pixels, in percent of the mean signal.
        bias_rms: root mean square of the same over pixels.
        plain_bias: as ``bias``, with the Rician bias left in the noisy mean.
        changes_kept: slope of the result's changes over time on those of the noisy series, both smoothed in the plane,
            where little noise is left in them: 1 where all slow and local changes are kept.
        changes_correlation: correlation of the same.
        split_psnr: of frames of one half of the series, denoised without the other, against the mean of the other, in
            dB; the largest value of the reference is the peak.
        seconds: for the whole series.
    """

    series: str
    method: str
    sigma: float
    snr: float
    tsnr: float
    bias: float
    bias_rms: float
    plain_bias: float
    changes_kept: float
    changes_correlation: float
    split_psnr: float
    seconds: float


def make_repeats(name: str, series: SeriesRecord) -> Repeats:
    """Scale a time series to SNR units by its estimated noise level, and find the pixels to look at.

    Args:
        name: what to call it.
        series: time series of any kind; of a complex one the magnitude is taken.

    Returns:
        The series with its mask.

    Raises:
        LayoutError: for fewer than 4 frames.
        ConstantImageError: where next to nothing is above 3 noise levels.
    """
    series = magnitude_record(series)
    frames = series.array.shape[1]
    if frames < MIN_FRAMES:
        raise LayoutError(f"{name} has {frames} frames. Repeats need {MIN_FRAMES} at least, to be split.")
    sigma = estimate_noise_level(torch.from_numpy(series.array[0].swapaxes(0, 1).copy())[None]).sigma
    noisy = series.with_array(series.array / np.float32(sigma))
    mean = rician_signal(noisy.array[0].mean(axis=0))
    mask = foreground_mask(torch.from_numpy(mean)).numpy() & (mean > LEAST_SNR)
    if mask.sum() < MIN_PIXELS:
        raise ConstantImageError(f"{name} has {mask.sum()} pixels above {LEAST_SNR:g} noise levels. Take another one.")
    return Repeats(name, sigma, noisy, mask)


def unchanged(series: SeriesRecord, _: float) -> SeriesRecord:
    """The noisy series itself."""
    return series


def mean_of_frames(series: SeriesRecord, sigma: float) -> SeriesRecord:
    """Every frame is the mean of all: what a method comes to that takes the series for a picture that stands still."""
    mean = rician_signal(series.array.mean(axis=1, keepdims=True) / sigma) * np.float32(sigma)
    return series.with_array(np.broadcast_to(mean, series.array.shape).copy())


def smoothed(series: SeriesRecord, sigma: float) -> SeriesRecord:
    """Gaussian smoothing of every frame, then without Rician bias."""
    array = gaussian_filter(series.array, (0, 0, 0, GAUSSIAN_WIDTH, GAUSSIAN_WIDTH))
    return series.with_array(rician_signal(array / sigma) * np.float32(sigma))


def block_matched(series: SeriesRecord, sigma: float) -> SeriesRecord:
    """BM4D with the noise level, then without Rician bias."""
    stacks = to_stacks(series.array / np.float32(sigma))
    result = np.stack([np.stack([block_matching(component) for component in stack]) for stack in stacks])
    return series.with_array(rician_signal(from_stacks(result, series.array.shape)) * np.float32(sigma))


def bundle_network(
    series: SeriesRecord, sigma: float, bundle: Path | None = None, device: str = "auto"
) -> SeriesRecord:
    """The denoising bundle, through files as a user runs it."""
    with tempfile.TemporaryDirectory() as folder:
        noisy = write_nifti(series, Path(folder) / "noisy.nii.gz")
        output = Path(folder) / "denoised.nii.gz"
        denoise(noisy, output, noise_sigma=sigma, bundle=bundle, device=device, progress=False)
        return read_series(output)


METHODS: dict[str, tuple[str, Denoiser]] = {
    "noisy": ("noisy", unchanged),
    "mean": ("mean of all frames", mean_of_frames),
    "gaussian": (f"Gaussian 2D, {GAUSSIAN_WIDTH:g} pixels", smoothed),
    "bm4d": ("BM4D", block_matched),
    "bundle": ("mri_denoising bundle", bundle_network),
}
"""What ``--methods`` chooses from: what the table calls it, and from a series and its noise level to the result."""


def evaluate(repeats: Repeats, name: str, method: Denoiser) -> Row:
    """Run a method on a series and on both of its halves.

    Args:
        repeats: the series.
        name: of the method.
        method: it gets the series in the units of the file, and its noise level.

    Returns:
        The figures.
    """
    start = time.perf_counter()
    result = _denoised(repeats, slice(None), method)
    seconds = time.perf_counter() - start
    noisy, mask = repeats.noisy.array[0], repeats.mask
    mean, after = noisy.mean(axis=0), result.mean(axis=0)
    signal = rician_signal(mean)
    level = float(signal[mask].mean())
    bias = (after - signal)[mask] / level
    kept, correlation = _changes(noisy, result, mask)
    return Row(
        series=repeats.name,
        method=name,
        sigma=repeats.sigma,
        snr=level,
        tsnr=float(np.median(_temporal_snr(result)[mask])),
        bias=100 * float(bias.mean()),
        bias_rms=100 * float(np.sqrt(np.square(bias).mean())),
        plain_bias=100 * float((after - mean)[mask].mean()) / level,
        changes_kept=kept,
        changes_correlation=correlation,
        split_psnr=_split_psnr(repeats, method),
        seconds=seconds,
    )


def _denoised(repeats: Repeats, frames: slice, method: Denoiser) -> np.ndarray:
    """Result ``(T, Z, Y, X)`` in SNR units for some frames alone, which the method gets in the units of the file."""
    part = replace(
        repeats.noisy,
        array=repeats.noisy.array[:, frames] * np.float32(repeats.sigma),
        frame_times=repeats.noisy.frame_times[frames],
    )
    return method(part, repeats.sigma).array[0] / np.float32(repeats.sigma)


def _temporal_snr(values: np.ndarray) -> np.ndarray:
    """Mean over standard deviation through time, without linear trends, of every pixel; infinite where none moves."""
    mean = values.mean(axis=0)
    spread = detrend(values.astype(np.float64), axis=0).std(axis=0, ddof=2)
    still = spread <= 1e-6 * np.abs(mean)
    return np.where(still, np.inf, mean / np.where(still, 1, spread))


def _changes(noisy: np.ndarray, result: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """Slope and correlation of changes over time in the mask, smoothed in the plane."""

    def smooth(values: np.ndarray) -> np.ndarray:
        changes = values - values.mean(axis=0)
        width = (0, 0, CHANGE_WIDTH, CHANGE_WIDTH)
        weight = gaussian_filter(np.broadcast_to(mask, values.shape).astype(np.float64), width)
        return (gaussian_filter(np.where(mask, changes, 0).astype(np.float64), width) / np.maximum(weight, 1e-3))[
            :, mask
        ]

    before, after = smooth(noisy), smooth(result)
    energy, left = np.square(before).sum(), np.square(after).sum()
    shared = float((before * after).sum())
    is_still = left <= 1e-12 * energy
    return shared / float(energy), 0.0 if is_still else shared / float(np.sqrt(energy * left))


def _split_psnr(repeats: Repeats, method: Denoiser) -> float:
    """PSNR of each half's frames, denoised by themselves, against the mean of the other half; mean of both ways."""
    half = repeats.noisy.array.shape[1] // 2
    parts = (slice(0, half), slice(half, None))
    found = []
    for part, other in (parts, parts[::-1]):
        reference = rician_signal(repeats.noisy.array[0, other].mean(axis=0))
        errors = (_denoised(repeats, part, method) - reference)[:, repeats.mask]
        peak = float(reference[repeats.mask].max())
        found.append(10 * np.log10(peak**2 / float(np.square(errors).mean())))
    return float(np.mean(found))


def table(rows: Sequence[Row]) -> str:
    """Markdown table of all results, with the gain in tSNR over the noisy series where that is among them."""
    start = {row.series: row.tsnr for row in rows if row.method == METHODS["noisy"][0]}
    lines = [
        "| series (SNR) | method | tSNR | gain | bias (%) | rms (%) | changes kept | correlation | split PSNR (dB) "
        "| seconds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        gain = f"{row.tsnr / start[row.series]:.2f}" if row.series in start else "-"
        lines.append(
            f"| {row.series} ({row.snr:.1f}) | {row.method} | {row.tsnr:.1f} | {gain} | {row.bias:+.2f} "
            f"| {row.bias_rms:.2f} | {row.changes_kept:.2f} | {row.changes_correlation:.2f} | {row.split_psnr:.2f} "
            f"| {row.seconds:.1f} |"
        )
    return "\n".join(lines) + "\n"


def _installed_methods() -> list[str]:
    is_there = all(find_spec(package) is not None for package in ("bm3d", "bm4d"))
    if not is_there:
        logger.warning("BM4D is left out, since the extra 'bench' is not installed.")
    return [name for name in METHODS if is_there or name != "bm4d"]


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the held-out series")
    parser.add_argument("--files", type=Path, nargs="+", default=[], help="further time series")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), help="default: all installed")
    parser.add_argument("--bundle", type=Path, help="another bundle than the package's")
    parser.add_argument("--device", default="auto", help="for the network")
    parser.add_argument("--output", type=Path, default=Path("real_repeats.json"), help="all results as JSON")
    parser.add_argument("--full", action="store_true", help="whole series")
    options = parser.parse_args(arguments)
    if options.data is None and not options.files:
        parser.error("give --data or --files")
    return options


def _repeats(options: argparse.Namespace) -> Iterator[Repeats]:
    paths = {} if options.data is None else {name: options.data / path for name, path in SERIES.items()}
    paths.update({path.name: path for path in options.files})
    for name, path in paths.items():
        series = read_series(path)
        yield make_repeats(name, series if options.full else crop_series(series, SIZE))


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Measure, print the table, and write the JSON file.

    Args:
        arguments: command-line options; those of the process by default.

    Returns:
        All results.
    """
    options = _arguments(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    chosen = {METHODS[name][0]: METHODS[name][1] for name in options.methods or _installed_methods()}
    ours = METHODS["bundle"][0]
    if ours in chosen:
        chosen[ours] = partial(bundle_network, bundle=options.bundle, device=options.device)
    rows: list[Row] = []
    for repeats in _repeats(options):
        for name, method in chosen.items():
            rows.append(evaluate(repeats, name, method))
            logger.info("%s: %s, %.2f dB", repeats.name, name, rows[-1].split_psnr)
        write_results(options.output, rows, options)
    sys.stdout.write(table(rows))
    return rows


if __name__ == "__main__":
    main()
