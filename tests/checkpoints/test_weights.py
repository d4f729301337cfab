# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of loading weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from monai_stcnnt.checkpoints import load_fitting, load_weights
from monai_stcnnt.errors import CheckpointMismatchError, MissingFileError


def test_weights_come_back_and_the_network_is_ready(tmp_path: Path) -> None:
    source, target = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    torch.save(source.state_dict(), tmp_path / "w.pt")
    assert load_weights(target, tmp_path / "w.pt") is target
    assert not target.training
    assert torch.equal(source.weight, target.weight)


def test_what_does_not_fit_or_exist_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(4, 2).state_dict(), tmp_path / "w.pt")
    with pytest.raises(CheckpointMismatchError, match="weight"):
        load_weights(torch.nn.Linear(3, 2), tmp_path / "w.pt")
    with pytest.raises(MissingFileError, match="none"):
        load_weights(torch.nn.Linear(3, 2), tmp_path / "none.pt")


def test_what_fits_is_loaded_and_the_rest_stays(tmp_path: Path) -> None:
    (body, head), (other_body, other_head) = ((torch.nn.Linear(3, 2), torch.nn.Linear(2, n)) for n in (4, 5))
    before = other_head.weight.detach().clone()
    torch.save({"network": torch.nn.Sequential(body, head).state_dict()}, tmp_path / "w.pt")
    target = torch.nn.Sequential(other_body, other_head)
    assert load_fitting(target, tmp_path / "w.pt") is target
    assert torch.equal(body.weight, other_body.weight)
    assert torch.equal(before, other_head.weight)
    torch.save(torch.nn.Linear(4, 2).state_dict(), tmp_path / "other.pt")
    with pytest.raises(CheckpointMismatchError, match=r"other\.pt does not fit"):
        load_fitting(target, tmp_path / "other.pt")
