# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Training by two processes through gloo: as by one, and again after one of them was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from monai_stcnnt.apps.bundles import bundle_folder
from monai_stcnnt.handlers.training_history import Row, read_history
from tests.bundles.test_train_recipe import write_scans

CONFIGS = bundle_folder("mri_denoising") / "configs"
REPOSITORY = Path(__file__).resolve().parents[2]


def start(root: Path, ranks: int, *launch: str, **options: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401
    """Start a training of ``ranks`` processes; a single one without ``torchrun``."""
    scans = root.parent / "scans"
    options = {
        "ckpt_dir": root,
        "dataset_dir": scans if scans.is_dir() else write_scans(scans),
        "clip_size": [3, 16, 16],
        "clip_frames": [1, 2, 3],
        "network_def#channels": 4,
        "batch_size": 4,
        "val_clips": 3,
        **options,
    }
    names = ["train.json", "multi_gpu_train.json"][: min(ranks, 2)]
    command = ["--config_file", str([str(CONFIGS / name) for name in names]), "--logging_file", "False"]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks), *launch]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore"}
    environment["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    with (root.parent / f"{root.name}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, *(launcher if ranks > 1 else []), "-m", "monai.bundle", "run", *command],
            env=environment,
            cwd=root.parent,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def finish(process: subprocess.Popen[bytes], root: Path) -> list[Row]:
    code = process.wait(timeout=900)
    assert code == 0, (root.parent / f"{root.name}.log").read_text(errors="replace")[-3000:]
    return read_history(root / "magnitude_history.csv")


def ranks_of(process: subprocess.Popen[bytes]) -> list[int]:
    """The processes that ``torchrun`` started for the ranks; it has others for itself."""
    children = Path(f"/proc/{process.pid}/task").glob("*/children")
    numbers = [int(number) for listed in children for number in listed.read_text().split()]
    return [number for number in numbers if b"monai.bundle" in Path(f"/proc/{number}/cmdline").read_bytes()]


@pytest.mark.slow
def test_two_ranks_train_as_one_process_does(tmp_path: Path) -> None:
    options = {"epochs": 20, "iterations": 1, "val_interval": 10}
    alone = finish(start(tmp_path / "alone", 1, **options), tmp_path / "alone")
    together = finish(start(tmp_path / "together", 2, **options), tmp_path / "together")
    assert len(alone) == len(together) == 20
    for name in ("train_loss", "noise_left"):
        first, second = ([row[name] for row in rows if name in row] for rows in (alone, together))
        assert len(first) == (20 if name == "train_loss" else 2)
        assert first == pytest.approx(second, abs=1e-5, rel=0)
    weights = [torch.load(tmp_path / name / "model.pt", weights_only=True) for name in ("alone", "together")]
    torch.testing.assert_close(weights[0], weights[1], atol=1e-4, rtol=0)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the processes of torchrun in /proc")
def test_a_training_goes_on_by_itself_after_a_rank_was_killed(tmp_path: Path) -> None:
    options = {"epochs": 12, "iterations": 4, "val_interval": 1}
    root = tmp_path / "killed"
    process = start(root, 2, "--max-restarts", "2", **options)
    table, deadline = root / "magnitude_history.csv", time.monotonic() + 600
    while process.poll() is None and not (table.is_file() and len(read_history(table)) >= 3):
        assert time.monotonic() < deadline, (tmp_path / "killed.log").read_text(errors="replace")[-3000:]
        time.sleep(0.02)
    os.kill(ranks_of(process)[-1], signal.SIGKILL)
    killed = finish(process, root)
    assert "exitcode: -9" in (tmp_path / "killed.log").read_text(errors="replace")
    whole = finish(start(tmp_path / "whole", 2, **options), tmp_path / "whole")
    assert killed == whole
    assert not list(root.glob(".*"))
    weights = [torch.load(folder / "model.pt", weights_only=True) for folder in (root, tmp_path / "whole")]
    torch.testing.assert_close(weights[0], weights[1], atol=0, rtol=0)
