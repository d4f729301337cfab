# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The README's Python examples run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import nibabel
import pytest

__all__: list[str] = []

REPOSITORY = Path(__file__).resolve().parents[1]
EXAMPLES = re.findall(
    r"^```python\n(.*?)^```", (REPOSITORY / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.M
)


@pytest.fixture
def scan_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder that holds ``scan.nii.gz``, a small real series."""
    sample = nibabel.load(Path(nibabel.__file__).parent / "tests" / "data" / "functional.nii")
    nibabel.save(sample, tmp_path / "scan.nii.gz")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_backbone_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    exec(EXAMPLES[1], {})
    assert "torch.Size([1, 8, 16, 64, 64])" in capsys.readouterr().out


@pytest.mark.skipif(
    not (REPOSITORY / "bundles/mri_denoising/models/model.pt").is_file(), reason="the bundle has no trained model"
)
def test_denoising_example_runs(scan_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(EXAMPLES[0], {})
    assert "(1, 20, 3, 21, 17)" in capsys.readouterr().out
    assert (scan_folder / "denoised.nii.gz").is_file()


def test_examples_are_short() -> None:
    assert [len([line for line in example.splitlines() if line]) for example in EXAMPLES] == [3, 4]


def test_commands_exist() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^make ([\w-]+)", readme, re.M))
    assert targets == {"demo", "test"}
    assert all(re.search(rf"^{target}:", makefile, re.M) for target in targets)
