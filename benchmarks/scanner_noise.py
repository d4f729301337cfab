# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Denoising of the noise that scanners make: the bundle, blind and told, beside other methods.

``python -m benchmarks.scanner_noise DATA --out results.json --page docs/noise-of-your-scan.md``
simulates noise on parts of held-out scans (:data:`SCANS`), in the ways of :data:`CONDITIONS`, and compares with the
truth: gain in PSNR of magnitudes, over the noisy image. ``--methods``, ``--conditions``, ``--snr``, ``--scans`` choose.

The bundle is run blind (it estimates the noise model), told (level, map and spectrum), and as for white noise of the
level that it estimates by itself, which is what it did before there were noise models. BM4D and non-local means get the
usual estimate of sigma, by wavelets; BM4D also is told level and spectrum, which it takes as a power spectrum. The
Rician bias of their magnitudes is taken off. MP-PCA and NORDIC are for series.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from torch import Tensor

from benchmarks.classical_denoisers import marchenko_pastur, non_local_means
from benchmarks.page_parts import write_part
from benchmarks.quiet_scans import QUIET_SCANS, quiet_clip
from monai_stcnnt.apps import denoise
from monai_stcnnt.mri import (
    AxisSpectrum,
    NoiseModel,
    coil_sensitivities,
    complex_noise,
    draw_gfactor_map,
    estimate_noise_level,
    foreground_mean,
    from_acquired,
    rician_signal,
    smooth_phase,
    to_acquired,
    wavelet_noise_level,
)

__all__ = ["CONDITIONS", "METHODS", "SCANS", "Case", "load_clip", "main", "simulate", "taper"]

logger = logging.getLogger("scanner_noise")

SCANS = {
    "brain 3D": ("ms_lesions_train/patient19/t1w.nii.gz", "volume"),
    "cine": ("cine_sunnybrook_train/patient004/patient004_4d.nii.gz", "series"),
    "brain 2D": (str(Path(nib.__file__).parent / "tests/data/example4d.nii.gz"), "image"),
    "spine 3D": ("spine_sct/t2.nii.gz", "volume"),
    "fMRI": ("dicom_ge_fmri_repeats/ref_run5.nii.gz", "series"),
    "tuned: brain 3D": ("brain_t1_studyforrest/t1_crop_0p67mm.nii.gz", "volume"),
    "tuned: cine": ("cine_sunnybrook_train/patient005/patient005_4d.nii.gz", "series"),
    "tuned: brain 2D": ("pyradiomics_brain1/image.nii.gz", "image"),
}
"""Name -> path below the data folder, and kind: scans that the training of the denoisers has not seen, but for the cine
(Sunnybrook's patient 4, and patient 1 of the quiet scans), which the network for real images alone has not.

The estimators were developed on those called ``tuned``; nothing was tuned on the others. Their own noise counts as
truth, which a method that is told the level of the added noise alone is right to keep, and a blind one is not told.
"""

QUIET = {f"quiet {name}": source for name, source in QUIET_SCANS.items() if "tuned" not in name} | {
    "quiet brain 2D": (SCANS["brain 2D"][0], "half image")
}
"""Scans with little noise of their own, on which nothing was tuned: ``--quiet`` takes them. Half of the spine is too
small: 27 x 30 pixels, 14 x 15 where half of them is acquired."""

CONDITIONS = ("white", "map", "zero-filled", "partial Fourier", "coils", "map + zero-filled", "all")
"""White; the g-factor of 2- to 4-fold acceleration; half of each axis acquired, tapered; three quarters of the rows
sampled; root sum of squares over four coils; and combinations of them."""

_FRAMES, _EXTENT = 8, 80
_OF_90_PERCENT = 1.645  # standard errors of a normal distribution


