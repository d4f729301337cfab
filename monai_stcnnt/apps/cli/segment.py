# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The command ``stcnnt segment``: one series, or a folder of them with a table of what became of each."""

from __future__ import annotations

import dataclasses
import json as json_text
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monai_stcnnt.apps.cli.common import (
    SOME_FAILED,
    JsonOption,
    QuietOption,
    VerboseOption,
    examples,
    series_name,
    set_up_logging,
    text_table,
)

if TYPE_CHECKING:
    from monai_stcnnt.apps.segmenting import FailedSeries, SegmentedSeries

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
    """Segment the ventricles of a cine, or of every series of a folder. DICOM gives DICOM segmentations.

    A folder of several series goes on after a bad one; a table at the end says what became of each. Exit codes: 0 all
    done, 2 wrong input or options, 3 some series failed.
    """
    from monai_stcnnt.apps.segmenting import segment as run

    set_up_logging(quiet=quiet, verbose=verbose)
    failed: list[FailedSeries] = []
    done = run(
        input, output, series=series, output_format="nifti" if nifti else "same", csv=csv, report=report,
        denoise=denoise, architecture=architecture, bundle=bundle, device=device, on_failure=failed.append,
        progress=not quiet,
    )  # fmt: skip
    entries = sorted([_entry(one) for one in done] + [_failure(one) for one in failed], key=_place)
    if json:
        typer.echo(json_text.dumps({"series": entries}, indent=2, allow_nan=False))
    else:
        _tell(done, entries, input.expanduser(), quiet=quiet)
    for entry in entries:
        if entry["status"] == "failed":
            typer.echo(f"failed: {series_name(entry, input.expanduser())}: {entry['error']}", err=True)
    if failed:
        raise typer.Exit(SOME_FAILED)


def _tell(done: Sequence[SegmentedSeries], entries: Sequence[Mapping[str, Any]], root: Path, *, quiet: bool) -> None:
    """Say what was written, and in words and a table what the masks measure."""
    for one in done:
        typer.echo(str(one.saved))
    if quiet:
        return
    for one in done:
        for sentence in one.measures.sentences:
            typer.echo(f"{one.measures.scan}: {sentence}", err=True)
    if len(entries) > 1:
        typer.echo(_table(entries, root), err=True)


def _table(entries: Sequence[Mapping[str, Any]], root: Path) -> str:
    """What became of every series below a folder, a line each."""
    ventricles = sorted({name for entry in entries for name in entry.get("functions", ())})
    rows = [["series", "status", *(f"{name} EF (%)" for name in ventricles)]]
    for entry in entries:
        found = [entry.get("functions", {}).get(name, {}).get("ejection_fraction") for name in ventricles]
        cells = ["" if value is None else f"{value:.0f}" for value in found]
        rows.append([series_name(entry, root), entry["status"], *cells])
    return text_table(rows)


def _place(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    """By name, series 9 before series 10."""
    series = entry["series"] or ""
    return Path(entry["source"]).parts, len(series), series


def _entry(one: SegmentedSeries) -> dict[str, Any]:
    """One series for JSON."""
    functions = {
        name: {**dataclasses.asdict(found), "ejection_fraction": found.ejection_fraction}
        for name, found in one.measures.functions.items()
    }
    return {
        "source": str(one.source), "series": one.series, "status": "done", "result": str(one.saved),
        "functions": {name: {key: _known(value) for key, value in found.items()} for name, found in functions.items()},
        "mass": _known(one.measures.mass), "notes": list(one.measures.notes),
    }  # fmt: skip


def _failure(one: FailedSeries) -> dict[str, Any]:
    return {"source": str(one.source), "series": one.series, "status": "failed", "error": one.error}


def _known(value: object) -> object:
    """A number, or None where it is none."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
