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
    MANIFEST,
    Journal,
    OutputEntry,
    Recipe,
    SeriesRow,
    checksum_of,
    read_manifest,
    results_exist,
    stamp_of,
)
from monai_stcnnt.errors import OutputNotWritableError

__all__: list[str] = []

ROW = SeriesRow(
    "a/scan_denoised.nii.gz",
    "a/scan.nii.gz",
    "8",
    "done",
    (OutputEntry("a/scan_denoised.nii.gz", 1, 3, "ff"),),
    recipe=Recipe("1", "w", {"roi_size": [16, 64, 64], "noise_sigma": None}),
    figures={"sigma": 1.5},
)


def write(output: Path, *rows: SeriesRow) -> Path:
    with Journal(output) as journal:
        for row in rows:
            journal.append(row)
    return journal.path


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    file = write(tmp_path, ROW)
    assert len(file.read_bytes().splitlines()) == 1
    assert json.loads(file.read_bytes())["input"] == "a/scan.nii.gz"
    assert read_manifest(tmp_path) == {ROW.target: ROW}


def test_the_last_record_counts(tmp_path: Path) -> None:
    write(tmp_path, replace(ROW, status="failed", finished="2027-01-01"))  # by a clock that is wrong
    write(tmp_path, replace(ROW, status="refused", finished="2026-01-02"), SeriesRow("b"))
    found = read_manifest(tmp_path)
    assert found[ROW.target].status == "refused"
    assert set(found) == {ROW.target, "b"}


def test_a_torn_line_is_skipped_and_does_not_tear_the_next(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = write(tmp_path, ROW, SeriesRow("b", status="done"))
    file.write_bytes(file.read_bytes()[:-10])
    assert set(read_manifest(tmp_path)) == {ROW.target}
    assert "line 2" in caplog.text
    write(tmp_path, SeriesRow("c", status="done"))
    assert set(read_manifest(tmp_path)) == {ROW.target, "c"}
    file.write_text('{"format": 99}\n"text"\n{"format": 2, "unknown": 2, "target": "c"}\n')
    assert read_manifest(tmp_path) == {}


def test_a_manifest_without_records_is_no_file(tmp_path: Path) -> None:
    write(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert read_manifest(tmp_path / "none") == {}


def test_a_manifest_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).mkdir()
    with pytest.raises(OutputNotWritableError, match="manifest"):
        write(tmp_path, ROW)


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
    before = stamp_of([file])
    assert stamp_of([file]) == before
    os.utime(file, (1, 2))
    assert stamp_of([file]) != before
    os.utime(file, (1, 1))
    assert stamp_of([file]) == before
    assert stamp_of([file.rename(tmp_path / "b")]) != before


def test_results_count_only_where_they_lie_whole(tmp_path: Path) -> None:
    assert not results_exist(ROW, tmp_path)
    (tmp_path / "a").mkdir()
    file = tmp_path / "a" / "scan_denoised.nii.gz"
    file.write_text("abc")
    assert results_exist(ROW, tmp_path)
    unrecorded = replace(ROW, status="writing")  # the run ended before it could say that it is done
    assert not results_exist(unrecorded, tmp_path)
    digest = hashlib.sha256(b"abc").hexdigest()
    assert results_exist(replace(unrecorded, outputs=(replace(ROW.outputs[0], sha256=digest),)), tmp_path)
    file.write_text("ab")
    assert not results_exist(ROW, tmp_path)


def test_a_recipe_names_what_is_another() -> None:
    recipe = ROW.recipe
    assert recipe.differences(Recipe("1", "w", dict(recipe.options))) == []
    other = Recipe("2", "w", {"roi_size": None, "noise_sigma": None, "strength": 1.0})
    assert recipe.differences(other) == ["version", "roi_size", "strength"]
    assert str(recipe) != str(other)
