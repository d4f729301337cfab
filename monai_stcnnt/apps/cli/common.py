# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What the commands share: exit codes, logging, options that all have, what they tell of a run, and examples."""

from __future__ import annotations

import json as json_text
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from monai_stcnnt.apps.batch.run import RunResult

__all__ = [
    "SOME_FAILED",
    "WRONG_INPUT",
    "DeviceOption",
    "ForceOption",
    "JsonOption",
    "NiftiOption",
    "QuietOption",
    "RedoOption",
    "SchedulerOption",
    "SeriesOption",
    "VerboseOption",
    "WorkersOption",
    "examples",
    "say",
    "set_up_logging",
    "tell",
    "work",
]

WRONG_INPUT = 2
"""Exit code for anything the user can fix."""
INTERRUPTED = 130
SOME_FAILED = 3
"""Exit code where some of several series could not be done; the others are."""

QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress bar, no messages; only what was written.")
]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Say more, and where an error came from.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON to standard output, for other programs.")]
SeriesOption = Annotated[str | None, typer.Option(help="DICOM series to take, as `stcnnt info` names it.")]
NiftiOption = Annotated[bool, typer.Option("--nifti", help="Write NIfTI, whatever the input is.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]
RedoOption = Annotated[
    bool, typer.Option("--redo", help="Make results again that exist, and replace files that are in the way.")
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Take also what is not an MR image by its values, or was made by stcnnt.")
]
WorkersOption = Annotated[
    int, typer.Option(help="Processes that share the series of a folder; 0 for one process without dask.")
]
SchedulerOption = Annotated[
    str | None, typer.Option(help="Address or file of a dask scheduler whose workers share the series.")
]


def set_up_logging(*, quiet: bool, verbose: bool = False) -> None:
    """Log what this package says to standard error, and nothing of other packages: errors are raised, and said once.

    Args:
        quiet: log errors only.
        verbose: log everything, including where errors came from.
    """
    logging.basicConfig(level=logging.CRITICAL, format="%(message)s", stream=sys.stderr, force=True)
    logging.getLogger().handlers[0].addFilter(_Once())
    level = logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO
    logging.getLogger("monai_stcnnt").setLevel(level)


class _Once(logging.Filter):
    """Lets what is remarked about a file through once, although the file is looked at for listing and for reading."""

    def __init__(self) -> None:
        super().__init__()
        self.said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is new, or not about a file."""
        text = record.getMessage()
        is_new = text not in self.said or not record.name.startswith("monai_stcnnt.data")
        self.said.add(text)
        return is_new


def examples(*lines: str) -> str:
    """Examples for the end of a command's help.

    Args:
        *lines: command lines without the program's name.
    """
    return "\n\n".join(["Examples:", *(f"stcnnt {line}" for line in lines)])


def say(text: str) -> None:
    """Write a line to standard output; where that is closed or full, the work still counts, and the rest is dropped."""
    try:
        typer.echo(text)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def work(after: str = "Interrupted. The same command resumes: what is done is skipped.") -> Iterator[None]:
    """Say something after an interruption, such as how to go on.

    Args:
        after: what to say.

    Raises:
        Exit: with 130.
    """
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(after, err=True)
        raise typer.Exit(INTERRUPTED) from None


def tell(
    result: RunResult,
    entries: Mapping[str, Mapping[str, Any]],
    columns: Mapping[str, Mapping[str, str]],
    *,
    json: bool,
    quiet: bool,
) -> None:
    """Tell what became of the series of a run, and end with the exit code that fits.

    Paths of results, or JSON, go to standard output; a table of several series and errors to standard error.

    Args:
        result: of the run.
        entries: what JSON says of each result, by its target, beside source, status and place.
        columns: what the table says: heading, then the text of each result by its target.
        json: write JSON.
        quiet: leave the table out.

    Raises:
        StcnntError: the error of a single series.
        Exit: with 3 where some of several series failed.
    """
    is_single = result.is_single
    if is_single:
        result.check()
    failed, refused = result.failed, result.refused
    if json:
        listed: list[dict[str, Any]] = [
            {"source": str(result.sources[row.target]), "series": row.series or None, "status": row.status}
            | ({"result": str(result.folder / row.target), "seconds": row.seconds, **entries[row.target]}
               | ({"skipped": True} if row.target in result.skipped else {})
               if row.status == "done" else {"error": row.error})
            for row in result.rows
        ]  # fmt: skip
        listed += [{"source": name, "series": None, "status": "not reached"} for name in result.missing]
        say(json_text.dumps({"series": listed, "manifest": str(result.manifest)}, indent=2, allow_nan=False))
    else:
        for path in result.saved:
            say(str(path))
        if not quiet and not is_single:
            texts = list(columns.values())
            rows = [
                [row.name, _status(row.target, row.status, result), *(text.get(row.target, "") for text in texts)]
                for row in result.rows
            ]
            rows += [[name, "not reached", *("" for _ in columns)] for name in result.missing]
            _print_table(["series", "status", *columns], rows)
    for row in (*failed, *refused):
        typer.echo(f"{row.status}: {row.name}: {row.error}", err=True)
    if failed or result.missing:
        raise typer.Exit(SOME_FAILED)


def _status(target: str, status: str, result: RunResult) -> str:
    return "skipped" if target in result.skipped else status


def _print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table to standard error, in full width where that is not a terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*headings, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    width = None if sys.stderr.isatty() else 10_000
    Console(stderr=True, highlight=False, markup=False, soft_wrap=False, width=width).print(table)
