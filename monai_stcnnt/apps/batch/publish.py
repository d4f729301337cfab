# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""From an order to a final name: a result is made aside, checked, recorded, and renamed when it is whole."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from monai_stcnnt.apps.batch.existing import check_beside, check_place, earlier_holds, state_of
from monai_stcnnt.apps.batch.manifest import (
    Journal,
    OutputEntry,
    Recipe,
    SeriesRow,
    checksum_of,
    error_text,
    read_manifest,
    sha256_of,
    stamp_of,
)
from monai_stcnnt.apps.batch.tasks import RunOptions, SeriesEngine, SeriesTask
from monai_stcnnt.apps.review.names import is_current
from monai_stcnnt.data.paths import sync, sync_files
from monai_stcnnt.errors import ChangedFileError, OutputNotWritableError, ResultExistsError, StcnntError

__all__ = ["UNFINISHED", "Order", "Outcome", "carry_out", "failure", "outputs_in", "publish", "settle", "unfinished"]

UNFINISHED = ".unfinished"
"""Hidden folder below the results with a folder for each run, for what is not complete."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """A series to do, with all that a worker has to know.

    Attributes:
        options: of the run.
        task: the series.
        recipe: what its result will depend on.
        place: hidden folder of the run.
        before: the last record of the result, None where there is none.
    """

    options: RunOptions
    task: SeriesTask
    recipe: Recipe
    place: Path
    before: SeriesRow | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of an order.

    Attributes:
        row: the record; ``writing`` where a result waits to be published, ``done`` where an earlier one still holds.
        made: hidden folder with the result.
        error: what was raised.
        has_room: whether the disk takes more results.
        seen: what was in the place of the result before the work, see
            :func:`~monai_stcnnt.apps.batch.existing.state_of`.
        is_recorded: whether the manifest gets the record; not where an earlier one still holds for the result.
    """

    row: SeriesRow
    made: Path | None = None
    error: Exception | None = None
    has_room: bool = True
    is_recorded: bool = True
    seen: tuple[int, int] | None = None


@contextmanager
def unfinished(output: Path) -> Iterator[Path]:
    """Make a hidden folder on the disk of the results for one run, and remove it with all that is left in it.

    What runs that were killed left behind is removed as well: a run holds a lock as long as it lives.

    Args:
        output: folder of the results.

    Yields:
        The folder.

    Raises:
        OutputNotWritableError: if it cannot be made.
    """
    place = output / UNFINISHED / uuid.uuid4().hex
    lock = FileLock(place.with_suffix(".lock"))
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        place.mkdir()
        _remove_dead(place)
    except OSError as error:
        raise OutputNotWritableError(
            f"{output} cannot be written to: {error.strerror or error}. Choose a folder that you may write to."
        ) from error
    try:
        yield place
    finally:
        _remove(lock, place)
        with suppress(OSError):  # another run works in it
            _remove_dead(place)
            place.parent.rmdir()


