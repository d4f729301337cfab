# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The measurement from file to file: times add up, inner steps count once, series are what they say."""

from __future__ import annotations

import json
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from benchmarks.end_to_end import STEPS, Clock, Passing, by_step, large_series, main, seam_table, seams, table
from monai_stcnnt.data import open_series, read_series
from monai_stcnnt.data.formats.nifti_writer import NiftiSink

__all__: list[str] = []


def write_cine(path: Path, shape: tuple[int, ...] = (20, 16, 2, 5)) -> Path:
    values = 100 + np.random.default_rng(0).normal(0, 10, shape)
    nib.save(nib.Nifti1Image(values.astype(np.float32), np.eye(4)), path)
    return path


def test_a_step_inside_another_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def work(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    clock = Clock()
    work(100)
    with clock.step("outer"):
        work(10)
        clock.wrap(work, "inner")(3)
        with clock.step("outer"):
            work(1)
    work(100)
    assert clock.seconds == {"outer": 11, "inner": 3}


def test_windows_beyond_the_first_pass() -> None:
    network = Passing(torch.nn.Conv3d(2, 1, 1), 2)
    x = torch.randn(1, 2, 2, 3, 3)
    assert not torch.equal(network(x), x[:, :1])
    assert not torch.equal(network(x), x[:, :1])
    assert torch.equal(network(x), x[:, :1])


def test_all_steps_are_seen_and_the_program_is_left_as_it_was(tmp_path: Path) -> None:
    write = NiftiSink.write
    row = by_step(write_cine(tmp_path / "scan.nii.gz"), roi_size=[4, 16, 16])
    assert NiftiSink.write is write
    assert list(row["seconds"]) == list(STEPS)
    assert all(seconds > 0 for seconds in row["seconds"].values())
    assert sum(row["seconds"].values()) == pytest.approx(row["total"])
    assert 0 < row["outside"] < 1
    assert 50 < row["before"] <= row["peak"]
    assert "| scan | 20 x 16 |" in table([{"series": "scan", "shape": [20, 16], **row}])
    assert [path.name for path in tmp_path.iterdir()] == ["scan.nii.gz"]


def test_a_large_series_is_what_it_says(tmp_path: Path) -> None:
    path = large_series(tmp_path / "large.nii", 3, (8, 6, 2))
    assert read_series(path).array.shape == (1, 3, 2, 6, 8)
    assert path.stat().st_size == 352 + 8 * 6 * 2 * 3 * 4
    with open_series(path, memory=0) as series:
        assert series.read(slice(2, 3), slice(1, 2)).std() > 0


def test_less_overlap_differs_more_from_far_more(tmp_path: Path) -> None:
    found = seams(write_cine(tmp_path / "scan.nii", (150, 70, 1, 3)), (3, 66, 140))
    assert [row["overlap"] for row in found] == [0.75, 0.0, 0.125, 0.25, 0.5]
    assert found[0]["rms"] == 0
    assert found[1]["rms"] > found[4]["rms"] > 0
    assert seam_table(found).count("\n") == 6


@pytest.mark.slow
def test_the_command_writes_its_figures(tmp_path: Path) -> None:
    main([str(write_cine(tmp_path / "scan.nii.gz")), "--windows", "1", "--json", str(tmp_path / "figures.json")])
    rows = json.loads((tmp_path / "figures.json").read_text())["rows"]
    assert [row["shape"] for row in rows] == [[20, 16, 1, 5], [20, 16, 2, 5]]
