# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Denoise one series or many with a denoising bundle."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, get_args

import torch

from monai_stcnnt import __version__
from monai_stcnnt.apps.batch.manifest import Recipe, SeriesRow, sha256_of
from monai_stcnnt.apps.batch.publish import UNFINISHED
from monai_stcnnt.apps.batch.run import RunResult, run_series
from monai_stcnnt.apps.batch.tasks import RunOptions, SeriesEngine, SeriesTask
from monai_stcnnt.apps.bundles import (
    bundle_checksum,
    bundle_folder,
    bundle_provenance,
    bundle_work,
    check_compiler,
    compiler_errors,
    open_inference,
)
from monai_stcnnt.apps.noise import write_noise
from monai_stcnnt.apps.review.names import check_report_name
from monai_stcnnt.apps.review.page import write_index
from monai_stcnnt.apps.review.reports import write_qc, write_report
from monai_stcnnt.apps.review.review import Review, review_series
from monai_stcnnt.data import SeriesRecord, check_exists, read_series
from monai_stcnnt.data.formats.registry import format_for
from monai_stcnnt.data.provenance import sidecar_path
from monai_stcnnt.engines.series_frames import noise_map_record
from monai_stcnnt.engines.streamed_denoising import StreamedDenoiser
from monai_stcnnt.errors import NoiseModelError, OptionError
from monai_stcnnt.mri.noise_model import NoiseModel
from monai_stcnnt.transforms import FrameAxis, NoiseOptions

__all__ = ["DenoiseOptions", "Denoiser", "denoise", "run_denoising"]

BUNDLE = "mri_denoising"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DenoiseOptions(RunOptions):
    """Options of denoising, beside those of :class:`~monai_stcnnt.apps.batch.tasks.RunOptions`.

    What is None is the bundle's own choice.

    Attributes:
        noise_sigma: noise standard deviation per real and imaginary component, in the units of the file; estimated
            from the image and logged by default. It is then taken as the same everywhere, or relative to ``gmap``.
        noise_map: image of the noise's level in the units of the file, instead of a level and a g-factor map.
        noise_spectrum: part of k-space that the noise fills: ``auto`` to find it, ``white`` for all of it, or a JSON
            file with a noise model, as ``save_noise_map`` writes one.
        acquired_matrix: rows and columns that the scanner acquired, where that is known.
        save_noise_map: write the level of the noise at every voxel beside each result, and the model as JSON.
        save_uncertainty: write the standard error of each result beside it, in its units.
        strength: factor on the noise level that the network is told; 1 is its own, more removes more.
        self_ensemble: average over mirror images along rows and columns, which takes four times as long.
        fast: take a coarser grid of blocks, less overlap of windows, and bfloat16 where the processor has it.
        adapt: adapt the network to each complex scan first, where the scan itself says that it is better.
        roi_size: window of the network (frames, rows, columns).
        overlap: share of the window that neighbors have in common, from 0 to below 1.
        sw_batch_size: windows to give to the network at once. Where the device has not enough memory, it is halved
            until it has, and the log says so.
        frame_axis: which axis of a file the frames are: ``time``, ``slice``, or ``auto`` for time where there is more
            than one frame, unless the frames have several b-values.
        amp: let the network compute in bfloat16 where that is safe: faster, and a little less exact. None leaves it to
            the bundle, which does so with ``fast``, on processors with instructions for it.
        compile: let PyTorch compile the network first, which pays for long runs; needs a C++ compiler.
        qc: JSON file for the figures of quality control of all series. They are in the manifest in any case, for
            series that fit in memory.
    """

    suffix: ClassVar[str] = "denoised"
    writes: ClassVar[tuple[str, ...]] = ("report", "qc")
    skips: ClassVar[frozenset[str]] = frozenset({"denoised", "segmented"})
    has_recipe: ClassVar[tuple[str, ...]] = (
        "output_format", "force", "frame_axis", "noise_sigma", "noise_map", "noise_spectrum", "acquired_matrix",
        "strength", "self_ensemble", "fast", "adapt", "roi_size", "overlap", "amp", "compile", "save_noise_map",
        "save_uncertainty",
    )  # fmt: skip

    noise_sigma: float | None = None
    noise_map: Path | None = None
    noise_spectrum: str = "auto"
    acquired_matrix: tuple[int, int] | None = None
    save_noise_map: bool = False
    save_uncertainty: bool = False
    strength: float = 1.0
    self_ensemble: bool = False
    fast: bool = False
    adapt: bool = False
    roi_size: tuple[int, int, int] | None = None
    overlap: float | None = None
    sw_batch_size: int | None = None
    frame_axis: FrameAxis = "auto"
    amp: bool | None = None
    compile: bool = False
    qc: Path | None = None

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: if an option has a value that it cannot have.
            OutputNotWritableError: if a report's name has another ending.
        """
        super().__post_init__()
        self._check_noise()
        self._check_numbers()
        if self.frame_axis not in get_args(FrameAxis):
            raise OptionError(f"frame_axis is {self.frame_axis!r}. Give one of {', '.join(get_args(FrameAxis))}.")
        if self.report is not None:
            check_report_name(self.report)
        if self.qc is not None:
            check_report_name(self.qc, (".json",))
            if self.is_file and self.qc.resolve() == sidecar_path(self.output).resolve():
                raise OptionError(f"{self.qc} will hold the facts about the result. Choose another name for qc.")

    def _check_numbers(self) -> None:
        if self.roi_size is not None:
            object.__setattr__(self, "roi_size", tuple(self.roi_size))
            if len(self.roi_size) != 3 or not all(extent == -1 or extent > 0 for extent in self.roi_size):
                raise OptionError(
                    f"roi_size is {self.roi_size}. Give frames, rows and columns, each positive or -1 for all."
                )
        if self.overlap is not None and not 0 <= self.overlap < 1:
            raise OptionError(f"overlap is {self.overlap}. Give a share of the window, from 0 to below 1.")
        if self.sw_batch_size is not None and self.sw_batch_size < 1:
            raise OptionError(f"sw_batch_size is {self.sw_batch_size}. Give a number of windows from 1 on.")

    def _check_noise(self) -> None:
        for name in ("noise_sigma", "strength"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise OptionError(f"{name} is {value}. Give a positive number.")
        if self.noise_map is not None and (self.noise_sigma is not None or self.gmap is not None):
            raise OptionError("A noise_map is the level itself. Give neither noise_sigma nor gmap with it.")
        for file in self._noise_files().values():
            check_exists(file)
        try:
            NoiseOptions(self.noise_sigma, self.noise_spectrum, self.acquired_matrix)
        except NoiseModelError as error:
            raise OptionError(str(error)) from error

    def _noise_files(self) -> dict[str, Path]:
        """Files that tell the noise, by their options."""
        spectrum = None if self.noise_spectrum in ("auto", "white") else Path(self.noise_spectrum).expanduser()
        files = {"noise_map": self.noise_map, "noise_spectrum": spectrum}
        return {name: file for name, file in files.items() if file is not None}

    @cached_property
    def recipe(self) -> Recipe:
        """What results depend on beside their input; files that tell the noise by their content, not their folder."""
        files = {name: f"{file.name}, SHA-256 {sha256_of(file)[:16]}" for name, file in self._noise_files().items()}
        options = self.recipe_options() | files
        return Recipe(__version__, bundle_checksum(bundle_folder(BUNDLE, self.bundle)), options)

    def bundle_entries(self) -> dict[str, Any]:
        """Entries of the bundle's config for what is not its own choice."""
        chosen: dict[str, Any] = {
            "noise_sigma": self.noise_sigma, "noise_spectrum": self.noise_spectrum, "strength": self.strength,
            "acquired_matrix": self.acquired_matrix and list(self.acquired_matrix), "amp": self.amp,
            "force": self.force,
            "self_ensemble": self.self_ensemble, "fast": self.fast or None, "adapt": self.adapt,
            "compile": self.compile, "save_uncertainty": self.save_uncertainty or None,
            "roi_size": self.roi_size and list(self.roi_size), "sw_batch_size": self.sw_batch_size,
            "progress": self.progress,
            "overlap": None if self.overlap is None else [self.overlap] * 3,
            "device": None if self.device == "auto" else torch.device(self.device),
        }  # fmt: skip
        return {name: value for name, value in chosen.items() if value is not None}

    def open_engine(self) -> Denoiser:
        """Prepare the bundle's network and engine."""
        return Denoiser(self)


