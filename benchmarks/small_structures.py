# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""How much contrast of small things is left after denoising: the bundle beside BM4D and non-local means.

``python -m benchmarks.small_structures --data DIR --page FILE.md --picture FILE.png`` inserts bright points and lines
of 1 to 3 pixels into held-out scans, at half of the mean signal above what is there, adds noise, and denoises the
magnitudes with the structures and without them, with the same noise. The difference of both results over what was
inserted, in the mean over the pixels of the structures, is the contrast that is kept. Of real lesions, whose outlines
experts drew, it is the difference from a rim of two pixels around them, over that of the scan.

All methods are told the level of the noise, and the Rician bias is taken off the results of the others.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from scipy.ndimage import binary_dilation

from benchmarks.classical_denoisers import block_matching
from benchmarks.denoiser_speed import bundle_filter, neighborhood_filter
from benchmarks.held_out import FURTHER, HELD_OUT, crop_series
from benchmarks.page_parts import write_part
from benchmarks.quality_cases import Case, make_case, to_stacks
from benchmarks.quality_report import draw_examples
from monai_stcnnt.data import SeriesRecord, read_series
from monai_stcnnt.mri.rician import rician_signal

__all__ = ["Kept", "insert", "main", "measure"]

Filter = Callable[[np.ndarray], np.ndarray]
Places = dict[str, list[tuple[slice, slice, slice]]]
"""The pixels of structures, by their kind."""

SCANS = ("cine (Sunnybrook, patient 5)", "brain T1 3D (studyforrest)", "brain T1w (pyradiomics)",
         "brain FLAIR (MS, patient 19)")  # fmt: skip
"""What is measured; the picture is of the last."""
LESIONS = {
    "brain FLAIR (MS, patient 19)": "ms_lesions_train/patient19/lesion_change_mask.nii.gz",
    "brain T1w (pyradiomics)": "pyradiomics_brain1/label.nii.gz",
}
"""Masks of real lesions, by the scan."""

SIZES = (1, 2, 3)
CONTRAST = 0.5
SPACING = 12
LENGTH = 9
DEPTH = 3


@dataclass(frozen=True)
class Kept:
    """The share of contrast that a method keeps.

    Attributes:
        scan: its name.
        snr: mean clean magnitude over the foreground, in units of the noise.
        structure: what was inserted, or that it is a real lesion.
        method: its name.
        share: of the contrast that was there.
        count: structures that it is a mean of.
    """

    scan: str
    snr: float
    structure: str
    method: str
    share: float
    count: int


def methods() -> dict[str, Filter]:
    """Filters of magnitudes (N, 1, frames, Y, X) in units of the noise."""
    found: dict[str, Filter] = {
        "bundle": bundle_filter(fast=False), "bundle, fast": bundle_filter(fast=True),
        "bundle, strength 0.8": bundle_filter(fast=False, strength=0.8),
    }  # fmt: skip
    if find_spec("bm4d"):
        found["BM4D"] = lambda stacks: rician_signal(np.stack([block_matching(s[0])[None] for s in stacks]))
    if find_spec("dipy"):
        found["non-local means"] = lambda stacks: rician_signal(neighborhood_filter(stacks))
    return found


