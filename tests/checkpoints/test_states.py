# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Reading state dicts: what is read, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from monai_stcnnt.checkpoints import load_fitting, load_weights
from monai_stcnnt.checkpoints.states import load_strictly, read_state_dict
from monai_stcnnt.errors import CheckpointMismatchError, MissingFileError, PickledCodeError, UnreadableFileError

__all__: list[str] = []

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


class Stranger:
    """An object that needs its own code to be loaded."""


def same(state_dict: dict[str, torch.Tensor]) -> bool:
    return list(state_dict) == list(WEIGHTS) and all(torch.equal(state_dict[name], WEIGHTS[name]) for name in WEIGHTS)


def save_new(path: Path) -> None:
    torch.save(WEIGHTS, path)


def save_old(path: Path) -> None:
    torch.save(WEIGHTS, path, _use_new_zipfile_serialization=False)


def save_nested(path: Path) -> None:
    torch.save({"epoch": 3, "optimizer": {"lr": 0.1}, "state_dict": {"model": WEIGHTS}}, path)


@pytest.mark.parametrize("save", [save_new, save_old, save_nested])
def test_files_of_torch_save_are_read(save: Callable[[Path], None], tmp_path: Path) -> None:
    save(tmp_path / "weights.pth")
    assert same(read_state_dict(tmp_path / "weights.pth"))
    assert same(read_state_dict(str(tmp_path / "weights.pth")))


def test_safetensors_are_read(tmp_path: Path) -> None:
    pytest.importorskip("safetensors.torch").save_file(WEIGHTS, tmp_path / "weights.safetensors")
    result = read_state_dict(tmp_path / "weights.safetensors")
    assert set(result) == set(WEIGHTS)
    assert all(torch.equal(result[name], WEIGHTS[name]) for name in WEIGHTS)


@pytest.mark.parametrize("nest", ["state_dict", "model_state_dict", "model", "network", "net"])
def test_mappings_are_read(nest: str) -> None:
    assert same(read_state_dict(WEIGHTS))
    assert same(read_state_dict({nest: WEIGHTS, "epoch": 2}))


def test_pickled_code_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "object.pth"
    torch.save({"state_dict": WEIGHTS, "args": Stranger()}, path)
    with pytest.raises(PickledCodeError, match=r"object\.pth holds more than tensors \(.*Stranger\).*refused"):
        read_state_dict(path)


def test_pickled_code_does_not_run(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (sys.exit, ("code ran",))

    for new_format in (True, False):
        torch.save(
            {"state_dict": WEIGHTS, "x": Malicious()}, tmp_path / "x.pth", _use_new_zipfile_serialization=new_format
        )
        with pytest.raises(PickledCodeError, match="could run code"):
            read_state_dict(tmp_path / "x.pth")


def test_torchscript_is_refused_by_name(tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "net.pts"))
    with pytest.raises(PickledCodeError, match="TorchScript"):
        read_state_dict(tmp_path / "net.pts")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"There is no file .*absent\.pth"):
        read_state_dict(tmp_path / "absent.pth")


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"<html>not found</html>", b"PK\x03\x04damaged", b"\x80\x02damaged", b"\x80\x02}."]
)
def test_damaged_files_are_named(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableFileError, match=name) as error:
        read_state_dict(tmp_path / name)
    assert not isinstance(error.value, PickledCodeError)


def test_truncated_file_is_named(tmp_path: Path) -> None:
    for save in (save_new, save_old):
        save(tmp_path / "weights.pth")
        content = (tmp_path / "weights.pth").read_bytes()
        (tmp_path / "weights.pth").write_bytes(content[: len(content) * 2 // 3])
        with pytest.raises(UnreadableFileError, match="damaged or not a checkpoint"):
            read_state_dict(tmp_path / "weights.pth")


@pytest.mark.parametrize("content", [{}, {"epoch": 1}, {"state_dict": {"epoch": 1}}, {**WEIGHTS, "epoch": 1}])
def test_what_is_no_state_dict_is_refused(content: dict[str, object]) -> None:
    with pytest.raises(UnreadableFileError, match="holds no state dict"):
        read_state_dict(content)


def test_what_does_not_fit_is_listed_and_nothing_is_loaded() -> None:
    net = nn.Sequential(*(nn.Linear(2, 2) for _ in range(6)))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    wrong = {name: tensor + 1 for name, tensor in before.items() if not name.startswith("5")}
    wrong |= {"0.weight": torch.zeros(3, 2)} | {f"other.{i}": torch.zeros(1) for i in range(11)}
    with pytest.raises(CheckpointMismatchError) as error:
        load_strictly(net, wrong, "weights.pth")
    lines = str(error.value).splitlines()
    assert lines[0] == "weights.pth does not fit the network:"
    assert lines[1].strip() == "0.weight has the shape [3, 2], the network wants [2, 2]"
    assert lines[2].strip() == "other.0 is unknown to the network"
    assert len([line for line in lines if "unknown" in line]) == 9
    assert lines[11].strip() == "and 4 more"
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_what_fits_is_loaded() -> None:
    net = nn.Linear(3, 2)
    load_strictly(net, {"weight": WEIGHTS["a.weight"], "bias": WEIGHTS["a.bias"]}, "weights.pth")
    assert torch.equal(net.weight, WEIGHTS["a.weight"])


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
