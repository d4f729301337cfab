# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""One path for one series and for thousands: list, leave what is done, do the others, publish, record.

A result is made in a hidden folder below the results and checked, its record is written, and it is renamed to its
place: what is seen under a final name is whole, whenever a process was killed. Workers only make results; this process
alone gives names and writes the manifest. A series that cannot be done is recorded, and the others continue.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from monai_stcnnt.apps.batch.manifest import MANIFEST, Journal, Recipe, SeriesRow, read_manifest, results_exist
from monai_stcnnt.apps.batch.publish import Order, Outcome, carry_out, publish, settle, unfinished
from monai_stcnnt.apps.batch.tasks import RunOptions, SeriesTask, list_tasks
from monai_stcnnt.apps.bundles import check_device
from monai_stcnnt.apps.review.names import is_current
from monai_stcnnt.data import check_output_folder
from monai_stcnnt.errors import FailedSeriesError, MissingPackageError

__all__ = ["RunResult", "run_series"]

_SHOWN = 20

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunResult:
    """How a run went.

    Attributes:
        folder: of the results.
        rows: the last record of every series of the input, in the order of names.
        skipped: targets of the series that had been done before and were left as they are.
        sources: the file or folder of each series, by the target.
        missing: names of series that were not reached, since there was no room for results any more.
        errors: what was raised in this process, by the target of the series.
        reports: the report of each series, by the target; none where none was asked for.
    """

    folder: Path
    rows: tuple[SeriesRow, ...]
    sources: Mapping[str, Path]
    skipped: frozenset[str] = frozenset()
    missing: tuple[str, ...] = ()
    errors: Mapping[str, Exception] = field(default_factory=dict)
    reports: Mapping[str, Path] = field(default_factory=dict)

    @property
    def manifest(self) -> Path:
        """The file that remembers what was done."""
        return self.folder / MANIFEST

    @property
    def done(self) -> tuple[SeriesRow, ...]:
        """Series whose results are there, those of earlier runs included."""
        return tuple(row for row in self.rows if row.status == "done")

    @property
    def failed(self) -> tuple[SeriesRow, ...]:
        """Series that could not be done."""
        return tuple(row for row in self.rows if row.status == "failed")

    @property
    def refused(self) -> tuple[SeriesRow, ...]:
        """Series that cannot be worked on, such as a phase without its magnitude."""
        return tuple(row for row in self.rows if row.status == "refused")

    @property
    def saved(self) -> list[Path]:
        """The results, those of earlier runs included."""
        return [self.folder / row.target for row in self.done]

    @property
    def is_single(self) -> bool:
        """Whether there was one series."""
        return len(self.rows) + len(self.missing) == 1

    @property
    def summary(self) -> str:
        """The counts, and a line for each series that could not be done."""
        counts = Counter(row.status for row in self.rows)
        words = [
            f"{len(self.rows) + len(self.missing)} series: {counts['done'] - len(self.skipped)} done",
            f"{len(self.skipped)} skipped",
            f"{counts['refused']} refused",
            f"{counts['failed']} failed",
        ]
        if self.missing:
            words.append(f"{len(self.missing)} not reached")
        lines = [", ".join(words), *(f"failed: {row.name}: {row.error}" for row in self.failed[:_SHOWN])]
        if len(self.failed) > _SHOWN:
            lines.append(f"... and {len(self.failed) - _SHOWN} more; see {self.manifest}")
        return "\n".join(lines)

    def check(self) -> RunResult:
        """Raise an error where a series could not be done.

        Returns:
            The result itself.

        Raises:
            FailedSeriesError: with the summary; of a single series, its own error.
        """
        if self.is_single and self.errors:
            [error] = self.errors.values()
            raise error
        if self.failed or self.missing:
            raise FailedSeriesError(self.summary)
        return self


