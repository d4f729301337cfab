# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Damaged files: an image with the right geometry or a named error, never a crash, a hang or anything else."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from benchmarks import fuzz_files
from monai_stcnnt.data import read_series
from monai_stcnnt.errors import UnreadableFileError

__all__: list[str] = []


def test_damaged_copies_of_files() -> None:
    sources = fuzz_files.find_sources()
    assert len(sources) == 7
    outcomes = fuzz_files.fuzz(63, sources)
    assert [one.case for one in outcomes] == list(range(63))
    assert [one for one in outcomes if one.verdict in fuzz_files.BAD] == []
    verdicts = Counter(one.verdict for one in outcomes)
    assert verdicts["same geometry"] >= 10
    assert verdicts[UnreadableFileError.__name__] >= 5


@pytest.mark.slow
def test_damaged_copies_of_the_sample_scans(shared_data: Path) -> None:
    outcomes = fuzz_files.fuzz(300, fuzz_files.find_sources(shared_data), seed=1)
    assert [one for one in outcomes if one.verdict in fuzz_files.BAD] == []


def test_damage_is_what_it_is_called_and_can_be_repeated() -> None:
    [source] = fuzz_files.find_sources()[0]
    content = source.read_bytes()
    done: dict[str, bytes] = {}
    for seed in range(80):
        changed, name = fuzz_files.mutate(content, True, np.random.default_rng(seed))
        assert (changed, name) == fuzz_files.mutate(content, True, np.random.default_rng(seed))
        if changed != content:
            done[name] = changed
    assert len(done) == 11
    assert len(done["truncate"]) < len(content)
    assert content.startswith(done["truncate"])
    assert len(done["double_block"]) > len(content) > len(done["lose_block"])
    assert len(done["flip_bits"]) == len(content)


@pytest.mark.parametrize(
    ("error", "verdict"), [(RuntimeError, "UNNAMED"), (UnreadableFileError, "UnreadableFileError")]
)
def test_errors_without_a_name_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: type[Exception], verdict: str
) -> None:
    def fail(_: Path) -> None:
        raise error("it failed")

    monkeypatch.setattr(fuzz_files, "read_series", fail)
    outcome = fuzz_files.outcome_of(0, fuzz_files.find_sources()[0], 0, tmp_path / "kept")
    assert (outcome.verdict, (tmp_path / "kept").exists()) == (verdict, verdict == "UNNAMED")
    assert "it failed" in outcome.detail


def test_another_geometry_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    source = fuzz_files.find_sources()[4]
    record = read_series(source[0])
    affine = record.affine + np.diag([0.1, 0, 0, 0])
    moved = dataclasses.replace(record, affine=affine)
    monkeypatch.setattr(fuzz_files, "read_series", lambda _, check=True: moved if check else record)
    monkeypatch.setattr(fuzz_files, "mutate", lambda content, *_: (content, "nothing"))
    assert fuzz_files.outcome_of(0, source, 0).verdict == "WRONG"


def _end(connection: Connection, *_: object) -> None:
    """Die at the first case; hang at the second."""
    connection.send("ready")
    case, _source = connection.recv()
    if case == 0:
        os._exit(1)
    connection.poll(60)


@pytest.mark.slow
def test_a_reader_that_dies_or_hangs_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_files, "SECONDS", 1.0)
    monkeypatch.setattr(fuzz_files, "_serve", _end)
    outcomes = fuzz_files.fuzz(2, fuzz_files.find_sources()[:1])
    assert [one.verdict for one in outcomes] == ["CRASH", "HANG"]
