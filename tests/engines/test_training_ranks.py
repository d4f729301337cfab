# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of what configs ask about the processes of a training."""

from __future__ import annotations

import pytest
import torch

from monai_stcnnt.engines.training_ranks import is_first_rank, join_ranks, was_restarted, world_size
from monai_stcnnt.errors import LaunchError

VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RESTART_COUNT")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_a_process_of_its_own_is_first_and_alone() -> None:
    assert is_first_rank()
    assert world_size() == 1
    assert not was_restarted()


def test_torchrun_says_who_is_first(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in zip(VARIABLES, ("2", "4", "localhost", "1", "1"), strict=True):
        monkeypatch.setenv(name, value)
    assert not is_first_rank()
    assert world_size() == 4
    assert was_restarted()


def test_a_process_that_torchrun_did_not_start_is_told_how() -> None:
    with pytest.raises(LaunchError, match="torchrun --nproc-per-node"):
        join_ranks(torch.device("cpu"))
