# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of batches: its watcher sees what is in part, and a short run of it finds nothing wrong."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from benchmarks.batch_reliability import PIXELS, cut_series, digests_of, watch
from monai_stcnnt.data import list_series, read_series

__all__: list[str] = []

REPOSITORY = Path(__file__).resolve().parents[2]


def watched(output: Path, expected: dict[str, str]) -> list[str]:
    """Faults that the watcher sees in files that do not change."""
    here, there = multiprocessing.Pipe()
    thread = threading.Thread(target=watch, args=(output, expected, there))
    thread.start()
    threading.Event().wait(0.05)
    here.send("stop")
    looks, _, faults = here.recv()
    thread.join()
    assert looks > 0
    return sorted(set(faults))


def test_the_watcher_sees_files_and_folders_in_part(tmp_path: Path) -> None:
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "1.dcm").write_text("one")
    (tmp_path / "a.nii").write_text("whole")
    (tmp_path / ".hidden").write_text("what is not finished")
    (tmp_path / "manifest.jsonl").write_text("{}")
    expected = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in
                (("a.nii", "whole"), ("series/1.dcm", "one"))}  # fmt: skip
    assert digests_of(tmp_path) == expected
    assert watched(tmp_path, expected) == []
    (tmp_path / "a.nii").write_text("who")
    assert watched(tmp_path, expected) == ["a.nii is in part"]
    expected["series/2.dcm"] = expected["series/1.dcm"]
    assert watched(tmp_path, expected) == ["a.nii is in part", "series is in part"]


def test_the_series_can_be_read(tmp_path: Path, shared_data: Path) -> None:
    assert cut_series(shared_data, tmp_path) == 24
    series = list_series(tmp_path)
    assert len(series) == 24
    for path in series:
        assert read_series(path).array.shape[-1] <= PIXELS


@pytest.mark.slow
def test_a_short_run_finds_nothing_wrong(tmp_path: Path, shared_data: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.batch_reliability", str(shared_data), "--workers", "2", "--kills", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["identical_over"] == {"2": True}
    assert report["kills_identical"] == 2
    assert report["partial_files_seen"] == 0
