# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Damaged files: an image with the right geometry or a named error, never a crash, a hang or anything else."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks import fuzz_files
from benchmarks.file_damage import KINDS, damage
from benchmarks.fuzz_files import MARKS, Outcome
from monai_stcnnt.data import read_series
from monai_stcnnt.errors import UnreadableFileError

__all__: list[str] = []


def test_damaged_copies_of_files(tmp_path: Path) -> None:
    sources = fuzz_files.marked_copies(fuzz_files.find_sources(), tmp_path)
    assert len(sources) == 14
    for source in sources:
        assert MARKS[0].encode() in source[0].read_bytes() or source[0].suffix in (".gz", ".bz2", ".mgz", ".mgh")
        assert read_series(fuzz_files.path_of(source)).array.size
    outcomes = fuzz_files.fuzz(60, sources)
    assert [one.case for one in outcomes] == list(range(60))
    assert [one for one in outcomes if one.verdict in fuzz_files.BAD] == []
    verdicts = Counter(one.verdict for one in outcomes)
    assert verdicts["same geometry"] >= 10
    assert verdicts[UnreadableFileError.__name__] >= 5
    assert all(one.mebibytes > 1 for one in outcomes)


@pytest.mark.slow
def test_damaged_copies_of_the_sample_scans(shared_data: Path, tmp_path: Path) -> None:
    sources = fuzz_files.marked_copies(fuzz_files.find_sources(shared_data), tmp_path)
    outcomes = fuzz_files.fuzz(300, sources, seed=1)
    assert [one for one in outcomes if one.verdict in fuzz_files.BAD] == []


@pytest.mark.parametrize(("source", "kinds"), [(0, 17), (4, 10), (6, 11)])
def test_damage_is_what_it_is_called_and_can_be_repeated(source: int, kinds: int) -> None:
    [file] = fuzz_files.find_sources()[source]
    content = file.read_bytes()
    done: dict[str, bytes] = {}
    for seed in range(100 if kinds < 17 else 160):
        changed, name = damage(content, file.name, np.random.default_rng(seed))
        if changed != content and name not in done:
            assert (changed, name) == damage(content, file.name, np.random.default_rng(seed))
            done[name] = changed
    assert set(done) <= set(KINDS)
    assert len(done) == kinds
    if file.suffix != ".gz":
        assert len(done["truncate"]) < len(content)
        assert content.startswith(done["truncate"])
        assert len(done["double_block"]) > len(content) > len(done["lose_block"])
        assert len(done["flip_bits"]) == len(content)


@pytest.mark.parametrize(
    ("error", "message", "verdict"),
    [
        (RuntimeError, "it failed", "UNNAMED"),
        (UnreadableFileError, "it failed", "UnreadableFileError"),
        (UnreadableFileError, f"{MARKS[0]} failed", "LEAK"),
    ],
)
def test_errors_without_a_name_or_with_the_patient_s_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: type[Exception], message: str, verdict: str
) -> None:
    def fail(_: Path, memory: int = 0) -> None:  # noqa: ARG001 - as open_series has it
        raise error(message)

    for reader in ("read_series", "open_series"):
        monkeypatch.setattr(fuzz_files, reader, fail)
    outcome = fuzz_files.outcome_of(0, fuzz_files.find_sources()[0], 0, tmp_path / "kept")
    assert (outcome.verdict, any(tmp_path.rglob("case*"))) == (verdict, verdict in fuzz_files.BAD)
    assert "failed" in outcome.detail


def test_causes_and_logs_that_tell_the_patient_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path, memory: int = 0) -> None:  # noqa: ARG001 - as open_series has it
        try:
            raise ValueError(MARKS[2])
        except ValueError as error:
            raise UnreadableFileError("harmless") from error

    for reader in ("read_series", "open_series"):
        monkeypatch.setattr(fuzz_files, reader, fail)
    assert fuzz_files.outcome_of(0, fuzz_files.find_sources()[0], 0).verdict == "LEAK"


def test_another_geometry_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    source = fuzz_files.find_sources()[4]
    record = read_series(source[0])
    affine = record.affine + np.diag([0.1, 0, 0, 0])
    moved = dataclasses.replace(record, affine=affine)
    monkeypatch.setattr(fuzz_files, "_original_geometry", lambda _: (record.array.shape[1:], record.affine))
    monkeypatch.setattr(fuzz_files, "_geometry_read", lambda *_: (moved.array.shape[1:], moved.affine))
    monkeypatch.setattr(fuzz_files, "damage", lambda content, *_: (content, "nothing"))
    assert fuzz_files.outcome_of(0, source, 0).verdict == "WRONG"


def misbehave(case: int, source: list[Path], _seed: int, _keep: None, ready: Callable[[str], None]) -> Outcome:
    """Die, take processor time, sleep, take memory, or tell the patient."""
    ready("some damage")
    if case == 0:
        os._exit(1)
    while case == 1:
        pass
    if case == 2:
        time.sleep(60)
    if case == 3:
        len(b"x" * (1500 << 20))  # more than a process keeps of what it freed
    if case == 4:
        os.write(2, MARKS[1].encode())
    return Outcome(case, source[0].name, "some damage", "same geometry")


VERDICTS = ("CRASH", "HANG", "HANG", "MEMORY", "LEAK", "same geometry")


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of Python 3.12 on: it has threads
@pytest.mark.parametrize(("case", "verdict"), list(enumerate(VERDICTS)))
def test_a_reader_that_misbehaves_is_found(monkeypatch: pytest.MonkeyPatch, case: int, verdict: str) -> None:
    monkeypatch.setattr(fuzz_files, "outcome_of", misbehave)
    if case == 1:
        monkeypatch.setattr(fuzz_files, "SECONDS", 0)  # so one, as they are rounded up
    if case == 2:
        monkeypatch.setattr(fuzz_files, "WAIT", 0.2)
    if case == 3:
        resident = int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) << 10
        monkeypatch.setattr(fuzz_files, "BYTES", resident + (100 << 20))
    child = fuzz_files._Child(0, None)
    try:
        outcome = child.ask(case, [Path("file")])
    finally:
        child.end()
    assert (outcome.verdict, outcome.mutation) == (verdict, "some damage")


def test_what_was_done_is_not_done_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    results = tmp_path / "fuzz.jsonl"
    asked: list[int] = []

    class Worker:
        def __init__(self, *_: object) -> None:
            pass

        def ask(self, case: int, source: list[Path]) -> Outcome:
            asked.append(case)
            return Outcome(case, source[0].name, "flip_bits", "same geometry", seconds=0.5, mebibytes=512)

        def close(self) -> None:
            pass

    monkeypatch.setattr(fuzz_files, "_Worker", Worker)
    sources = [[Path("a")], [Path("b")]]
    first = fuzz_files.fuzz(3, sources, results=results)
    assert fuzz_files.fuzz(5, sources, results=results)[:3] == first
    assert asked == [0, 1, 2, 3, 4]
    fuzz_files.fuzz(2, sources, seed=1, results=results)
    assert asked[5:] == [0, 1]
    assert [json.loads(line)["seed"] for line in results.read_text().splitlines()] == [0] * 5 + [1] * 2
    table = fuzz_files.tally([*first, Outcome(3, "a", "truncate", "UnreadableFileError")])
    assert "| same geometry | 3 |" in table
    assert "| truncate | 1 | 0 | 1 | 0 |" in table
    assert "0.5 s, the largest 0.50 GiB" in table
