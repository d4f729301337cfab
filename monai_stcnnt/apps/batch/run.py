# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Denoise many series, by one process or by all that ``torchrun`` starts, and go on where a run was stopped.

The processes share out the series by size, and each works on its own. A result is made in a hidden folder below the
results, checked in, and then renamed to its place: what is seen under a final name is whole, whenever a process was
killed. The manifest says what was done (see :mod:`monai_stcnnt.apps.batch.manifest`); a series whose files, options,
weights and results are as it says is not done again. A series that cannot be done is noted and passed over.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from monai_stcnnt import __version__
from monai_stcnnt.apps.batch.manifest import (
    FOLDER,
    Journal,
    Manifest,
    SeriesRow,
    checksum_of,
    read_manifest,
    results_exist,
    stamp_of,
)
from monai_stcnnt.apps.batch.publish import UNFINISHED, check_free, give_name, is_lack_of_room, sync_files, unfinished
from monai_stcnnt.apps.batch.result import BatchResult
from monai_stcnnt.apps.batch.tasks import BatchFolders, SeriesTask, error_text, list_tasks, share_out
from monai_stcnnt.apps.bundles import bundle_folder, expected_remarks, open_inference, plain_errors
from monai_stcnnt.apps.denoising import network_choices
from monai_stcnnt.apps.review.review import review_series
from monai_stcnnt.data import (
    OutputDtype,
    OutputFormat,
    SaveSeries,
    SeriesReader,
    check_output_folder,
    read_series,
)
from monai_stcnnt.data.slabs import IN_MEMORY
from monai_stcnnt.engines.ranks import open_ranks
from monai_stcnnt.engines.streamed_denoising import StreamedDenoiser
from monai_stcnnt.errors import ChangedFileError, NoiseLevelError, StcnntError

__all__ = ["BatchInference", "BatchResult", "denoise_many"]

logger = logging.getLogger(__name__)


def denoise_many(
    input: str | Path,
    output: str | Path,
    *,
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
    redo: bool = False,
    qc: bool = True,
    progress: bool = False,
) -> BatchResult:
    """Denoise every series below a folder, and go on where an earlier run was stopped.

    Under ``torchrun`` the processes share the work. Progress and the summary are logged.

    Args:
        input: a folder, or a file.
        output: folder of the results, one run at a time; the manifest is in its folder ``manifest``.
        output_format: ``"same"`` as the input, or ``"nifti"``.
        noise_sigma: noise standard deviation per real and imaginary component; estimated where it is not given.
        gmap: g-factor map of all series, or a folder with one for each.
        bundle: folder of the bundle; the one that this package carries by default.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ...; ``auto`` gives every process of a machine its GPU.
        strength: factor on the noise level that the network is told.
        self_ensemble: average over mirror images along rows and columns.
        roi_size: window of the network (frames, rows, columns); the bundle's own by default.
        overlap: share of the window that neighbors have in common; the bundle's own by default.
        amp: compute in bfloat16 where that is safe.
        compile: let PyTorch compile the network first.
        batch: windows to give to the network at once; the bundle's own choice by default.
        redo: do again what is done.
        qc: put the quality of every result into the manifest, which reads images and results once more.
        progress: show a bar for every series.

    Returns:
        What became of every series, the same in every process. A series that could not be done is no error.

    Raises:
        StcnntError: for what concerns all series: a missing input, weights that do not fit, a folder that cannot be
            written to.
    """
    if noise_sigma is not None and not 0 < noise_sigma < float("inf"):
        raise NoiseLevelError(f"The noise level must be a positive number, got {noise_sigma}.")
    overrides: dict[str, Any] = {
        "dataset_dir": str(input), "output_dir": str(output), "output_format": output_format,
        "noise_sigma": noise_sigma, "gmap": None if gmap is None else str(gmap), "redo": redo, "qc": qc,
        "progress": progress,
        **network_choices(strength, self_ensemble, roi_size, overlap, amp=amp, compile=compile, batch=batch),
    }  # fmt: skip
    if device != "auto":
        overrides["device"] = torch.device(device)
    on_top = bundle_folder("mri_denoising") / "configs" / "multi_gpu_inference.json"
    with plain_errors(), expected_remarks():
        workflow = open_inference(bundle_folder("mri_denoising", bundle), on_top, **overrides)
        inference: BatchInference = workflow.parser.get_parsed_content("batch")
        return inference.run()


