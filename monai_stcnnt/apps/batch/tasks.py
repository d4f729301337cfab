# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What a batch has to do: the series below a folder, where each result goes, and who does which."""

from __future__ import annotations

import dataclasses
import heapq
import os
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_stcnnt.apps.batch.manifest import Manifest, SeriesRow, Status, stamp_of
from monai_stcnnt.data import OutputFormat, check_exists, files_of, list_images, list_series, output_path
from monai_stcnnt.data.formats.registry import image_format, result_extension
from monai_stcnnt.data.listing import gfactor_map_of
from monai_stcnnt.engines.ranks import Ranks
from monai_stcnnt.errors import OutputNotWritableError, StcnntError

__all__ = ["BatchFolders", "SeriesTask", "error_text", "list_tasks", "share_out"]


@dataclass(frozen=True)
class BatchFolders:
    """Where a batch reads and writes.

    Attributes:
        source: the file or folder of images.
        output: folder of the results.
        gmap: g-factor map of all images, or a folder with one for each; None for none.
        suffix: what to add to names.
        output_format: ``"same"`` or ``"nifti"``.
    """

    source: Path
    output: Path
    gmap: Path | None = None
    suffix: str = "denoised"
    output_format: OutputFormat = "same"

    @property
    def root(self) -> Path:
        """The folder that paths are relative to."""
        return self.source.parent if self.source.is_file() else self.source


@dataclass(frozen=True)
class SeriesTask:
    """One series to denoise.

    Attributes:
        input: path relative to the input folder.
        series: which series of a DICOM folder, empty where there is one.
        path: the file or folder.
        gmap: its g-factor map, empty for none.
        target: where the result goes, relative to the output folder.
        size: how large it is, in bytes or so, to share out the work.
        stamp: of the files, see :func:`~monai_stcnnt.apps.batch.manifest.stamp_of`.
        status: ``failed`` or ``refused`` where it is known by now that it cannot be done, else ``writing``.
        error: why.
    """

    input: str
    series: str = ""
    path: str = ""
    gmap: str = ""
    target: str = ""
    size: int = 0
    stamp: str = ""
    status: Status = "writing"
    error: str = ""

    @property
    def name(self) -> str:
        """Its name in the manifest."""
        return SeriesRow(self.input, self.series).name

    @property
    def files(self) -> list[str]:
        """The image and its g-factor map."""
        return [self.path, self.gmap] if self.gmap else [self.path]


def list_tasks(folders: BatchFolders, manifest: Manifest, ranks: Ranks) -> list[SeriesTask]:
    """List the series below a folder; the processes share the reading of headers.

    A DICOM folder that has not changed since the manifest knows its series is not read again.

    Args:
        folders: where to look.
        manifest: what was done before; that of process 0 counts.
        ranks: the processes.

    Returns:
        The tasks in the order of their paths, the same in every process.

    Raises:
        MissingFileError: if the input does not exist.
        EmptyImageError: if it holds no image.
        NotAnImageError: if it is a file of another kind.
        OutputNotWritableError: if the results would lie among the images.
    """
    shared = ranks.share(_listing(folders, manifest) if ranks.rank == 0 else None)
    mine = []
    for index in range(ranks.rank, len(shared["entries"]), ranks.size):
        entry = Path(shared["entries"][index])
        known = shared["known"].get(entry.relative_to(folders.root).as_posix(), [])
        mine.append([index, [dataclasses.asdict(task) for task in _tasks_of(entry, folders, known)]])
    parts = sorted((part for share in ranks.gather(mine) for part in share), key=lambda part: part[0])
    return _without_collisions([SeriesTask(**values) for _, tasks in parts for values in tasks])


def _listing(folders: BatchFolders, manifest: Manifest) -> dict[str, Any]:
    """Images below the input, without results below it, and what the manifest knows about DICOM folders."""
    check_exists(folders.source)
    output, source = os.path.realpath(folders.output), os.path.realpath(folders.source)
    if output == source:
        raise OutputNotWritableError(f"{folders.output} is the folder of the images. Choose another one for results.")
    below = Path(output)
    entries = [e for e in list_series(folders.source) if not Path(os.path.realpath(e)).is_relative_to(below)]
    known: dict[str, list[list[str]]] = {}
    for row in manifest.rows.values():
        known.setdefault(row.input, []).append([row.series, row.status, row.error, row.input_stamp])
    return {"entries": [str(entry) for entry in entries], "known": known}


