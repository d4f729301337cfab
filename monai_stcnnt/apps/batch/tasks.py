# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What a run has to do: its options, the series below a path, and where each result goes."""

from __future__ import annotations

import dataclasses
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self, get_args

from monai_stcnnt.apps.batch.entries import join_slices, leave_out
from monai_stcnnt.apps.batch.manifest import Recipe, SeriesRow, Status, error_text, stamp_of, without_root
from monai_stcnnt.apps.review.names import report_names
from monai_stcnnt.data import check_exists, list_series, output_path
from monai_stcnnt.data.formats.base import SeriesSummary
from monai_stcnnt.data.formats.registry import (
    OutputFormat,
    files_of,
    format_for,
    image_format,
    list_images,
    result_extension,
)
from monai_stcnnt.data.listing import check_result_name, gfactor_map_of
from monai_stcnnt.errors import NotAnImageError, OptionError, OutputNotWritableError

__all__ = ["RunOptions", "SeriesEngine", "SeriesTask", "list_tasks"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SeriesTask:
    """One series to work on.

    Attributes:
        input: path relative to the input folder.
        target: where the result goes, relative to the output folder.
        path: the file or folder.
        series: which series of a DICOM folder, empty where there is one.
        gmap: its g-factor map, None for none.
        report: what to show the result in, None for nothing.
        size: how large it is, in bytes, so that the largest can come first.
        stamp: of the files, see :func:`~monai_stcnnt.apps.batch.manifest.stamp_of`.
        status: ``failed`` or ``refused`` where it is known by now that it cannot be done, else ``writing``.
        error: why.
    """

    input: str
    target: str
    path: Path
    series: str = ""
    gmap: Path | None = None
    report: Path | None = None
    size: int = 0
    stamp: str = ""
    status: Status = "writing"
    error: str = ""

    @property
    def name(self) -> str:
        """What to call it."""
        return SeriesRow(self.target, self.input, self.series).name

    @property
    def files(self) -> list[Path]:
        """Every file that its result depends on."""
        maps = [] if self.gmap is None else files_of(self.gmap)
        return [*files_of(self.path), *maps]


class SeriesEngine(ABC):
    """What works on series, one after the other; made once for a process.

    Attributes:
        device: where it computes.
    """

    device: str = "cpu"

    @abstractmethod
    def run(self, task: SeriesTask, target: Path, uid_seed: str) -> dict[str, Any]:
        """Work on one series.

        Args:
            task: the series.
            target: the file or folder to write.
            uid_seed: makes the UIDs of DICOM results a function of this text.

        Returns:
            What was found out, in JSON's types, for the manifest.
        """

    @abstractmethod
    def report(self, task: SeriesTask, saved: Path, row: SeriesRow) -> None:
        """Write the report of a result that was made before."""


@dataclass(frozen=True, kw_only=True)
class RunOptions(ABC):
    """Options of all work on series.

    Attributes:
        input: a file, or a folder that is searched with its sub folders.
        output: folder of the results, or for one series also the name of the result.
        series: the one series to take where a DICOM folder holds several, by a name that
            :func:`monai_stcnnt.apps.describe` lists; two names joined by ``+`` for the parts of a complex image.
        output_format: ``"same"`` as the input, or another one.
        gmap: g-factor map of all series, or a folder with one for each.
        bundle: folder of the bundle; the one that this package carries by default.
        stack: take series of one slice each that make a stack as one series.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ...
        report: file to show a result in; with several series, one each with the result's name added.
        redo: make results again that exist, and replace files that are in the way.
        force: take also what is not an MR image by its values, and what this package made.
        workers: number of processes that share the work through dask.distributed; 0 for this process alone.
        scheduler: address or file of a dask scheduler whose workers share the work.
        progress: show bars.
    """

    suffix: ClassVar[str]
    """What is added to the names of results."""
    has_recipe: ClassVar[tuple[str, ...]] = ("output_format", "force")
    """Options that change a result."""
    writes: ClassVar[tuple[str, ...]] = ("report",)
    """Options that name a file to write beside the results."""
    skips: ClassVar[frozenset[str]] = frozenset()
    """Images that are left out, by what this package did to make them."""
    masks: ClassVar[str] = ""
    """Files of a folder that are left out, by the ends of their names, see :func:`leave_out`."""

    input: Path
    output: Path
    series: str | None = None
    output_format: OutputFormat = "same"
    gmap: Path | None = None
    bundle: Path | None = None
    stack: bool = False
    device: str = "auto"
    report: Path | None = None
    redo: bool = False
    force: bool = False
    workers: int = 0
    scheduler: str | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        """Make paths of texts, and check what can be checked before any file is looked at.

        Raises:
            OptionError: if an option has a value that it cannot have.
        """
        for one in dataclasses.fields(self):
            value = getattr(self, one.name)
            if "Path" in str(one.type) and value is not None:
                object.__setattr__(self, one.name, Path(value).expanduser())
        if self.output_format not in get_args(OutputFormat):
            raise OptionError(
                f"output_format is {self.output_format!r}. Give one of {', '.join(get_args(OutputFormat))}."
            )
        check_result_name(self.output)
        if self.workers < 0 or (self.workers and self.scheduler):
            raise OptionError("Give a positive number of workers, or a scheduler, not both.")

    @cached_property
    def is_file(self) -> bool:
        """Whether the output is the name of one result, not a folder."""
        return bool(format_for(self.output).extensions) and not self.output.is_dir()

    @cached_property
    def folder(self) -> Path:
        """The folder of the results."""
        return self.output.parent if self.is_file else self.output

    @property
    def root(self) -> Path:
        """The folder that paths of inputs are relative to."""
        return self.input.parent if self.input.is_file() else self.input

    @property
    def is_shared(self) -> bool:
        """Whether other processes do the work."""
        return bool(self.workers or self.scheduler)

    @property
    def written(self) -> list[Path]:
        """Files that are written beside the results."""
        return [path for name in self.writes if (path := getattr(self, name)) is not None]

    def absolute(self) -> Self:
        """The same with paths that hold from any current folder."""
        values: dict[str, Any] = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        paths: dict[str, Any] = {name: path.absolute() for name, path in values.items() if isinstance(path, Path)}
        return replace(self, **paths)

    @property
    @abstractmethod
    def recipe(self) -> Recipe:
        """What results depend on beside their input."""

    @abstractmethod
    def open_engine(self) -> SeriesEngine:
        """Prepare what does the work, with its network."""

    def recipe_options(self) -> dict[str, Any]:
        """The options of a recipe, in JSON's types."""
        values = {name: getattr(self, name) for name in self.has_recipe}
        json_types = {tuple: list, type(Path()): str}
        return {name: json_types.get(type(value), lambda same: same)(value) for name, value in values.items()}


def list_tasks(options: RunOptions, manifest: Mapping[str, SeriesRow]) -> list[SeriesTask]:
    """List the series below a path.

    A DICOM folder that has not changed since the manifest knows its series is not read again.

    Args:
        options: where to look, and where results go.
        manifest: what was done before.

    Returns:
        The tasks in the order of their paths.

    Raises:
        MissingFileError: if the input does not exist.
        EmptyImageError: if it holds no image.
        NotAnImageError: if it is a file of another kind.
        OutputNotWritableError: if results would lie among the images, or several in one file.
    """
    check_exists(options.input)
    output = os.path.realpath(options.output)
    if output == os.path.realpath(options.input):
        raise OutputNotWritableError(f"{options.output} is the input itself. Choose another name or folder.")
    known: dict[str, list[SeriesRow]] = {}
    for row in manifest.values():
        known.setdefault(row.input, []).append(row)
    if options.series is not None:
        tasks = [_aimed(_task(options.input, options, files_of(options.input), options.series), options)]
    else:
        entries = _originals(options.input, output)
        if options.masks:
            entries = leave_out(entries, options.masks)
        if options.stack:
            entries = join_slices(entries, {options.root / name for name, rows in known.items() if rows[0].series})
        tasks = [task for entry in entries for task in _tasks_of(entry, options, known, is_only=len(entries) == 1)]
    if options.is_file:
        usable = [task for task in tasks if task.status != "refused"]
        if len(usable) > 1:
            raise OutputNotWritableError(
                f"{options.input} holds {len(usable)} series, but {options.output} is one file. Give a folder."
            )
        tasks = [replace(task, target=options.output.name) for task in usable]
    if not tasks:
        raise NotAnImageError(
            f"{options.input} holds nothing but results of this package. Give the originals; --force (force=True) "
            "takes results anyway."
        )
    tasks = _without_collisions(tasks)
    _check_apart(tasks, options)
    if options.report is None:
        return tasks
    names = report_names([options.folder / task.target for task in tasks], options.report)
    return [replace(task, report=name) for task, name in zip(tasks, names, strict=True)]


def _originals(path: Path, output: str) -> list[Path]:
    """The images at a path, without those in the folder of the results where that lies below it."""
    if path.is_file():
        return [path]
    listed = list_series(path)
    if not Path(output).is_relative_to(os.path.realpath(path)):
        return listed
    return [entry for entry in listed if not Path(os.path.realpath(entry)).is_relative_to(output)]


def _is_own(action: str, what: object, options: RunOptions) -> bool:
    """Whether an image is left out since this package made it; the log says so."""
    if options.force or action not in options.skips:
        return False
    logger.info("%s is skipped: it was %s by this package.", what, action)
    return True


def _check_apart(tasks: Sequence[SeriesTask], options: RunOptions) -> None:
    """Make sure that no result, or file beside it, takes the place of an image, under whatever name.

    Raises:
        OutputNotWritableError: if one would.
    """
    reports = [task.report for task in tasks if task.report is not None]
    written = [*(options.folder / task.target for task in tasks), *reports, *options.written]
    there = [path for path in written if path.exists()]
    if not there:
        return
    inputs = {(state.st_dev, state.st_ino): file for task in tasks for file in task.files if (state := file.stat())}
    for path in there:
        if (key := (path.stat().st_dev, path.stat().st_ino)) in inputs:
            raise OutputNotWritableError(f"{path} is the input {inputs[key]} itself. Choose another name or folder.")


def _task(entry: Path, options: RunOptions, files: Sequence[Path], series: str = "") -> SeriesTask:
    """The task of a path, without the place of its result."""
    name = entry.relative_to(options.root).as_posix() if entry != options.root else entry.resolve().name
    gmap = None if options.gmap is None else gfactor_map_of(entry, options.root, options.gmap)
    files = files if gmap is None else [*files, *files_of(gmap)]
    size = sum(file.stat().st_size for file in files)
    return SeriesTask(name, "", entry, series, gmap, size=size, stamp=stamp_of(files))


def _tasks_of(
    entry: Path, options: RunOptions, known: Mapping[str, Collection[SeriesRow]], *, is_only: bool
) -> list[SeriesTask]:
    """The tasks of one file or folder; one of several that cannot be looked into is known to fail."""
    try:
        row = image_format(entry)
        task = _task(entry, options, row.files_of(entry))
        before = [one for one in known.get(task.input, ()) if one.input_stamp == task.stamp and one.series]
        if before and all(one.status in ("done", "refused") for one in before):
            return [_aimed(_as_known(task, one), options) for one in before]
        if not row.holds_several:
            return [] if _is_own(row.made_by(entry), entry, options) else [_aimed(task, options)]
        listed = list_images(entry, check=False, stacks=options.stack)
        found = _in_stacks([one for one in listed if not _is_own(one.made, entry, options)])
        if not found:
            return []
    except Exception as error:
        if is_only:
            raise
        failed = SeriesTask(entry.relative_to(options.root).as_posix(), "", entry, status="failed")
        return [replace(_aimed(failed, options), error=error_text(error, options.root))]
    is_whole = len(listed) < 2 and not any(one.members for one in found)
    if is_whole or all(one.refused for one in found):
        return [_aimed(task, options, found[0])]  # what is wrong with it is said when it is read
    return [_aimed(_as_listed(task, one, options.root), options, one) for one in found]


def _in_stacks(found: list[SeriesSummary]) -> list[SeriesSummary]:
    """Leave out the series of one slice each that a stack joins, and say so."""
    joined = {key for one in found for key in one.members}
    for one in found:
        if one.members:
            logger.info("%s: series %s are taken as one stack", one.path, ", ".join(one.members))
    return [one for one in found if one.series not in joined]


def _as_listed(task: SeriesTask, summary: SeriesSummary, root: Path) -> SeriesTask:
    """The task of one of several series; parts of complex images alone are refused."""
    task = replace(task, series=summary.series, size=summary.size or task.size)
    if not summary.refused:
        return task
    is_meant = summary.kind in ("magnitude", "complex", "unknown")
    return replace(task, status="failed" if is_meant else "refused", error=without_root(summary.refused, root))


def _as_known(task: SeriesTask, row: SeriesRow) -> SeriesTask:
    return replace(task, series=row.series, status="refused" if row.status == "refused" else "writing", error=row.error)


def _aimed(task: SeriesTask, options: RunOptions, summary: SeriesSummary | None = None) -> SeriesTask:
    """Add the place of the result."""
    kind = summary.kind if summary else "complex" if "+" in task.series else "magnitude"
    file_format = summary.file_format if summary else None
    extension = result_extension(task.path, file_format, kind, options.output_format)
    suffix = f"{task.series}_{options.suffix}" if task.series else options.suffix
    path = output_path(task.path, options.root, options.folder, suffix, extension)
    return replace(task, target=Path(os.path.relpath(path, options.folder)).as_posix())


def _without_collisions(tasks: Sequence[SeriesTask]) -> list[SeriesTask]:
    """Let the first of several tasks with one target have it."""
    owners: dict[str, str] = {}
    result = []
    for task in tasks:
        name = task.name
        owner = owners.setdefault(task.target, name)
        if owner != name:
            message = f"OutputNotWritableError: {owner} becomes {task.target} as well. Rename one of them."
            task = replace(task, target=f"{task.target} of {name}", status="failed", error=message)
        result.append(task)
    return result
