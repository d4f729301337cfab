# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The command ``stcnnt segment``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["segment"]


def segment(
    input: Annotated[Path, typer.Argument(help="File or folder of short-axis cine images.")],
    output: Annotated[Path, typer.Argument(help="Folder for the masks, or for one series a name (.nii, .nii.gz).")],
    csv: Annotated[
        Path | None, typer.Option(help="Write volumes and ejection fractions (.csv), with a plot over time beside it.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write a picture of the masks on the images (.png).")] = None,
    denoise: Annotated[bool, typer.Option("--denoise", help="Denoise first, and segment the result.")] = False,
    series: Annotated[str | None, typer.Option(help="DICOM series to take, as `stcnnt info` names it.")] = None,
    nifti: Annotated[bool, typer.Option("--nifti", help="Write NIfTI, whatever the input is.")] = False,
    architecture: Annotated[str | None, typer.Option(help="Network of the bundle: stcnnt or hrnetv2.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Folder of another segmentation bundle.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar, no messages.")] = False,
) -> None:
    """Segment the ventricles of a cine, or of every series of a folder. DICOM gives DICOM segmentations.

    Example: stcnnt segment cine.nii.gz masks --csv volumes.csv --report report.png
    """
    from monai_stcnnt.apps.cli_common import set_up_logging
    from monai_stcnnt.apps.segmenting import segment as run

    set_up_logging(quiet=quiet)
    done = run(
        input, output, series=series, output_format="nifti" if nifti else "same", csv=csv, report=report,
        denoise=denoise, architecture=architecture, bundle=bundle, device=device, progress=not quiet,
    )  # fmt: skip
    for one in done:
        typer.echo(str(one.saved))
        if not quiet:
            for sentence in one.measures.sentences:
                typer.echo(f"{one.measures.scan}: {sentence}", err=True)
