# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The command ``stcnnt noise``."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import Annotated

import typer

from monai_stcnnt.apps.cli.common import (
    SOME_FAILED,
    ForceOption,
    JsonOption,
    QuietOption,
    SeriesOption,
    VerboseOption,
    examples,
    say,
    set_up_logging,
    work,
)

__all__ = ["NOISE_EXAMPLES", "noise"]

NOISE_EXAMPLES = examples("noise scan.nii.gz", "noise dicom_folder maps --json")


def noise(
    input: Annotated[Path, typer.Argument(help="File or folder of MR images.")],
    output: Annotated[Path | None, typer.Argument(help="Folder for a map (NIfTI) and a model (JSON) of each.")] = None,
    series: SeriesOption = None,
    gmap: Annotated[Path | None, typer.Option(help="g-factor map, where it is known.")] = None,
    noise_sigma: Annotated[float | None, typer.Option(help="Level per component, where it is known.")] = None,
    noise_spectrum: Annotated[str, typer.Option(help="auto, white, or a JSON file with a noise model.")] = "auto",
    acquired_matrix: Annotated[
        tuple[int, int] | None, typer.Option(help="Rows and columns that the scanner acquired.")
    ] = None,
    force: ForceOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Tell the noise of a scan without denoising it: level, map, spectrum and kind, and where each comes from.

    A series that fails does not stop the others; the exit code is then 3.
    """
    from monai_stcnnt.apps.noise import find_noise

    set_up_logging(quiet=quiet or not verbose, verbose=verbose)
    failed: list[str] = []
    with work("Interrupted."):
        found = find_noise(
            input, output, series=series, gmap=gmap, noise_sigma=noise_sigma, noise_spectrum=noise_spectrum,
            acquired_matrix=acquired_matrix, force=force,
            on_failure=lambda path, error: failed.append(f"failed: {path}: {error}"),
        )  # fmt: skip
    if json:
        say(json_text.dumps({"series": [one.as_dict() for one in found]}, indent=2, allow_nan=False))
    else:
        for one in found:
            name = str(one.source) + (f", {one.series}" if one.series else "")
            say(f"{name}: {one.model.describe()}" + (f"\n  {one.map}" if one.map else ""))
    for line in failed:
        typer.echo(line, err=True)
    if failed:
        raise typer.Exit(SOME_FAILED)
