# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Denoise files with the denoising bundle."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from monai_stcnnt.apps.bundles import bundle_folder, expected_remarks, open_inference, plain_errors
from monai_stcnnt.apps.report import check_report_path, denoising_report
from monai_stcnnt.data import check_output_folder, list_series, read_series, write_nifti
from monai_stcnnt.errors import NoiseLevelError, OutputNotWritableError

__all__ = ["denoise"]

NIFTI = (".nii", ".nii.gz")


@dataclass(frozen=True)
class Denoised:
    """One series: where it came from, where it went, and the noise level that was used."""

    source: Path
    saved: Path
    sigma: float


def denoise(
    input: str | Path,
    output: str | Path,
    *,
    noise_sigma: float | None = None,
    gmap: str | Path | None = None,
    bundle: str | Path | None = None,
    device: str = "auto",
    report: str | Path | None = None,
    progress: bool = True,
) -> list[Path]:
    """Denoise a file, or every series of a folder, with a denoising bundle.

    Args:
        input: a file or a folder.
        output: a folder, or for one file also the name of the result (``.nii`` or ``.nii.gz``).
        noise_sigma: noise standard deviation per real and imaginary component, in the units of the file; estimated
            from the image and logged where it is not given.
        gmap: g-factor map of all series, or a folder with one for each.
        bundle: folder of the bundle; the one that this package carries by default.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ...
        report: picture of what was done; with several series, one picture each with the series' name added.
        progress: show a bar.

    Returns:
        The files that were written.

    Raises:
        StcnntError: one of its classes per cause: a missing or unreadable file, an image without voxels, with NaN or
            without contrast, a g-factor map that does not fit, weights that do not fit, a folder that cannot be
            written.
    """
    if noise_sigma is not None and not 0 < noise_sigma < float("inf"):
        raise NoiseLevelError(f"The noise level must be a positive number, got {noise_sigma}.")
    if report is not None:
        check_report_path(report)
    series = list_series(input)
    folder = bundle_folder("mri_denoising", bundle)
    overrides: dict[str, Any] = {
        "dataset_dir": str(input),
        "noise_sigma": noise_sigma,
        "gmap": None if gmap is None else str(gmap),
        "progress": progress,
    }
    if device != "auto":
        overrides["device"] = torch.device(device)
    target = Path(output)
    if not target.name.lower().endswith(NIFTI):
        done = _run(folder, {**overrides, "output_dir": str(target)})
    else:
        if len(series) > 1:
            raise OutputNotWritableError(
                f"{input} holds {len(series)} series, but {target} is one file. Give a folder for the results."
            )
        with _folder_beside(target) as aside:
            [only] = _run(folder, {**overrides, "output_dir": str(aside)})
            done = [Denoised(only.source, _rename(only.saved, target), only.sigma)]
    if report is not None:
        _write_reports(done, Path(report))
    return [one.saved for one in done]


def _run(folder: Path, overrides: dict[str, Any]) -> list[Denoised]:
    """Run the bundle and note what it wrote."""
    done: list[Denoised] = []

    def note(engine: Engine) -> None:
        state: Any = engine.state
        image, saved = state.batch["image"], state.output["pred"]
        sigma = state.batch.get("noise_sigma") or overrides["noise_sigma"]
        done.append(Denoised(Path(image.meta["source"]), Path(saved.meta["saved_to"]), float(sigma)))

    with plain_errors(), expected_remarks():
        workflow = open_inference(folder, **overrides)
        workflow.evaluator.add_event_handler(Events.ITERATION_COMPLETED, note)
        workflow.run()
        workflow.finalize()
    return done


@contextmanager
def _folder_beside(target: Path) -> Iterator[Path]:
    """A folder on the same disk as a file that is to appear complete or not at all."""
    parent = check_output_folder(target.parent)
    with tempfile.TemporaryDirectory(dir=parent, prefix=f".{target.name}.") as aside:
        yield Path(aside)


def _rename(saved: Path, target: Path) -> Path:
    """Give a result its name; written again where the name asks for the other of the two NIfTI suffixes."""
    if saved.name.lower().endswith(".gz") != target.name.lower().endswith(".gz"):
        return write_nifti(read_series(saved, check=False), target)
    try:
        os.replace(saved, target)
    except OSError as error:
        raise OutputNotWritableError(f"{target} cannot be written: {error.strerror}.") from error
    return target


def _write_reports(done: list[Denoised], report: Path) -> None:
    for one in done:
        stem = one.saved.name.split(".")[0]
        path = report if len(done) == 1 else report.with_name(f"{report.stem}_{stem}{report.suffix}")
        before, after = read_series(one.source), read_series(one.saved, check=False)
        denoising_report(before, after, path, title=one.source.name, sigma=one.sigma)
