# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of the training helpers."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from monai_stcnnt.apps.training import clip_gradients, one_cycle


def test_gradients_are_limited_before_the_step() -> None:
    weight = torch.nn.Parameter(torch.zeros(4))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    clip_gradients(optimizer, 2.0)
    weight.grad = torch.full((4,), 100.0)
    optimizer.step()
    assert float(weight.detach().norm()) == pytest.approx(2.0, rel=1e-4)
    weight.grad = torch.tensor([0.1, 0.0, 0.0, 0.0])
    before = weight.detach().clone()
    optimizer.step()
    torch.testing.assert_close(weight.detach(), before - torch.tensor([0.1, 0.0, 0.0, 0.0]))


def test_the_learning_rate_rises_and_falls_once() -> None:
    rates = [one_cycle(i / 200) for i in range(220)]
    top = rates.index(max(rates))
    assert rates[top] == pytest.approx(1.0)
    assert top == 10
    assert all(a <= b for a, b in pairwise(rates[: top + 1]))
    assert all(a >= b for a, b in pairwise(rates[top:]))
    assert rates[-1] == 0.0
    assert rates[0] > 0