def _tasks_of(entry: Path, folders: BatchFolders, known: Sequence[Sequence[str]]) -> list[SeriesTask]:
    """The tasks of one file or folder; one that is known to fail where it cannot be looked into."""
    task = SeriesTask(entry.relative_to(folders.root).as_posix() if entry != folders.root else ".", path=str(entry))
    try:
        gmap = "" if folders.gmap is None else str(gfactor_map_of(entry, folders.root, folders.gmap))
        task = dataclasses.replace(task, gmap=gmap)
        task = dataclasses.replace(task, stamp=stamp_of(task.files), size=_bytes_of(entry))
        if known and all(status in ("done", "refused") and stamp == task.stamp for _, status, _, stamp in known):
            return [_as_known(task, folders, series, status, error) for series, status, error, _ in known]
        return _tasks_in(task, folders)
    except Exception as error:  # noqa: BLE001 - one folder that cannot be looked into must not stop the others
        return [dataclasses.replace(task, size=0, status="failed", error=error_text(error, folders.root))]


def _tasks_in(task: SeriesTask, folders: BatchFolders) -> list[SeriesTask]:
    """A task for each image of an entry; what is refused although there are others says why."""
    found = list_images(task.path, check=False)
    if len(found) < 2 or all(summary.refused for summary in found):
        kind = found[0].kind if len(found) == 1 else "unknown"
        return [_aimed(task, folders, kind)]
    tasks = []
    for summary in found:
        one = dataclasses.replace(task, series=summary.series, size=summary.size or task.size)
        if summary.refused:
            status: Status = "refused" if summary.kind in ("phase", "real", "imaginary") else "failed"
            one = dataclasses.replace(one, size=0, status=status, error=_relative(summary.refused, folders.root))
        tasks.append(_aimed(one, folders, summary.kind))
    return tasks


def _as_known(task: SeriesTask, folders: BatchFolders, series: str, status: str, error: str) -> SeriesTask:
    known: Status = "refused" if status == "refused" else "writing"
    return _aimed(dataclasses.replace(task, series=series, status=known, error=error), folders, "unknown")


def _aimed(task: SeriesTask, folders: BatchFolders, kind: str) -> SeriesTask:
    """Add the place of the result."""
    extension = result_extension(task.path, image_format(task.path).name, kind, folders.output_format)
    suffix = f"{task.series}_{folders.suffix}" if task.series else folders.suffix
    path = output_path(task.path, folders.root, folders.output, suffix, extension)
    return dataclasses.replace(task, target=Path(os.path.relpath(path, folders.output)).as_posix())


def _without_collisions(tasks: Sequence[SeriesTask]) -> list[SeriesTask]:
    """Let the first of several tasks with one target have it."""
    owners: dict[str, str] = {}
    result = []
    for task in tasks:
        owner = owners.setdefault(task.target, task.name) if task.status == "writing" else task.name
        if owner != task.name:
            message = f"OutputNotWritableError: {owner} becomes {task.target} as well. Rename one of them."
            task = dataclasses.replace(task, status="failed", error=message)
        result.append(task)
    return result


def share_out(tasks: Sequence[SeriesTask], ranks: int) -> list[list[SeriesTask]]:
    """Share out tasks by size: the largest first, each to the process that has least.

    That is Graham's rule, whose last process ends at most a third later than with the best of all shares. R. L. Graham,
    Bounds on multiprocessing timing anomalies, 1969, https://doi.org/10.1137/0117039

    Args:
        tasks: what to do.
        ranks: number of processes.

    Returns:
        The tasks of each process, the largest first; the same for the same tasks in any order.
    """
    shares: list[list[SeriesTask]] = [[] for _ in range(ranks)]
    loads = [(0, rank) for rank in range(ranks)]
    for task in sorted(tasks, key=lambda task: (-task.size, task.name)):
        load, rank = heapq.heappop(loads)
        shares[rank].append(task)
        heapq.heappush(loads, (load + max(task.size, 1), rank))
    return shares


def error_text(error: BaseException, root: Path) -> str:
    """Say what went wrong, for a manifest: no values of files, and no folder above the images.

    Args:
        error: what was raised. The message of an error of this package is taken; of any other, only its class and the
            place in the code, since its message may quote from the file.
        root: folder of the images.

    Returns:
        One line.
    """
    while error.__cause__ is not None and not isinstance(error, StcnntError):
        error = error.__cause__
    name = type(error).__name__
    if isinstance(error, StcnntError):
        return f"{name}: {_relative(' '.join(str(error).split()), root)}"
    if isinstance(error, OSError) and error.strerror:
        return f"{name}: {error.strerror}"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{name}{place}"


def _relative(text: str, root: Path) -> str:
    return text.replace(f"{root}{os.sep}", "")


def _bytes_of(path: Path) -> int:
    return sum(file.stat().st_size for file in files_of(path))
