# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Fit, and measure, the standard error that the denoising bundle states (``--save-uncertainty``).

``python -m benchmarks.error_calibration --data DIR --page FILE.md`` adds noise to held-out scans, and counts how many
of the true errors lie within 1.645 standard errors, of pixels on edges and elsewhere: 90% should. ``--fit`` first fits
the calibrations anew, on scans that the networks have learned from or were chosen by, and writes them to a JSON file;
``--kinds real`` fits that of the network for real images alone, on zero-filled magnitudes made white, with a part of
k-space and a taper that are drawn for each (``benchmarks.scanner_noise --coverage`` measures it).

Edges are the fifth of the foreground with the steepest slope in the plane. The truth is the scan, with its own noise.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import numpy as np
import torch
from scipy.stats import norm

from benchmarks.compared_denoisers import inference_config
from benchmarks.held_out import crop_series, held_out_scans
from benchmarks.page_parts import write_part
from benchmarks.quality_cases import Kind, make_case, to_stacks
from benchmarks.scanner_noise import simulate, taper
from monai_stcnnt.apps.bundles import bundle_folder
from monai_stcnnt.apps.review.quality import magnitude_record
from monai_stcnnt.data import SeriesRecord, read_series
from monai_stcnnt.mri import AxisSpectrum, beyond_band, rician_mean, to_acquired
from monai_stcnnt.networks.nets import ErrorCalibration, STCNNTGuidedDenoiser, UncertainDenoiser, load_calibrations
from monai_stcnnt.networks.nets.error_calibration import error_clues

__all__ = ["fit", "main", "measure"]

logger = logging.getLogger("error_calibration")

TRAINING = (
    "brain_flair_torchio/fernando_t2flair.nii.gz", "brain_t1_voxelmorph_aseg/t1.nii.gz",
    "brain_t1_siemens_xa30_enhanced/ref_nonorm.nii.gz", "complex_siemens_xa30_fieldmap/ref_mag_e1.nii.gz",
    "cine_sax_bivme/cine_sax.nii.gz", "cine_sunnybrook_train/patient001/patient001_4d.nii.gz",
    "cine_sunnybrook_train/patient004/patient004_4d.nii.gz", "asl_philips_enhanced/ref.nii.gz",
    "dicom_siemens_mosaic_fmri/ref.nii.gz", "ms_lesions_train/patient01/flair.nii.gz",
    "ms_lesions_train/patient01/t1w.nii.gz", "ms_lesions_train/patient04/t2w.nii.gz",
    "ms_lesions_train/patient09/flair.nii.gz", "abdomen_mr_totalseg/mr.nii.gz",
    "phantom_philips_cs/201_T1W_TSE_Sno_CSno_CSAIno.nii.gz",
)  # fmt: skip
"""Scans that the calibrations are fitted on."""

SNRS = (1.0, 2.0, 5.0, 10.0, 20.0)
KINDS: tuple[Kind, ...] = ("complex", "magnitude")
FitKind = Literal["complex", "magnitude", "real"]
PLACES = ("air", "elsewhere", "edges")
WEIGHTS = (0.4, 1.0, 0.8)
"""Of the pixels of each place in the fit, whatever their number."""

FRAMES = (8, 16, 4, 1)
LARGEST = float(norm.ppf(0.95))
_PIXELS = 2000
_STEPS = 3000
_ROUNDS = 6


@dataclass(frozen=True)
class Share:
    """How many of the errors of a scan lie within the interval.

    Attributes:
        network: name of the variant.
        kind: of the images.
        place: edges or elsewhere.
        snr: mean clean magnitude over the foreground.
        scan: its name.
        inside: the share.
    """

    network: str
    kind: str
    place: str
    snr: float
    scan: str
    inside: float


def places_of(truth: np.ndarray) -> np.ndarray:
    """Number of the place of every pixel of clean magnitudes (..., H, W), see :data:`PLACES`."""
    slope = np.hypot(*np.gradient(truth, axis=(-2, -1)))
    inside = truth > 0.1 * np.quantile(truth, 0.99)
    return np.where(inside, 1 + (slope > np.quantile(slope[inside], 0.8)), 0)