def denoise(input: str | Path, output: str | Path, **options: Any) -> list[Path]:  # noqa: ANN401 - see DenoiseOptions
    """Denoise a file, or every series of a folder, with a denoising bundle.

    A folder of DICOM files becomes a folder with a derived series; where it holds several series, one for each that
    can be denoised. A complex image from DICOM files becomes a NIfTI file. Files may be larger than the memory: NIfTI
    and DICOM are read, denoised and written slab by slab.

    What was done before with the same files, options and bundle is left as it is. A result that is there for another
    reason is not replaced, unless ``redo`` says so.

    Args:
        input: a file, or a folder that is searched with its sub folders.
        output: a folder, or for one series also the name of the result.
        options: see :class:`DenoiseOptions`.

    Returns:
        The files and DICOM folders with the results.

    Raises:
        FailedSeriesError: after all the work, where some of several series failed.
        OptionError: if an option has a value that it cannot have.
        StcnntError: one of its classes per cause: a missing or unreadable file, an image without voxels, with NaN or
            without contrast, a g-factor map that does not fit, weights that do not fit, a folder that cannot be
            written.
    """
    return run_denoising(DenoiseOptions(input=Path(input), output=Path(output), **options)).check().saved


def run_denoising(options: DenoiseOptions) -> RunResult:
    """Denoise what is not done yet; a series that fails is in the result, and no error.

    Args:
        options: what to do.

    Returns:
        What became of every series.

    Raises:
        StcnntError: for what concerns all series.
    """
    result = run_series(options)
    if options.qc is not None:
        entries = [
            {"source": str(result.sources[row.target]), "series": row.series or None,
             "result": str(result.folder / row.target), **row.figures}
            for row in result.done
        ]  # fmt: skip
        write_qc(entries, options.qc)
    if options.report is not None:
        _finish_reports(options.report, result, options.root.name)
    return result


