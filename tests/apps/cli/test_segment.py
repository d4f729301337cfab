# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What ``stcnnt segment --json`` says."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from monai_stcnnt.apps import segmenting
from monai_stcnnt.apps.batch.manifest import SeriesRow
from monai_stcnnt.apps.batch.run import RunResult
from monai_stcnnt.apps.cli.app import app
from monai_stcnnt.apps.volumes import MaskMeasures
from monai_stcnnt.metrics import VentricularFunction

__all__: list[str] = []


def test_measures_are_json_with_null_for_what_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    function = VentricularFunction(0, 4, 120.0, math.nan)
    measures = MaskMeasures(
        "cine", ("left ventricle",), np.zeros(1), 1, 8.0, np.ones((1, 1)), np.ones((1, 1)),
        {"left ventricle": function}, ("one slice only",),
    )  # fmt: skip
    row = SeriesRow("masks.nii", "cine.nii", status="done", figures=measures.as_dict())
    done = RunResult(tmp_path, (row,), {"masks.nii": tmp_path / "cine.nii"})
    monkeypatch.setattr(segmenting, "run_segmentation", lambda *_, **__: done)
    result = CliRunner().invoke(app, ["segment", "cine.nii", "masks.nii", "--json", "--quiet"])
    assert result.exit_code == 0, result.output
    [entry] = json.loads(result.output)["series"]
    assert entry["result"] == str(tmp_path / "masks.nii")
    assert entry["functions"]["left ventricle"]["end_diastolic_volume"] == 120.0
    assert entry["functions"]["left ventricle"]["end_systolic_volume"] is None
    assert entry["notes"] == ["one slice only"]
