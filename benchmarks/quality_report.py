# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What the measurement of denoising quality says: tables, the part of the README, and a picture."""

from __future__ import annotations

import json
import platform
import re
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from monai_stcnnt import __version__
from monai_stcnnt.data import write_aside

__all__ = ["Row", "draw_examples", "quality_part", "readme_part", "tables", "write_readme", "write_results"]

_MARKED = re.compile(r"(<!-- (performance|quality|scans) -->\n).*?(<!-- /\2 -->)", re.DOTALL)


@dataclass(frozen=True)
class Row:
    """One result: a method on a case, with the parameters of its best PSNR and best SSIM; seconds for one of them."""

    series: str
    snr: float
    seed: int
    kind: str
    method: str
    psnr: float
    ssim: float
    psnr_parameters: str
    ssim_parameters: str
    seconds: float


def tables(rows: Sequence[Row]) -> str:
    """Markdown tables: the mean over all scans and seeds, then every scan; the best figures in bold.

    Args:
        rows: results.

    Returns:
        The text.
    """
    texts = []
    for kind in dict.fromkeys(row.kind for row in rows):
        part = [row for row in rows if row.kind == kind]
        names = list(dict.fromkeys(row.series for row in part))
        texts.append(f"## {kind.capitalize()} images\n\n### Mean over {len(names)} scans\n\n{_table(part)}")
        texts.extend(f"### {name}\n\n{_table([row for row in part if row.series == name])}" for name in names)
    return "\n\n".join(texts) + "\n"


def _table(rows: Sequence[Row]) -> str:
    snrs = sorted({row.snr for row in rows})
    methods = ordered(rows)
    cells = {(m, snr): [row for row in rows if (row.method, row.snr) == (m, snr)] for m in methods for snr in snrs}
    complete = max(len(cell) for cell in cells.values())
    means = {
        key: (fmean(row.psnr for row in cell), fmean(row.ssim for row in cell))
        for key, cell in cells.items()
        if len(cell) == complete
    }
    best = {snr: [max(mean[n] for (_, s), mean in means.items() if s == snr) for n in range(2)] for snr in snrs}
    lines = [
        "| PSNR (dB) / SSIM | " + " | ".join(f"SNR {snr:g}" for snr in snrs) + " | seconds |",
        "|---|" + "---|" * (len(snrs) + 1),
    ]
    for method in methods:
        texts = [_cell(means.get((method, snr)), best[snr]) for snr in snrs]
        seconds = fmean(row.seconds for row in rows if row.method == method)
        lines.append(f"| {method} | " + " | ".join(texts) + f" | {seconds:.1f} |")
    return "\n".join(lines)


def _cell(mean: tuple[float, float] | None, best: Sequence[float]) -> str:
    """One cell of a table; a dash for a method that not all of its scans were given to."""
    if mean is None:
        return "-"
    texts = (f"{mean[0]:.2f}", f"{mean[1]:.3f}")
    return " / ".join(f"**{t}**" if v == b else t for t, v, b in zip(texts, mean, best, strict=True))


def readme_part(rows: Sequence[Row]) -> str:
    """What the README says of the quality: the mean over all scans, PSNR alone, one table for each kind of image."""
    series = list(dict.fromkeys(row.series for row in rows))
    snrs = sorted({row.snr for row in rows})
    lines = [
        f"PSNR in dB, mean over {len(series)} held-out scans with simulated noise of known level. Filters are tuned",
        "for every image on its truth, the networks are not (`python -m benchmarks.denoising_quality`, with the data,",
        "SSIM and time in `bundles/mri_denoising/docs/README.md`, every scan in `docs/quality.md` beside it).",
    ]
    for kind in dict.fromkeys(row.kind for row in rows):
        part = [row for row in rows if row.kind == kind]
        means = {
            method: [
                fmean(found) if len(found) == len(series) else None
                for found in ([row.psnr for row in part if (row.method, row.snr) == (method, snr)] for snr in snrs)
            ]
            for method in ordered(part)
        }
        best = [max(values[n] or 0.0 for values in means.values()) for n in range(len(snrs))]
        lines += ["", f"| {kind} images | " + " | ".join(f"SNR {snr:g}" for snr in snrs) + " |"]
        lines.append("|---|" + "---|" * len(snrs))
        for method, values in means.items():
            if any(value is not None for value in values):
                texts = [
                    "-" if v is None else f"**{v:.1f}**" if v == b else f"{v:.1f}"
                    for v, b in zip(values, best, strict=True)
                ]
                lines.append(f"| {method} | " + " | ".join(texts) + " |")
        partial = [method for method, values in means.items() if all(value is None for value in values)]
        lines += [f"| {_advantage(part, ordered(part)[-1], method, snrs)} |" for method in partial]
    return "\n".join(lines) + "\n"


def quality_part(rows: Sequence[Row]) -> str:
    """What the documentation of the bundle says of the quality.

    For each kind of image: the mean over all scans with SSIM and time; the same for methods that were given to some
    scans only, on these; and what our bundle gains over BM4D, scan by scan.
    """
    series = list(dict.fromkeys(row.series for row in rows))
    texts = []
    for kind in dict.fromkeys(row.kind for row in rows):
        part = [row for row in rows if row.kind == kind]
        scans = {method: {row.series for row in part if row.method == method} for method in ordered(part)}
        ours = ordered(part)[-1]
        texts.append(f"{kind.capitalize()} images, mean over {len(series)} scans:")
        texts.append(_table([row for row in part if len(scans[row.method]) == len(series)]))
        for some in sorted({frozenset(found) for found in scans.values() if len(found) < len(series)}, key=len):
            shown = [method for method, found in scans.items() if found == some] + [ours]
            texts.append(f"{kind.capitalize()} images, mean over {', '.join(sorted(some))}:")
            texts.append(_table([row for row in part if row.method in shown and row.series in some]))
        texts.append(_gains(part, ours, "BM4D, tuned", kind))
    return "\n\n".join(text for text in texts if text) + "\n"