class BatchInference:
    """The inference of a bundle, series by series, with a manifest.

    Args:
        evaluator: the bundle's; it opens, denoises and saves its items.
        reader: what reads images; it is told which series to take.
        inputs: file or folder of images.
        output_dir: folder of the results.
        gmap: g-factor map of all images, or a folder with one for each.
        suffix: what to add to names.
        output_format: ``"same"`` or ``"nifti"``.
        dtype: type of the voxels in a NIfTI file.
        options: what changes a result, for the manifest: a series that was done with other options is done again.
        redo: do again what is done.
        qc: put the figures of quality control of every result into the manifest.
        memory: largest size in bytes, as float32, of a series whose quality is looked at, which needs all of it.
    """

    def __init__(
        self,
        evaluator: StreamedDenoiser,
        reader: SeriesReader,
        inputs: str | Path,
        output_dir: str | Path,
        gmap: str | Path | None = None,
        suffix: str = "denoised",
        output_format: OutputFormat = "same",
        dtype: OutputDtype = "float32",
        options: Mapping[str, Any] | None = None,
        redo: bool = False,
        qc: bool = True,
        memory: int = IN_MEMORY,
    ) -> None:
        self.evaluator = evaluator
        self.reader = reader
        maps = None if gmap is None else Path(gmap).expanduser()
        output = Path(output_dir).expanduser()
        self.folders = BatchFolders(Path(inputs).expanduser(), output, maps, suffix, output_format)
        self.dtype: OutputDtype = dtype
        self.options: dict[str, Any] = json.loads(json.dumps(dict(options or {}), default=str))
        self.redo = redo
        self.qc = qc
        self.memory = memory
        self.device = torch.device(evaluator.state.device)

    def run(self) -> BatchResult:
        """Do what is not done yet.

        Returns:
            What became of every series, the same in every process.

        Raises:
            MissingFileError: if the input does not exist.
            EmptyImageError: if it holds no image.
            NotAnImageError: if it is a file of another kind.
            OutputNotWritableError: if the results or the manifest cannot be written.
        """
        output = check_output_folder(self.folders.output)
        with open_ranks() as ranks:
            if ranks.rank == 0:
                shutil.rmtree(output / UNFINISHED, ignore_errors=True)
            manifest = read_manifest(output) if ranks.rank == 0 else Manifest({}, frozenset(), 0)
            tasks = list_tasks(self.folders, manifest, ranks)
            recipe = SeriesRow("", version=__version__, weights=weights_checksum(self.evaluator.network),
                               options=self.options, device=str(self.device), rank=ranks.rank)  # fmt: skip
            decided = self._plan(tasks, manifest, recipe).to_plain() if ranks.rank == 0 else None
            plan = _Plan.from_plain(ranks.share(decided))
            logger.info("%d series, %d to do, %d processes", len(tasks), len(plan.todo), ranks.size)
            mine = share_out([tasks[index] for index in plan.todo], ranks.size)[ranks.rank]
            rows = self._work(mine, plan, recipe)
            parts = ranks.gather([row.to_json() for row in rows])
            result = self._result(tasks, plan, [SeriesRow.from_json(text) for part in parts for text in part])
            if ranks.rank == 0:
                shutil.rmtree(output / UNFINISHED, ignore_errors=True)
                logger.info("%s", result.summary)
        return result

    def _plan(self, tasks: Sequence[SeriesTask], manifest: Manifest, recipe: SeriesRow) -> _Plan:
        """Tell which series have to be done, by the manifest and a look at files' sizes and times."""
        before = {task.name: manifest.rows[task.name] for task in tasks if task.name in manifest.rows}
        todo = []
        for index, task in enumerate(tasks):
            row = before.get(task.name)
            is_settled = row is not None and row.input_stamp == task.stamp and not self.redo
            if row is not None and task.status == "writing":
                is_settled = is_settled and row.recipe == recipe.recipe and results_exist(row, self.folders.output)
            elif row is not None:
                is_settled = is_settled and row.status == task.status == "refused"
            if not is_settled:
                todo.append(index)
        return _Plan(manifest.runs + 1, todo, before, manifest.owned)

    def _work(self, tasks: Sequence[SeriesTask], plan: _Plan, recipe: SeriesRow) -> list[SeriesRow]:
        """Do the series of this process, and write down each."""
        rows: list[SeriesRow] = []
        level = self.evaluator.logger.level
        self.evaluator.logger.setLevel(logging.CRITICAL)  # what goes wrong is told once, by the record
        journal = Journal(self.folders.output, plan.run, recipe.rank)
        try:
            for number, task in enumerate(tasks, 1):
                row, has_room = self._one(task, plan, recipe, journal)
                journal.append(row)
                rows.append(row)
                how = row.error or f"{row.status} in {row.seconds:.1f} s"
                logger.info("process %d, %d of %d: %s: %s", recipe.rank, number, len(tasks), row.name, how)
                if not has_room:
                    logger.error("process %d stops: there is no room for results", recipe.rank)
                    break
        finally:
            journal.close()
            self.evaluator.logger.setLevel(level)
        return rows

    def _one(self, task: SeriesTask, plan: _Plan, recipe: SeriesRow, journal: Journal) -> tuple[SeriesRow, bool]:
        """Do one series; whatever goes wrong with it is in its record. Also tell whether there is room for more."""
        start = time.perf_counter()
        has_room = True
        row = replace(recipe, input=task.input, series=task.series, input_stamp=task.stamp, status=task.status)
        if task.status == "writing":
            try:
                with plain_errors():
                    row = self._result_of(task, row, plan, journal, start)
            except Exception as error:
                logger.debug("%s", task.name, exc_info=True)
                row = replace(row, status="failed", error=error_text(error, self.folders.root))
                has_room = not is_lack_of_room(error)
        else:
            row = replace(row, error=task.error)
        seconds, finished = row.seconds or round(time.perf_counter() - start, 3), row.finished or _now()
        return replace(row, seconds=seconds, finished=finished), has_room

    def _result_of(self, task: SeriesTask, row: SeriesRow, plan: _Plan, journal: Journal, start: float) -> SeriesRow:
        """Make a result aside, and give it its name; or find that an earlier one still holds."""
        row = replace(row, input_stamp=stamp_of(task.files), input_sha256=_joint_checksum(task.files))
        before = plan.before.get(task.name)
        if before is not None and not self.redo and _same_result(before, row, self.folders.output):
            return replace(before, input_stamp=row.input_stamp)
        with unfinished(self.folders.output) as aside:
            qc = self._denoise(task, aside, _uid_seed(row))
            if stamp_of(task.files) != row.input_stamp:
                raise ChangedFileError(f"{task.path} changed while it was read. Rerun when it is complete.")
            made = sorted(path for path in aside.iterdir() if not path.name.startswith("."))
            place = Path(task.target).parent
            entries = [replace(entry, path=(place / entry.path).as_posix()) for entry in map(checksum_of, made)]
            for path, entry in zip(made, entries, strict=True):
                check_free(self.folders.output, entry.path, plan.owned)
                sync_files(path)
            seconds = round(time.perf_counter() - start, 3)
            row = replace(row, outputs=tuple(entries), qc=qc, seconds=seconds)
            journal.append(SeriesRow(row.input, row.series, "writing", row.outputs, finished=_now()))
            for path, entry in zip(made, entries, strict=True):
                give_name(path, self.folders.output / entry.path)
        return replace(row, status="done")

    def _denoise(self, task: SeriesTask, folder: Path, uid_seed: str) -> dict[str, Any]:
        """Run the bundle on one series, with the results in a folder of their own; tell what it says about quality."""
        suffix = f"{task.series}_{self.folders.suffix}" if task.series else self.folders.suffix
        self.reader.series = task.series or None
        self.evaluator.saver = SaveSeries(folder, None, suffix, self.dtype, self.folders.output_format, uid_seed)
        self.evaluator.data_loader = [{"image": task.path, "gmap": task.gmap} if task.gmap else {"image": task.path}]
        self.evaluator.state.epoch_length = 1
        self.evaluator.interrupt_resume_enabled = False  # a run that failed is not gone on with
        self.evaluator.run()
        state = self.evaluator.state
        saved, shape = state.output["pred"], state.output["image"].shape
        state.batch = state.output = None
        qc: dict[str, Any] = {"noise_sigma": saved.noise_sigma}
        if self.qc and 4 * math.prod(shape) <= self.memory:
            qc |= _quality(task, saved.path, saved.noise_sigma)
        return qc

    def _result(self, tasks: Sequence[SeriesTask], plan: _Plan, rows: Sequence[SeriesRow]) -> BatchResult:
        """Put together what the processes did and what had been done before."""
        known = {row.name: row for row in rows}
        todo = set(plan.todo)
        settled = {tasks[i].name: plan.before[tasks[i].name] for i in range(len(tasks)) if i not in todo}
        unchanged = sum(row.status == "done" for row in settled.values())
        unchanged += sum(row.status == "done" and _is_kept(row, plan.before.get(row.name)) for row in rows)
        known |= settled
        names = [task.name for task in tasks]
        return BatchResult(
            tuple(known[name] for name in names if name in known),
            unchanged,
            tuple(name for name in names if name not in known),
            self.folders.output / FOLDER,
        )


