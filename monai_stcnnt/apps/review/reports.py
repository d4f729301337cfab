# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What is written beside a result: a picture, an animated picture or a page, and the figures of quality control."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from monai_stcnnt.apps.review.gif import gif_report
from monai_stcnnt.apps.review.html import html_report
from monai_stcnnt.apps.review.png import denoising_report
from monai_stcnnt.apps.review.qc import QualityControl, quality_control, write_qc
from monai_stcnnt.apps.review.quality import magnitude_values
from monai_stcnnt.data import read_series
from monai_stcnnt.errors import GFactorMapError, OutputNotWritableError

__all__ = ["Result", "check_report_name", "report_names", "review"]

KINDS = {".png": "picture", ".gif": "animated picture", ".html": "page"}
"""Endings of reports."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """One series that was denoised.

    Attributes:
        source: where it came from.
        saved: where the result is.
        sigma: noise standard deviation per component that was used, in the units of the file.
        series: the DICOM series of the source, None where there is only one.
        gmap: its g-factor map.
    """

    source: Path
    saved: Path
    sigma: float
    series: str | None = None
    gmap: Path | None = None


def check_report_name(path: str | Path, endings: Iterable[str] = tuple(KINDS)) -> Path:
    """Make sure of a report's name, before the work that it is about.

    Args:
        path: the report to write; ``~`` is the home folder.
        endings: those that the name may have.

    Returns:
        The path.

    Raises:
        OutputNotWritableError: if the name has another ending, or is that of a folder.
    """
    path, endings = Path(path).expanduser(), tuple(endings)
    if path.suffix.lower() not in endings or path.is_dir():
        raise OutputNotWritableError(f"{path} is no name for this. Choose one that ends in {' or '.join(endings)}.")
    return path


def report_names(results: list[Result], report: Path) -> list[Path]:
    """Names of the reports of several series: each with the result's name added, and its folders' where two are alike.

    Args:
        results: the series.
        report: name of the report of a single one.

    Returns:
        A path for each series.
    """
    if len(results) == 1:
        return [report]
    stems = [result.saved.name.split(".")[0] for result in results]
    common = Path(os.path.commonpath([result.saved.parent for result in results]))
    names: list[Path] = []
    for result, stem in zip(results, stems, strict=True):
        folders = result.saved.parent.relative_to(common).parts if stems.count(stem) > 1 else ()
        place = "_".join((report.stem, *folders, stem))
        path, number = report.with_name(place + report.suffix), 2
        while path in names:
            path, number = report.with_name(f"{place}_{number}{report.suffix}"), number + 1
        names.append(path)
    return names


def review(
    results: list[Result],
    *,
    report: str | Path | None = None,
    qc: str | Path | None = None,
    progress: bool = False,
) -> Iterator[tuple[Result, QualityControl]]:
    """Compare results with what they came from, one after the other, and write reports about them.

    What is flagged is logged as a warning. The figures are written when all series are through.

    Args:
        results: the series.
        report: ``.png``, ``.gif`` or ``.html``; with several series one each, with the results' names added.
        qc: JSON with the figures of all series.
        progress: show a bar where it takes more than two seconds.

    Yields:
        A series and its figures, once its report is written.

    Raises:
        StcnntError: if a file cannot be read or written.
    """
    names: Sequence[Path | None] = (
        [None] * len(results) if report is None else report_names(results, check_report_name(report))
    )
    entries: list[dict[str, Any]] = []
    pairs = list(zip(results, names, strict=True))
    for result, name in tqdm(pairs, desc="Reviewing", unit="series", delay=2, disable=not progress, leave=False):
        figures = _review_one(result, name)
        saved = {"source": str(result.source), "series": result.series, "result": str(result.saved)}
        entries.append({**saved, "report": None if name is None else str(name), **figures.as_dict()})
        for flag in figures.flags:
            logger.warning("%s is flagged: %s", result.saved, flag.message)
        yield result, figures
    if qc is not None:
        write_qc(entries, check_report_name(qc, (".json",)))


def _review_one(result: Result, report: Path | None) -> QualityControl:
    before, after = read_series(result.source, series=result.series), read_series(result.saved, check=False)
    gmap = None if result.gmap is None else _map_values(result.gmap, after.array.shape)
    figures = quality_control(before, after, sigma=result.sigma, gmap=gmap)
    if report is None:
        return figures
    title = result.source.name if result.series is None else f"{result.source.name}, series {result.series}"
    if report.suffix.lower() == ".html":
        html_report(before, after, report, title=title, sigma=result.sigma, qc=figures)
    elif report.suffix.lower() == ".gif":
        gif_report(before, after, report, sigma=result.sigma)
    else:
        note = f"   {len(figures.flags)} flagged" if figures.flags else ""
        denoising_report(before, after, report, title=title + note, sigma=result.sigma)
    return figures


def _map_values(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    values = magnitude_values(read_series(path, check=False))
    if any(extent not in (1, wanted) for extent, wanted in zip(values.shape, shape[1:], strict=True)):
        raise GFactorMapError(
            f"{path} has the size (T, Z, Y, X) = {values.shape}, the image {shape[1:]}. Give a map of its size."
        )
    return values
