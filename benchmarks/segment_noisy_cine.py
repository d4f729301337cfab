# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Measure what denoising brings to the segmentation of a noisy cine, with the bundles as they are shipped.

``python benchmarks/segment_noisy_cine.py --data DIR`` adds complex noise of the wanted SNR (mean magnitude over the
foreground, over the noise per component) to the sample cine, takes the magnitude, and segments it as it is, and after
denoising, by :func:`monai_stcnnt.apps.segment` with and without ``denoise``. With ``--complex`` the noisy cine stays
complex, for the denoising bundle's other network. The noise level is estimated from the image, as for any user. It
prints the Dice of each class in every labelled image: mean and standard deviation, and the mean of the differences of
the same image. Images without any label are left out, since the labels have gaps. The labels are automatic (biv-me),
not an expert's.
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

from monai_stcnnt.apps import segment
from monai_stcnnt.apps.review.quality import add_series_noise, magnitude_record
from monai_stcnnt.data import SeriesRecord, read_series, write_aside, write_nifti

__all__ = ["compare", "crop_to_labels", "frame_dice", "main", "table"]

CLASSES = {1: "right ventricle", 2: "myocardium", 3: "left ventricle"}
WAYS = ("clean", "noisy", "denoised")

Scores = dict[str, list[list[float | None]]]


def frame_dice(mask: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Dice of every class in every labelled image.

    Args:
        mask: ``(T, Z, Y, X)`` with the values of the classes.
        truth: the same of the reference.

    Returns:
        ``(N, 3)``, N images that have a label; NaN where neither has the class, 0 where only one of them has it.
    """
    labelled = truth.any(axis=(2, 3))
    scores = []
    for value in CLASSES:
        one, other = mask[labelled] == value, truth[labelled] == value
        both = (one & other).sum(axis=(1, 2))
        total = one.sum(axis=(1, 2)) + other.sum(axis=(1, 2))
        scores.append(np.where(total > 0, 2.0 * both / np.maximum(total, 1), np.nan))
    return np.stack(scores, axis=1)


def crop_to_labels(
    record: SeriesRecord, truth: np.ndarray, size: int | None, frames: int | None, slices: Sequence[int] | None
) -> SeriesRecord:
    """Cut a square of ``size`` pixels around the labels, the first frames, and some slices.

    Args:
        record: images or labels.
        truth: labels ``(T, Z, Y, X)``, which set the place.
        size: in pixels; None for all.
        frames: how many; None for all.
        slices: which, from 0; None for all.

    Returns:
        The part, with its own geometry where the rows and columns begin elsewhere.
    """
    where = []
    for axis, extent in ((2, truth.shape[2]), (3, truth.shape[3])):
        inside = np.flatnonzero(truth.any(axis=tuple(a for a in range(4) if a != axis)))
        wanted = extent if size is None else min(size, extent)
        start = int(np.clip((inside[0] + inside[-1] + 1 - wanted) // 2, 0, extent - wanted))
        where.append(slice(start, start + wanted))
    array = record.array[:, :frames][:, :, list(slices) if slices is not None else slice(None)]
    affine = record.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ np.array([where[1].start, where[0].start, 0])
    return replace(record, array=array[..., where[0], where[1]], affine=affine, frame_times=record.frame_times[:frames])


def compare(
    images: SeriesRecord,
    truth: np.ndarray,
    snr: float,
    seeds: Sequence[int],
    *,
    is_complex: bool = False,
    **options: Any,  # noqa: ANN401
) -> Scores:
    """Segment a cine without noise, with noise, and with noise after denoising.

    Args:
        images: the cine.
        truth: labels ``(T, Z, Y, X)``.
        snr: of the noisy cine.
        seeds: one noisy cine for each.
        is_complex: whether the noisy cine stays complex.
        **options: for :func:`monai_stcnnt.apps.segment`.

    Returns:
        Dice by way, image and class; the images of all seeds one after another.
    """
    scores: Scores = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        clean = write_nifti(images, Path(folder, "clean.nii"))
        scores["clean"] += _as_lists(_dice_of_file(clean, truth, denoise=False, **options))
        for seed in seeds:
            noisy = add_series_noise(images, snr, seed).noisy
            noisy = noisy if is_complex else magnitude_record(noisy)
            file = write_nifti(noisy, Path(folder, f"noisy{seed}.nii"))
            scores["noisy"] += _as_lists(_dice_of_file(file, truth, denoise=False, **options))
            scores["denoised"] += _as_lists(_dice_of_file(file, truth, denoise=True, **options))
    return scores


def _dice_of_file(file: Path, truth: np.ndarray, **options: Any) -> np.ndarray:  # noqa: ANN401
    with tempfile.TemporaryDirectory() as folder:
        [one] = segment(file, folder, progress=False, **options)
        return frame_dice(read_series(one.saved, check=False).array[0], truth)


def _as_lists(scores: np.ndarray) -> list[list[float | None]]:
    """For JSON, which has no NaN."""
    return [[None if np.isnan(score) else round(float(score), 4) for score in row] for row in scores]


def table(scores: Scores) -> str:
    """Make a Markdown table of the scores.

    Args:
        scores: see :func:`compare`.

    Returns:
        One row for each way, and one for the gain by denoising.
    """
    arrays = {way: np.array(rows, np.float64) for way, rows in scores.items()}
    lines = [f"| image | {' | '.join(CLASSES.values())} |", "|---|---|---|---|"]
    for way, array in arrays.items():
        cells = [f"{np.nanmean(column):.3f} ± {np.nanstd(column):.3f}" for column in array.T]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    gain = [f"{np.nanmean(column):+.3f}" for column in (arrays["denoised"] - arrays["noisy"]).T]
    lines.append(f"| denoised minus noisy | {' | '.join(gain)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the measurement.

    Args:
        arguments: of the command line; by default those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of sample scans, with cine_sax_bivme in it")
    parser.add_argument("--snr", type=float, default=3.0, help="of the noisy cine (default 3)")
    parser.add_argument("--complex", action="store_true", help="denoise the complex cine, not its magnitude")
    parser.add_argument("--seeds", type=int, default=1, help="number of noisy cines (default 1)")
    parser.add_argument("--size", type=int, help="cut a square of so many pixels around the heart")
    parser.add_argument("--frames", type=int, help="take the first frames only")
    parser.add_argument("--slices", type=int, nargs="+", help="take these slices only, from 0")
    parser.add_argument("--architecture", help="another network of the segmentation bundle")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")
    parser.add_argument("--json", type=Path, help="write all scores to this file")
    options = parser.parse_args(arguments)
    folder = options.data / "cine_sax_bivme"
    images = read_series(folder / "cine_sax.nii.gz")
    labels = read_series(folder / "cine_sax_label.nii.gz", check=False)
    whole = labels.array[0]
    part = (whole, options.size, options.frames, options.slices)
    images, labels = crop_to_labels(images, *part), crop_to_labels(labels, *part)
    choices = {"device": options.device, "architecture": options.architecture, "is_complex": options.complex}
    scores = compare(images, labels.array[0], options.snr, range(options.seeds), **choices)
    if options.json is not None:
        with write_aside(options.json) as aside:
            aside.write_text(json.dumps({"snr": options.snr, "scores": scores}) + "\n", encoding="utf-8")
    sys.stdout.write(f"{len(scores['noisy'])} noisy images, SNR {options.snr:g}\n\n{table(scores)}\n")


if __name__ == "__main__":
    main()
