# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Workers give what one process gives, the series of a worker that dies is done by another one."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from distributed import Client

from monai_stcnnt.apps.batch.workers import local_cluster
from monai_stcnnt.errors import MissingFileError
from tests.apps.batches import files_of, run, write_nifti

__all__: list[str] = []


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for number in range(4):
        write_nifti(tmp_path / "scans" / f"{number}.nii.gz", number, frames=2 + number)
    (tmp_path / "scans" / "bad.nii").write_bytes(b"bad")
    return tmp_path / "scans"


def test_a_scheduler_that_is_not_there_is_an_error(scans: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"scheduler\.json"):
        run(scans, tmp_path / "out", scheduler=str(tmp_path / "scheduler.json"))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_workers_give_what_one_process_gives_also_when_one_dies(scans: Path, tmp_path: Path) -> None:
    alone = run(scans, tmp_path / "alone")
    with local_cluster(2) as cluster:
        address = cluster.scheduler_address
        with Client(address) as client:
            victim = next(iter(client.run(os.getpid).values()))
        threading.Timer(1.0, os.kill, (victim, signal.SIGKILL)).start()
        shared = run(scans, tmp_path / "shared", scheduler=address)
    assert [row.status for row in shared.rows] == [row.status for row in alone.rows]
    assert files_of(tmp_path / "shared") == files_of(tmp_path / "alone")
    assert shared.manifest.read_text().count("\n") == alone.manifest.read_text().count("\n")
