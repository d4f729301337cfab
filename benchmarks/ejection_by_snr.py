# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Measure what noise does to the ejection fraction, and what denoising gives back.

``python benchmarks/ejection_by_snr.py --data hearts --folds folds`` takes the patients and the weights of
``heart_folds.py``, so that every patient is segmented by a network that never saw him. It adds complex noise of the
wanted SNR (mean magnitude over the foreground, over the noise per component), takes the magnitude, and segments it as
it is, after the denoising bundle (which estimates the noise level itself), and after BM4D, which is told the level. It
prints Dice of the left ventricle and the error of its ejection fraction, both in what an expert drew, and draws them.

``--size`` cuts a square around the heart first, ``--frames`` keeps some frames on each side of the drawn ones, and
``--slices`` some of the drawn slices: BM4D takes minutes for a whole stack.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from monai.data import MetaTensor

from benchmarks.classical_denoisers import block_matching
from benchmarks.heart_folds import load_patients, score_patient, segment_patient
from benchmarks.heart_folds import parser as fold_parser
from benchmarks.heart_training import build_network
from monai_stcnnt.apps import denoise
from monai_stcnnt.apps.review.quality import add_series_noise, magnitude_record
from monai_stcnnt.checkpoints import load_weights
from monai_stcnnt.data import SeriesRecord, read_series, write_aside, write_nifti
from monai_stcnnt.mri import foreground_mean

__all__ = ["cut_patient", "denoised", "main", "noisy_patient", "picture", "table"]

WAYS = ("noisy", "denoised", "BM4D")
Row = dict[str, Any]


def cut_patient(
    patient: dict[str, Any], size: int | None, frames: int | None, slices: int | None = None
) -> dict[str, Any]:
    """Cut a square of ``size`` pixels around the heart, and keep ``frames`` on each side of every drawn frame.

    Args:
        patient: see :func:`benchmarks.heart_folds.load_patients`.
        size: in pixels; None for all.
        frames: how many; None for all.
        slices: how many of the drawn ones, at equal distances and without the ends; None for all slices.

    Returns:
        The patient with what is left; drawn frames and slices are counted again.
    """
    image, truth = patient["image"].as_tensor(), patient["truth"]
    total = image.shape[2]
    near = range(-(frames or 0), (frames or 0) + 1)
    kept = list(range(total)) if frames is None else sorted({(t + n) % total for t in patient["drawn"] for n in near})
    drawn = sorted({z for structures in patient["drawn"].values() for z in structures["cavity"]})
    planes = list(range(len(image)))
    if slices is not None:
        planes = sorted({drawn[round(place)] for place in np.linspace(0, len(drawn) - 1, slices + 2)[1:-1]})
    window = []
    for center, extent in zip(patient["places"].center, image.shape[3:], strict=True):
        wanted = min(size or extent, extent)
        start = int(np.clip(round(center - wanted / 2), 0, extent - wanted))
        window.append(slice(start, start + wanted))
    part = image[planes][:, :, kept, window[0], window[1]]
    return {
        **patient,
        "image": MetaTensor(part, affine=patient["image"].affine),
        "truth": truth[planes][:, kept, window[0], window[1]],
        "drawn": {
            kept.index(t): {name: [planes.index(z) for z in zs if z in planes] for name, zs in structures.items()}
            for t, structures in patient["drawn"].items()
        },
    }


def noisy_patient(patient: dict[str, Any], snr: float, seed: int) -> tuple[SeriesRecord, float]:
    """Magnitude of a patient's images with noise, and the noise's standard deviation per component."""
    array = patient["image"].as_tensor().numpy()[:, 0].transpose(1, 0, 2, 3)[None]
    affine = np.asarray(patient["image"].affine, float)
    record = SeriesRecord(array, affine, np.arange(array.shape[1]) * 40.0, {"kind": "magnitude"})
    sigma = float(foreground_mean(torch.as_tensor(record.magnitude))) / snr
    return magnitude_record(add_series_noise(record, snr, seed).noisy), sigma


def denoised(record: SeriesRecord, way: str, sigma: float) -> SeriesRecord:
    """The images after one of :data:`WAYS`."""
    if way == "noisy":
        return record
    if way == "BM4D":
        slices = [block_matching(record.array[0, :, z] / sigma) * sigma for z in range(record.array.shape[2])]
        return replace(record, array=np.stack(slices, 1)[None].clip(min=0))
    with tempfile.TemporaryDirectory() as folder:
        file = write_nifti(record, Path(folder, "noisy.nii"))
        [result] = denoise(file, Path(folder, "denoised.nii"), progress=False)
        return read_series(result)


