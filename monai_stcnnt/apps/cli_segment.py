# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The command ``stcnnt segment``."""

from __future__ import annotations

import dataclasses
import json as json_text
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monai_stcnnt.apps.cli_common import JsonOption, QuietOption, VerboseOption, examples, set_up_logging

if TYPE_CHECKING:
    from monai_stcnnt.apps.segmenting import SegmentedSeries

__all__ = ["SEGMENT_EXAMPLES", "segment"]

SEGMENT_EXAMPLES = examples(
    "segment cine.nii.gz masks --csv volumes.csv --report report.png",
    "segment dicom_folder masks --denoise --json",
)


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
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Segment the ventricles of a cine, or of every series of a folder. DICOM gives DICOM segmentations."""
    from monai_stcnnt.apps.segmenting import segment as run

    set_up_logging(quiet=quiet, verbose=verbose)
    done = run(
        input, output, series=series, output_format="nifti" if nifti else "same", csv=csv, report=report,
        denoise=denoise, architecture=architecture, bundle=bundle, device=device, progress=not quiet,
    )  # fmt: skip
    if json:
        entries = [_entry(one) for one in done]
        typer.echo(json_text.dumps({"series": entries}, indent=2, allow_nan=False))
        return
    for one in done:
        typer.echo(str(one.saved))
        if not quiet:
            for sentence in one.measures.sentences:
                typer.echo(f"{one.measures.scan}: {sentence}", err=True)


def _entry(one: SegmentedSeries) -> dict[str, Any]:
    """One series for JSON."""
    functions = {name: dataclasses.asdict(function) for name, function in one.measures.functions.items()}
    return {
        "source": str(one.source), "series": one.series, "status": "done", "result": str(one.saved),
        "functions": {name: {key: _known(value) for key, value in found.items()} for name, found in functions.items()},
        "mass": _known(one.measures.mass), "notes": list(one.measures.notes),
    }  # fmt: skip


def _known(value: object) -> object:
    """A number, or None where it is none."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
