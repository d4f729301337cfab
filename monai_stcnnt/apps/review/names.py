# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Names of reports."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from monai_stcnnt.errors import OutputNotWritableError

__all__ = ["KINDS", "check_report_name", "is_current", "report_names"]

KINDS = (".html", ".png", ".gif")
"""Endings of reports: a page, a picture, an animated picture."""


def check_report_name(path: str | Path, endings: Iterable[str] = KINDS) -> Path:
    """Check a report's name before the work that it is about.

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
        what = "is a folder" if path.is_dir() else f"has the ending {path.suffix!r}"
        raise OutputNotWritableError(f"{path} {what}. Choose a file name that ends in {' or '.join(endings)}.")
    return path


def report_names(results: Sequence[Path], report: Path) -> list[Path]:
    """Names of the reports of several results: each with the result's name, and its folders' where two are alike.

    Args:
        results: the files or folders that are reported on.
        report: name of the report of a single one.

    Returns:
        A path for each result.
    """
    if len(results) == 1:
        return [report]
    stems = [result.name.split(".")[0] for result in results]
    common = Path(os.path.commonpath([result.parent for result in results]))
    names: list[Path] = []
    for result, stem in zip(results, stems, strict=True):
        folders = result.parent.relative_to(common).parts if stems.count(stem) > 1 else ()
        place = "_".join((report.stem, *folders, stem))
        path, number = report.with_name(place + report.suffix), 2
        while path in names:
            path, number = report.with_name(f"{place}_{number}{report.suffix}"), number + 1
        names.append(path)
    return names


def is_current(report: Path, result: Path) -> bool:
    """Tell whether a report was written after its result.

    Args:
        report: the report, which may be missing.
        result: the file or folder that it is about.
    """
    return report.exists() and result.exists() and report.stat().st_mtime_ns >= result.stat().st_mtime_ns
