# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of what configs ask about the processes of a training."""

from __future__ import annotations

import pytest
import torch

from monai_stcnnt.engines.training_ranks import join_ranks, rank_device, was_restarted
from monai_stcnnt.errors import LaunchError

VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RESTART_COUNT")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_torchrun_says_whether_it_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not was_restarted()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert was_restarted()


def test_every_process_of_a_machine_has_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert rank_device() == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for rank, number in (("0", 0), ("1", 1), ("2", 0)):
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert rank_device() == torch.device("cuda", number)


def test_a_process_that_torchrun_did_not_start_is_told_how() -> None:
    with pytest.raises(LaunchError, match="torchrun --nproc-per-node"):
        join_ranks(torch.device("cpu"))
