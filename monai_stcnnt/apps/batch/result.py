# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""How a batch went: the last record of every series, counts, and what could not be done."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from monai_stcnnt.apps.batch.manifest import SeriesRow
from monai_stcnnt.errors import FailedSeriesError

__all__ = ["BatchResult"]

_SHOWN = 20


@dataclass(frozen=True)
class BatchResult:
    """How a batch went.

    Attributes:
        rows: the last record of every series of the input, in the order of names.
        unchanged: number of series that had been done before and were left as they are.
        missing: names of series that no process came to, since there was no room for results any more.
        manifest: folder of the manifest.
    """

    rows: tuple[SeriesRow, ...]
    unchanged: int
    missing: tuple[str, ...]
    manifest: Path

    @property
    def failed(self) -> tuple[SeriesRow, ...]:
        """Series that could not be done."""
        return tuple(row for row in self.rows if row.status == "failed")

    @property
    def refused(self) -> tuple[SeriesRow, ...]:
        """Series that are no images to work on, such as a phase without its magnitude."""
        return tuple(row for row in self.rows if row.status == "refused")

    @property
    def saved(self) -> tuple[Path, ...]:
        """All results that are there, those of earlier runs included."""
        folder = self.manifest.parent
        return tuple(folder / entry.path for row in self.rows if row.status == "done" for entry in row.outputs)

    @property
    def exit_code(self) -> int:
        """0 where every series is done, else 3."""
        return 3 if self.failed or self.missing else 0

    @property
    def summary(self) -> str:
        """The counts, and a line for each series that could not be done."""
        counts = Counter(row.status for row in self.rows)
        words = [
            f"{len(self.rows) + len(self.missing)} series: {counts['done'] - self.unchanged} denoised",
            f"{self.unchanged} done before",
            f"{counts['refused']} passed over",
            f"{counts['failed']} failed",
        ]
        if self.missing:
            words.append(f"{len(self.missing)} not reached")
        lines = [", ".join(words)]
        for row in self.failed[:_SHOWN]:
            lines.append(f"failed: {row.name}: {row.error}")
        if len(self.failed) > _SHOWN:
            lines.append(f"... and {len(self.failed) - _SHOWN} more; see {self.manifest}")
        return "\n".join(lines)

    def check(self) -> BatchResult:
        """Raise an error where a series could not be done.

        Returns:
            The result itself.

        Raises:
            FailedSeriesError: with the summary.
        """
        if self.exit_code:
            raise FailedSeriesError(self.summary)
        return self
