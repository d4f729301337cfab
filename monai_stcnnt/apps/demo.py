# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The demonstration: a real scan is denoised as it is, and once more with noise added, where the truth is known.

``python -m monai_stcnnt.apps.demo --output demo_output`` takes the brain scan that comes with nibabel (EPI, two
volumes), runs the denoising bundle on both, and writes NIfTI files and one picture. The bundle is told no noise level;
it estimates it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import torch
import typer

from monai_stcnnt.apps.denoising import denoise
from monai_stcnnt.apps.review.pictures import png_report
from monai_stcnnt.apps.review.quality import (
    ImageQuality,
    add_series_noise,
    image_quality,
    magnitude_record,
)
from monai_stcnnt.apps.review.review import review_series
from monai_stcnnt.apps.review.views import foreground, residual_signal
from monai_stcnnt.data import SeriesRecord, check_output_folder, read_series, write_nifti
from monai_stcnnt.errors import StcnntError
from monai_stcnnt.mri.noise_level import estimate_noise_level
from monai_stcnnt.mri.snr import image_snr

__all__ = ["DEMO_FILES", "DemoResult", "main", "read_demo_scan", "run_demo", "summary"]

DEMO_FILES = {
    "scan_denoised.nii.gz": "the scan as it is, denoised",
    "truth.nii.gz": "the scan as it is, taken for the truth",
    "noisy.nii.gz": "the scan with noise added",
    "denoised.nii.gz": "that, denoised",
}
"""What :func:`run_demo` writes beside the picture ``demo.png``: file name -> content."""

Denoiser = Callable[[Path, Path], Sequence[Path]]
"""Denoises a file, the first path, into another; returns what it wrote."""


@dataclass(frozen=True)
class DemoResult:
    """The figures of the demonstration. Noise levels are standard deviations per component in the units of the scan.

    Attributes:
        scan_sigma: noise level that is estimated for the scan as it is.
        scan_snr: mean magnitude of its foreground over that.
        residual: standard deviation of the residual in the scan's foreground, over that noise level.
        snr: SNR of the noisy scan.
        true_sigma: noise level that was added.
        estimated_sigma: noise level that is estimated for the noisy scan.
        noisy: quality of the noisy scan.
        denoised: quality of the denoised one.
        folder: where the files are.
    """

    scan_sigma: float
    scan_snr: float
    residual: float
    snr: float
    true_sigma: float
    estimated_sigma: float
    noisy: ImageQuality
    denoised: ImageQuality
    folder: Path

    @property
    def picture(self) -> Path:
        """Truth, noisy, denoised, the residual, and the error that is left."""
        return self.folder / "demo.png"


def read_demo_scan() -> SeriesRecord:
    """Read the scan that comes with nibabel: a brain EPI of two volumes, 128 x 96 x 24 voxels of 2 x 2 x 2.2 mm."""
    with as_file(files("nibabel") / "tests" / "data" / "example4d.nii.gz") as path:
        return read_series(path)


def run_demo(
    output: str | Path,
    *,
    scan: SeriesRecord | None = None,
    snr: float = 5.0,
    seed: int = 0,
    denoiser: Denoiser = denoise,
) -> DemoResult:
    """Denoise a scan as it is, and with noise added, and write the results.

    Args:
        output: folder for the files of :data:`DEMO_FILES` and ``demo.png``; it is made, and older results are replaced.
        scan: a magnitude series; nibabel's brain scan by default.
        snr: SNR of the noisy scan, see :func:`monai_stcnnt.apps.review.quality.add_series_noise`.
        seed: of its noise.
        denoiser: what denoises a file into another.

    Returns:
        The figures.

    Raises:
        OutputNotWritableError: if the folder cannot be written to.
        NoiseLevelError: if the SNR is not a positive number.
    """
    folder = check_output_folder(output)
    scan = read_demo_scan() if scan is None else scan
    added = add_series_noise(scan, snr, seed)
    truth, noisy = magnitude_record(added.clean), magnitude_record(added.noisy)
    write_nifti(truth, folder / "truth.nii.gz")
    write_nifti(noisy, folder / "noisy.nii.gz")
    denoiser(folder / "truth.nii.gz", folder / "scan_denoised.nii.gz")
    denoiser(folder / "noisy.nii.gz", folder / "denoised.nii.gz")
    denoised, scan_denoised = (read_series(folder / f"{name}.nii.gz") for name in ("denoised", "scan_denoised"))
    scan_sigma = _estimated_sigma(truth)
    residual = residual_signal(truth, scan_denoised)[foreground(truth.magnitude)]
    result = DemoResult(
        scan_sigma=scan_sigma,
        scan_snr=image_snr(torch.tensor(truth.magnitude), scan_sigma),
        residual=float(residual.std()) / scan_sigma,
        snr=snr,
        true_sigma=added.sigma,
        estimated_sigma=_estimated_sigma(noisy),
        noisy=image_quality(truth, noisy),
        denoised=image_quality(truth, denoised),
        folder=folder,
    )
    title = f"A brain scan with noise added (SNR {snr:g}), and denoised"
    png_report(review_series(noisy, denoised, sigma=added.sigma, title=title), result.picture, truth)
    return result


def summary(result: DemoResult) -> str:
    """Say the figures and the files in words.

    Args:
        result: of :func:`run_demo`.

    Returns:
        Several lines.
    """
    width = max(map(len, DEMO_FILES))
    listed = [
        f"  {result.folder / name!s:<{len(str(result.folder)) + 1 + width}}  {text}"
        for name, text in DEMO_FILES.items()
    ]
    return "\n".join(
        [
            "",
            "The scan as it is",
            f"  estimated noise level    {result.scan_sigma:.1f} (SNR {result.scan_snr:.0f})",
            f"  residual in foreground   {result.residual:.2f} noise levels (standard deviation)",
            "",
            f"The scan with noise added at SNR {result.snr:g}, compared with the scan",
            f"  noise level              {result.true_sigma:.1f} added, {result.estimated_sigma:.1f} estimated",
            "              PSNR      SSIM",
            f"  noisy     {result.noisy.psnr:5.2f} dB    {result.noisy.ssim:.3f}",
            f"  denoised  {result.denoised.psnr:5.2f} dB    {result.denoised.ssim:.3f}",
            "",
            "Files",
            *listed,
            f"Picture: {result.picture}",
        ]
    )


def main(
    output: Annotated[Path, typer.Option(help="Folder for the files and the picture.")] = Path("demo_output"),
    snr: Annotated[float, typer.Option(help="SNR of the scan with noise added.")] = 5.0,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    device: Annotated[str, typer.Option(help="Where to compute: auto, cpu, cuda, cuda:1, ...")] = "auto",
) -> None:
    """Denoise a real brain scan as it is, and with noise added; print PSNR and SSIM; write files and a picture."""

    def denoise_aloud(path: Path, to: Path) -> list[Path]:
        typer.echo(f"Denoising {path}: {DEMO_FILES[path.name]}")
        return denoise(path, to, device=device, redo=True)

    try:
        result = run_demo(output, snr=snr, seed=seed, denoiser=denoise_aloud)
    except StcnntError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(summary(result))


def _estimated_sigma(series: SeriesRecord) -> float:
    """Noise level of a series from its images alone, as the bundle estimates it."""
    return estimate_noise_level(torch.tensor(series.array.transpose(2, 0, 1, 3, 4)), channel_dim=1).sigma


if __name__ == "__main__":
    typer.run(main)
