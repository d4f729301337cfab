# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""A format is one module and one row: commands, folders, resumed batches and errors work without knowing it."""

from __future__ import annotations

import ast
import json
import os
import shutil
import sys
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pytest

from monai_stcnnt.apps import describe
from monai_stcnnt.apps.cli.app import main
from monai_stcnnt.data import SeriesRecord, read_series, regular_frame_times
from monai_stcnnt.data.formats import registry
from monai_stcnnt.data.formats.base import Format, refuse_series
from monai_stcnnt.errors import UnreadableFileError
from tests.apps.batches import run, write_nifti
from tests.apps.dicom_files import moving_disc

__all__: list[str] = []

PACKAGE = Path(registry.__file__).parents[2]


class Toy(Format):
    """A header in JSON, and the values beside it."""

    name, label, extensions = "toy", "Toy images", (".toy",)

    def files_of(self, path: Path) -> list[Path]:
        return [path, path.with_suffix(".values")]

    def read(self, path: Path, *, series: str | int | None = None) -> SeriesRecord:
        refuse_series(path, series)
        shape = json.loads(path.read_text(encoding="utf-8"))
        values = np.fromfile(path.with_suffix(".values"), np.float32)
        if values.size != np.prod(shape):
            raise UnreadableFileError(f"{path} has {values.size} values, not those of {shape}. Copy it again.")
        metadata = {"source": str(path), "file_format": self.name, "file_ndim": 4}
        return SeriesRecord(values.reshape(shape), np.eye(4), regular_frame_times(shape[1], 40.0), metadata)

    def result_extension(self, path: Path, kind: str) -> str:  # noqa: ARG002
        return ".nii.gz"


@pytest.fixture
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "FORMATS", (Toy(), *registry.FORMATS))


def write_toy(path: Path) -> Path:
    values = moving_disc(2, 1, 16)[None].astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values.shape), encoding="utf-8")
    values.tofile(path.with_suffix(".values"))
    return path


def write_parrec(path: Path) -> Path:
    """Copy a phantom that comes with nibabel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for file in (path, path.with_suffix(".REC")):
        with as_file(files("nibabel") / "tests" / "data" / file.name) as source:
            shutil.copy(source, file)
    return path


def write_mhd(path: Path) -> Path:
    sitk = pytest.importorskip("SimpleITK")
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(moving_disc(2, 1, 16)[:, 0].astype(np.float32)), str(path))
    return path


def run_command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["stcnnt", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


@pytest.mark.usefixtures("_toy")
def test_a_format_of_one_row_has_all_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = write_toy(tmp_path / "in" / "a.toy")
    write_nifti(tmp_path / "in" / "b.nii")
    [summary] = describe(toy)
    assert (summary.file_format, summary.shape, summary.files) == ("toy", (16, 16, 1, 2), 2)
    assert [s.file_format for s in describe(tmp_path / "in")] == ["toy", "nifti"]
    assert run_command(monkeypatch, "info", toy) == 0
    assert "Toy images" in capsys.readouterr().out

    assert run_command(monkeypatch, "denoise", toy, tmp_path / "one", "--noise-sigma", 20, "--quiet") == 0
    assert read_series(tmp_path / "one" / "a_denoised.nii.gz").array.shape == (1, 2, 1, 16, 16)
    assert run_command(monkeypatch, "denoise", tmp_path / "in", tmp_path / "out", "--noise-sigma", 20, "--quiet") == 0
    assert (tmp_path / "out" / "a_denoised.nii.gz").is_file()
    assert (tmp_path / "out" / "b_denoised.nii").is_file()

    toy.with_suffix(".values").write_bytes(b"\0" * 8)
    capsys.readouterr()
    assert run_command(monkeypatch, "info", toy) == 2
    assert run_command(monkeypatch, "denoise", toy, tmp_path / "two", "--quiet") == 2
    assert "a.toy has 2 values" in "".join(capsys.readouterr())
    assert not list((tmp_path / "two").glob("*.nii.gz"))
    assert run_command(monkeypatch, "denoise", tmp_path / "in", tmp_path / "three", "--quiet") == 3
    assert "a.toy has 2 values" in "".join(capsys.readouterr())
    assert [path.name for path in (tmp_path / "three").glob("*.nii*")] == ["b_denoised.nii"]


@pytest.mark.usefixtures("_toy")
@pytest.mark.parametrize(
    ("write", "name", "second", "dtype"),
    [
        (write_toy, "a.toy", "a.values", "<f4"),
        (write_mhd, "a.mhd", "a.raw", "<f4"),
        (write_mhd, "a.nhdr", "a.raw", "<f4"),
        (write_parrec, "phantom_EPI_asc_CLEAR_2_1.PAR", "phantom_EPI_asc_CLEAR_2_1.REC", "<u2"),
    ],
)
def test_a_change_of_the_second_file_makes_the_result_stale(
    tmp_path: Path, write: Callable[[Path], Path], name: str, second: str, dtype: str
) -> None:
    image = write(tmp_path / "in" / name)
    data = image.with_name(second)
    write_nifti(tmp_path / "in" / "b.nii")
    first = run(tmp_path / "in", tmp_path / "out")
    assert (len(first.saved), len(first.skipped)) == (2, 0)
    assert len(run(tmp_path / "in", tmp_path / "out").skipped) == 2
    [before] = [path for path in (tmp_path / "out").glob(f"{image.stem}_denoised.*") if path.suffix != ".json"]
    mean = read_series(before).array.mean()

    values = np.fromfile(data, dtype)
    (values * 3).tofile(data)
    os.utime(data, (1, 1))
    assert len(run(tmp_path / "in", tmp_path / "out").skipped) == 1
    assert read_series(before).array.mean() == pytest.approx(3 * mean, rel=0.1)


def names_compared(path: Path) -> list[str]:
    """Formats' names that a source file compares with, or looks up."""
    names = {row.name for row in registry.FORMATS}
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Compare):
            parts: list[ast.AST] = [node.left, *node.comparators]
        elif isinstance(node, ast.Dict):
            parts = [key for key in node.keys if key is not None]
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        else:
            continue
        constants = [n.value for part in parts for n in ast.walk(part) if isinstance(n, ast.Constant)]
        found += [f"{path.name}:{node.lineno} {value}" for value in constants if value in names]
    return found


def test_no_format_is_known_by_its_name_outside_of_the_formats() -> None:
    files = [path for path in PACKAGE.rglob("*.py") if (PACKAGE / "data" / "formats") not in path.parents]
    assert len(files) > 100
    assert [fault for path in files for fault in names_compared(path)] == []


@pytest.mark.parametrize(
    "source", ['if kind == "dicom": x', 'x = {"numpy": ".npy"}[kind]', 'match kind:\n    case "itk":\n        x',
               'if kind in ("nifti", "x"): x'],
)  # fmt: skip
def test_a_name_that_is_compared_is_found(tmp_path: Path, source: str) -> None:
    (tmp_path / "a.py").write_text(source, encoding="utf-8")
    assert names_compared(tmp_path / "a.py")
