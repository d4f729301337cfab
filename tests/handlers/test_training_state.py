# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of what a training keeps on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedEvaluator, SupervisedTrainer

from monai_stcnnt.engines.training import is_lower
from monai_stcnnt.errors import (
    CheckpointMismatchError,
    MissingFileError,
    OptionError,
    PickledCodeError,
    TrainingDivergedError,
    UnreadableFileError,
)
from monai_stcnnt.handlers.training_history import TrainingHistory, plot_history, read_history
from monai_stcnnt.handlers.training_state import BestWeights, TrainingState, begin_training

DATA = [{"image": torch.ones(1, 1), "label": torch.ones(1, 1)}] * 2


def trainer_of(net: torch.nn.Module, epochs: int = 2, data: Any = None) -> SupervisedTrainer:  # noqa: ANN401
    return SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=data or DATA,
        network=net,
        optimizer=torch.optim.SGD(net.parameters(), lr=0.1),
        loss_function=torch.nn.MSELoss(),
    )


def keep(path: Path, epochs: int = 2, resume: Any = False, **options: Any) -> tuple[SupervisedTrainer, TrainingState]:  # noqa: ANN401
    torch.manual_seed(0)
    trainer = trainer_of(torch.nn.Linear(1, 1), epochs, options.pop("data", None))
    state = TrainingState(path, {"network": trainer.network, "none": None}, resume=resume, **options)
    begin_training(path, resume)
    state.attach(trainer)
    return trainer, state


def test_a_training_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "new" / "state.pt"
    whole, _ = keep(tmp_path / "whole.pt", 5)
    whole.run()
    keep(path, 3)[0].run()
    later, _ = keep(path, 5, resume=True)
    later.run()
    assert later.state.iteration == 10
    torch.testing.assert_close(later.network.state_dict(), whole.network.state_dict(), rtol=0, atol=0)
    done, _ = keep(path, 5, resume="auto")
    done.run()
    torch.testing.assert_close(done.network.state_dict(), whole.network.state_dict(), rtol=0, atol=0)
    assert [file.name for file in path.parent.iterdir()] == ["state.pt"]


def test_the_last_epoch_is_kept_whatever_the_interval(tmp_path: Path) -> None:
    keep(tmp_path / "state.pt", 3, interval=2)[0].run()
    assert torch.load(tmp_path / "state.pt", weights_only=True)["progress"]["iteration"] == 6


def test_a_new_training_sets_the_state_of_an_earlier_one_aside(tmp_path: Path) -> None:
    path, leftover = tmp_path / "state.pt", tmp_path / ".0123456789ab.state.pt"
    path.write_bytes(b"earlier")
    leftover.write_bytes(b"half")
    begin_training(path, False)
    assert not path.exists()
    assert not leftover.exists()
    assert (tmp_path / "state.pt.previous").read_bytes() == b"earlier"


def test_a_state_that_should_be_there_is_asked_for_by_name(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"state\.pt does not exist"):
        begin_training(tmp_path / "state.pt", True)
    with pytest.raises(OptionError, match="choose true, false or 'auto'"):
        begin_training(tmp_path / "state.pt", "maybe")  # type: ignore[arg-type]
    keep(tmp_path / "state.pt", 1, resume="auto")[0].run()
    begin_training(tmp_path / "state.pt", "true")
    begin_training(tmp_path / "state.pt", "False")  # type: ignore[arg-type]
    assert not (tmp_path / "state.pt").exists()


def test_states_of_other_trainings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    keep(path, 3)[0].run()
    with pytest.raises(CheckpointMismatchError, match="after 3 epochs, and 2 are asked for"):
        keep(path, 2, resume=True)[0].run()
    with pytest.raises(CheckpointMismatchError, match="2 iterations in an epoch, not 6"):
        keep(path, 3, resume=True, data=DATA * 3)[0].run()
    other = trainer_of(torch.nn.Linear(2, 2), 3)
    TrainingState(path, {"network": other.network}, resume=True).attach(other)
    with pytest.raises(CheckpointMismatchError, match="another training"):
        other.run()


class Anything:
    """Something that only pickle can keep."""


