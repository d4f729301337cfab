# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""How well noise models are estimated: ``python -m benchmarks.noise_models DATA --out models.json``.

Noise is simulated as :mod:`benchmarks.scanner_noise` does, with supports of 0.5 to 0.8 of each axis, with and without a
taper, and maps of 2- to 4-fold acceleration, and the model is estimated. Told are the share of axes whose support is
found within one sample, how often a support is reported where there is none, and the median error of the levels inside
of the object. The scans' own noise would count as an error at an SNR of 20, so they are means over many volumes, or
halved along each axis, or a phantom.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from benchmarks.page_parts import write_part
from benchmarks.quiet_scans import QUIET_SCANS, quiet_clip
from benchmarks.scanner_noise import Case, simulate, taper
from monai_stcnnt.mri import AxisSpectrum, estimate_noise_model
from monai_stcnnt.mri.channels import complex_to_channels
from monai_stcnnt.mri.noise_model import map_of_frames

__all__ = ["main", "measured"]

logger = logging.getLogger("noise_models")

_ALL_ACQUIRED = ("white", "map")
_NOISES = (*_ALL_ACQUIRED, "even", "tapered", "even, map", "tapered, map")


def drawn_axes(size: Sequence[int], noise: str, rng: np.random.RandomState) -> tuple[AxisSpectrum, AxisSpectrum]:
    """Supports of 0.5 to 0.8 of rows and columns, tapered down to 0.3 to 0.7 where the noise is said to be."""
    axes = []
    for length in size:
        share, rim = rng.uniform(0.5, 0.8), rng.uniform(0.3, 0.7)
        plain = AxisSpectrum.of_matrix(length, round(share * length))
        weights = tuple(taper(plain.acquired, rim).tolist()) if "tapered" in noise else ()
        filled = noise not in _ALL_ACQUIRED
        axes.append(AxisSpectrum(length, plain.start, plain.stop, weights) if filled else AxisSpectrum(length))
    return axes[0], axes[1]


def measured(case: Case, *, is_volume: bool) -> dict[str, object]:
    """What is estimated of a case beside what is true: errors in samples of both axes, of map and level."""
    image = complex_to_channels(case.noisy, 0) if case.noisy.is_complex() else case.noisy[None]
    model = estimate_noise_model(image[None], is_volume=is_volume)
    frames, *size = case.noisy.shape
    levels = model.level * map_of_frames(model, 0, slice(0, frames), frames, size)
    inside = case.truth > 0.1 * case.truth.flatten().kthvalue(int(0.99 * case.truth.numel())).values
    error = (levels / case.gmap - 1)[inside]
    return {
        "support": [a.acquired - b.acquired for a, b in zip(model.spectrum[1:], case.axes, strict=True)],
        "acquired": [axis.acquired for axis in case.axes],
        "error": float(error.abs().median()),
        "bias": float(error.median()),
        "frames": model.matrix[0] - frames,
    }


def run(args: argparse.Namespace) -> list[dict[str, object]]:
    """Every combination, one row each."""
    rows: list[dict[str, object]] = []
    for scan, kind, noise, snr, seed in product(args.scans, args.kinds, args.noises, args.snr, range(args.seeds)):
        name, how = QUIET_SCANS[scan]
        clip = quiet_clip(args.data / name, how)
        axes = drawn_axes(clip.shape[1:], noise, np.random.RandomState(crc32(f"{scan} {noise} {seed}".encode())))
        condition = "map" if "map" in noise else "white"
        magnitude = kind == "magnitude"
        case = simulate(clip, condition, snr, seed, magnitude=magnitude, is_series="series" in how, axes=axes)
        found = measured(case, is_volume=how in ("half", "half volume", "mean"))
        rows.append({"scan": scan, "kind": kind, "noise": noise, "snr": snr, "seed": seed, **found})
        logger.debug("%s", rows[-1])
        args.out.write_text(json.dumps(rows), encoding="utf-8")
    return rows


def tables(rows: Sequence[dict[str, Any]]) -> str:
    """Shares of axes whose support is found, and medians of the errors of the levels, by kind and SNR."""
    out = [
        "| images | SNR | support within one sample | within two "
        "| level and map, median error: all acquired | zero-filled |",
        "|---" * 6 + "|",
    ]
    whole = [row for row in rows if row["noise"] in _ALL_ACQUIRED]
    filled = [row for row in rows if row["noise"] not in _ALL_ACQUIRED]
    for kind, snr in dict.fromkeys((row["kind"], row["snr"]) for row in rows):
        here = [[row for row in part if (row["kind"], row["snr"]) == (kind, snr)] for part in (whole, filled)]
        off = np.abs([row["support"] for row in here[1]])
        cells = [f"{float((off <= n).mean()):.0%}" if off.size else "" for n in (1, 2)]
        cells += [f"{np.median([row['error'] for row in part]):.0%}" if part else "" for part in here]
        out.append(f"| {kind} | {snr:g} | {' | '.join(cells)} |")
    false = sum(bool(np.any(row["support"])) for row in whole)
    return "\n".join([*out, "", f"Supports reported where noise fills all of k-space: {false} of {len(whole)} cases."])


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and log the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the sample data")
    parser.add_argument("--out", type=Path, default=Path("noise_models.json"))
    parser.add_argument("--page", type=Path, help="Markdown file whose text between <!-- models --> marks is replaced")
    untouched = [name for name in QUIET_SCANS if "tuned" not in name]
    parser.add_argument("--scans", nargs="*", choices=list(QUIET_SCANS), default=untouched)
    parser.add_argument("--kinds", nargs="*", choices=["complex", "magnitude"], default=["complex", "magnitude"])
    parser.add_argument("--noises", nargs="*", choices=_NOISES, default=_NOISES)
    parser.add_argument("--snr", nargs="*", type=float, default=[3, 5, 10, 20])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("-v", "--verbose", action="store_true")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logger.setLevel(logging.DEBUG if args.verbose else logging.INFO)
    logging.getLogger("monai_stcnnt").setLevel(logging.WARNING)
    text = tables(run(args))
    if args.page is None:
        logger.info("%s", text)
        return
    write_part(args.page, "models", text)


if __name__ == "__main__":
    main()
