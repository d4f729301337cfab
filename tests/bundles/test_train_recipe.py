# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The training recipe: stopped and resumed, averaged weights, one process as a rank, and its options."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import torch.distributed as dist
from monai.bundle import ConfigWorkflow

from monai_stcnnt.apps.bundles import bundle_folder, expected_remarks
from monai_stcnnt.checkpoints import load_adapters
from monai_stcnnt.errors import LaunchError
from monai_stcnnt.handlers.training_history import read_history
from monai_stcnnt.networks.lora import inject_adapters, merge_adapters
from monai_stcnnt.networks.nets import build_variant

__all__ = ["TINY", "write_scans"]

CONFIGS = bundle_folder("mri_denoising") / "configs"
TINY: dict[str, Any] = {
    "epochs": 4,
    "iterations": 3,
    "val_interval": 2,
    "val_clips": 1,
    "clip_size": [3, 16, 16],
    "clip_frames": [1, 2, 3],
    "coloring_prob": 0.5,
    "network_def#channels": 4,
    "network_def#drop_path": 0.3,
}


def write_scans(folder: Path, count: int = 3) -> Path:
    """Write a few small series with an edge and different brightness."""
    folder.mkdir()
    y, x = np.mgrid[-1:1:24j, -1:1:20j]
    for n in range(count):
        disc = 200.0 * (x**2 + y**2 < 0.3 + 0.1 * n) + 20.0
        image = np.broadcast_to(disc[..., None, None], (24, 20, 2, 4)).astype(np.float32)
        nib.save(nib.Nifti1Image(image + np.float32(n), np.eye(4)), folder / f"scan{n}.nii.gz")
    return folder


def train(root: Path, configs: tuple[str, ...] = ("train.json",), **overrides: Any) -> ConfigWorkflow:  # noqa: ANN401
    scans = root.parent / "scans"
    with expected_remarks():
        workflow = ConfigWorkflow(
            config_file=[str(CONFIGS / name) for name in configs],
            logging_file=False,
            workflow_type="train",
            ckpt_dir=str(root),
            dataset_dir=str(scans if scans.is_dir() else write_scans(scans)),
            **{**TINY, **overrides},
        )
        workflow.initialize()
        workflow.run()
        workflow.finalize()
    return workflow


def weights(folder: Path) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = torch.load(folder / "model.pt", weights_only=True)
    return loaded


def assert_same(first: Path, second: Path) -> None:
    assert read_history(first / "magnitude_history.csv") == read_history(second / "magnitude_history.csv")
    torch.testing.assert_close(weights(first), weights(second), rtol=0, atol=0)


def test_a_stopped_training_gives_the_same_losses_and_weights(tmp_path: Path) -> None:
    train(tmp_path / "whole")
    train(tmp_path / "parts", run=["$setattr(@train#trainer.state, 'max_epochs', 2)", "$@train#trainer.run()"])
    assert len(read_history(tmp_path / "parts" / "magnitude_history.csv")) == 2
    train(tmp_path / "parts", resume=True)
    assert_same(tmp_path / "whole", tmp_path / "parts")
    rows = read_history(tmp_path / "whole" / "magnitude_history.csv")
    assert ["noise_left" in row for row in rows] == [False, True, False, True]
    assert len({row["train_loss"] for row in rows}) == 4
    assert sorted(file.name for file in (tmp_path / "whole").iterdir()) == [
        "magnitude_history.csv",
        "magnitude_history.png",
        "magnitude_state.pt",
        "model.pt",
    ]


