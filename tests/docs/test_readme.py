# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The commands and programs of the README run as they are written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.apps.batches import write_nifti
from tests.apps.dicom_files import moving_disc, write_series

__all__: list[str] = []

README = Path(__file__).parents[2] / "README.md"
_SET_UP = ("make ", "python3 -m venv", "pip ")


def blocks(language: str) -> list[str]:
    """What stands between fences, without what sets up an environment."""
    found = re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    kept = ["\n".join(line for line in one.splitlines() if not line.startswith(_SET_UP)) for one in found]
    return [one for one in kept if one.strip()]


@pytest.mark.slow
def test_what_the_readme_says_runs_as_it_is_written(tmp_path: Path) -> None:
    for name in ("scan.nii.gz", "scans/a.nii.gz", "FOLDER/a.nii.gz"):
        write_nifti(tmp_path / name, frames=3)
    write_series(tmp_path / "FOLDER" / "dicom", moving_disc(3, 2, 24))
    write_series(tmp_path / "CINE", moving_disc(4, 3, 24))
    path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(README.parent)}
    programs = [["bash", "-e", "-c", text] for text in blocks("sh")]
    programs += [[sys.executable, "-c", text] for text in blocks("python")]
    assert len(programs) == 4
    for command in programs:
        done = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, **path}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, command[-1] + done.stderr
    assert (tmp_path / "denoised.nii.gz").is_file()
    assert {"report.html", "volumes.csv", "results", "masks", "denoised"} <= {one.name for one in tmp_path.iterdir()}
