# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The command line ``stcnnt``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from monai_stcnnt import __version__
from monai_stcnnt.errors import StcnntError

__all__ = ["app", "main"]

app = typer.Typer(
    name="stcnnt",
    help="Denoise MR images with imaging transformers. Research use only.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

WRONG_INPUT = 2
"""Exit code for anything the user can mend."""


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


def set_up_logging(*, quiet: bool) -> None:
    """Log what this package says to standard error, and nothing of other packages: errors are raised, and said once."""
    logging.basicConfig(level=logging.CRITICAL, format="%(message)s", stream=sys.stderr, force=True)
    logging.getLogger("monai_stcnnt").setLevel(logging.ERROR if quiet else logging.INFO)


@app.command()
def denoise(
    input: Annotated[Path, typer.Argument(help="File or folder of MR images.")],
    output: Annotated[Path, typer.Argument(help="Folder for the results, or for one file its name (.nii, .nii.gz).")],
    noise_sigma: Annotated[
        float | None, typer.Option(help="Noise standard deviation per component; estimated if not given.")
    ] = None,
    gmap: Annotated[Path | None, typer.Option(help="g-factor map, or a folder of maps with the images' names.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Folder of another denoising bundle.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    report: Annotated[Path | None, typer.Option(help="Write a picture of before, after and residual (.png).")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar, no messages.")] = False,
) -> None:
    """Denoise a file, or every series of a folder.

    Example: stcnnt denoise scan.nii.gz denoised.nii.gz --report report.png
    """
    from monai_stcnnt.apps.denoising import denoise as run

    set_up_logging(quiet=quiet)
    written = run(
        input, output, noise_sigma=noise_sigma, gmap=gmap, bundle=bundle, device=device, report=report,
        progress=not quiet,
    )  # fmt: skip
    for path in written:
        typer.echo(str(path))
    if report is not None and not quiet:
        typer.echo(f"report: {report}", err=True)


def main() -> None:
    """Run the command line; what the user can mend is one message and exit code 2."""
    try:
        app()
    except StcnntError as error:
        typer.echo(f"stcnnt: {error}", err=True)
        sys.exit(WRONG_INPUT)


if __name__ == "__main__":
    main()
