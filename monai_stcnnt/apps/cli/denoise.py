# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The command ``stcnnt denoise``: one series, or a folder of them with a table of what became of each."""

from __future__ import annotations

import json as json_text
from collections.abc import Iterator, Mapping, Sequence
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
    from monai_stcnnt.apps.batch.manifest import SeriesRow
    from monai_stcnnt.apps.batch.run import BatchResult
    from monai_stcnnt.apps.review.reports import Result
    from monai_stcnnt.apps.review.review import Review

__all__ = ["DENOISE_EXAMPLES", "denoise"]

DENOISE_EXAMPLES = examples(
    "denoise scan.nii.gz denoised.nii.gz --report report.html",
    "denoise dicom_folder results --qc qc.json",
    "denoise study results --report pages/report.html   (every series; run it again to go on where it stopped)",
    "denoise scan.nii.gz strong.nii.gz --strength 1.5 --self-ensemble",
)


def denoise(
    input: Annotated[Path, typer.Argument(help="File or folder of MR images.")],
    output: Annotated[Path, typer.Argument(help="Folder for the results, or for one series a name (.nii, .nii.gz).")],
    series: Annotated[str | None, typer.Option(help="DICOM series to take, as `stcnnt info` names it.")] = None,
    nifti: Annotated[bool, typer.Option("--nifti", help="Write NIfTI, whatever the input is.")] = False,
    noise_sigma: Annotated[
        float | None, typer.Option(help="Noise standard deviation per component; estimated if not given.")
    ] = None,
    gmap: Annotated[Path | None, typer.Option(help="g-factor map, or a folder of maps with the images' names.")] = None,
    strength: Annotated[float, typer.Option(help="1 is the model's own; more removes more, less leaves more.")] = 1.0,
    self_ensemble: Annotated[
        bool, typer.Option("--self-ensemble", help="Average over mirror images: a little better, four times as long.")
    ] = False,
    roi_size: Annotated[
        tuple[int, int, int] | None,
        typer.Option(help="Window of the network: frames, rows, columns; -1 takes all of an axis."),
    ] = None,
    overlap: Annotated[float | None, typer.Option(help="Share of the window that neighbors have in common.")] = None,
    report: Annotated[
        Path | None, typer.Option(help="Show what was done: a page (.html), a picture (.png) or an animation (.gif).")
    ] = None,
    qc: Annotated[Path | None, typer.Option(help="Write figures of quality control (.json).")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Folder of another denoising bundle.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    amp: Annotated[bool, typer.Option("--amp", help="Compute in bfloat16 where that is safe; for GPUs.")] = False,
    compile: Annotated[bool, typer.Option("--compile", help="Compile the network first; for long runs.")] = False,
    batch: Annotated[int | None, typer.Option(help="Windows to compute at once; chosen by the device.")] = None,
    redo: Annotated[bool, typer.Option("--redo", help="With a folder: do again what is done.")] = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Denoise a file, or every series of a folder. DICOM gives a derived DICOM series.

    With --report or --qc the result is compared with its input without knowing the truth, and flagged where not only
    noise was removed. A folder of several series goes on after a bad one; a table at the end says what became of each,
    and the same command goes on where it was stopped. Exit codes: 0 all done, 2 wrong input or options, 3 some series
    failed.
    """
    set_up_logging(quiet=quiet, verbose=verbose)
    how: dict[str, Any] = {
        "output_format": "nifti" if nifti else "same", "noise_sigma": noise_sigma, "gmap": gmap, "strength": strength,
        "self_ensemble": self_ensemble, "roi_size": roi_size, "overlap": overlap, "bundle": bundle, "device": device,
        "amp": amp, "compile": compile, "batch": batch,
    }  # fmt: skip
    if series is None and _holds_several(input, output):
        _denoise_folder(input, output, how, report=report, qc=qc, redo=redo, json=json, quiet=quiet)
    else:
        _denoise_one(input, output, {**how, "series": series}, report=report, qc=qc, json=json, quiet=quiet)


def _holds_several(path: Path, output: Path) -> bool:
    """Whether an input is a folder of several series, whose results go to a folder."""
    from monai_stcnnt.apps.denoising import NIFTI
    from monai_stcnnt.data import list_images, list_series

    if not path.is_dir() or output.name.lower().endswith(NIFTI):
        return False
    entries = list_series(path)
    return len(entries) > 1 or len(list_images(entries[0], check=False)) > 1


def _denoise_one(
    path: Path, output: Path, how: Mapping[str, Any], *, report: Path | None, qc: Path | None, json: bool, quiet: bool
) -> None:
    from monai_stcnnt.apps.denoising import denoise as run

    entries: list[dict[str, Any]] = []

    def note(result: Result, figures: Review | None) -> None:
        entries.append(_entry(result, figures))
        if not json:
            typer.echo(str(result.saved))

    run(path, output, **how, report=report, qc=qc, on_result=note, progress=not quiet)
    if json:
        typer.echo(json_text.dumps({"series": entries}, indent=2, allow_nan=False))
    for name, file in (("report", report), ("quality control", qc)):
        if file is not None and not quiet:
            typer.echo(f"{name}: {file}", err=True)


def _denoise_folder(
    path: Path, output: Path, how: Mapping[str, Any], *,
    report: Path | None, qc: Path | None, redo: bool, json: bool, quiet: bool,
) -> None:  # fmt: skip
    from monai_stcnnt.apps.batch.run import denoise_many
    from monai_stcnnt.apps.review.names import check_report_name
    from monai_stcnnt.apps.review.reports import review

    if report is not None:
        check_report_name(report)
    if qc is not None:
        check_report_name(qc, (".json",))
    done = denoise_many(path, output, **how, redo=redo, progress=not quiet)
    results = _results(done, path, how["gmap"])
    figures: dict[Path, Review] = {}
    if report is not None or qc is not None:
        figures = {one.saved: found for one, found in review(results, report=report, qc=qc, progress=not quiet)}
    entries = _entries(done, results, figures)
    if json:
        typer.echo(json_text.dumps({"series": entries, "manifest": str(done.manifest)}, indent=2, allow_nan=False))
    else:
        for result in results:
            typer.echo(str(result.saved))
    if not (json or quiet):
        typer.echo(_table(entries, path.expanduser()), err=True)
    for sentence in () if figures else _flagged(entries):  # else the review has said so
        typer.echo(sentence, err=True)
    for sentence in _not_done(done) if quiet else ():  # else the log has said so
        typer.echo(sentence, err=True)
    if done.exit_code:
        raise typer.Exit(SOME_FAILED)


def _flagged(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for entry in entries:
        for flag in (entry.get("qc") or {}).get("flags", ()):
            yield f"{entry['result']} is flagged: {flag['message']}"


def _not_done(done: BatchResult) -> Iterator[str]:
    for row in (*done.failed, *done.refused):
        yield f"{row.status}: {row.name}: {row.error}"
    for name in done.missing:
        yield f"not reached: {name}"


def _results(done: BatchResult, path: Path, gmap: Path | None) -> list[Result]:
    """The results of a folder, those of earlier runs included."""
    from monai_stcnnt.apps.review.reports import Result
    from monai_stcnnt.data import series_datalist

    maps = {} if gmap is None else {Path(item["image"]): Path(item["gmap"]) for item in series_datalist(path, gmap)}
    root = path.expanduser()
    return [
        Result(
            root / row.input, done.manifest.parent / row.outputs[0].path, float(row.qc["noise_sigma"]),
            row.series or None, maps.get(root / row.input),
        )
        for row in done.rows
        if row.status == "done"
    ]  # fmt: skip


def _entry(result: Result, figures: Review | None) -> dict[str, Any]:
    """One series for JSON."""
    return {
        "source": str(result.source), "series": result.series, "status": "done", "result": str(result.saved),
        "noise_sigma": result.sigma, "qc": None if figures is None else figures.as_dict(),
    }  # fmt: skip


def _entries(done: BatchResult, results: Sequence[Result], figures: Mapping[Path, Review]) -> list[dict[str, Any]]:
    """Every series of a folder for JSON, in the order of names."""
    waiting = iter(results)
    entries: list[dict[str, Any]] = []
    for row in done.rows:
        if row.status == "done":
            result = next(waiting)
            entry = {**_entry(result, figures.get(result.saved)), "seconds": row.seconds}
            entry["qc"] = entry["qc"] or _noted_figures(row)
            entries.append(entry)
        else:
            entries.append(
                {"source": row.input, "series": row.series or None, "status": row.status, "error": row.error}
            )
    return entries + [{"source": name, "status": "not reached"} for name in done.missing]


def _noted_figures(row: SeriesRow) -> dict[str, Any] | None:
    """Figures that the manifest has of a result; None where there are none."""
    if "residual_std" not in row.qc:
        return None
    return {"sigma": row.qc["noise_sigma"], **{name: value for name, value in row.qc.items() if name != "noise_sigma"}}


def _table(entries: Sequence[Mapping[str, Any]], root: Path) -> str:
    """What became of every series below a folder, a line each."""
    from monai_stcnnt.apps.review.figures import FIGURES

    shown = [figure for figure in FIGURES if figure.column]
    rows = [("series", "status", *(figure.column for figure in shown), "flagged")]
    for entry in entries:
        found = entry.get("qc") or {"sigma": entry.get("noise_sigma")}
        values = [figure.text(found[figure.name]) if found.get(figure.name) else "" for figure in shown]
        flagged = ", ".join(flag["name"] for flag in found.get("flags", ())) or ("no" if "flags" in found else "")
        rows.append((series_name(entry, root), entry["status"], *values, flagged))
    return text_table(rows)
