# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Processes: alone nothing is opened; in a group plain values come through; torchrun gives what one process gives."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from monai_stcnnt.apps.bundles import bundle_folder
from monai_stcnnt.engines.ranks import Ranks, open_ranks, rank_device
from tests.apps.batches import files_of, run, write_nifti

__all__: list[str] = []

VALUE = {"text": "\u00e4 \u0000", "numbers": [1, 2.5, None, True], "empty": {}}


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_a_process_that_is_alone_opens_nothing() -> None:
    with open_ranks() as ranks:
        assert ranks == Ranks(0, 1, None)
        assert not dist.is_initialized()
        assert ranks.share(VALUE) == VALUE
        assert ranks.gather(VALUE) == [VALUE]


@pytest.mark.usefixtures("group")
def test_values_come_through_a_group_that_stays_open() -> None:
    with open_ranks() as ranks:
        assert ranks.share(VALUE) == VALUE
        assert ranks.gather(VALUE) == [VALUE]
        assert ranks.gather([]) == [[]]
    assert dist.is_initialized()


def test_every_process_of_a_machine_gets_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert rank_device() == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for local, index in (("0", 0), ("1", 1), ("2", 0)):
        monkeypatch.setenv("LOCAL_RANK", local)
        assert rank_device() == torch.device("cuda", index)


@pytest.mark.slow
def test_two_processes_of_torchrun_give_what_one_gives(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    for n in range(4):
        write_nifti(scans / f"{n}.nii.gz", n, frames=2 + n)
    (scans / "bad.nii").write_bytes(b"bad")
    alone = run(scans, tmp_path / "alone")
    bundle = bundle_folder("mri_denoising")
    configs = [str(bundle / "configs" / name) for name in ("inference.json", "multi_gpu_inference.json")]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "monai.bundle",
        "run", "--config_file", str(configs), "--bundle_root", str(bundle), "--dataset_dir", str(scans),
        "--output_dir", str(tmp_path / "two"), "--noise_sigma", "20.0", "--device", "$torch.device('cpu')",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 1, done.stderr[-2000:]
    assert "5 series: 4 denoised, 0 done before, 0 passed over, 1 failed" in done.stdout
    assert len(alone.failed) == 1
    assert files_of(tmp_path / "two") == files_of(tmp_path / "alone")
    assert len(list((tmp_path / "two" / "manifest").glob("run-00001-rank-0000[01]-*"))) == 2