def insert(clean: np.ndarray, height: float, *, over_frames: bool, seed: int = 0) -> tuple[np.ndarray, Places]:
    """Draw points and lines in turn on a grid of places inside of the object.

    Args:
        clean: magnitudes (frames, Y, X).
        height: what is added.
        over_frames: the frames are times, and a structure is in all of them; else in one of three.
        seed: of the places and directions.

    Returns:
        What is to be added (frames, Y, X), and the index of the pixels of each structure, by its kind.
    """
    draw = np.random.default_rng(seed)
    frames, rows, columns = clean.shape
    inside = clean > 0.3 * np.quantile(clean, 0.99)
    added = np.zeros_like(clean)
    found: Places = {}
    kinds = [f"{shape}, {size}" for size in SIZES for shape in ("point", "line")]
    for frame in [slice(0, frames)] if over_frames else [slice(z, z + 1) for z in range(DEPTH // 2, frames, DEPTH)]:
        places = [(y, x) for y in range(SPACING // 2, rows - SPACING // 2, SPACING)
                  for x in range(SPACING // 2, columns - SPACING // 2, SPACING)]  # fmt: skip
        for y, x in draw.permutation(places):
            kind = kinds[min(range(len(kinds)), key=lambda n: len(found.get(kinds[n], ())))]
            size = int(kind[-1])
            extent = [size, LENGTH if kind.startswith("line") else size]
            tall, wide = extent if draw.integers(2) else extent[::-1]
            top, left = y - tall // 2, x - wide // 2
            part = (frame, slice(top, top + tall), slice(left, left + wide))
            if inside[part].all():
                added[part] = height
                found.setdefault(kind, []).append(part)
    return added, found


def with_structures(case: Case, seed: int) -> tuple[np.ndarray, np.ndarray, Places]:
    """Noisy magnitudes (N, 1, frames, Y, X) of a complex case, without structures and with them, and where they are."""
    truth, noisy = (to_stacks(record.array) for record in (case.truth, case.noisy))
    size = np.hypot(truth[:, 0], truth[:, 1])
    turn = np.where(size > 0, truth[:, :1] + 1j * truth[:, 1:], 1) / np.where(size > 0, size, 1)[:, None]
    added, found = insert(size[0], CONTRAST * case.snr, over_frames=case.truth.array.shape[1] > 1, seed=seed)
    complex_noisy = noisy[:, :1] + 1j * noisy[:, 1:]
    both = [np.abs(complex_noisy), np.abs(complex_noisy + added * turn)]
    return both[0].astype(np.float32), both[1].astype(np.float32), found


def lesion_contrast(image: np.ndarray, mask: np.ndarray, inside: np.ndarray) -> float:
    """Mean of a lesion less that of the rim around it, in the plane."""
    cross = np.ones((1, 3, 3), bool)
    rim = binary_dilation(mask, cross, iterations=3) & ~binary_dilation(mask, cross) & inside
    return float(image[mask].mean() - image[rim].mean())


def measure(
    name: str, series: SeriesRecord, lesion: np.ndarray | None, snr: float, filters: dict[str, Filter], seed: int = 0
) -> Iterator[Kept]:
    """Denoise one scan with structures and without."""
    case = make_case(name, series, snr, seed, "complex")
    plain, full, found = with_structures(case, seed)
    clean = np.sqrt((to_stacks(case.truth.array) ** 2).sum(1))[0]
    for method, denoise in filters.items():
        without, together = denoise(plain)[0, 0], denoise(full)[0, 0]
        change = (together - without) / (CONTRAST * snr)
        for kind, parts in sorted(found.items()):
            yield Kept(name, snr, kind, method, fmean(float(change[p].mean()) for p in parts), len(parts))
        if lesion is not None:
            inside = clean > 0.1 * np.quantile(clean, 0.99)
            share = lesion_contrast(without, lesion, inside) / lesion_contrast(clean, lesion, inside)
            yield Kept(name, snr, "real lesions", method, share, 1)


def part_with_lesion(series: SeriesRecord, path: Path, size: Sequence[int]) -> tuple[SeriesRecord, np.ndarray]:
    """The part of a scan around the lesions of its mask, and the mask there (frames, Y, X)."""
    mask = read_series(path, check=False).array[0, 0] > 0
    depth = mask.sum((1, 2))
    middle = [int(np.average(np.arange(n), weights=mask.sum(axes))) for n, axes in
              ((mask.shape[1], (0, 2)), (mask.shape[2], (0, 1)))]  # fmt: skip
    centers = [int(np.argmax(np.convolve(depth, np.ones(size[0]), "same"))), *middle]
    parts = []
    for center, most, length in zip(centers, size, mask.shape, strict=False):
        start = int(np.clip(center - most // 2, 0, max(length - most, 0)))
        parts.append(slice(start, start + most))
    array = series.array[:, :, *parts]
    return SeriesRecord(array, series.affine, series.frame_times, series.metadata), mask[*parts]


def table(rows: Sequence[Kept]) -> str:
    """Markdown: contrast kept in percent, mean over scans by their structures, for each SNR and kind."""
    names = list(dict.fromkeys(row.method for row in rows))
    lines = ["| SNR | structure | count | " + " | ".join(names) + " |", "|--:|---|--:|" + "--:|" * len(names)]
    for snr in sorted({row.snr for row in rows}):
        for kind in sorted({row.structure for row in rows}):
            part = [row for row in rows if (row.snr, row.structure) == (snr, kind)]
            counts = [row.count for row in part if row.method == names[0]]
            cells = [f"{100 * np.average([r.share for r in part if r.method == m], weights=counts):.0f}" for m in names]
            lines.append(f"| {snr:g} | {kind} | {sum(counts)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(series: SeriesRecord, snr: float, filters: dict[str, Filter], path: Path) -> None:
    """Draw the slice with most structures: what is to be seen, with noise, and after each method."""
    case = make_case("", series, snr, 0, "complex")
    _, noisy, found = with_structures(case, 0)
    clean = np.sqrt((to_stacks(case.truth.array) ** 2).sum(1))[0]
    truth = clean + insert(clean, CONTRAST * snr, over_frames=series.array.shape[1] > 1)[0]
    frame = next(iter(found.values()))[0][0].start
    images = {"noisy": noisy[0, 0, frame]} | {name: one(noisy)[0, 0, frame] for name, one in filters.items()}
    draw_examples(truth[frame], images, path)


def main(arguments: Sequence[str] | None = None) -> list[Kept]:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the scans")
    parser.add_argument("--scans", nargs="+", default=list(SCANS), choices=list(SCANS))
    parser.add_argument("--snr", type=float, nargs="+", default=[5.0, 10.0, 20.0])
    parser.add_argument("--size", type=int, nargs=4, default=[8, 72, 72, 1], help="frames, rows, columns, slices")
    parser.add_argument("--page", type=Path, help="markdown with the marks <!-- structures --> to write between")
    parser.add_argument("--picture", type=Path, help="PNG file of a slice at an SNR of 10")
    parser.add_argument("--output", type=Path, help="JSON file for all figures")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    filters = methods()
    rows: list[Kept] = []
    for name in options.scans:
        series = read_series(options.data / {**HELD_OUT, **FURTHER}[name])
        lesion = None
        if name in LESIONS:
            series, lesion = part_with_lesion(series, options.data / LESIONS[name], options.size)
        else:
            series = crop_series(series, options.size)
        for snr in options.snr:
            rows += measure(name, series, lesion, snr, filters)
            if options.output is not None:
                options.output.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")
    sys.stdout.write(table(rows) + "\n")
    if options.page is not None:
        write_part(options.page, "structures", table(rows))
    if options.picture is not None:
        draw(series, 10.0, filters, options.picture)
    return rows


if __name__ == "__main__":
    main()