def run_series(options: RunOptions) -> RunResult:
    """Do every series that is not done yet.

    Args:
        options: what to do, and where.

    Returns:
        What became of every series. A series that could not be done is no error.

    Raises:
        StcnntError: for what concerns all series: a missing input, weights that do not fit, a folder that cannot be
            written to.
    """
    options = options.absolute() if options.is_shared else options
    if not options.is_shared:
        check_device(options.device)
    recipe = options.recipe
    before = read_manifest(options.folder)
    tasks = list_tasks(options, before)
    for folder in dict.fromkeys([*(path.parent for path in options.written), options.folder]):
        check_output_folder(folder)
    rows: dict[str, SeriesRow] = {}
    errors: dict[str, Exception] = {}
    with unfinished(options.folder) as place:
        orders = []
        for task in tasks:
            row = before.get(task.target)
            if row is not None and _is_settled(task, row, recipe, options):
                rows[task.target] = row
            else:
                orders.append(Order(options, task, recipe, place, row))
        skipped = {target for target, row in rows.items() if row.status == "done"}
        with Journal(options.folder) as journal, _progress(len(orders), options) as bar:
            for number, made in enumerate(_outcomes(orders, options), 1):
                outcome = settle(made, options.folder)
                row = publish(outcome, options.folder, journal, is_only=len(tasks) == 1)
                rows[row.target] = row
                if outcome.made is None and row.status == "done":
                    skipped.add(row.target)
                if outcome.error is not None:
                    errors[row.target] = outcome.error
                bar.update()
                if not (outcome.error and len(tasks) == 1):  # that is raised, and said once
                    _tell_outcome(row, f"{number} of {len(orders)}", options.folder, is_skipped=row.target in skipped)
                if not outcome.has_room:
                    logger.error("%s has no room for more results", options.folder)
                    break
    missing = tuple(task.name for task in tasks if task.target not in rows)
    found = tuple(rows[task.target] for task in tasks if task.target in rows)
    sources = {task.target: task.path for task in tasks}
    reports = {task.target: task.report for task in tasks if task.report is not None}
    return RunResult(options.folder, found, sources, frozenset(skipped), missing, errors, reports)


def _tell_outcome(row: SeriesRow, number: str, folder: Path, *, is_skipped: bool) -> None:
    how = row.error or ("skipped" if is_skipped else f"{row.status} in {row.seconds:.1f} s")
    logger.info("%s, %s: %s", number, row.name, how)
    for flag in row.figures.get("flags", ()):
        logger.warning("%s is flagged: %s", folder / row.target, flag["message"])


@contextmanager
def _progress(total: int, options: RunOptions) -> Iterator[tqdm]:
    """A bar over several series on a terminal, with log lines above it; elsewhere the log lines alone."""
    is_shown = options.progress and total > 1 and sys.stderr.isatty()
    bar = tqdm(total=total, desc=options.input.name, unit="series", disable=not is_shown)
    with bar, logging_redirect_tqdm() if is_shown else nullcontext():
        yield bar


def _is_settled(task: SeriesTask, row: SeriesRow, recipe: Recipe, options: RunOptions) -> bool:
    """Whether there is nothing to do, by the manifest and a look at files' sizes and times."""
    if row.input_stamp != task.stamp or options.redo:
        return False
    if task.error or row.status == "refused":
        return row.status == task.status == "refused"
    has_report = task.report is None or is_current(task.report, options.folder / task.target)
    return has_report and row.status == "done" and row.recipe == recipe and results_exist(row, options.folder)


def _outcomes(orders: Sequence[Order], options: RunOptions) -> Iterator[Outcome]:
    """Do the orders, in this process or over workers."""
    if not orders:
        return
    if options.is_shared:
        try:
            from monai_stcnnt.apps.batch.workers import over_workers
        except ImportError as error:
            raise MissingPackageError('Workers need dask.distributed: pip install "monai-stcnnt[cluster]".') from error
        yield from over_workers(sorted(orders, key=lambda order: -order.task.size), options)
        return
    engine = None
    for order in orders:
        if engine is None and not order.task.error:
            engine = options.open_engine()
        yield carry_out(order, engine)
