# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What a training keeps on disk: its state, to go on after a stop, and its best weights.

Both are written aside by the first process and renamed, so that what exists is whole wherever a process is stopped.
"""

from __future__ import annotations

import math
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from ignite.engine import Events
from monai.engines import Workflow
from torch import nn

from monai_stcnnt.data import write_aside
from monai_stcnnt.engines.training_ranks import is_first_rank
from monai_stcnnt.errors import CheckpointMismatchError, MissingFileError, PickledCodeError, UnreadableFileError

__all__ = ["BestWeights", "Resume", "TrainingState", "begin_training"]

Resume = bool | Literal["true", "false", "auto"]
"""Whether to go on with an earlier training; a command line gives words. ``"auto"``: if there is one."""

_RESUME: dict[str, bool | Literal["auto"]] = {"true": True, "false": False, "auto": "auto"}


def _resume_of(value: Resume) -> bool | Literal["auto"]:
    if str(value).lower() not in _RESUME:
        raise ValueError(f"resume is {value!r}; choose true, false or 'auto'")
    return _RESUME[str(value).lower()]


def begin_training(path: str | Path, resume: Resume) -> None:
    """Make the folder of a training ready, before anything is loaded.

    The state of an earlier training is moved to ``<name>.previous`` where it is not to be gone on with, so that a
    restart cannot take it for this training's.

    Args:
        path: file of the state.
        resume: whether an earlier training is to be gone on with.

    Raises:
        MissingFileError: when there should be a state and is none.
        ValueError: when ``resume`` is something else.
    """
    path, wanted = Path(path), _resume_of(resume)
    if wanted is True and not path.is_file():
        raise MissingFileError(f"There is no training to go on with: {path} does not exist. Check ckpt_dir and mode.")
    if is_first_rank():
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.glob(f".{'?' * 12}.*"):
            if leftover.name[14:] == path.name:
                leftover.unlink()
        if not wanted and path.is_file():
            os.replace(path, path.with_name(f"{path.name}.previous"))


class TrainingState:
    """Keep everything that a training needs to go on as if it had not been stopped.

    Args:
        path: the file; it is replaced each time.
        parts: what has a state, by name (network, optimizer, ...); None is passed over. The trainer's own progress is
            kept too.
        interval: epochs from one writing to the next; the last epoch is always written.
        resume: see :func:`begin_training`.
        device: where to load tensors to.
    """

    def __init__(
        self,
        path: str | Path,
        parts: Mapping[str, Any],
        interval: int = 1,
        resume: Resume = False,
        device: torch.device | str = "cpu",
    ) -> None:
        self.path = Path(path)
        self.parts = {name: part for name, part in parts.items() if part is not None}
        self.interval, self.resume, self.device = interval, _resume_of(resume), device

    def attach(self, engine: Workflow) -> None:
        """Load the state when the trainer starts, and write it after epochs. Attach it after all other handlers."""
        engine.add_event_handler(Events.STARTED, self.load)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)

    def save(self, engine: Workflow) -> None:
        """Write the state if its turn has come."""
        if not is_first_rank() or (
            engine.state.epoch % self.interval and engine.state.epoch != engine.state.max_epochs
        ):
            return
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state["progress"] = {"iteration": engine.state.iteration, "epoch_length": engine.state.epoch_length}
        with write_aside(self.path) as aside:
            torch.save(state, aside)

    def load(self, engine: Workflow) -> None:
        """Load the state if the training is to go on and there is one.

        Raises:
            PickledCodeError: if the file holds more than tensors and plain values.
            UnreadableFileError: if the file is no checkpoint.
            CheckpointMismatchError: if it is that of another training.
        """
        if not self.resume or not self.path.is_file():
            return
        try:
            state = torch.load(self.path, map_location=self.device, weights_only=True)
        except pickle.UnpicklingError as error:
            raise PickledCodeError(
                f"{self.path} holds more than tensors and plain values; it is not loaded."
            ) from error
        except (OSError, RuntimeError, EOFError) as error:
            raise UnreadableFileError(f"{self.path} is no state of a training: {error}") from error
        epochs = engine.state.max_epochs
        self._check_progress(state.get("progress", {}), engine.state.epoch_length, epochs)
        try:
            for name, part in self.parts.items():
                part.load_state_dict(state[name])
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointMismatchError(
                f"{self.path} is the state of another training: {error}. Give the options that it was begun with."
            ) from error
        engine.load_state_dict({**state["progress"], "max_epochs": epochs})

    def _check_progress(self, progress: Mapping[str, int], epoch_length: int, epochs: int) -> None:
        if progress.get("epoch_length") != epoch_length:
            raise CheckpointMismatchError(
                f"{self.path} is the state of a training with {progress.get('epoch_length')} iterations in an epoch, "
                f"not {epoch_length}. Give the options that it was begun with."
            )
        done = progress["iteration"] // epoch_length
        if done > epochs:
            raise CheckpointMismatchError(
                f"{self.path} is the state after {done} epochs, and {epochs} are asked for. Raise epochs."
            )


class BestWeights:
    """Keep the weights that the evaluator found best so far, as a plain state dict.

    Args:
        path: the file; it is replaced each time.
        network: the network that the evaluator evaluates.
    """

    def __init__(self, path: str | Path, network: nn.Module) -> None:
        self.path = Path(path)
        self.network = network
        self.evaluator: Workflow | None = None

    def attach(self, engine: Workflow) -> None:
        """Act after each of the evaluator's runs, which has compared its key metric with the best."""
        self.evaluator = engine
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Workflow) -> None:
        """Write the weights if this evaluation was the best."""
        best = engine.state.best_metric_epoch == engine.state.epoch and math.isfinite(engine.state.best_metric)
        if best and is_first_rank():
            with write_aside(self.path) as aside:
                torch.save({name: value.detach().cpu() for name, value in self.network.state_dict().items()}, aside)

    def state_dict(self) -> dict[str, float]:
        """The best metric and its epoch."""
        if self.evaluator is None:
            return {}
        state = self.evaluator.state
        return {"best_metric": float(state.best_metric), "best_metric_epoch": int(state.best_metric_epoch)}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Let the evaluator compare with an earlier best."""
        if self.evaluator is not None:
            for name, value in state.items():
                setattr(self.evaluator.state, name, value)
