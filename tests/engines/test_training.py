# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of the training helpers."""

from __future__ import annotations

import logging
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from torch.optim.swa_utils import AveragedModel

from monai_stcnnt.engines.training import (
    ClipTrainer,
    OneCycle,
    averaged_network,
    is_lower,
    limit_gradients,
    prepare_network,
)
from monai_stcnnt.errors import OptionError


def test_gradients_are_limited_before_the_step() -> None:
    weight = torch.nn.Parameter(torch.zeros(4))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    limit_gradients(optimizer, 2.0)
    weight.grad = torch.full((4,), 100.0)
    optimizer.step()
    assert float(weight.detach().norm()) == pytest.approx(2.0, rel=1e-4)
    weight.grad = torch.tensor([0.1, 0.0, 0.0, 0.0])
    before = weight.detach().clone()
    optimizer.step()
    torch.testing.assert_close(weight.detach(), before - torch.tensor([0.1, 0.0, 0.0, 0.0]))


def trainer_of(epochs: int = 2, **options: Any) -> ClipTrainer:  # noqa: ANN401
    """A trainer of epochs of 5 iterations with a learning rate of 2."""
    net = torch.nn.Linear(1, 1)
    return ClipTrainer(
        torch.device("cpu"), epochs, [{"image": torch.ones(1, 1), "label": torch.ones(1, 1)}] * 5, net,
        torch.optim.SGD(net.parameters(), lr=2.0), torch.nn.MSELoss(), **options,
    )  # fmt: skip


def test_the_learning_rate_rises_and_falls_once() -> None:
    trainer = trainer_of(40)
    rates = []
    for _ in range(200):
        rates.append(trainer.optimizer.param_groups[0]["lr"])
        trainer.optimizer.step()
        trainer.lr_scheduler.step()
    top = rates.index(max(rates))
    assert rates[top] == pytest.approx(2.0)
    assert top == 10
    assert all(a <= b for a, b in pairwise(rates[: top + 1]))
    assert all(a >= b for a, b in pairwise(rates[top:]))
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-9)
    assert rates[0] > 0


def test_a_longer_training_continues_on_its_own_schedule() -> None:
    optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=1.0)
    short, long = OneCycle(optimizer, 1, 4), OneCycle(optimizer, 1, 8)
    for _ in range(4):
        optimizer.step()
        short.step()
    long.load_state_dict(short.state_dict())
    optimizer.step()
    long.step()
    assert long.last_epoch == 5
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.5 * (1 + math.cos(math.pi * 4 / 7)))


def test_weights_are_loaded_before_the_training(tmp_path: Path) -> None:
    start, net = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    torch.save(start.state_dict(), tmp_path / "start.pt")
    assert prepare_network(net, torch.device("cpu"), tmp_path / "start.pt") is net
    torch.testing.assert_close(net.state_dict(), start.state_dict(), rtol=0, atol=0)


def trained(decay: float, steps: int = 30) -> tuple[torch.nn.Sequential, AveragedModel, list[torch.Tensor]]:
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    average = averaged_network(net, optimizer, decay)
    course = []
    for _ in range(steps):
        optimizer.zero_grad()
        net(torch.randn(8, 2)).square().sum().backward()
        optimizer.step()
        course.append(net.state_dict()["0.weight"].clone())
    return net, average, course


def test_averaged_weights_follow_every_step() -> None:
    _, average, course = trained(0.9)
    expected = course[0]
    for n, weight in enumerate(course[1:], start=1):
        keep = min(0.9, (1 + n) / (10 + n))
        expected = keep * expected + (1 - keep) * weight
    torch.testing.assert_close(average.module.state_dict()["0.weight"], expected)
    assert not average.training


def test_without_decay_the_average_is_the_network() -> None:
    net, average, _ = trained(0.0)
    for name, value in net.state_dict().items():
        torch.testing.assert_close(average.module.state_dict()[name], value)


def test_whole_numbers_are_copied_and_running_statistics_averaged() -> None:
    net, average, _ = trained(0.9)
    mean, last = average.module.state_dict(), net.state_dict()
    assert int(mean["1.num_batches_tracked"]) == int(last["1.num_batches_tracked"]) == 30
    assert not torch.equal(mean["1.running_var"], last["1.running_var"])


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_that_keeps_nothing_or_all_is_refused(decay: float) -> None:
    net = torch.nn.Linear(1, 1)
    with pytest.raises(OptionError, match="less than 1"):
        averaged_network(net, torch.optim.SGD(net.parameters()), decay)


def test_mixed_precision_is_for_cuda_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert not trainer_of().amp
        assert caplog.text == ""
        trainer = trainer_of(amp=True, amp_dtype="float16")
    assert not trainer.amp
    assert trainer.amp_kwargs == {"dtype": torch.float16}
    assert "uses float32" in caplog.text


def test_the_first_number_is_best_and_then_what_is_lower() -> None:
    nan = float("nan")
    assert is_lower(1.0, -nan)
    assert is_lower(torch.tensor(1.0), 2.0)
    assert not any((is_lower(nan, 1.0), is_lower(nan, nan), is_lower(1.0, 1.0), is_lower(2.0, 1.0)))


def test_each_iteration_has_its_own_seed_whatever_came_before() -> None:
    def course(epochs_before: int) -> list[float]:
        trainer = trainer_of(seed=3)
        values: list[float] = []
        trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: values.append(float(torch.rand(()))))
        trainer.load_state_dict({"iteration": 5 * epochs_before, "epoch_length": 5, "max_epochs": 2})
        trainer.run()
        return values

    whole = course(0)
    assert len(set(whole)) == 10
    torch.rand(7)
    assert course(1) == whole[5:]
