# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The course of a training as a table (CSV) and a picture of it (PNG)."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Events
from matplotlib.figure import Figure
from monai.engines import Evaluator, SupervisedTrainer

from monai_stcnnt.data import write_aside
from monai_stcnnt.errors import TrainingDivergedError

__all__ = ["TrainingHistory", "plot_history", "read_history"]

_PROGRESS = ("epoch", "iteration", "learning_rate")

Row = dict[str, float]


class TrainingHistory:
    """Write a row for each epoch: progress, learning rate, the trainer's metrics, and the evaluator's where it ran.

    A training that is resumed continues the table, without gaps or double rows.

    Args:
        path: the table; the picture lies beside it, with the suffix ``.png``, and is drawn when there is a new
            validation and at the end.
        evaluator: the engine that validates. Attach this handler after the one that runs it.
    """

    def __init__(self, path: str | Path, evaluator: Evaluator) -> None:
        self.path = Path(path)
        self.evaluator = evaluator
        self.rows: list[Row] = []

    def attach(self, engine: SupervisedTrainer) -> None:
        """Act after each of the trainer's epochs."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: SupervisedTrainer) -> None:
        """Add the row of this epoch and write the table.

        Raises:
            TrainingDivergedError: when a metric of the trainer is not finite.
        """
        state = engine.state
        trained = {name: float(value) for name, value in state.metrics.items()}
        if not all(map(math.isfinite, trained.values())):
            raise TrainingDivergedError(
                f"In epoch {state.epoch} the training gave {trained}. Lower learning_rate or max_grad_norm and resume "
                "from the last state, or start again."
            )
        rate = engine.optimizer.param_groups[0]["lr"]
        row: Row = {"epoch": state.epoch, "iteration": state.iteration, "learning_rate": float(rate), **trained}
        validated = self.evaluator.state.epoch == state.epoch
        if validated:
            row.update({name: float(value) for name, value in self.evaluator.state.metrics.items()})
        self.rows.append(row)
        if idist.get_rank() == 0:
            self._write_table()
            if validated or state.epoch == state.max_epochs:
                plot_history(self.rows, self.path.with_suffix(".png"))

    def _write_table(self) -> None:
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        with write_aside(self.path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names, restval="")
            writer.writeheader()
            writer.writerows(self.rows)

    def state_dict(self) -> dict[str, Any]:
        """The rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue earlier rows."""
        self.rows = [dict(row) for row in state["rows"]]


def read_history(path: str | Path) -> list[Row]:
    """Read a table that :class:`TrainingHistory` wrote: one mapping of names to numbers for each epoch."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def plot_history(rows: Sequence[Mapping[str, float]], path: str | Path) -> None:
    """Draw every metric of a table of a training over the iterations, and the learning rate below.

    Args:
        rows: see :func:`read_history`.
        path: the picture.
    """
    metrics = list(dict.fromkeys(name for row in rows for name in row if name not in _PROGRESS))
    figure = Figure(figsize=(7, 2.2 * (len(metrics) + 1)), layout="constrained")
    panels = figure.subplots(len(metrics) + 1, 1, sharex=True, squeeze=False)[:, 0]
    for panel, name in zip(panels, [*metrics, "learning_rate"], strict=True):
        points = [(row["iteration"], row[name]) for row in rows if name in row]
        panel.plot(*zip(*points, strict=True), marker="." if len(points) < 50 else "", linewidth=1)
        if all(value > 0 for _, value in points):
            panel.set_yscale("log")
        panel.set_ylabel(name.replace("_", " "))
        panel.grid(which="both", alpha=0.25)
    panels[-1].set_xlabel("iteration")
    with write_aside(path) as aside:
        figure.savefig(aside, dpi=120)
