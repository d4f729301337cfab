# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Measure what adapting the light network to one scan brings, on scans that its training did not see.

    python -m benchmarks.scan_adaptation --data DIR

Every scan gets a smooth phase and white complex noise at two SNRs, so that the truth is known; the adaptation does not
see it. PSNR is of magnitudes, against the scan without noise; the noise that the scan itself has counts as signal.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser

from monai_stcnnt.apps.bundles import bundle_folder
from monai_stcnnt.checkpoints import load_weights
from monai_stcnnt.data import read_series
from monai_stcnnt.engines.adaptation import adapt_network, adaptation_windows
from monai_stcnnt.inferers import FrameSlidingWindowInferer
from monai_stcnnt.mri.phantom import smooth_field
from monai_stcnnt.mri.snr import snr_scale
from monai_stcnnt.networks import build_variant

__all__ = ["SCANS", "inferer_of_bundle", "main", "scan_clip"]

SCANS = {
    "7 T EPI of a phantom": "bold7t_phantom_siemens_xa60/bold_7t_product_sms1.nii.gz",
    "spinal cord, T2": "spine_sct/t2.nii.gz",
    "spinal cord, fMRI": "spine_sct/fmri_30vol.nii.gz",
    "brain with MS, FLAIR": "ms_lesions_train/patient01/flair.nii.gz",
    "brain with MS, T1": "ms_lesions_train/patient01/t1w.nii.gz",
    "brain, T1, 3 T Philips": "brain_t1_studyforrest/t1_crop_0p67mm.nii.gz",
    "brain, EPI, GE": "dicom_ge_fmri_repeats/ref_run4.nii.gz",
    "brain, diffusion, Canon": "dwi_canon_classic/own_conversion.nii.gz",
}
"""Scans that no training saw, the first ones of kinds that it did not see: name -> path below the data folder."""
SIZE = (16, 128, 128)


def inferer_of_bundle() -> FrameSlidingWindowInferer:
    """The windows that ``stcnnt denoise`` takes."""
    parser = ConfigParser()
    parser.read_config(bundle_folder("mri_denoising") / "configs" / "inference.json")
    inferer: FrameSlidingWindowInferer = parser.get_parsed_content("inferer")
    return inferer


def scan_clip(path: Path) -> torch.Tensor:
    """The middle of a scan, (T, H, W) up to 16x128x128: frames of a slice where there are 8, else slices."""
    array = torch.from_numpy(np.abs(read_series(path).array[:1]).astype(np.float32))[0]  # (T, Z, Y, X)
    clip = array[:, array.shape[1] // 2] if array.shape[0] >= 8 else array[0]
    for axis, most in enumerate(SIZE):
        length = min(clip.shape[axis], most)
        clip = clip.narrow(axis, (clip.shape[axis] - length) // 2, length)
    return clip


def psnr(image: torch.Tensor, clean: torch.Tensor) -> float:
    """PSNR of the magnitude of a complex clip (2, T, H, W), in dB."""
    error = (image.square().sum(0).sqrt() - clean).square().mean()
    return float(10 * torch.log10(clean.max() ** 2 / error))


def measure(name: str, path: Path, snr: float) -> dict[str, Any]:
    """Denoise one scan with the network as it is and adapted."""
    clean = scan_clip(path)
    clean = clean * snr_scale(clean, snr)
    phase = 2.0 * smooth_field(np.random.RandomState(0), clean.shape[1:])
    image = torch.stack([clean * torch.cos(phase), clean * torch.sin(phase)]).float()
    generator = torch.Generator().manual_seed(0)
    noisy = torch.cat([image + torch.randn(image.shape, generator=generator), torch.ones_like(image[:1])])[None]
    weights = bundle_folder("mri_denoising") / "models" / "model_complex.pt"
    network = load_weights(build_variant("stcnnt_light"), weights)
    inferer = inferer_of_bundle()
    start = time.perf_counter()
    windows = adaptation_windows(lambda a, b: noisy[:, :, a:b], clean.shape, inferer.window)
    adapted, found = adapt_network(network, windows)
    seconds = time.perf_counter() - start
    with torch.no_grad():
        before = psnr(inferer(noisy, network)[0], clean)
        after = psnr(inferer(noisy, adapted)[0], clean) if found.kept else before
    return {"scan": name, "SNR": snr, "PSNR": before, "adapted": after, "gain": after - before, "kept": found.kept,
            "risk": found.gain, "error": found.error, "seconds": seconds}  # fmt: skip


def rows(data: Path, snrs: list[float]) -> Iterator[dict[str, Any]]:
    """Measure every scan at every SNR."""
    for name, place in SCANS.items():
        for snr in snrs:
            yield measure(name, data / place, snr)


def main() -> None:
    """Measure and write a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--snr", type=float, nargs="+", default=[5.0, 15.0])
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    sys.stdout.write("| scan | SNR | PSNR | adapted | gain (dB) | risk fell by | kept | seconds |\n")
    sys.stdout.write("|---|--:|--:|--:|--:|--:|---|--:|\n")
    gains, changed = [], []
    for row in rows(options.data, options.snr):
        gains.append(row["gain"])
        changed += [row["gain"]] if row["kept"] else []
        sys.stdout.write(
            f"| {row['scan']} | {row['SNR']:g} | {row['PSNR']:.2f} | {row['adapted']:.2f} | {row['gain']:+.3f} | "
            f"{row['risk']:.5f} ± {row['error']:.5f} | {'yes' if row['kept'] else 'no'} | {row['seconds']:.0f} |\n"
        )
        sys.stdout.flush()
    sys.stdout.write(
        f"\nGain: mean {statistics.mean(gains):+.3f} dB, least {min(gains):+.3f} dB; of the {len(changed)} of "
        f"{len(gains)} that were changed {statistics.mean(changed or [0.0]):+.3f} dB.\n"
    )


if __name__ == "__main__":
    main()
