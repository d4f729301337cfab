# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The group level of the BIDS app: a table of all participants, and a page of it."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_stcnnt.apps.review.figures import FIGURES
from monai_stcnnt.data.paths import check_exists
from monai_stcnnt.errors import MissingFileError, UnreadableFileError
from monai_stcnnt.services.bids.participant import write_text

__all__ = ["write_group"]

_FIRST = ("participant_id", "file", "suffix", "status", "error", "noise_sigma")
_MEANINGS = {
    "file": "Image, relative to the dataset.",
    "suffix": "BIDS suffix of the image.",
    "status": "done, unchanged (done before) or failed.",
    "error": "Why it failed.",
    "noise_sigma": "Noise standard deviation per component, in the units of the image.",
}
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Denoised images</title>
<style>body{{font-family:sans-serif;margin:2em}}table{{border-collapse:collapse}}
th,td{{border-bottom:1px solid #ccc;padding:.3em .7em;text-align:left}}
.failed,.flagged{{background:#fde8e8}}</style></head>
<body><h1>Denoised images</h1><p>{count} images of {participants} participants; {failed} failed. A figure beyond its
limit is marked: look at the image before it is used. Research use only.</p>
<table><tr>{head}</tr>
{rows}
</table></body></html>
"""


def write_group(output: str | Path) -> list[Path]:
    """Put the logs of participants together.

    Args:
        output: folder of the derivatives.

    Returns:
        The table ``group_denoising.tsv``, its description, and the page ``group_denoising.html``.

    Raises:
        MissingFileError: if no participant was denoised.
        UnreadableFileError: if a log is damaged.
    """
    folder = check_exists(output)
    rows: list[dict[str, Any]] = []
    for log in sorted((folder / "logs").glob("sub-*.json")):
        try:
            rows += json.loads(log.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError) as error:
            raise UnreadableFileError(f"{log} is damaged. Run the participant again.") from error
    if not rows:
        raise MissingFileError(f"{folder} has no participant's log. Run the level 'participant' first.")
    columns = [*_FIRST, *(figure.name for figure in FIGURES if any(figure.name in row for row in rows))]
    paths = [folder / f"group_denoising.{ending}" for ending in ("tsv", "json", "html")]
    write_text(paths[0], _table(rows, columns))
    meanings = {**_MEANINGS, **{figure.name: figure.meaning for figure in FIGURES}}
    described = {name: {"Description": meanings[name]} for name in columns if name in meanings}
    write_text(paths[1], json.dumps(described, indent=2))
    write_text(paths[2], _page(rows, columns))
    return paths


def _table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(["n/a" if row.get(name) in (None, "") else _cell(row[name]) for name in columns])
    return text.getvalue()


def _cell(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _page(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    figures = {figure.name: figure for figure in FIGURES}
    lines = []
    for row in rows:
        cells = []
        for name in columns:
            value = row.get(name)
            text = "" if value is None else figures[name].text(value) if name in figures else _cell(value)
            mark = ' class="flagged"' if name in figures and figures[name].breaks(value) else ""
            cells.append(f"<td{mark}>{html.escape(text)}</td>")
        status = html.escape(row["status"])
        lines.append(f'<tr class="{status}">' + "".join(cells) + "</tr>")
    return _PAGE.format(
        count=len(rows), participants=len({row["participant_id"] for row in rows}),
        failed=sum(row["status"] == "failed" for row in rows),
        head="".join(f"<th>{html.escape(name)}</th>" for name in columns), rows="\n".join(lines),
    )  # fmt: skip