def test_one_process_as_a_rank_trains_as_without_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tmp_path / "alone")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    for name, value in {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("MASTER_PORT", str(port))
    try:
        workflow = train(tmp_path / "rank", ("train.json", "multi_gpu_train.json"), val_clips=1)
        assert not dist.is_initialized()
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
    assert isinstance(workflow.parser.get_parsed_content("network"), torch.nn.parallel.DistributedDataParallel)
    assert_same(tmp_path / "alone", tmp_path / "rank")


def test_the_config_for_ranks_says_when_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(RuntimeError) as caught:
        train(tmp_path / "rank", ("train.json", "multi_gpu_train.json"))
    cause: BaseException | None = caught.value
    while cause is not None and not isinstance(cause, LaunchError):
        cause = cause.__cause__ or cause.__context__
    assert isinstance(cause, LaunchError)


def test_averaged_weights_are_validated_and_kept(tmp_path: Path) -> None:
    options: dict[str, Any] = {"epochs": 2, "ema_decay": 0.9, "network_def#drop_path": 0.0}
    workflow = train(tmp_path / "average", **options)
    parser = workflow.parser
    average, network = parser.get_parsed_content("ema").module, parser.get_parsed_content("network")
    assert workflow.evaluator.network is average
    assert not torch.equal(next(average.parameters()), next(network.parameters()))
    torch.testing.assert_close(weights(tmp_path / "average"), dict(average.state_dict()), rtol=0, atol=0)
    plain = train(tmp_path / "plain", **{**options, "ema_decay": 0.0}).parser.get_parsed_content("network")
    torch.testing.assert_close(weights(tmp_path / "plain"), dict(plain.state_dict()), rtol=0, atol=0)


@pytest.mark.parametrize("variant", ["light", "base"])
def test_every_size_trains_by_one_override(tmp_path: Path, variant: str) -> None:
    options = {**TINY, "variant": variant, "epochs": 1, "iterations": 1, "val_interval": 1}
    scans = write_scans(tmp_path / "scans", 2)
    with expected_remarks():
        workflow = ConfigWorkflow(
            config_file=str(CONFIGS / "train.json"),
            logging_file=False,
            workflow_type="train",
            ckpt_dir=str(tmp_path / "kept"),
            dataset_dir=str(scans),
            **{name: value for name, value in options.items() if "#" not in name},
        )
        workflow.initialize()
        workflow.run()
    count = sum(parameter.numel() for parameter in workflow.network_def.parameters())
    assert sum(value.numel() for value in weights(tmp_path / "kept").values()) >= count
    assert (count > 2_000_000) is (variant == "base")


def test_all_augmentations_work_together_and_the_seed_decides(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "epochs": 2,
        "still_prob": 0.3,
        "filter_signal_prob": 0.5,
        "coloring_prob": {"partial_fourier": 0.5, "temporal": 0.2},
        "band_limit_prob": 0.7,
        "matrix_prob": 0.7,
        "shuffle_prob": 0.5,
        "simulated_prob": 0.5,
        "frame_axis": "slice",
    }
    train(tmp_path / "first", **options)
    train(tmp_path / "again", **options)
    assert_same(tmp_path / "first", tmp_path / "again")
    train(tmp_path / "other", seed=1, **options)
    one, other = (read_history(tmp_path / name / "magnitude_history.csv") for name in ("first", "other"))
    assert [row["train_loss"] for row in one] != [row["train_loss"] for row in other]


def test_tensorboard_gets_the_course_where_it_is_wanted(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    train(tmp_path / "kept", epochs=1, val_interval=1, tensorboard=True)
    files = list((tmp_path / "kept" / "tensorboard").rglob("events*"))
    assert files
    assert sum(file.stat().st_size for file in files) > 100


def test_adapters_are_trained_alone_and_merged(tmp_path: Path) -> None:
    start = build_variant("stcnnt_light_magnitude", channels=4)
    with torch.no_grad():
        for parameter in start.parameters():  # at first the last layer is zero, and nothing before it has a gradient
            parameter.add_(0.05 * torch.randn_like(parameter))
    torch.save(start.state_dict(), tmp_path / "start.pt")
    options = {**TINY, "network_def#drop_path": 0.0, "epochs": 1, "val_interval": 1, "ema_decay": 0.0}
    train(tmp_path / "kept", pretrained=str(tmp_path / "start.pt"), lora=2, **options)
    kept, before = weights(tmp_path / "kept"), start.state_dict()
    changed = {name for name, value in kept.items() if not torch.equal(value, before[name])}
    net = build_variant("stcnnt_light_magnitude", channels=4)
    net.load_state_dict(before)
    adapted = {f"{name}.base.weight" for name in inject_adapters(net, 2)}
    assert changed
    assert changed <= {name.replace(".base", "") for name in adapted}
    plain = build_variant("stcnnt_light_magnitude", channels=4)
    plain.load_state_dict(before)
    merged = merge_adapters(load_adapters(plain, tmp_path / "kept" / "model_adapters.pt")).state_dict()
    torch.testing.assert_close(merged, kept, rtol=0, atol=0)
