# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The command line ``stcnnt``."""

from __future__ import annotations

import logging
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from monai_stcnnt import __version__
from monai_stcnnt.apps.cli_segment import segment
from monai_stcnnt.errors import StcnntError

__all__ = ["app", "main"]

app = typer.Typer(
    name="stcnnt",
    help="Denoise and segment MR images with imaging transformers. Research use only.",
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
    logging.getLogger("monai_stcnnt.data.writer").setLevel(logging.ERROR)  # commands print what they wrote


@app.command()
def denoise(
    input: Annotated[Path, typer.Argument(help="File or folder of MR images.")],
    output: Annotated[Path, typer.Argument(help="Folder for the results, or for one series a name (.nii, .nii.gz).")],
    series: Annotated[str | None, typer.Option(help="DICOM series to take, as `stcnnt info` names it.")] = None,
    nifti: Annotated[bool, typer.Option("--nifti", help="Write NIfTI, whatever the input is.")] = False,
    noise_sigma: Annotated[
        float | None, typer.Option(help="Noise standard deviation per component; estimated if not given.")
    ] = None,
    gmap: Annotated[Path | None, typer.Option(help="g-factor map, or a folder of maps with the images' names.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Folder of another denoising bundle.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    report: Annotated[Path | None, typer.Option(help="Write a picture of before, after and residual (.png).")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar, no messages.")] = False,
) -> None:
    """Denoise a file, or every series of a folder. DICOM gives a derived DICOM series.

    Example: stcnnt denoise scan.nii.gz denoised.nii.gz --report report.png
    """
    from monai_stcnnt.apps.denoising import denoise as run

    set_up_logging(quiet=quiet)
    written = run(
        input, output, series=series, output_format="nifti" if nifti else "same", noise_sigma=noise_sigma, gmap=gmap,
        bundle=bundle, device=device, report=report, progress=not quiet,
    )  # fmt: skip
    for path in written:
        typer.echo(str(path))
    if report is not None and not quiet:
        typer.echo(f"report: {report}", err=True)


class Kind(StrEnum):
    """Published checkpoints that can be converted."""

    snraware = "snraware"
    hrnet = "hrnet"


@app.command()
def convert(
    weights: Annotated[Path, typer.Argument(help="Published checkpoint.")],
    output: Annotated[Path, typer.Argument(help="Name of the weights (.pt) or a folder; with --bundle a new folder.")],
    kind: Annotated[Kind, typer.Option(help="What the checkpoint is: an SNRAware denoiser or an HRNetV2.")],
    config: Annotated[Path | None, typer.Option(help="snraware: configuration published with it (.yaml).")] = None,
    trust: Annotated[bool, typer.Option("--trust", help="snraware: allow TorchScript, which holds code.")] = False,
    bundle: Annotated[bool, typer.Option("--bundle", help="snraware: make a bundle for complex images.")] = False,
    out_channels: Annotated[int | None, typer.Option(help="hrnet: number of classes, if not its own.")] = None,
    in_channels: Annotated[int | None, typer.Option(help="hrnet: channels of the image, if not its own.")] = None,
    spatial_dims: Annotated[int | None, typer.Option(help="hrnet: 2 or 3, if not its own.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No messages.")] = False,
) -> None:
    """Convert a published checkpoint to model.pt and the MONAI config that builds its network, or to a bundle.

    Example: stcnnt convert model.pth my_bundle --kind snraware --config model.yaml --bundle
    """
    from monai_stcnnt.apps.converting import convert as run

    set_up_logging(quiet=quiet)
    written = run(
        weights, output, kind=kind.value, config=config, trust=trust, bundle=bundle,
        out_channels=out_channels, in_channels=in_channels, spatial_dims=spatial_dims,
    )  # fmt: skip
    for path in written:
        typer.echo(str(path))


@app.command()
def info(
    path: Annotated[Path, typer.Argument(help="File or folder of MR images.")],
    json: Annotated[bool, typer.Option("--json", help="Write JSON, for other programs.")] = False,
) -> None:
    """Tell what a file or folder holds, and what would be done with it. Nothing about the patient is shown.

    The exit code is 2 where nothing can be denoised.

    Example: stcnnt info dicom_folder
    """
    from monai_stcnnt.apps.info import as_json, as_text, describe

    set_up_logging(quiet=True)
    found = describe(path)
    typer.echo(as_json(found) if json else as_text(found))
    if all(summary.refused for summary in found):
        raise typer.Exit(WRONG_INPUT)


app.command()(segment)


def main() -> None:
    """Run the command line; what the user can mend is one message and exit code 2."""
    try:
        app()
    except StcnntError as error:
        typer.echo(f"stcnnt: {error}", err=True)
        sys.exit(WRONG_INPUT)


if __name__ == "__main__":
    main()