@dataclass(frozen=True)
class _Plan:
    """What process 0 decides for all.

    Attributes:
        run: number of this run.
        todo: places of the series to do in the list of tasks.
        before: last records of the series.
        owned: every path that an earlier run wrote, or was about to.
    """

    run: int
    todo: list[int]
    before: Mapping[str, SeriesRow]
    owned: frozenset[str]

    def to_plain(self) -> dict[str, Any]:
        before = {name: row.to_json() for name, row in self.before.items()}
        return {"run": self.run, "todo": self.todo, "before": before, "owned": sorted(self.owned)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> _Plan:
        before = {name: SeriesRow.from_json(text) for name, text in plain["before"].items()}
        return cls(plain["run"], plain["todo"], before, frozenset(plain["owned"]))


def weights_checksum(network: nn.Module) -> str:
    """Make the checksum of a network's weights.

    Args:
        network: the network.

    Returns:
        SHA-256 over the name, type, shape and values of every entry of its state, in the order of names.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        name = name.replace("_orig_mod.", "")  # of a compiled network
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _quality(task: SeriesTask, saved: Path, sigma: float) -> dict[str, Any]:
    """Compare a result with its image; what cannot be compared says why."""
    try:
        gmap = read_series(task.gmap, check=False).magnitude if task.gmap else None
        before, after = read_series(task.path, series=task.series or None), read_series(saved, check=False)
        found = review_series(before, after, sigma=sigma, gmap=gmap).as_dict()
    except StcnntError as error:
        return {"flags": [], "error": type(error).__name__}
    return {name: value for name, value in found.items() if name != "sigma"}


def _joint_checksum(paths: Sequence[str]) -> str:
    """SHA-256 of an image, or of the checksums of an image and its g-factor map."""
    digests = [checksum_of(path).sha256 for path in paths]
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _same_result(before: SeriesRow, now: SeriesRow, output: Path) -> bool:
    """Whether an earlier result is of the same content, although its files have other times."""
    is_same = before.input_sha256 == now.input_sha256 and before.recipe == now.recipe
    return is_same and results_exist(before, output)


def _is_kept(row: SeriesRow, before: SeriesRow | None) -> bool:
    return before is not None and before.outputs == row.outputs and before.finished == row.finished


def _uid_seed(row: SeriesRow) -> str:
    """A text that is another one for other images, options, weights, versions and kinds of processor."""
    parts = (*row.recipe, row.input_sha256, row.series, torch.device(row.device).type)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
