# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The stack whose segmentation is timed, and the time itself."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from benchmarks.segment_time import drawn_stack, main


def test_the_stack_beats_and_has_different_slices() -> None:
    record = drawn_stack(2, 4, 48)
    assert record.array.shape == (1, 4, 2, 48, 48)
    np.testing.assert_array_equal(record.array, np.round(record.array))
    assert record.array.astype(float).std(axis=1).max() > 0
    assert not np.array_equal(record.array[:, :, 0], record.array[:, :, 1])


def test_the_process_of_the_command_is_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = subprocess.run

    def busy(command: list[str], **_: object) -> None:
        assert command[2:4] == ["monai_stcnnt", "segment"]
        run([command[0], "-c", "import time\nwhile time.process_time() < 0.3: pass"], check=True)

    monkeypatch.setattr(subprocess, "run", busy)
    clock, used = main(["--slices", "1", "--frames", "2", "--size", "32"])
    assert clock >= 0.3
    assert 0.3 <= used < 10
    assert "1 slices, 2 frames" in capsys.readouterr().out
