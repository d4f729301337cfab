# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The unattended run on a GPU: every part leaves its results, and fits into ten minutes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from tools import gpu_run

__all__: list[str] = []


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """One short series for training and for validation."""
    disc = np.rint(200 * np.exp(-3 * np.add.outer(*[np.linspace(-1, 1, 24) ** 2] * 2))).astype(np.uint8)
    path = tmp_path / "clips.npz"
    np.savez(path, **{f"{part}/time/a_0": np.broadcast_to(disc, (4, 24, 24)) for part in ("train", "validation")})  # type: ignore[arg-type]
    return path


def test_all_parts_together_end_within_ten_minutes() -> None:
    """Parts after one another, commands of a part at the same time."""
    options = argparse.Namespace(
        output=Path("out"), clips=Path("clips.npz"), variants=["light", "base"], seconds=330.0, rehearse=False,
        weights=None,
    )  # fmt: skip
    parts = gpu_run.plan(options)
    assert sum(max(seconds for _, _, seconds in commands) for commands in parts) <= 600
    assert len(parts[2]) == 4  # two variants in two modes


def test_training_starts_from_weights_that_are_there(tmp_path: Path) -> None:
    """The others start from scratch."""
    (tmp_path / "light_complex.pt").touch()
    options = argparse.Namespace(
        output=Path("out"), clips=Path("clips.npz"), variants=["light"], seconds=330.0, rehearse=False, weights=tmp_path
    )
    starts = {name: "--weights" in arguments for name, arguments, _ in gpu_run.plan(options)[2]}
    assert starts == {"train_light_complex": True, "train_light_magnitude": False}


def test_a_part_that_fails_or_hangs_does_not_stop_the_others(tmp_path: Path) -> None:
    """The summary says how each ended."""
    commands: list[gpu_run.Command] = [
        ("good", ["-c", "print('fine')"], 60.0),
        ("bad", ["-c", "import sys; sys.exit(3)"], 60.0),
        ("hangs", ["-c", "import time; time.sleep(600)"], 1.0),
    ]
    ends = gpu_run.run(commands, tmp_path)
    assert ends == {"good": "done", "bad": "failed with 3", "hangs": "stopped, since its time was over"}
    assert (tmp_path / "good.log").read_text(encoding="utf-8") == "fine\n"


def test_new_weights_go_into_a_copy_of_the_bundle(tmp_path: Path) -> None:
    """Where there are none, the copy keeps the old ones."""
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "light_complex.pt").write_bytes(b"new")
    gpu_run.copy_bundle(tmp_path)
    models = tmp_path / "bundle" / "models"
    assert (models / "model_complex.pt").read_bytes() == b"new"
    assert (models / "model.pt").read_bytes() == (gpu_run.BUNDLE / "models" / "model.pt").read_bytes()


@pytest.mark.slow
def test_a_rehearsal_leaves_the_files_of_a_run(clips: Path, tmp_path: Path) -> None:
    """On the processor, in minutes."""
    out = tmp_path / "out"
    ends = gpu_run.main(["--clips", str(clips), "--output", str(out), "--variants", "light", "--rehearse"])
    assert set(ends.values()) == {"done"}
    for name in ("network_speed", "end_to_end", "denoising_quality", "summary"):
        json.loads((out / f"{name}.json").read_text(encoding="utf-8"))
    assert {file.name for file in (out / "weights").iterdir()} == {
        f"light_{mode}{ending}" for mode in gpu_run.MODES for ending in (".pt", ".json")
    }