def _remove_dead(place: Path) -> None:
    """Remove folders beside a run's own that no living run holds; a worker may have outlived its run and made one."""
    for file in place.parent.glob("*.lock"):
        lock = FileLock(file, timeout=0)
        if file.stem != place.name:
            with suppress(Timeout, FileNotFoundError):
                lock.acquire()
                _remove(lock, file.with_suffix(""))
    for folder in place.parent.iterdir():
        if folder.is_dir() and not folder.with_suffix(".lock").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _remove(lock: FileLock, place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()


def carry_out(order: Order, engine: SeriesEngine | None) -> Outcome:
    """Do one series; whatever goes wrong with it is in its record.

    Args:
        order: what to do.
        engine: what does it; None for a series that is known to fail.

    Returns:
        What became of it; its result still has to be published.
    """
    start, task = time.perf_counter(), order.task
    if task.error or engine is None:
        return Outcome(replace(_row_of(order), status=task.status, error=task.error, finished=_now()))
    made = order.place / uuid.uuid4().hex
    try:
        outcome = _result_of(order, engine, made)
    except Exception as error:  # noqa: BLE001 - it is recorded, and raised where there is one series
        shutil.rmtree(made, ignore_errors=True)
        outcome = failure(order, _with_final_name(error, made, order))
    if outcome.made is None and outcome.error is None:
        return outcome
    seconds = round(time.perf_counter() - start, 3)
    return replace(outcome, row=replace(outcome.row, seconds=seconds, finished=_now(), device=engine.device))


def _with_final_name(error: Exception, made: Path, order: Order) -> Exception:
    """The error with the final place of a result in its message, not the hidden one."""
    if not isinstance(error, StcnntError) or str(made) not in str(error):
        return error
    place = (order.options.folder / order.task.target).parent
    named = type(error)(str(error).replace(str(made), str(place)))
    named.__cause__ = error
    return named


def failure(order: Order, error: BaseException) -> Outcome:
    """Record that a series could not be done.

    Args:
        order: what to do.
        error: why not.
    """
    logger.debug("%s", order.task.name, exc_info=error)
    outputs = order.before.outputs if order.before else ()  # which may still be there
    row = replace(_row_of(order), error=error_text(error, order.options.root), outputs=outputs, finished=_now())
    shown = error if isinstance(error, Exception) else None
    return Outcome(row, None, shown, not _is_lack_of_room(error), not isinstance(error, ResultExistsError))


def _row_of(order: Order) -> SeriesRow:
    task = order.task
    return SeriesRow(task.target, task.input, task.series, input_stamp=task.stamp, recipe=order.recipe)


def _result_of(order: Order, engine: SeriesEngine, made: Path) -> Outcome:
    """Make a result aside; or find that an earlier one still holds."""
    task, folder, row = order.task, order.options.folder, _row_of(order)
    files = task.files
    digests = "\n".join(map(sha256_of, files))
    row = replace(row, input_stamp=stamp_of(files), input_sha256=hashlib.sha256(digests.encode()).hexdigest())
    before, redo = order.before, order.options.redo
    if before is not None and earlier_holds(row, before, folder, redo=redo):
        if task.report is not None and not is_current(task.report, folder / task.target):
            engine.report(task, folder / task.target, before)
        return Outcome(replace(before, status="done", input_stamp=row.input_stamp))
    target = Path(task.target)
    seen = state_of(folder / target)
    check_place(row, before, folder, redo=redo)
    made.mkdir()
    figures = engine.run(task, made / target.name, _uid_seed(row, engine.device))
    if stamp_of(files) != row.input_stamp:
        raise ChangedFileError(f"{task.path} changed while it was read. Run again when it is complete.")
    outputs = outputs_in(made, target)
    if state_of(folder / target) == seen:  # else another run was here, which is settled when it is published
        check_beside([Path(one.path) for one in outputs if one.path != task.target], before, folder, redo=redo)
    return Outcome(replace(row, status="writing", outputs=outputs, figures=figures), made, seen=seen)


def outputs_in(made: Path, target: Path) -> tuple[OutputEntry, ...]:
    """Flush a result that was made aside, and what lies beside it, to the disk, and make their checksums.

    Args:
        made: the folder with the result.
        target: the place of the result, relative to the folder of the results.

    Returns:
        The outputs, under the names that they will have.
    """
    paths = sorted(path for path in made.iterdir() if not path.name.startswith("."))
    for path in paths:
        sync_files(path)
    entries = [checksum_of(path) for path in paths]
    return tuple(replace(one, path=(target.parent / one.path).as_posix()) for one in entries)


def settle(outcome: Outcome, folder: Path) -> Outcome:
    """Look once more at the place of a result that is to be published, which another run may have taken meanwhile.

    Args:
        outcome: of an order.
        folder: of the results.

    Returns:
        The outcome; that of the other run where its result is the same, else an error, and nothing is replaced.
    """
    row = outcome.row
    if outcome.made is None or state_of(folder / row.target) == outcome.seen:
        return outcome
    shutil.rmtree(outcome.made, ignore_errors=True)
    other = read_manifest(folder).get(row.target)
    if other is not None and earlier_holds(row, other, folder, redo=False):
        return replace(outcome, row=replace(other, status="done"), made=None, is_recorded=False)
    error = ResultExistsError(
        f"{folder / row.target} was made by another run meanwhile. Choose another folder, or replace it with --redo."
    )
    failed = replace(row, status="failed", outputs=(), figures={}, error=error_text(error, folder))
    return replace(outcome, row=failed, made=None, error=error, is_recorded=False)


def publish(outcome: Outcome, folder: Path, journal: Journal, *, is_only: bool) -> SeriesRow:
    """Record a result, give it its name, and record that it has it; the failure of a single series is told, no more."""
    row = outcome.row
    if outcome.made is not None:
        journal.append(row)
        targets = [folder / entry.path for entry in row.outputs]
        for target in targets:
            _give_name(outcome.made / target.name, target)
        for place in {target.parent for target in targets}:
            sync(place)
        shutil.rmtree(outcome.made, ignore_errors=True)
        row = replace(row, status="done")
    if outcome.is_recorded and not (is_only and outcome.error):
        journal.append(row)
    return row


def _give_name(made: Path, target: Path) -> None:
    """Rename a whole file or folder to its place; an earlier folder makes room and goes with what is unfinished.

    Args:
        made: the file or folder.
        target: its place on the same disk.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        os.rename(target, made.with_name(f".{made.name}.before"))
    os.replace(made, target)


def _is_lack_of_room(error: BaseException) -> bool:
    """Tell whether an error comes from a disk that is full or cannot be written to.

    Args:
        error: the error, or one that it caused.
    """
    seen: set[int] = set()  # an error that was taken from under another one leads back to it
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, OSError) and cause.errno in _NO_ROOM:
            return True
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__
    return False


def _uid_seed(row: SeriesRow, device: str) -> str:
    """A text that is another one for other images, recipes and kinds of processor."""
    parts = (str(row.recipe), row.input_sha256, row.series, device.split(":")[0])
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