def image_and_truth(series: SeriesRecord, kind: FitKind, snr: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """An image (n, C + 1, T, H, W) with its map, as the network gets it, and what it should give."""
    if kind == "real":
        return _white_again(series, snr, seed)
    case = make_case("", series, snr, seed, kind)
    noisy, truth = (torch.from_numpy(to_stacks(record.array)) for record in (case.noisy, case.truth))
    return torch.cat([noisy, torch.ones_like(noisy[:, :1])], 1), truth


def _white_again(series: SeriesRecord, snr: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Magnitudes of a zero-filled, tapered image whose noise is white again, their map, and their mean."""
    draw = np.random.default_rng(seed)
    clip = torch.from_numpy(to_stacks(magnitude_record(series).array))[0, 0]
    axes = []
    for n in clip.shape[1:]:
        plain = AxisSpectrum.of_matrix(n, round(n * draw.uniform(0.45, 0.9)))
        axes.append(plain.tapered(taper(plain.acquired, draw.uniform(0.2, 0.9)).numpy()))
    condition = "map + zero-filled" if draw.random() < 0.5 else "zero-filled"
    case = simulate(clip, condition, snr, seed, magnitude=True, is_series=True, axes=(axes[0], axes[1]))
    mean = torch.from_numpy(rician_mean((case.truth / case.gmap).numpy())).float() * case.gmap
    wide = [beyond_band(axis) for axis in axes]
    image, truth = (to_acquired(part[None, None], wide) for part in (case.noisy, mean))
    gmap = torch.nn.functional.interpolate(case.gmap[None, None], image.shape[-2:], mode="bilinear")
    return torch.cat([image, gmap[:, :, None].expand_as(image)], 1), truth


def samples(network: STCNNTGuidedDenoiser, series: SeriesRecord, kind: FitKind, snr: float, seed: int) -> Iterator[Any]:
    """Clues (n, clues), absolute errors (n, C) and weights (n,) of pixels of one image, from all places."""
    image, truth = image_and_truth(series, kind, snr, seed)
    noisy, gmap, phase = network.opened(image)
    guess, differences, errors = network.guided(noisy)
    y = network.blended(guess, differences, network.answer(guess, differences, errors, gmap))
    clues = error_clues(y, guess, differences, errors).movedim(2, -1).flatten(0, -2)
    result = network.closed(y, gmap, phase)
    result = result.clamp(min=0) if kind == "magnitude" else result
    error = ((result - truth).abs() / image[:, -1:]).movedim(1, -1).flatten(0, -2)
    found = places_of(truth.square().sum(1).sqrt().numpy()).ravel()
    draw = np.random.default_rng(seed)
    for place, weight in enumerate(WEIGHTS):
        pixels = np.flatnonzero(found == place)
        chosen = draw.choice(pixels, min(len(pixels), _PIXELS), replace=False)
        yield clues[chosen], error[chosen], torch.full((len(chosen),), weight / max(len(chosen), 1))


def fit(network: STCNNTGuidedDenoiser, scans: Sequence[SeriesRecord], kind: FitKind) -> ErrorCalibration:
    """Fit the calibration of a network: the 90th percentile of absolute errors, by the pinball loss of logarithms.

    At low SNR what is an edge cannot be told from the rest. So in each round what has too few errors inside on these
    scans, of each SNR and place, comes to count more, and what has too many less.
    """
    with torch.inference_mode():
        drawn = [one for number, scan in enumerate(scans) for snr in SNRS
                 for one in samples(network, scan, kind, snr, number)]  # fmt: skip
    clues = torch.cat([clues for clues, _, _ in drawn]).clone()
    errors = torch.cat([error for _, error, _ in drawn]).clone()
    weights = torch.cat([weight for _, _, weight in drawn]).clone()
    cell = torch.cat(
        [torch.full((len(weight),), n % (len(SNRS) * len(PLACES))) for n, (_, _, weight) in enumerate(drawn)]
    )
    torch.manual_seed(0)
    new = ErrorCalibration()
    new.mean, new.spread = clues.mean(0), clues.std(0)
    optimizer = torch.optim.AdamW(new.parameters(), weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, _STEPS)
    for step in range(_STEPS):
        if step % (_STEPS // _ROUNDS) == 0:
            if step:
                weights *= torch.exp(4 * (0.9 - _inside(new, clues, errors, cell)))[cell]
            order = torch.multinomial(weights, 2**21, replacement=True).view(-1, 2048)
        some = order[step % len(order)]
        above = torch.log(errors[some] / LARGEST + 1e-4) - new.of_clues(clues[some])
        loss = torch.maximum(0.9 * above, -0.1 * above).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return new.requires_grad_(requires_grad=False)


@torch.inference_mode()
def _inside(one: ErrorCalibration, clues: torch.Tensor, errors: torch.Tensor, cell: torch.Tensor) -> torch.Tensor:
    """Share of the errors inside of the interval, of each cell."""
    hit = (errors <= LARGEST * torch.exp(one.of_clues(clues))).float().mean(1)
    count = torch.bincount(cell).clamp(min=1)
    return torch.bincount(cell, hit) / count


def measure(series: SeriesRecord, name: str, network: str, denoiser: torch.nn.Module, inferer: Any) -> Iterator[Share]:  # noqa: ANN401 - of the config
    """Count the errors of one scan within the interval that the bundle states in its windows."""
    for kind in KINDS:
        for snr in SNRS:
            case = make_case(name, series, snr, 0, kind)
            image = torch.from_numpy(to_stacks(case.noisy.array))
            with torch.inference_mode():
                out = inferer(torch.cat([image, torch.ones_like(image[:, :1])], 1), denoiser).numpy()
            truth = to_stacks(case.truth.array)
            error, stated = np.abs(out[:, :-1] - truth), np.sqrt(out[:, -1:])
            found = places_of(np.sqrt((truth**2).sum(1)))[:, None]
            for place, label in enumerate(PLACES):
                here = np.broadcast_to(found == place, error.shape)
                if place and here.any():
                    inside = float((error <= LARGEST * stated)[here].mean())
                    yield Share(network, kind, label, snr, name, inside)


def table(shares: Sequence[Share]) -> str:
    """Markdown: mean over scans, and from the least to the most, for each network, kind of image and place."""
    lines = ["| network, images | where | " + " | ".join(f"SNR {snr:g}" for snr in SNRS) + " |", "|---" * 7 + "|"]
    rows = dict.fromkeys((share.network, share.kind, share.place) for share in shares)
    for network, kind, place in sorted(rows):
        cells = []
        for snr in SNRS:
            part = [
                100 * s.inside for s in shares if (s.network, s.kind, s.place, s.snr) == (network, kind, place, snr)
            ]
            cells.append(f"{fmean(part):.1f} ({min(part):.0f} to {max(part):.0f})")
        lines.append(f"| {network}, {kind} | {place} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the scans; without it, nibabel's scan alone")
    parser.add_argument("--fit", action="store_true", help="fit the calibrations first, and write them")
    parser.add_argument("--kinds", nargs="+", default=[*KINDS, "real"], choices=[*KINDS, "real"], help="to fit")
    parser.add_argument("--variants", nargs="+", default=["light", "fast"], choices=["light", "fast"])
    parser.add_argument("--size", type=int, nargs=4, default=[8, 72, 72, 1], help="frames, rows, columns, slices")
    parser.add_argument(
        "--calibrations", type=Path, default=bundle_folder("mri_denoising") / "models" / "uncertainty.json"
    )
    parser.add_argument("--page", type=Path, help="markdown with the marks <!-- calibration --> to write between")
    parser.add_argument("--output", type=Path, help="JSON file for all shares")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> list[Share]:
    """Fit where that is asked for, measure, and print the table."""
    options = _arguments(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    shares: list[Share] = []
    for variant in options.variants:
        config = inference_config(fast=variant == "fast")
        router, inferer = config.get_parsed_content("router").eval(), config.get_parsed_content("inferer")
        networks = {"magnitude": router.networks[0], "complex": router.networks[1], "real": router.real}
        names = [f"{variant}_{kind}" for kind in networks]
        if options.fit:
            sizes = [(FRAMES[n % len(FRAMES)], *options.size[1:]) for n in range(len(TRAINING))]
            scans = [crop_series(read_series(options.data / path), size)
                     for path, size in zip(TRAINING, sizes, strict=True)]  # fmt: skip
            file: Path = options.calibrations
            known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
            known |= {f"{variant}_{kind}": fit(networks[kind], scans, kind).as_dict() for kind in options.kinds}
            file.write_text(json.dumps(known) + "\n", encoding="utf-8")
            logger.info("%s: fitted", variant)
        denoiser = UncertainDenoiser(router, load_calibrations(options.calibrations, names)).eval()
        listed = [*held_out_scans(options.data, [], options.size)]
        listed += [*held_out_scans(options.data, [], options.size, further=True)] if options.data else []
        for name, series in listed:
            shares += measure(series, name, variant, denoiser, inferer)
            logger.info("%s, %s", variant, name)
    sys.stdout.write(table(shares) + "\n")
    if options.page is not None:
        write_part(options.page, "calibration", table(shares))
    if options.output is not None:
        options.output.write_text(json.dumps([vars(share) for share in shares], indent=1), encoding="utf-8")
    return shares


if __name__ == "__main__":
    main()
