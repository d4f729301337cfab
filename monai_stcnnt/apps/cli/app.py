# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The command line ``stcnnt``: a module for each command."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from monai_stcnnt import __version__
from monai_stcnnt.apps.cli.common import WRONG_INPUT, examples
from monai_stcnnt.apps.cli.convert import CONVERT_EXAMPLES, convert
from monai_stcnnt.apps.cli.denoise import DENOISE_EXAMPLES, denoise
from monai_stcnnt.apps.cli.info import INFO_EXAMPLES, info
from monai_stcnnt.apps.cli.noise import NOISE_EXAMPLES, noise
from monai_stcnnt.apps.cli.segment import SEGMENT_EXAMPLES, segment
from monai_stcnnt.errors import StcnntError
from monai_stcnnt.memory import keep_freed_memory

__all__ = ["app", "main"]

logger = logging.getLogger(__name__)

LATE = {"serve": "monai_stcnnt.services.commands:serve"}
"""Commands that are imported when they are asked for, by name, since they stand on this package and not below it."""


class _WithLateCommands(TyperGroup):
    """The commands of :data:`LATE` beside the others."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - typer's own click
        return list(dict.fromkeys([*super().list_commands(ctx), *LATE]))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - typer's own click
        if cmd_name in LATE and cmd_name not in self.commands:
            module, _, name = LATE[cmd_name].partition(":")
            self.add_command(typer.main.get_command(getattr(importlib.import_module(module), name)), cmd_name)
        return super().get_command(ctx, cmd_name)


app = typer.Typer(
    name="stcnnt",
    cls=_WithLateCommands,
    help="Denoise and segment MR images with imaging transformers. Research use only.",
    epilog=examples(
        "info dicom_folder",
        "denoise dicom_folder results --report report.html",
        "segment cine.nii.gz masks --csv volumes.csv",
        "--install-completion   (complete commands and options by the tab key)",
    ),
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"stcnnt {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Options of all commands."""
    del version


app.command(epilog=DENOISE_EXAMPLES)(denoise)
app.command(epilog=SEGMENT_EXAMPLES)(segment)
app.command(epilog=CONVERT_EXAMPLES)(convert)
app.command(epilog=INFO_EXAMPLES)(info)
app.command(epilog=NOISE_EXAMPLES)(noise)


def main() -> None:
    """Run the command line; what the user can fix is one message and exit code 2."""
    keep_freed_memory()
    if "OMP_WAIT_POLICY" not in os.environ:
        # Threads that wait by spinning for long slow each other down where another program uses a core. OpenMP reads
        # this when torch is loaded, which no module above does.
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        app()
    except StcnntError as error:
        logger.debug("Where the error came from:", exc_info=True)
        typer.echo(f"stcnnt: {error}", err=True)
        sys.exit(WRONG_INPUT)


if __name__ == "__main__":
    main()