def measure(
    patient: dict[str, Any], network: torch.nn.Module, snr: float, ways: Sequence[str], options: argparse.Namespace
) -> list[Row]:
    """Dice and the error of the ejection fraction for every way."""
    noisy, sigma = noisy_patient(patient, snr, options.seed)
    rows = []
    for way in ways:
        array = denoised(noisy, way, sigma).array[0].transpose(1, 0, 2, 3)[:, None]
        image = MetaTensor(torch.from_numpy(np.ascontiguousarray(array)).float(), affine=patient["image"].affine)
        score = score_patient(segment_patient(network, {**patient, "image": image}, options), patient)
        rows.append({"snr": snr, "way": way, "dice": score.cavity, "error": score.ef_drawn - score.ef_true})
    return rows


def table(rows: Sequence[Row]) -> str:
    """Markdown table: mean Dice and mean absolute error of the ejection fraction, by SNR and way."""
    ways = list(dict.fromkeys(row["way"] for row in rows))
    lines = [
        "| SNR | " + " | ".join(f"{way}: Dice | EF error (points)" for way in ways) + " |",
        "|---|" + "---|" * (2 * len(ways)),
    ]
    for snr in sorted({row["snr"] for row in rows}):
        cells = []
        for way in ways:
            chosen = [row for row in rows if row["snr"] == snr and row["way"] == way]
            cells.append(f"{np.mean([row['dice'] for row in chosen]):.3f}")
            cells.append(f"{np.mean([abs(row['error']) for row in chosen]):.1f}")
        lines.append(f"| {snr:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def picture(rows: Sequence[Row], path: Path) -> Path:
    """Draw the two figures of the table over the SNR; where nothing was found, the error has no point.

    Args:
        rows: as for :func:`table`.
        path: the picture to write, ``.png``.
    """
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for way, color in zip(WAYS, ("#59616b", "#e66100", "#56b4e9"), strict=True):
        chosen = [row for row in rows if row["way"] == way]
        snrs = sorted({row["snr"] for row in chosen})
        of_snr = [[row for row in chosen if row["snr"] == snr] for snr in snrs]
        left.plot(snrs, [np.mean([row["dice"] for row in one]) for one in of_snr], "o-", color=color, label=way)
        right.plot(snrs, [np.mean([abs(row["error"]) for row in one]) for one in of_snr], "o-", color=color)
    for axes, name in ((left, "Dice of the left ventricle"), (right, "error of the ejection fraction (points)")):
        axes.set_xscale("log")
        axes.set_xlabel("SNR")
        axes.set_title(name, loc="left", fontsize=11)
        axes.set_ylim(bottom=0)
    left.legend(frameon=False)
    figure.savefig(path, dpi=100)
    return path


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Measure, print the table, and write all values as JSON.

    Args:
        arguments: command-line options; those of the process by default.

    Returns:
        One entry for each patient, SNR and way.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of patients, as for heart_folds.py")
    parser.add_argument("--folds", type=Path, required=True, help="folder of its weights")
    parser.add_argument("--network", default="packed_unet")
    parser.add_argument("--patients", nargs="+", help="by default all that have weights")
    parser.add_argument("--snr", type=float, nargs="+", default=[0.5, 1, 2, 3, 5, 10, 20])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--size", type=int, help="cut a square of so many pixels around the heart")
    parser.add_argument("--frames", type=int, help="keep so many frames on each side of the drawn ones")
    parser.add_argument("--slices", type=int, help="keep so many of the drawn slices")
    parser.add_argument("--views", type=int, default=4, help="turned images in the segmentation")
    parser.add_argument("--given_share", type=float, default=0.15, help="see HeartInferer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("ejection_by_snr.json"))
    options = parser.parse_args(arguments)
    inference = fold_parser().parse_args(["--data", "."])
    inference.views, inference.given_share, inference.seed = options.views, options.given_share, options.seed
    rows: list[Row] = []
    parts = {}
    for name, patient in load_patients(options.data).items():
        weights = options.folds / f"{options.network}_without_{name}.pt"
        if weights.is_file() and name in (options.patients or [name]):
            network = load_weights(build_network(options.network), weights).eval()
            parts[name] = cut_patient(patient, options.size, options.frames, options.slices), network
    for snr in options.snr:
        for name, (part, network) in parts.items():
            rows += [{"patient": name, **row} for row in measure(part, network, snr, options.ways, inference)]
            with write_aside(options.output) as aside:
                aside.write_text(json.dumps(rows), encoding="utf-8")
    picture(rows, options.output.with_suffix(".png"))
    sys.stdout.write(table(rows))
    return rows


if __name__ == "__main__":
    main()
