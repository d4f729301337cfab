# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The notebooks: they agree with their scripts, hold their pictures, and run from a clean kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
jupytext = pytest.importorskip("jupytext")

__all__: list[str] = []

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
SCRIPTS = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.py"))
LARGEST = 1.5e6


def test_there_are_five() -> None:
    assert [script.name[:2] for script in SCRIPTS] == ["01", "02", "03", "04", "05"]
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")) == [script.stem for script in SCRIPTS]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_agrees_with_its_script(script: Path) -> None:
    source = [(cell.cell_type, cell.source) for cell in jupytext.read(script).cells]
    notebook = nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == source


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_holds_pictures_and_no_errors(script: Path) -> None:
    path = script.with_suffix(".ipynb")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "run from the top, in order"
    outputs = [output for cell in cells for output in cell.outputs]
    pictures = [output for output in outputs if {"image/png", "image/gif"} & set(output.get("data", {}))]
    assert len(pictures) >= 2
    assert [output for output in outputs if output.output_type == "error"] == []
    assert [output.text for output in outputs if output.get("name") == "stderr" and "Traceback" in output.text] == []
    assert path.stat().st_size < LARGEST


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_runs_from_a_clean_kernel(script: Path) -> None:
    pytest.importorskip("papermill")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, str(NOTEBOOKS / "execute.py"), script.stem]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
