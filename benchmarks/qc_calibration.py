# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""How often quality control flags good and bad results: ``python benchmarks/qc_calibration.py --data SAMPLE_DATA``.

Noise of SNR 2, 5 and 15 is added to parts of real scans and to the cine phantom, so that the truth is known. Good
results are those of the bundled network at its own strength, and of an oracle that removes three quarters of the noise,
white or smoothed. Smoothing over pixels or frames, median filters and the network told a far too high noise level make
bad ones: those whose error exceeds the noise itself. The noise level is estimated, as the bundle does.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from scipy import ndimage

from monai_stcnnt.apps.bundles import bundle_folder
from monai_stcnnt.apps.review.quality import add_series_noise
from monai_stcnnt.apps.review.review import review_series
from monai_stcnnt.checkpoints import load_weights
from monai_stcnnt.data import SeriesRecord, read_series
from monai_stcnnt.inferers import FrameSlidingWindowInferer
from monai_stcnnt.mri.noise_level import estimate_noise_level
from monai_stcnnt.mri.phantom import cine_phantom
from monai_stcnnt.mri.snr import foreground_mask
from monai_stcnnt.networks.nets import build_variant

__all__ = ["main"]

SCANS = (
    "cine_sax_bivme/cine_sax.nii.gz",
    "abdomen_mr_totalseg/mr.nii.gz",
    "brain_flair_torchio/fernando_t2flair.nii.gz",
    "brain_t1_studyforrest/t1_crop_0p67mm.nii.gz",
    "brain_t1_voxelmorph_aseg/t1.nii.gz",
    "fmri_studyforrest/bold_vol1-16.nii.gz",
    "spine_sct/fmri_30vol.nii.gz",
    "phantom_philips_cs/201_T1W_TSE_Sno_CSno_CSAIno.nii.gz",
    "dicom_ge_fmri_repeats/ref_run4.nii.gz",
    "dwi_canon_classic/own_conversion.nii.gz",
    "asl_philips_enhanced/ref.nii.gz",
)
SNRS = (2.0, 5.0, 15.0)
SIZE = 112  # pixels of a part
LENGTH = 12  # frames or slices of a part


def record_of(values: np.ndarray) -> SeriesRecord:
    """Record of magnitudes ``(T, Z, Y, X)``."""
    return SeriesRecord(values[None], np.eye(4), 40.0 * np.arange(len(values)))


def clean_parts(data: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Names and magnitudes ``(T, Z, Y, X)`` of the middles of the scans that are there, and of the phantom."""
    yield "phantom", 300 * cine_phantom((LENGTH, SIZE, SIZE)).image.abs().numpy()[:, None]
    for name in SCANS:
        if not (data / name).exists():
            continue
        values = read_series(data / name).magnitude
        depth = LENGTH if len(values) == 1 else 1
        middle = [slice(max(0, (n - m) // 2), max(0, (n - m) // 2) + m)
                  for n, m in zip(values.shape[1:], (depth, SIZE, SIZE), strict=True)]  # fmt: skip
        yield name, np.ascontiguousarray(values[(slice(0, LENGTH), *middle)])


def network_result(network: torch.nn.Module, values: np.ndarray, sigma: float) -> np.ndarray:
    """Denoise magnitudes ``(T, Z, Y, X)`` with frames, or slices where there is one frame, as the frame axis."""
    order = (0, 1, 2, 3) if len(values) == 1 else (1, 0, 2, 3)
    clips = torch.from_numpy(values.transpose(order).astype(np.float32) / sigma)[:, None]
    inferer = FrameSlidingWindowInferer((16, 64, 64), shrink_to_image=True)
    with torch.inference_mode():
        done = [inferer(torch.cat([clip, torch.ones_like(clip)])[None], network)[0, 0] for clip in clips]
    return sigma * torch.stack(done).numpy().transpose(order)


def candidates(
    network: torch.nn.Module, clean: np.ndarray, noisy: np.ndarray, added: float, sigma: float
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Names of ways to denoise, what they were given, and what they made of it."""
    yield "network", noisy, network_result(network, noisy, sigma)
    rng = np.random.default_rng(0)
    for name, blur in (("oracle", 0.0), ("oracle, smooth noise", 0.8)):
        noise = ndimage.gaussian_filter(rng.standard_normal((2, *clean.shape)), (0, 0, 0, blur, blur))
        noise *= added / noise.std()
        given = np.hypot(clean + noise[0], noise[1])
        yield name, given, 0.75 * clean + 0.25 * given
    yield "network, 1.7 times the level", noisy, network_result(network, noisy, 1.7 * sigma)
    for width in (0.7, 1.0, 2.0):
        yield f"smoothed by {width} pixels", noisy, ndimage.gaussian_filter(noisy, (0, 0, width, width))
    yield "median of 3 x 3", noisy, ndimage.median_filter(noisy, (1, 1, 3, 3))
    if len(clean) > 2:
        for width in (1.0, 1.5):
            yield f"smoothed by {width} frames", noisy, ndimage.gaussian_filter1d(noisy, width, axis=0)
        yield "mean of all frames", noisy, np.broadcast_to(noisy.mean(axis=0), noisy.shape)


def main(
    data: Annotated[Path, typer.Option(help="Folder of sample scans; the phantom is used in any case.")] = Path("data"),
) -> None:
    """Print the results that are flagged against expectation, and how many there are of each kind."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logger = logging.getLogger("qc_calibration")
    weights = bundle_folder("mri_denoising") / "models" / "model.pt"
    network = load_weights(build_variant("stcnnt_light_magnitude"), weights).eval()
    counts: Counter[tuple[str, bool]] = Counter()
    for name, clean in clean_parts(data):
        inside = foreground_mask(torch.from_numpy(clean)).numpy()
        for snr in SNRS:
            series = add_series_noise(record_of(clean), snr, seed=0)
            noisy = series.noisy.magnitude
            sigma = estimate_noise_level(torch.from_numpy(noisy.transpose(1, 0, 2, 3)[:, None]), 1).sigma
            for way, given, made in candidates(network, clean, noisy, series.sigma, sigma):
                error = float(np.sqrt(np.square(made - clean)[inside].mean())) / series.sigma
                found = review_series(record_of(given), record_of(made), sigma=sigma)
                is_good = way in ("network", "oracle", "oracle, smooth noise")
                kind = "good" if is_good else "error above the noise" if error > 1 else "between"
                counts[kind, bool(found.flags)] += 1
                if bool(found.flags) == is_good and kind != "between":
                    names = ", ".join(flag.name for flag in found.flags) or "nothing"
                    logger.info("%s, SNR %g, %s (error %.2f): %s flagged", name, snr, way, error, names)
    for kind in ("good", "between", "error above the noise"):
        flagged, total = counts[kind, True], counts[kind, True] + counts[kind, False]
        logger.info("%-22s %3d of %3d flagged", kind, flagged, total)


if __name__ == "__main__":
    typer.run(main)
