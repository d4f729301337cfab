# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What stands at the top: the functions that most users call, which cost nothing until they are used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import monai_stcnnt
from monai_stcnnt import apps, data
from tests.apps.batches import write_nifti

__all__: list[str] = []


def test_the_package_loads_nothing_until_it_is_used() -> None:
    code = "import sys, monai_stcnnt; print({'torch', 'monai', 'numpy', 'monai_stcnnt.apps'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def test_the_functions_at_the_top_are_those_of_the_parts(tmp_path: Path) -> None:
    for name in ("convert", "denoise", "describe", "segment"):
        assert getattr(monai_stcnnt, name) is getattr(apps, name)
    assert monai_stcnnt.read_series is data.read_series
    [saved] = monai_stcnnt.denoise(write_nifti(tmp_path / "a.nii"), tmp_path / "out", noise_sigma=20.0, progress=False)
    assert monai_stcnnt.read_series(saved).array.shape == (1, 2, 1, 16, 16)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = monai_stcnnt.nothing
