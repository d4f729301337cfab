# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What the commands share: exit codes, logging, options that all have, and examples in their help."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = [
    "SOME_FAILED",
    "WRITERS",
    "WRONG_INPUT",
    "JsonOption",
    "QuietOption",
    "VerboseOption",
    "examples",
    "series_name",
    "set_up_logging",
    "text_table",
]

WRONG_INPUT = 2
"""Exit code for anything the user can mend."""
SOME_FAILED = 3
"""Exit code where some of several series could not be done; the others are."""

WRITERS = ("monai_stcnnt.data.writer",)
"""Loggers that say what was written; commands print it themselves."""

QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress bar, no messages; only what was written.")
]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Say more, and where an error came from.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON to standard output, for other programs.")]


def set_up_logging(*, quiet: bool, verbose: bool = False) -> None:
    """Log what this package says to standard error, and nothing of other packages: errors are raised, and said once.

    Args:
        quiet: log errors only.
        verbose: log everything, wherefrom errors came included.
    """
    logging.basicConfig(level=logging.CRITICAL, format="%(message)s", stream=sys.stderr, force=True)
    level = logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO
    logging.getLogger("monai_stcnnt").setLevel(level)
    for name in WRITERS:
        logging.getLogger(name).setLevel(level if quiet or verbose else logging.WARNING)


def examples(*lines: Sequence[str] | str) -> str:
    """Examples for the end of a command's help.

    Args:
        *lines: command lines without the program's name.
    """
    return "\n\n".join(["Examples:", *(f"stcnnt {line}" for line in lines)])


def series_name(entry: Mapping[str, Any], root: Path) -> str:
    """Name a series for a table of what became of those below a folder.

    Args:
        entry: with ``source``, its file or folder, and ``series``, the DICOM series where there are several.
        root: the folder.

    Returns:
        The path below the folder, and the series.
    """
    source = Path(entry["source"])
    name = source.relative_to(root).as_posix() if source.is_relative_to(root) else source.as_posix()
    name = source.name if source == root else name
    return name + (f", series {entry['series']}" if entry.get("series") else "")


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Set a table in columns of equal width.

    Args:
        rows: the first holds the headings.

    Returns:
        A line for each, and one below the headings.
    """
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])
