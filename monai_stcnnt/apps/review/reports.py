# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What is written beside a result: a page, a picture or an animated picture, and the figures of quality control."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from monai_stcnnt.apps.review.figures import limits
from monai_stcnnt.apps.review.gif import gif_report
from monai_stcnnt.apps.review.html import html_report
from monai_stcnnt.apps.review.names import check_report_name, report_names
from monai_stcnnt.apps.review.png import png_report
from monai_stcnnt.apps.review.review import Review, review_series
from monai_stcnnt.data import read_series, write_aside

__all__ = ["Result", "review", "write_qc", "write_report"]

logger = logging.getLogger(__name__)

WRITERS = {".html": html_report, ".png": png_report, ".gif": gif_report}


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


def review(
    results: list[Result],
    *,
    report: str | Path | None = None,
    qc: str | Path | None = None,
    progress: bool = False,
) -> Iterator[tuple[Result, Review]]:
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
    saved = [result.saved for result in results]
    names = [None] * len(results) if report is None else report_names(saved, check_report_name(report))
    entries: list[dict[str, Any]] = []
    pairs = list(zip(results, names, strict=True))
    for result, name in tqdm(pairs, desc="Reviewing", unit="series", delay=2, disable=not progress, leave=False):
        found = _review_files(result)
        if name is not None:
            write_report(found, name)
        said = {"source": str(result.source), "series": result.series, "result": str(result.saved)}
        entries.append({**said, "report": None if name is None else str(name), **found.as_dict()})
        for flag in found.flags:
            logger.warning("%s is flagged: %s", result.saved, flag.message)
        yield result, found
    if qc is not None:
        write_qc(entries, qc)


def _review_files(result: Result) -> Review:
    before, after = read_series(result.source, series=result.series), read_series(result.saved, check=False)
    gmap = None if result.gmap is None else read_series(result.gmap, check=False).magnitude
    title = result.source.name if result.series is None else f"{result.source.name}, series {result.series}"
    return review_series(before, after, sigma=result.sigma, gmap=gmap, title=title)


def write_report(review: Review, path: str | Path) -> Path:
    """Write a report of the kind that its name says.

    Args:
        review: the series before and after, with its figures.
        path: ``.html``, ``.png`` or ``.gif``; missing folders are made, and an existing report is replaced.

    Returns:
        The path.

    Raises:
        OutputNotWritableError: if the name has another ending, or the report cannot be written.
    """
    path = check_report_name(path)
    return WRITERS[path.suffix.lower()](review, path)


def write_qc(entries: Sequence[Mapping[str, Any]], path: str | Path) -> Path:
    """Write the figures of several series as JSON: ``{"limits": {...}, "series": [...]}``.

    Args:
        entries: one object per series, such as :meth:`Review.as_dict` with the series' name.
        path: the file, ``.json``; an existing one is replaced.

    Returns:
        The path.

    Raises:
        OutputNotWritableError: if the name has another ending, or the file cannot be written.
    """
    path = check_report_name(path, (".json",))
    text = json.dumps({"limits": limits(), "series": [dict(entry) for entry in entries]}, indent=2, allow_nan=False)
    with write_aside(path) as aside:
        aside.write_text(text + "\n", encoding="utf-8")
    return path