def _gains(rows: Sequence[Row], ours: str, other: str, kind: str) -> str:
    """Table of what one method gains over another in PSNR, scan by scan; nothing where the other was not measured."""
    snrs = sorted({row.snr for row in rows})
    names = list(dict.fromkeys(row.series for row in rows if row.method == other))
    if not names:
        return ""
    head = f"| {kind} images: gain over {other} (dB) | " + " | ".join(f"SNR {snr:g}" for snr in snrs) + " |"
    lines = [head, "|---|" + "---|" * len(snrs)]
    for label, some in [*((name, [name]) for name in names), ("mean", names)]:
        shown = [row for row in rows if row.series in some]
        lines.append(f"| {label} | {' | '.join(_gain_texts(shown, ours, other, snrs, 2))} |")
    return "\n".join(lines)


def _advantage(rows: Sequence[Row], ours: str, other: str, snrs: Sequence[float]) -> str:
    """Cells of a row for a method that was measured on some scans: what another one gains over it there."""
    scans = len({row.series for row in rows if row.method == other})
    return f"{ours}, gain over {other}, {scans} scans | " + " | ".join(_gain_texts(rows, ours, other, snrs, 1))


def _gain_texts(rows: Sequence[Row], ours: str, other: str, snrs: Sequence[float], digits: int) -> list[str]:
    """Mean gain in PSNR of one method over another at each SNR, on the scans that both were measured on."""
    found = {(row.series, row.seed, row.snr): row.psnr for row in rows if row.method == other}
    texts = []
    for snr in snrs:
        gains = [
            row.psnr - found[row.series, row.seed, snr]
            for row in rows
            if row.method == ours and row.snr == snr and (row.series, row.seed, snr) in found
        ]
        texts.append(f"{fmean(gains):+.{digits}f}" if gains else "-")
    return texts


def ordered(rows: Sequence[Row]) -> list[str]:
    """Names of the methods as they were measured first, those of the bundle last."""
    found = list(dict.fromkeys(row.method for row in rows))
    return sorted(found, key=lambda name: ("bundle" in name) + (name == "mri_denoising bundle"))


def draw_examples(truth: np.ndarray, images: Mapping[str, np.ndarray], path: Path) -> None:
    """Draw images of one slice above what they differ from the truth.

    Args:
        truth: clean magnitudes (Y, X).
        images: results of the same shape, by title.
        path: PNG file to write.
    """
    top = float(np.percentile(truth, 99.5))
    figure = Figure(figsize=(2.2 * (len(images) + 1), 4.8), layout="constrained")
    axes = figure.subplots(2, len(images) + 1, squeeze=False)
    axes[0, 0].imshow(truth, cmap="gray", vmin=0, vmax=top)
    axes[0, 0].set_title("truth", fontsize=9)
    for column, (title, image) in enumerate(images.items(), 1):
        error = image - truth
        axes[0, column].imshow(image, cmap="gray", vmin=0, vmax=top)
        axes[0, column].set_title(title, fontsize=9)
        axes[1, column].imshow(error, cmap="coolwarm", vmin=-top / 4, vmax=top / 4)
    axes[1, 1].set_title("minus the truth, enlarged", fontsize=8)
    for axis in axes.flat:
        axis.set_axis_off()
    with write_aside(path) as aside:
        figure.savefig(aside, dpi=110, format="png")


def write_readme(path: Path, rows: Sequence[Row]) -> None:
    """Write the parts of a file between marks again.

    Between ``<!-- performance -->`` and ``<!-- /performance -->`` stands :func:`readme_part`, between such marks of the
    name ``quality`` :func:`quality_part`, and between those of the name ``scans`` :func:`tables`.

    Args:
        path: the file.
        rows: results.

    Raises:
        ValueError: for a file without marks.
    """
    parts = {"performance": readme_part, "quality": quality_part, "scans": tables}
    before = path.read_text(encoding="utf-8")
    if not _MARKED.search(before):
        raise ValueError(
            f"{path} has no marks such as <!-- performance --> and <!-- /performance --> to write between."
        )
    after = _MARKED.sub(lambda match: f"{match[1]}{parts[match[2]](rows).strip()}\n{match[3]}", before)
    with write_aside(path) as aside:
        aside.write_text(after, encoding="utf-8")


def write_results(path: Path, rows: Sequence[Any], options: Namespace) -> None:
    """Write results as JSON, with the versions and options that they were found with.

    Args:
        path: the file.
        rows: dataclasses; figures that are not finite become null.
        options: of the command line.
    """
    about = {
        "version": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "arguments": {name: str(value) for name, value in vars(options).items()},
    }
    entries = [
        {key: None if isinstance(value, float) and not np.isfinite(value) else value for key, value in fields.items()}
        for fields in map(asdict, rows)
    ]
    with write_aside(path) as aside:
        aside.write_text(json.dumps({"about": about, "rows": entries}, indent=1, allow_nan=False), encoding="utf-8")