@dataclass(frozen=True, eq=False)
class Case:
    """A noisy image, its truth and what can be told of its noise.

    Attributes:
        noisy: ``(T, H, W)``, complex, or real for magnitudes.
        truth: magnitudes ``(T, H, W)`` without noise.
        gmap: level of the noise, ``(H, W)``.
        axes: spectrum along rows and columns.
        is_series: whether T is time.
    """

    noisy: Tensor
    truth: Tensor
    gmap: Tensor
    axes: tuple[AxisSpectrum, AxisSpectrum]
    is_series: bool


def load_clip(path: Path, what: str, extent: int = _EXTENT) -> Tensor:
    """A part ``(T, H, W)`` around the middle of a scan, magnitudes; of a series over time where it is one."""
    array = np.asarray(nib.load(path).dataobj, dtype=np.float32)  # type: ignore[attr-defined]  # any spatial image
    middle = array.shape[2] // 2
    if what == "series":
        frames = array[:, :, middle, :_FRAMES]
    else:
        half = _FRAMES // 2 if what == "volume" else 0
        volume = array.reshape(*array.shape[:3], -1)[..., 0]
        frames = volume[:, :, middle - half : middle + half] if half else volume[:, :, middle : middle + 1]
    clip = torch.from_numpy(np.ascontiguousarray(frames.transpose(2, 1, 0)))
    top, left = (max(0, (n - extent) // 2) for n in clip.shape[1:])
    return clip[:, top : top + extent, left : left + extent]


def taper(size: int, rim: float) -> Tensor:
    """Weights of a raised cosine that begins at 0.4 of the half width and falls to ``rim``."""
    place = (torch.arange(size) - size // 2).abs() / (size / 2)
    return rim + (1 - rim) * 0.5 * (1 + torch.cos(torch.pi * ((place - 0.4) / 0.6).clamp(0, 1)))


def _axes(condition: str, size: Sequence[int]) -> tuple[AxisSpectrum, AxisSpectrum]:
    share = 0.5 if "zero-filled" in condition or condition == "all" else 1.0
    axes = []
    for n, (length, rim) in enumerate(zip(size, (0.3, 0.5), strict=True)):
        plain = AxisSpectrum.of_matrix(length, round(share * length))
        weights = taper(plain.acquired, rim) if share < 1 else torch.ones(plain.acquired)
        if n == 0 and ("partial" in condition or condition == "all"):
            weights[: plain.acquired // 4] = 0
        axes.append(plain.tapered(weights.numpy()))
    return axes[0], axes[1]


def simulate(
    clip: Tensor,
    condition: str,
    snr: float,
    seed: int,
    *,
    magnitude: bool,
    is_series: bool,
    axes: tuple[AxisSpectrum, AxisSpectrum] | None = None,
) -> Case:
    """Acquire a clip anew with noise of level 1 times a map.

    Args:
        clip: magnitudes ``(T, H, W)``.
        condition: one of :data:`CONDITIONS`.
        snr: mean magnitude of the foreground.
        seed: of phase, map and noise.
        magnitude: whether the result is the magnitude; that of several coils always is.
        is_series: whether T is time.
        axes: spectrum along rows and columns; by default that of the condition.
    """
    rng, generator = np.random.RandomState(seed), torch.Generator().manual_seed(seed)
    size = clip.shape[1:]
    axes = axes or _axes(condition, size)
    clean = from_acquired(to_acquired(torch.polar(clip, smooth_phase(rng, tuple(clip.shape))), axes), axes)
    clean = clean * (snr / foreground_mean(clean.abs()))
    gmap = draw_gfactor_map(rng, size, (2, 4)) if "map" in condition or condition == "all" else torch.ones(*size)
    acquired = [axis.acquired for axis in axes]
    coarse = torch.nn.functional.interpolate(gmap[None, None], acquired, mode="bilinear", align_corners=False)[0, 0]

    def noise() -> Tensor:
        return from_acquired(complex_noise((len(clip), *acquired), generator) * coarse, axes)

    if condition in ("coils", "all"):
        angles = 2 * np.pi * np.arange(4) / 4
        coils = coil_sensitivities(size, 1.2 * np.stack((np.sin(angles), np.cos(angles)), 1), radius=0.8)
        coils = coils / torch.linalg.vector_norm(coils, dim=0)
        images = torch.stack([clean * coil + noise() for coil in coils])
        return Case(torch.linalg.vector_norm(images.abs(), dim=0), clean.abs(), gmap, axes, is_series)
    noisy = clean + noise()
    return Case(noisy.abs() if magnitude else noisy, clean.abs(), gmap, axes, is_series)


def _bundle(case: Case, **told: object) -> Tensor:
    """The bundle, through files as a user runs it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(case.noisy, folder / "scan.nii", case.is_series)
        if told.pop("everything", False):
            model = NoiseModel(1.0, "complex", (AxisSpectrum(len(case.noisy)), *case.axes))
            (folder / "model.json").write_text(json.dumps(model.as_dict()), encoding="utf-8")
            _write(case.gmap[None], folder / "map.nii", False)
            told |= {"noise_sigma": 1.0, "noise_spectrum": folder / "model.json", "gmap": folder / "map.nii"}
        [saved] = denoise(folder / "scan.nii", folder / "out", progress=False, **told)
        return _read(saved, case.is_series)


def coverage(case: Case) -> float:
    """Share of voxels whose error, of the magnitude, is within what the bundle states to hold 90% of errors."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(case.noisy, folder / "scan.nii", case.is_series)
        [saved] = denoise(folder / "scan.nii", folder / "out", progress=False, save_uncertainty=True)
        result = _read(saved, case.is_series)
        error = _read(saved.with_name(f"{saved.name.split('.')[0]}_uncertainty.nii"), case.is_series)
    return float(((result.abs() - case.truth).abs() < _OF_90_PERCENT * error).float().mean())


def _read(path: Path, is_series: bool) -> Tensor:
    values = np.asarray(nib.load(path).dataobj)  # type: ignore[attr-defined]  # any spatial image
    frames = values[:, :, 0] if is_series else values.reshape(*values.shape[:2], -1)
    return torch.from_numpy(np.ascontiguousarray(frames.transpose(2, 1, 0)))


def _write(frames: Tensor, path: Path, is_series: bool) -> None:
    values = frames.numpy().transpose(2, 1, 0)
    nib.save(nib.Nifti1Image(values[:, :, None] if is_series else values, np.diag([1.5, 1.5, 3.0, 1.0])), path)


def _as_white(case: Case) -> Tensor:
    parts = torch.stack((case.noisy.real, case.noisy.imag)) if case.noisy.is_complex() else case.noisy[None]
    return _bundle(case, noise_sigma=estimate_noise_level(parts).sigma, noise_spectrum="white")


def _by_component(case: Case, filtered: Callable[[np.ndarray], np.ndarray], sigma: float | None = None) -> Tensor:
    """Filter real and imaginary part, or the magnitude, whose bias is then taken off."""
    if case.noisy.is_complex():
        parts = [torch.from_numpy(filtered(part.numpy())) for part in (case.noisy.real, case.noisy.imag)]
        return torch.complex(parts[0].float(), parts[1].float())
    out = filtered(case.noisy.numpy())
    level = sigma or _usual_sigma(case.noisy.numpy())
    return torch.from_numpy(rician_signal(out / level) * np.float32(level))


def _usual_sigma(component: np.ndarray) -> float:
    """The median of the finest diagonal wavelet details, as other programs estimate it."""
    return wavelet_noise_level(torch.from_numpy(component)) or 1e-3


def _block_matching(component: np.ndarray, sigma: float | np.ndarray) -> np.ndarray:
    from bm3d import bm3d
    from bm4d import bm4d

    if not hasattr(np, "trapz"):  # which bm4d 4.2.5 calls, and NumPy 2.4 has renamed
        np.trapz = np.trapezoid  # type: ignore[attr-defined]  # see above
    frames = np.ascontiguousarray(component, dtype=np.float64)
    if len(frames) >= 4:
        return np.asarray(bm4d(frames, sigma))
    level = sigma if np.ndim(sigma) == 0 else np.asarray(sigma)[0] / len(frames)
    return np.stack([bm3d(frame, level) for frame in frames])


def _told_block_matching(case: Case) -> Tensor:
    """BM4D with level and power spectrum; of a map it is told the root mean square."""
    level = float(case.gmap.square().mean().sqrt())
    power = case.axes[0].weights()[:, None].square() * case.axes[1].weights().square()
    power = torch.fft.ifftshift(power / power.mean()).expand(len(case.noisy), -1, -1)
    spectrum = (level**2 * case.noisy.numel() * power).numpy()
    return _by_component(case, lambda component: _block_matching(component, spectrum), level)


def _usual_block_matching(case: Case) -> Tensor:
    return _by_component(case, lambda component: _block_matching(component, _usual_sigma(component)))


def _usual_nlm(case: Case) -> Tensor:
    rician = not case.noisy.is_complex()
    return _by_component(case, lambda component: non_local_means(component, _usual_sigma(component), rician=rician))


def _mppca(case: Case) -> Tensor:
    return _by_component(case, lambda component: marchenko_pastur(component[:, None])[:, 0])


def _nordic(case: Case) -> Tensor:
    """NORDIC of ``patch-denoise`` (Moeller et al. 2021, doi:10.1016/j.neuroimage.2020.117539), level by its median."""
    from patch_denoise.denoise import nordic

    values = case.noisy.numpy().transpose(2, 1, 0)[:, :, None]
    level = estimate_noise_level(case.noisy.abs()[None]).sigma
    out = nordic(values, patch_shape=(11, 11, 1), patch_overlap=(10, 10, 0), noise_std=level)[0]
    return torch.from_numpy(np.ascontiguousarray(out[:, :, 0].transpose(2, 1, 0)))


def _dwidenoise(case: Case) -> Tensor:
    """MRtrix's MP-PCA with its second estimator (Cordero-Grande et al. 2019, doi:10.1016/j.neuroimage.2019.06.039)."""
    with tempfile.TemporaryDirectory() as name:
        scan, out = Path(name) / "scan.nii", Path(name) / "out.nii"
        _write(case.noisy, scan, is_series=True)
        subprocess.run(["dwidenoise", "-quiet", "-extent", "5,5,1", scan, out], check=True)  # nosec B603 B607
        values = np.asarray(nib.load(out).dataobj)  # type: ignore[attr-defined]  # any spatial image
    return torch.from_numpy(np.ascontiguousarray(values[:, :, 0].transpose(2, 1, 0)))


METHODS: dict[str, Callable[[Case], Tensor]] = {
    "blind": _bundle,
    "told": lambda case: _bundle(case, everything=True),
    "as white": _as_white,
    "BM4D told": _told_block_matching,
    "BM4D": _usual_block_matching,
    "NLM": _usual_nlm,
    "MP-PCA": _mppca,
    "NORDIC": _nordic,
    "dwidenoise": _dwidenoise,
}
"""What ``--methods`` chooses from; the first three are the bundle."""

_KEYS = ("scan", "kind", "condition", "snr")
SERIES_ONLY = ("MP-PCA", "NORDIC", "dwidenoise")


def psnr(image: Tensor, truth: Tensor) -> float:
    """Of magnitudes, over the whole image, with the truth's maximum for a range."""
    error = float((image.abs() - truth).square().mean())
    return float(20 * np.log10(float(truth.max())) - 10 * np.log10(max(error, 1e-12)))


def run(data: Path, args: argparse.Namespace) -> list[dict[str, object]]:
    """Every combination, one row each; what the file of results has is not measured again."""
    rows: list[dict[str, object]] = json.loads(args.out.read_text(encoding="utf-8")) if args.out.exists() else []
    places = {tuple(row[key] for key in _KEYS): row for row in rows}
    for scan, kind, condition, snr in product(args.scans, args.kinds, args.conditions, args.snr):
        if condition in ("coils", "all") and kind == "complex":
            continue
        name, what = (SCANS | QUIET)[scan]
        is_series = "series" in what
        clip = (quiet_clip if scan in QUIET else load_clip)(data / name, what, args.extent)
        case = simulate(clip, condition, snr, args.seed, magnitude=kind == "magnitude", is_series=is_series)
        key = (scan, kind, condition, snr)
        if key not in places:
            places[key] = {**dict(zip(_KEYS, key, strict=True)), "noisy": psnr(case.noisy, case.truth)}
            rows.append(places[key])
        row = places[key]
        if args.coverage:
            row["within 90%"] = coverage(case)
        for method in args.methods:
            if (method in row and method not in args.again) or (method in SERIES_ONLY and not is_series):
                continue
            start = time.process_time()
            row[method] = psnr(METHODS[method](case), case.truth)
            row[f"{method}, seconds"] = round(time.process_time() - start, 2)
            args.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")
        logger.info("%s", row)
    return rows


def tables(rows: Sequence[dict[str, object]]) -> str:
    """Mean gains in PSNR over the scans, one table for each kind of image and SNR."""
    methods = [name for name in METHODS if any(name in row for row in rows)]
    out = []
    for kind in dict.fromkeys(str(row["kind"]) for row in rows):
        for snr in dict.fromkeys(row["snr"] for row in rows):
            chosen = [row for row in rows if row["kind"] == kind and row["snr"] == snr]
            scans = ", ".join(dict.fromkeys(str(row["scan"]) for row in chosen))
            out += [f"{kind.capitalize()} images, SNR {snr:g}, mean gain in PSNR (dB) over {scans}:", ""]
            out += [f"| noise | {' | '.join(methods)} |", f"|---{'|---' * len(methods)}|"]
            for condition in dict.fromkeys(str(row["condition"]) for row in chosen):
                here = [row for row in chosen if row["condition"] == condition]
                cells = []
                for method in methods:
                    gains = [float(r[method]) - float(r["noisy"]) for r in here if method in r]  # type: ignore[arg-type]
                    cells.append(f"{np.mean(gains):+.1f}" if gains else "")
                out.append(f"| {condition} | {' | '.join(cells)} |")
            out.append("")
    return "\n".join(out)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and write the rows and the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the sample data")
    parser.add_argument("--out", type=Path, default=Path("scanner_noise.json"))
    parser.add_argument("--page", type=Path, help="Markdown file whose text between marks is replaced")
    parser.add_argument("--part", default="noise", help="name of these marks")
    parser.add_argument("--scans", nargs="*", choices=[*SCANS, *QUIET])
    parser.add_argument("--quiet", action="store_true", help="the scans with little noise of their own")
    parser.add_argument("--kinds", nargs="*", choices=["complex", "magnitude"], default=["complex", "magnitude"])
    parser.add_argument("--conditions", nargs="*", choices=CONDITIONS, default=CONDITIONS)
    parser.add_argument("--methods", nargs="*", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--again", nargs="*", choices=list(METHODS), default=[], help="measure anew what is known")
    parser.add_argument("--coverage", action="store_true", help="how many errors are within what the bundle states")
    parser.add_argument("--extent", type=int, default=_EXTENT, help="pixels of the part of a scan")
    parser.add_argument("--snr", nargs="*", type=float, default=[3, 5, 10, 20])
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    args.scans = args.scans or list(QUIET if args.quiet else [name for name in SCANS if "tuned" not in name])
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("monai_stcnnt").setLevel(logging.WARNING)
    text = tables(run(args.data, args))
    if args.page is None:
        logger.info("%s", text)
        return
    write_part(args.page, args.part, text)


if __name__ == "__main__":
    main()
