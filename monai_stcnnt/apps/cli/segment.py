# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The command ``stcnnt segment``: one series, or a folder of them with a table of what became of each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from monai_stcnnt.apps.cli import common

__all__ = ["SEGMENT_EXAMPLES", "segment"]

SEGMENT_EXAMPLES = common.examples(
    "segment cine.nii.gz masks --csv volumes.csv --report report.html",
    "segment dicom_folder masks --denoise --json",
)


def segment(
    input: Annotated[Path, typer.Argument(help="File or folder of short-axis cine images.")],
    output: Annotated[Path, typer.Argument(help="Folder for the masks, or for one series a name (.nii, .nii.gz).")],
    csv: Annotated[
        Path | None, typer.Option(help="Write volumes and ejection fractions (.csv), with a plot over time beside it.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Show the masks on the images: a page that plays (.html), or a picture (.png).")
    ] = None,
    denoise: Annotated[bool, typer.Option("--denoise", help="Denoise first, and segment the result.")] = False,
    gmap: Annotated[Path | None, typer.Option(help="With --denoise: g-factor map, or a folder of maps.")] = None,
    series: common.SeriesOption = None,
    stack: Annotated[
        bool, typer.Option("--stack/--no-stack", help="Take cine series of one slice each as one stack.")
    ] = True,
    nifti: common.NiftiOption = False,
    seg_per_frame: Annotated[
        bool, typer.Option("--seg-per-frame", help="A DICOM segmentation for every frame, for readers without time.")
    ] = False,
    architecture: Annotated[str | None, typer.Option(help="Another network, for which the bundle has weights.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Folder of another segmentation bundle.")] = None,
    device: common.DeviceOption = "auto",
    redo: common.RedoOption = False,
    force: common.ForceOption = False,
    workers: common.WorkersOption = 0,
    scheduler: common.SchedulerOption = None,
    json: common.JsonOption = False,
    quiet: common.QuietOption = False,
    verbose: common.VerboseOption = False,
) -> None:
    """Segment the ventricles of a cine, or of every series of a folder. DICOM gives DICOM segmentations.

    A folder is resumed by the same command: what is done is skipped. A series that fails does not stop the others; a
    table at the end says what became of each. Exit codes: 0 all done, 2 wrong input or options, 3 some series failed.
    """
    common.set_up_logging(quiet=quiet, verbose=verbose)
    from monai_stcnnt.apps.segmenting import SegmentOptions, run_segmentation, segmented

    options = SegmentOptions(
        input=input, output=output, series=series, gmap=gmap,
        output_format="nifti" if nifti else "dicom_seg_per_frame" if seg_per_frame else "same",
        bundle=bundle, device=device, report=report, redo=redo, force=force, workers=workers, scheduler=scheduler,
        progress=not quiet, stack=stack, csv=csv, denoise=denoise, architecture=architecture,
    )  # fmt: skip
    with common.work():
        result = run_segmentation(options)
    measures = {row.target: one.measures for row, one in zip(result.done, segmented(result), strict=True)}
    ventricles = sorted({name for one in measures.values() for name in one.functions})
    columns = {
        f"{name} EF (%)": {
            target: f"{one.functions[name].ejection_fraction:.0f}"
            for target, one in measures.items()
            if name in one.functions
        }
        for name in ventricles
    }
    if not (json or quiet):
        for one in measures.values():
            for sentence in one.sentences:
                typer.echo(f"{one.scan}: {sentence}", err=True)
    common.tell(result, {target: one.summary for target, one in measures.items()}, columns, json=json, quiet=quiet)