def _finish_reports(report: Path, result: RunResult, title: str) -> None:
    """Write the page that leads to the pages of several series, and name what was written."""
    if not result.is_single and report.suffix.lower() == ".html":
        entries = [
            {"source": row.name, "status": row.status, "error": row.error, "seconds": row.seconds or None,
             "qc": row.figures if row.status == "done" else None,
             "report": result.reports[row.target] if row.status == "done" else None}
            for row in result.rows
        ]  # fmt: skip
        entries += [{"source": name, "status": "not reached"} for name in result.missing]
        logger.info("report: %s", write_index(entries, report, title))
        return
    for row in result.done:
        logger.info("report: %s", result.reports[row.target])


class Denoiser(SeriesEngine):
    """A bundle's engine, which denoises series after series.

    Args:
        options: how to denoise.

    Raises:
        StcnntError: if the bundle or its weights do not fit.
    """

    def __init__(self, options: DenoiseOptions) -> None:
        self.options = options
        if options.compile:
            check_compiler(options.device)
        entries = {**options.bundle_entries(), "datalist": [], "output_dir": str(options.folder / UNFINISHED)}
        folder, recipe = bundle_folder(BUNDLE, options.bundle), options.recipe
        provenance = bundle_provenance(options.suffix, folder, recipe.options, recipe.bundle)
        with bundle_work():
            workflow = open_inference(folder, **entries)
            if options.save_uncertainty and "@save_uncertainty" not in str(workflow.parser.get("streamed")):
                raise OptionError(
                    "The bundle has no save_uncertainty: it was made before that came. Leave the option out, or take "
                    "the bundle of this version."
                )
            self.engine: StreamedDenoiser = workflow.parser.get_parsed_content("streamed")
        self.engine.interrupt_resume_enabled = False  # after a failure, the next run is another series
        self.engine.logger.setLevel(logging.CRITICAL)  # what goes wrong is raised, and said once
        self.device = str(self.engine.state.device)
        if options.frame_axis != "auto":
            self.engine.frame_axis = options.frame_axis
        self.provenance = self.engine.saver.provenance = provenance
        self.engine.saver.keeper = None  # the batch decides about results that exist

    def run(self, task: SeriesTask, target: Path, uid_seed: str = "") -> dict[str, Any]:
        """Denoise one series; see :meth:`SeriesEngine.run`."""
        engine = self.engine
        engine.reader.series = task.series or None
        engine.saver.output_file, engine.saver.uid_seed = target, uid_seed or None
        maps = {"gmap": task.gmap, "noise_map": self.options.noise_map}
        item = {"image": str(task.path), **{name: str(path) for name, path in maps.items() if path is not None}}
        engine.data_loader, engine.state.epoch_length = [item], 1
        with bundle_work(), compiler_errors():
            engine.run()
        image, saved = engine.state.output["image"], engine.state.output["pred"]
        engine.state.batch = engine.state.output = None
        before, after = image.outline, saved.record
        if self.options.save_noise_map:
            stem = sidecar_path(target).stem if format_for(target).extensions else target.name
            levels = noise_map_record(before, saved.noise, engine.frame_axis)
            write_noise(levels, saved.noise, target.with_name(f"{stem}_noise"))
        wanted = task.report is not None or self.options.qc is not None
        if after is None and not wanted:
            return {"sigma": saved.noise_sigma}
        if after is None:
            before, after = read_series(task.path, series=task.series or None), read_series(target, check=False)
        return self._review(task, before, after, saved.noise_sigma, _now(), saved.noise).as_dict()

    def report(self, task: SeriesTask, saved: Path, row: SeriesRow) -> None:
        """Write the report of a result that was made before."""
        before, after = read_series(task.path, series=task.series or None), read_series(saved, check=False)
        self._review(task, before, after, float(row.figures["sigma"]), row.finished)

    def _review(
        self,
        task: SeriesTask,
        before: SeriesRecord,
        after: SeriesRecord,
        sigma: float,
        date: str,
        noise: NoiseModel | None = None,
    ) -> Review:
        """Compare a result with its image, once, and show it where that is wanted."""
        gmap = None
        if noise is not None and noise.noise_map is not None:
            gmap = noise_map_record(before, noise, self.engine.frame_axis).magnitude / sigma
        if task.gmap is not None or self.options.noise_map is not None:
            told = read_series(task.gmap or self.options.noise_map, check=False).magnitude  # type: ignore[arg-type]
            gmap = told if task.gmap is not None else told / sigma
        source = "estimated from the image" if self.options.noise_sigma is None else "given"
        origin = self.provenance.in_words(self.device, source, date[:16].replace("T", " ") + " UTC")
        if noise is not None:
            origin = {**origin, "Noise": noise.describe()}
        found = review_series(before, after, sigma=sigma, gmap=gmap, title=task.name, origin=origin, noise=noise)
        if task.report is not None:
            write_report(found, task.report)
        return found


def _now() -> str:
    return datetime.now(UTC).isoformat()
