# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What the commands share: exit codes, logging, options that all have, and examples in their help."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

__all__ = [
    "SOME_FAILED",
    "WRITERS",
    "WRONG_INPUT",
    "JsonOption",
    "QuietOption",
    "VerboseOption",
    "examples",
    "set_up_logging",
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
