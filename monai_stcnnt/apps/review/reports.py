# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What is written beside a result: a page, a picture or an animated picture, and the figures of quality control."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_stcnnt.apps.review.figures import limits
from monai_stcnnt.apps.review.html import html_report
from monai_stcnnt.apps.review.names import check_report_name
from monai_stcnnt.apps.review.pictures import gif_report, png_report
from monai_stcnnt.apps.review.review import Review
from monai_stcnnt.data import write_aside

__all__ = ["write_qc", "write_report"]

WRITERS = {".html": html_report, ".png": png_report, ".gif": gif_report}


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
