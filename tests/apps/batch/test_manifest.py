# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The manifest: what was written is read again, the last record counts, a torn line costs one series and no more."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from monai_stcnnt.apps.batch.manifest import (
    Journal,
    OutputEntry,
    SeriesRow,
    checksum_of,
    read_manifest,
    results_exist,
    stamp_of,
)
from monai_stcnnt.errors import OutputNotWritableError

__all__: list[str] = []

ROW = SeriesRow(
    "a/scan.nii.gz",
    "8",
    "done",
    (OutputEntry("a/scan_denoised.nii.gz", 1, 3, "ff"),),
    version="1",
    weights="w",
    options={"roi_size": [16, 64, 64], "noise_sigma": None},
    qc={"noise_sigma": 1.5},
)


def write(output: Path, run: int, rank: int, *rows: SeriesRow) -> Path:
    journal = Journal(output, run, rank)
    for row in rows:
        journal.append(row)
    journal.close()
    return journal.path


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    file = write(tmp_path, 1, 0, ROW)
    assert len(file.read_bytes().splitlines()) == 1
    assert json.loads(file.read_bytes())["input"] == "a/scan.nii.gz"
    found = read_manifest(tmp_path)
    assert found.rows == {ROW.name: ROW}
    assert found.owned == {"a/scan_denoised.nii.gz"}
    assert found.runs == 1


def test_the_last_record_of_the_last_run_counts(tmp_path: Path) -> None:
    write(tmp_path, 10, 0, replace(ROW, status="failed", finished="2026-01-01"))
    write(tmp_path, 9, 1, replace(ROW, finished="2027-01-01"))  # by a clock that is wrong
    write(tmp_path, 10, 1, replace(ROW, status="refused", finished="2026-01-02"), SeriesRow("b"))
    found = read_manifest(tmp_path)
    assert found.rows[ROW.name].status == "refused"
    assert set(found.rows) == {ROW.name, "b"}
    assert found.runs == 10


def test_a_torn_line_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = write(tmp_path, 1, 0, ROW, SeriesRow("b", status="done"))
    file.write_bytes(file.read_bytes()[:-10])
    assert set(read_manifest(tmp_path).rows) == {ROW.name}
    assert "line 2" in caplog.text
    file.write_text('{"format": 99}\n"text"\n{"format": 1, "unknown": 2, "input": "c"}\n')
    assert read_manifest(tmp_path).rows == {}


def test_no_two_processes_share_a_file_and_an_unused_one_goes(tmp_path: Path) -> None:
    first, second = Journal(tmp_path, 1, 0), Journal(tmp_path, 1, 0)
    assert first.path != second.path
    first.close()
    second.append(ROW)
    second.close()
    assert list((tmp_path / "manifest").iterdir()) == [second.path]


def test_a_manifest_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "manifest").write_text("a file")
    with pytest.raises(OutputNotWritableError, match="manifest"):
        Journal(tmp_path, 1, 0)


def test_nothing_there_is_an_empty_manifest(tmp_path: Path) -> None:
    found = read_manifest(tmp_path / "none")
    assert (dict(found.rows), found.owned, found.runs) == ({}, frozenset(), 0)


def test_checksums_are_those_of_the_usual_programs(tmp_path: Path) -> None:
    folder = tmp_path / "series"
    (folder / "sub").mkdir(parents=True)
    for name in ("b.dcm", "a.dcm", "sub/c.dcm", ".hidden"):
        (folder / name).write_text(name)
    one = checksum_of(folder / "a.dcm")
    assert one == OutputEntry("a.dcm", 1, 5, hashlib.sha256(b"a.dcm").hexdigest())
    entry = checksum_of(folder)
    listing = subprocess.run(["sha256sum", "a.dcm", "b.dcm", "sub/c.dcm"], cwd=folder, capture_output=True, check=True)
    assert entry == OutputEntry("series", 3, 19, hashlib.sha256(listing.stdout).hexdigest())


def test_a_stamp_follows_names_sizes_and_times(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("text")
    os.utime(file, (1, 1))
    before = stamp_of([tmp_path])
    assert stamp_of([tmp_path]) == before
    os.utime(file, (1, 2))
    assert stamp_of([tmp_path]) != before
    os.utime(file, (1, 1))
    assert stamp_of([tmp_path]) == before
    file.rename(tmp_path / "b")
    assert stamp_of([tmp_path]) != before


def test_results_count_only_where_they_lie_whole(tmp_path: Path) -> None:
    assert not results_exist(ROW, tmp_path)
    (tmp_path / "a").mkdir()
    file = tmp_path / "a" / "scan_denoised.nii.gz"
    file.write_text("abc")
    assert results_exist(ROW, tmp_path)
    assert not results_exist(replace(ROW, status="writing"), tmp_path)
    file.write_text("ab")
    assert not results_exist(ROW, tmp_path)


def test_the_recipe_is_version_weights_and_options() -> None:
    assert replace(ROW, seconds=3.0, device="cuda:1", rank=7, input_sha256="x").recipe == ROW.recipe
    for other in (replace(ROW, version="2"), replace(ROW, weights="v"), replace(ROW, options={})):
        assert other.recipe != ROW.recipe