def test_files_that_are_no_states_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    torch.save({"network": Anything()}, path)
    with pytest.raises(PickledCodeError):
        keep(path, 3, resume=True)[0].run()
    path.write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises((UnreadableFileError, PickledCodeError)):
        keep(path, 3, resume=True)[0].run()


def test_a_write_that_fails_leaves_the_earlier_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.pt"
    keep(path, 1)[0].run()
    before = path.read_bytes()

    def fail(_: object, file: Path) -> None:
        Path(file).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(KeyboardInterrupt):
        keep(path, 2, resume=True)[0].run()
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["state.pt"]


def evaluator_of(net: torch.nn.Module, path: Path) -> tuple[SupervisedEvaluator, BestWeights]:
    best = BestWeights(path, net)
    evaluator = SupervisedEvaluator(
        torch.device("cpu"), DATA, net, metric_cmp_fn=is_lower, val_handlers=[best], epoch_length=2
    )
    return evaluator, best


def evaluate(evaluator: SupervisedEvaluator, epoch: int, error: float) -> None:
    """Let the evaluator find an error, in place of a metric."""
    evaluator.state.metrics = {"error": error}
    if is_lower(error, evaluator.state.best_metric if evaluator.state.best_metric_epoch > 0 else float("inf")):
        evaluator.state.best_metric, evaluator.state.best_metric_epoch = error, epoch
    evaluator.run(epoch)


def test_the_best_weights_are_kept_also_after_a_stop(tmp_path: Path) -> None:
    net, path = torch.nn.Linear(1, 1), tmp_path / "model.pt"
    evaluator, best = evaluator_of(net, path)
    for epoch, error in enumerate([3.0, 2.0, 5.0], start=1):
        with torch.no_grad():
            net.weight.fill_(error)
        evaluate(evaluator, epoch, error)
        assert float(torch.load(path, weights_only=True)["weight"]) == min([3.0, 2.0, 5.0][:epoch])
    later, kept = evaluator_of(net, path)
    kept.load_state_dict(best.state_dict())
    evaluate(later, 4, 4.0)
    assert float(torch.load(path, weights_only=True)["weight"]) == 2.0
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt"]


def history_of(path: Path, losses: list[float]) -> tuple[SupervisedTrainer, TrainingHistory]:
    trainer = trainer_of(torch.nn.Linear(1, 1), len(losses))
    evaluator = evaluator_of(trainer.network, path.with_name("model.pt"))[0]
    history = TrainingHistory(path, evaluator)

    def learn(engine: SupervisedTrainer) -> None:
        engine.state.metrics = {"loss": losses[engine.state.epoch - 1]}
        if engine.state.epoch % 2 == 0:
            evaluate(evaluator, engine.state.epoch, 10.0 / engine.state.epoch)

    trainer.add_event_handler(Events.EPOCH_COMPLETED, learn)
    history.attach(trainer)
    return trainer, history


def test_the_course_of_a_training_becomes_a_table_and_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    trainer, history = history_of(path, [1.0, 0.123456789012, 0.25])
    trainer.run()
    rows = read_history(path)
    assert rows == history.rows
    assert [row["loss"] for row in rows] == [1.0, 0.123456789012, 0.25]
    assert [row["iteration"] for row in rows] == [2, 4, 6]
    assert [row.get("error") for row in rows] == [None, 5.0, None]
    assert rows[0]["learning_rate"] == 0.1
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")
    later = history_of(path, [1.0])[1]
    later.load_state_dict(history.state_dict())
    assert later.rows == history.rows


def test_a_training_that_diverges_stops(tmp_path: Path) -> None:
    trainer, _ = history_of(tmp_path / "history.csv", [1.0, float("nan")])
    with pytest.raises(TrainingDivergedError, match="In epoch 2"):
        trainer.run()
    assert len(read_history(tmp_path / "history.csv")) == 1


def test_rows_with_zeros_and_without_validation_can_be_drawn(tmp_path: Path) -> None:
    plot_history([{"epoch": 1, "iteration": 2, "learning_rate": 0.0, "loss": 0.0}], tmp_path / "a.png")
    assert (tmp_path / "a.png").is_file()
