# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What a training keeps on disk: its history, its best weights, and its state, to resume after an interruption.

The first process writes them aside and renames them, so that what exists is whole wherever a process is stopped.
pytorch-ignite's ``Checkpoint`` falls short of that: it removes a file before it writes the next of the same name, and
what its ``DiskSaver`` leaves behind when it is killed has a name that nothing recognizes.
"""

from __future__ import annotations

import copy
import math
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import ignite.distributed as idist
import torch
from ignite.engine import Events
from monai.engines import Evaluator, Workflow
from torch import nn
from torch.optim.swa_utils import AveragedModel

from monai_stcnnt.checkpoints import save_adapters
from monai_stcnnt.data import write_aside
from monai_stcnnt.engines.training import ClipTrainer
from monai_stcnnt.errors import (
    CheckpointMismatchError,
    MissingFileError,
    OptionError,
    PickledCodeError,
    UnreadableFileError,
)
from monai_stcnnt.handlers.training_history import TrainingHistory
from monai_stcnnt.networks.lora import adapted_layers, merge_adapters

__all__ = ["BestWeights", "Resume", "TrainingFolder", "TrainingState", "begin_training", "save_weights"]

Resume = bool | Literal["true", "false", "auto"]
"""Whether to resume an earlier training; a command line gives words. ``"auto"``: if there is one."""

_RESUME: dict[str, bool | Literal["auto"]] = {"true": True, "false": False, "auto": "auto"}


def _resume_of(value: Resume) -> bool | Literal["auto"]:
    if str(value).lower() not in _RESUME:
        raise OptionError(f"resume is {value!r}: choose true, false or 'auto'.")
    return _RESUME[str(value).lower()]


def begin_training(path: str | Path, resume: Resume) -> None:
    """Make the folder of a training ready, before anything is loaded.

    The state of an earlier training is moved to ``<name>.previous`` where it is not resumed, so that a restart cannot
    take it for this training's.

    Args:
        path: file of the state.
        resume: whether to resume an earlier training.

    Raises:
        MissingFileError: when there should be a state and is none.
        OptionError: when ``resume`` is something else.
    """
    path, wanted = Path(path), _resume_of(resume)
    if wanted is True and not path.is_file():
        raise MissingFileError(f"There is no training to resume: {path} does not exist. Check ckpt_dir and mode.")
    if idist.get_rank() == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.glob(f".{'?' * 12}.*"):
            if leftover.name[14:] == path.name:
                leftover.unlink()
        if not wanted and path.is_file():
            os.replace(path, path.with_name(f"{path.name}.previous"))


class TrainingState:
    """Keep everything that a training needs to resume as if it had not been interrupted.

    Args:
        path: the file; it is replaced each time.
        parts: what has a state, by name (network, optimizer, ...); None is skipped. The trainer's own progress is kept
            too.
        interval: epochs from one writing to the next; the last epoch is always written.
        resume: see :func:`begin_training`.
    """

    def __init__(self, path: str | Path, parts: Mapping[str, Any], interval: int = 1, resume: Resume = False) -> None:
        self.path = Path(path)
        self.parts = {name: part for name, part in parts.items() if part is not None}
        self.interval, self.resume = interval, _resume_of(resume)

    def attach(self, engine: Workflow) -> None:
        """Load the state when the trainer starts, and write it after epochs. Attach it after all other handlers."""
        engine.add_event_handler(Events.STARTED, self.load)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)

    def save(self, engine: Workflow) -> None:
        """Write the state if its turn has come."""
        if idist.get_rank() != 0 or (
            engine.state.epoch % self.interval and engine.state.epoch != engine.state.max_epochs
        ):
            return
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state["progress"] = {"iteration": engine.state.iteration, "epoch_length": engine.state.epoch_length}
        with write_aside(self.path) as aside:
            torch.save(state, aside)

    def load(self, engine: Workflow) -> None:
        """Load the state if the training is resumed and there is one.

        Raises:
            PickledCodeError: if the file holds more than tensors and plain values.
            UnreadableFileError: if the file is no checkpoint.
            CheckpointMismatchError: if it is that of another training.
        """
        if not self.resume or not self.path.is_file():
            return
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise PickledCodeError(
                f"{self.path} holds more than tensors and plain values; it is not loaded."
            ) from error
        except (OSError, RuntimeError, EOFError) as error:
            raise UnreadableFileError(f"{self.path} is not the state of a training: {error}") from error
        epochs = engine.state.max_epochs
        self._check_progress(state.get("progress", {}), engine.state.epoch_length, epochs)
        try:
            for name, part in self.parts.items():
                part.load_state_dict(state[name])
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointMismatchError(
                f"{self.path} is the state of another training: {error}. Give the options that it was started with."
            ) from error
        engine.load_state_dict({**state["progress"], "max_epochs": epochs})

    def _check_progress(self, progress: Mapping[str, int], epoch_length: int, epochs: int) -> None:
        if progress.get("epoch_length") != epoch_length:
            raise CheckpointMismatchError(
                f"{self.path} is the state of a training with {progress.get('epoch_length')} iterations in an epoch, "
                f"not {epoch_length}. Give the options that it was started with."
            )
        done = progress["iteration"] // epoch_length
        if done > epochs:
            raise CheckpointMismatchError(
                f"{self.path} is the state after {done} epochs, and {epochs} are asked for. Raise epochs."
            )


def save_weights(network: nn.Module, path: str | Path) -> None:
    """Write the weights of a network as a plain state dict.

    Low-rank adapters are merged, and written by themselves too, as ``<name>_adapters.pt``.

    Args:
        network: the network; it is not changed.
        path: the file; it is replaced.
    """
    path = Path(path)
    if any(True for _ in adapted_layers(network)):
        with write_aside(path.with_name(f"{path.stem}_adapters{path.suffix}")) as aside:
            save_adapters(network, aside)
        network = merge_adapters(copy.deepcopy(network))
    with write_aside(path) as aside:
        torch.save({name: value.detach().cpu() for name, value in network.state_dict().items()}, aside)


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
        if best and idist.get_rank() == 0:
            save_weights(self.network, self.path)

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


class TrainingFolder:
    """Keep a training in a folder: ``NAME_history.csv``, its picture, the best weights, and ``NAME_state.pt``.

    Put it behind the other handlers of a :class:`~monai_stcnnt.engines.training.ClipTrainer`.

    Args:
        folder: it is made if it does not exist.
        name: of the files.
        model_name: file of the best weights, which are those of the average.
        network: the network, without what shares it among processes.
        average: its averaged weights, see :func:`~monai_stcnnt.engines.training.averaged_network`.
        evaluator: the engine that validates them.
        interval: see :class:`TrainingState`.
        resume: see :func:`begin_training`.
        last_name: file of the weights at the end of the training; none by default.
    """

    def __init__(
        self,
        folder: str | Path,
        name: str,
        model_name: str,
        network: nn.Module,
        average: AveragedModel,
        evaluator: Evaluator,
        interval: int = 1,
        resume: Resume = False,
        last_name: str | None = None,
    ) -> None:
        folder = Path(folder)
        self.evaluator = evaluator
        self.last = None if last_name is None else folder / last_name
        self.history = TrainingHistory(folder / f"{name}_history.csv", evaluator)
        self.best_weights = BestWeights(folder / model_name, average.module)
        parts = {"network": network, "ema": average, "best_weights": self.best_weights, "history": self.history}
        self.state = TrainingState(folder / f"{name}_state.pt", parts, interval, resume)

    def attach(self, engine: ClipTrainer) -> None:
        """Make the folder ready, and act when the training starts and after every epoch."""
        begin_training(self.state.path, self.state.resume)
        self.best_weights.attach(self.evaluator)
        engine.add_event_handler(Events.STARTED, self.start)
        self.history.attach(engine)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.state.save)
        if self.last is not None and idist.get_rank() == 0:
            engine.add_event_handler(Events.COMPLETED, save_weights, self.best_weights.network, self.last)

    def start(self, engine: ClipTrainer) -> None:
        """Load the state if the training is resumed; the trainer has its parts when it starts."""
        own = {"optimizer": engine.optimizer, "lr_scheduler": engine.lr_scheduler, "scaler": engine.scaler}
        self.state.parts |= {name: part for name, part in own.items() if part is not None}
        self.state.load(engine)
