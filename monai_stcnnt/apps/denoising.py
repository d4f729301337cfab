# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Denoise files with the denoising bundle."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from monai_stcnnt.apps.bundles import bundle_folder, expected_remarks, open_inference, plain_errors
from monai_stcnnt.apps.review.names import check_report_name
from monai_stcnnt.apps.review.reports import Result, review
from monai_stcnnt.apps.review.review import Review
from monai_stcnnt.data import (
    OutputFormat,
    list_images,
    output_path,
    series_datalist,
)
from monai_stcnnt.errors import ImageSizeError, NoiseLevelError, OutputNotWritableError

__all__ = ["denoise", "network_choices"]

NIFTI = (".nii", ".nii.gz")


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One run of the bundle: its items, and the DICOM series to take of them, None where there is only one."""

    items: list[dict[str, str]]
    series: str | None = None


def denoise(
    input: str | Path,
    output: str | Path,
    *,
    series: str | None = None,
    output_format: OutputFormat = "same",
    noise_sigma: float | None = None,
    gmap: str | Path | None = None,
    bundle: str | Path | None = None,
    device: str = "auto",
    strength: float = 1.0,
    self_ensemble: bool = False,
    roi_size: Sequence[int] | None = None,
    overlap: float | None = None,
    amp: bool = False,
    compile: bool = False,
    batch: int | None = None,
    report: str | Path | None = None,
    qc: str | Path | None = None,
    on_result: Callable[[Result, Review | None], None] | None = None,
    progress: bool = True,
) -> list[Path]:
    """Denoise a file, or every series of a folder, with a denoising bundle.

    A folder of DICOM files becomes a folder with a derived series; where it holds several series, one for each that
    can be denoised. A complex image from DICOM files becomes a NIfTI file. Files may be larger than the memory: NIfTI
    and DICOM are read, denoised and written slab by slab.

    Args:
        input: a file or a folder.
        output: a folder, or for one series also the name of the result (``.nii`` or ``.nii.gz``).
        series: the DICOM series to take, by a name that :func:`monai_stcnnt.apps.describe` lists; two names joined by
            ``+`` for the parts of a complex image.
        output_format: ``"same"`` as the input, or ``"nifti"``.
        noise_sigma: noise standard deviation per real and imaginary component, in the units of the file; estimated
            from the image and logged where it is not given.
        gmap: g-factor map of all series, or a folder with one for each.
        bundle: folder of the bundle; the one that this package carries by default.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ...
        strength: factor on the noise level that the network is told; 1 is its own, more removes more.
        self_ensemble: average over mirror images along rows and columns, which takes four times as long.
        roi_size: window of the network (frames, rows, columns); the bundle's own by default.
        overlap: share of the window that neighbors have in common, from 0 to below 1; the bundle's own by default.
        amp: compute in bfloat16 where that is safe: faster on a GPU, and a little less exact.
        compile: let PyTorch compile the network first, which pays for long runs; needs a C++ compiler.
        batch: windows to give to the network at once; 1 on a processor and 8 on a GPU by default. Where the device has
            not enough memory, it is halved until it has, and the log says so.
        report: what was done, to look at: a picture (``.png``), an animated picture (``.gif``) or a page (``.html``);
            with several series, one each with the series' name added.
        qc: JSON with the figures of quality control of all series, see :mod:`monai_stcnnt.apps.review.figures`. With a
            report or this, a result whose residual does not look like noise is flagged by a logged warning.
        on_result: called with every result, and with its figures where there is a report or ``qc``.
        progress: show a bar.

    Returns:
        The files and DICOM folders that were written.

    Raises:
        StcnntError: one of its classes per cause: a missing or unreadable file, an image without voxels, with NaN or
            without contrast, a g-factor map that does not fit, weights that do not fit, a folder that cannot be
            written.
    """
    if noise_sigma is not None and not 0 < noise_sigma < float("inf"):
        raise NoiseLevelError(f"The noise level must be a positive number, got {noise_sigma}.")
    if report is not None:
        check_report_name(report)
    if qc is not None:
        check_report_name(qc, (".json",))
    choices = network_choices(strength, self_ensemble, roi_size, overlap, amp=amp, compile=compile, batch=batch)
    jobs = _jobs(Path(input), series, gmap)
    folder = bundle_folder("mri_denoising", bundle)
    overrides: dict[str, Any] = {
        "dataset_dir": str(input), "noise_sigma": noise_sigma, "progress": progress, "output_format": output_format,
        **choices,
    }  # fmt: skip
    if device != "auto":
        overrides["device"] = torch.device(device)
    target = Path(output)
    if target.name.lower().endswith(NIFTI):
        done = [_denoise_to_file(folder, jobs, overrides, Path(input), target)]
    else:
        _check_new(jobs, overrides, target)
        done = [one for job in jobs for one in _run(folder, job, {**overrides, "output_dir": str(target)})]
    is_reviewed = report is not None or qc is not None
    for one, figures in (
        review(done, report=report, qc=qc, progress=progress) if is_reviewed else ((one, None) for one in done)
    ):
        if on_result is not None:
            on_result(one, figures)
    return [one.saved for one in done]


def network_choices(
    strength: float,
    self_ensemble: bool,
    roi_size: Sequence[int] | None,
    overlap: float | None,
    *,
    amp: bool = False,
    compile: bool = False,
    batch: int | None = None,
) -> dict[str, Any]:
    """Check how the network is to be run; entries of the bundle's config for what is not its own choice."""
    if not 0 < strength < float("inf"):
        raise NoiseLevelError(f"The strength must be a positive number, got {strength}; 1 is the model's own.")
    if roi_size is not None and (len(roi_size) != 3 or not all(extent == -1 or extent > 0 for extent in roi_size)):
        raise ImageSizeError(
            f"The window is {tuple(roi_size)}. Give frames, rows and columns, each positive, or -1 for all of an axis."
        )
    if overlap is not None and not 0 <= overlap < 1:
        raise ImageSizeError(f"The overlap is {overlap}. Give a share of the window, from 0 to below 1.")
    if batch is not None and batch < 1:
        raise ImageSizeError(f"{batch} windows at once are none. Give a number from 1 on.")
    choices: dict[str, Any] = {"strength": strength} if strength != 1 else {}
    flags = {"self_ensemble": self_ensemble, "amp": amp, "compile": compile}
    choices |= {name: True for name, chosen in flags.items() if chosen}
    if batch is not None:
        choices["sw_batch_size"] = batch
    if roi_size is not None:
        choices["roi_size"] = list(roi_size)
    if overlap is not None:
        choices["overlap"] = [overlap] * 3
    return choices


