# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The command ``stcnnt denoise``: one series, or a folder of them with a table of what became of each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from monai_stcnnt.apps.cli import common

__all__ = ["DENOISE_EXAMPLES", "denoise"]

DENOISE_EXAMPLES = common.examples(
    "denoise scan.nii.gz denoised.nii.gz --report report.html",
    "denoise dicom_folder results --qc qc.json",
    "denoise study results --report pages/report.html   (every series; run it again to resume)",
    "denoise study results --workers 4",
    "denoise scan.nii.gz strong.nii.gz --strength 1.5 --self-ensemble",
)


def denoise(
    input: Annotated[Path, typer.Argument(help="File or folder of MR images.")],
    output: Annotated[Path, typer.Argument(help="Folder for the results, or for one series a name (.nii, .nii.gz).")],
    series: common.SeriesOption = None,
    stack: Annotated[bool, typer.Option("--stack", help="Take cine series of one slice each as one stack.")] = False,
    nifti: common.NiftiOption = False,
    noise_sigma: Annotated[
        float | None, typer.Option(help="Noise standard deviation per component; estimated if not given.")
    ] = None,
    gmap: Annotated[Path | None, typer.Option(help="g-factor map, or a folder of maps with the images' names.")] = None,
    noise_map: Annotated[
        Path | None, typer.Option(help="Image of the noise's level, in the units of the file.")
    ] = None,
    noise_spectrum: Annotated[
        str, typer.Option(help="Part of k-space that noise fills: auto, white, or a JSON file of `stcnnt noise`.")
    ] = "auto",
    acquired_matrix: Annotated[
        tuple[int, int] | None, typer.Option(help="Rows and columns that the scanner acquired.")
    ] = None,
    save_noise_map: Annotated[
        bool, typer.Option("--save-noise-map", help="Write the noise's level and its model beside each result.")
    ] = False,
    save_uncertainty: Annotated[
        bool, typer.Option("--save-uncertainty", help="Write the standard error of each result beside it.")
    ] = False,
    strength: Annotated[float, typer.Option(help="1 is the model's own; more removes more, less leaves more.")] = 1.0,
    self_ensemble: Annotated[
        bool, typer.Option("--self-ensemble", help="Average over mirror images: a little better, four times as long.")
    ] = False,
    fast: Annotated[
        bool,
        typer.Option("--fast", help="Coarser estimates and bfloat16: two thirds of the time, 0.05 dB worse."),
    ] = False,
    adapt: Annotated[
        bool, typer.Option("--adapt", help="Adapt the network to each complex scan first, where that is better.")
    ] = False,
    roi_size: Annotated[
        tuple[int, int, int] | None,
        typer.Option(help="Window of the network: frames, rows, columns; -1 takes all of an axis."),
    ] = None,
    overlap: Annotated[float | None, typer.Option(help="Share of the window that neighbors have in common.")] = None,
    sw_batch_size: Annotated[int | None, typer.Option(help="Windows to compute at once; chosen by the device.")] = None,
    frame_axis: Annotated[
        Literal["auto", "time", "slice"], typer.Option(help="Axis of a file that the frames of the network are.")
    ] = "auto",
    report: Annotated[
        Path | None, typer.Option(help="Show what was done: a page (.html), a picture (.png) or an animation (.gif).")
    ] = None,
    qc: Annotated[Path | None, typer.Option(help="Write figures of quality control (.json).")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Folder of another denoising bundle.")] = None,
    device: common.DeviceOption = "auto",
    amp: Annotated[
        bool | None,
        typer.Option(
            "--amp/--no-amp",
            help="Compute in bfloat16 where that is safe; by default with --fast, where the processor can.",
        ),
    ] = None,
    compile: Annotated[bool, typer.Option("--compile", help="Compile the network first; for long runs.")] = False,
    redo: common.RedoOption = False,
    force: common.ForceOption = False,
    workers: common.WorkersOption = 0,
    scheduler: common.SchedulerOption = None,
    json: common.JsonOption = False,
    quiet: common.QuietOption = False,
    verbose: common.VerboseOption = False,
) -> None:
    """Denoise a file, or every series of a folder. DICOM gives a derived DICOM series.

    The result is compared with its input without knowing the truth, and flagged where more than noise was removed.
    A folder is resumed by the same command: what is done is skipped. A series that fails does not stop the others; a
    table at the end says what became of each. Exit codes: 0 all done, 2 wrong input or options, 3 some series failed.
    """
    common.set_up_logging(quiet=quiet, verbose=verbose)
    from monai_stcnnt.apps.denoising import DenoiseOptions, run_denoising
    from monai_stcnnt.apps.review.figures import figure_columns

    options = DenoiseOptions(
        input=input, output=output, series=series, output_format="nifti" if nifti else "same", gmap=gmap,
        bundle=bundle, device=device, report=report, redo=redo, force=force, workers=workers, scheduler=scheduler,
        progress=not quiet, noise_sigma=noise_sigma, noise_map=noise_map, noise_spectrum=noise_spectrum,
        acquired_matrix=acquired_matrix, save_noise_map=save_noise_map, save_uncertainty=save_uncertainty,
        strength=strength,
        self_ensemble=self_ensemble, fast=fast, adapt=adapt, stack=stack,
        roi_size=roi_size, overlap=overlap, sw_batch_size=sw_batch_size, frame_axis=frame_axis, amp=amp,
        compile=compile, qc=qc,
    )  # fmt: skip
    with common.work():
        result = run_denoising(options)
    figures = {row.target: row.figures for row in result.done}
    entries = {
        target: {"noise_sigma": found["sigma"], "qc": dict(found) if "flags" in found else None}
        for target, found in figures.items()
    }
    common.tell(result, entries, figure_columns(figures), json=json, quiet=quiet)