def _jobs(path: Path, series: str | None, gmap: str | Path | None) -> list[Job]:
    """Split the images below a path into runs: one for all, and one for each series where a folder holds several."""
    if series is not None:
        item = {"image": str(path)} if gmap is None else {"image": str(path), "gmap": str(gmap)}
        return [Job([item], series)]
    items = series_datalist(path, gmap)
    plain, chosen = [], []
    for item in items:
        found = list_images(item["image"], check=False)
        usable = [summary for summary in found if not summary.refused]
        if len(found) < 2 or not usable:
            plain.append(item)
            continue
        for summary in found:
            if summary.refused:
                logger.warning("%s, series %s is passed over: %s", summary.path, summary.series, summary.refused)
        chosen += [Job([item], summary.series) for summary in usable]
    return [*([Job(plain)] if plain else []), *chosen]


def _suffix(job: Job) -> str:
    return "denoised" if job.series is None else f"{job.series}_denoised"


def _check_new(jobs: list[Job], overrides: dict[str, Any], output: Path) -> None:
    """Refuse a folder that would hold a derived series but exists, before the work starts."""
    if overrides["output_format"] != "same":
        return
    for job in jobs:
        for item in job.items:
            target = output_path(item["image"], overrides["dataset_dir"], output, _suffix(job))
            if target.is_dir():
                raise OutputNotWritableError(f"{target} exists already. Choose another folder, or remove it.")


def _denoise_to_file(folder: Path, jobs: list[Job], overrides: dict[str, Any], source: Path, target: Path) -> Result:
    """Denoise one series to a NIfTI file of a given name."""
    count = sum(len(job.items) for job in jobs)
    if count > 1:
        raise OutputNotWritableError(
            f"{source} holds {count} series, but {target} is one file. Give a folder for the results."
        )
    place = {"output_dir": str(target.parent), "output_file": str(target), "output_format": "nifti"}
    [only] = _run(folder, jobs[0], {**overrides, **place})
    return only


def _run(folder: Path, job: Job, overrides: dict[str, Any]) -> list[Result]:
    """Run the bundle and note what it wrote."""
    items = {"datalist": job.items, "series": job.series, "suffix": _suffix(job)}
    done: list[Result] = []

    def note(engine: Engine) -> None:
        state: Any = engine.state
        source, saved = Path(state.output["image"].meta["source"]), state.output["pred"]
        gmap = next((item["gmap"] for item in job.items if "gmap" in item and Path(item["image"]) == source), None)
        done.append(Result(source, saved.path, saved.noise_sigma, job.series, None if gmap is None else Path(gmap)))

    with plain_errors(), expected_remarks():
        workflow = open_inference(folder, **overrides, **items)
        workflow.parser.get_parsed_content("streamed").add_event_handler(Events.ITERATION_COMPLETED, note)
        workflow.run()
        workflow.finalize()
    return done
