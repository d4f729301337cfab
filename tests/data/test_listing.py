# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Lists are complete and the same everywhere; no two inputs get one output, and none leaves its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from monai_stcnnt.data.formats.registry import read_series
from monai_stcnnt.data.listing import list_series, output_path, series_datalist
from monai_stcnnt.errors import (
    EmptyImageError,
    GFactorMapError,
    MissingFileError,
    NotAnImageError,
    OutputNotWritableError,
)

__all__: list[str] = []

NAMES = ["a.nii", "a.nii.gz", "b.nii.gz", "b_denoised.nii.gz", "sub/a.nii.gz", "sub/deep/c.NII", "z.nii"]
OTHERS = [".hidden.nii", ".cache/a.nii", "notes.txt", "sub/._a.nii.gz", "picture.png"]


def fill(root: Path, names: list[str]) -> Path:
    """Make empty files below a folder."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_folder_is_listed_in_order_without_other_files(tmp_path: Path) -> None:
    root = fill(tmp_path / "in", NAMES + OTHERS)
    assert [str(path.relative_to(root)) for path in list_series(root)] == NAMES
    assert list_series(str(root)) == list_series(root)


def test_a_hidden_root_is_searched(tmp_path: Path) -> None:
    root = fill(tmp_path / ".in", ["a.nii"])
    assert list_series(root) == [root / "a.nii"]


def test_a_file_is_its_own_list(tmp_path: Path) -> None:
    root = fill(tmp_path, ["a.nii"])
    assert list_series(root / "a.nii") == [root / "a.nii"]


def test_nothing_to_list_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "in", OTHERS)
    with pytest.raises(EmptyImageError, match="in"):
        list_series(tmp_path / "in")
    with pytest.raises(NotAnImageError, match="notes"):
        list_series(tmp_path / "in" / "notes.txt")
    with pytest.raises(MissingFileError, match="absent"):
        list_series(tmp_path / "absent")


def test_datalist_without_and_with_one_map(tmp_path: Path) -> None:
    root = fill(tmp_path, ["a.nii", "b.nii", "maps/gmap.nii"])
    assert series_datalist(root / "a.nii") == [{"image": str(root / "a.nii")}]
    items = series_datalist(root / "a.nii", root / "maps" / "gmap.nii")
    assert items == [{"image": str(root / "a.nii"), "gmap": str(root / "maps" / "gmap.nii")}]


def test_datalist_with_a_folder_of_maps(tmp_path: Path) -> None:
    root, maps = fill(tmp_path / "in", ["a.nii", "sub/a.nii.gz"]), fill(tmp_path / "maps", ["a.nii.gz", "sub/a.nii.gz"])
    items = series_datalist(root, maps)
    assert [item["gmap"] for item in items] == [str(maps / "a.nii.gz"), str(maps / "sub" / "a.nii.gz")]
    assert series_datalist(root / "a.nii", maps)[0]["gmap"] == str(maps / "a.nii.gz")
    (maps / "sub" / "a.nii.gz").unlink()
    with pytest.raises(GFactorMapError, match=r"sub/a\.nii\.gz"):
        series_datalist(root, maps)
    with pytest.raises(MissingFileError, match="absent"):
        series_datalist(root, tmp_path / "absent")


@pytest.mark.parametrize("suffix", ["denoised", "_denoised", ""])
def test_different_inputs_get_different_outputs_in_the_folder(tmp_path: Path, suffix: str) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    outputs = [output_path(root / name, root, out, suffix) for name in NAMES]
    assert len(set(outputs)) == len(NAMES)
    assert all(path.is_relative_to(out) for path in outputs)
    assert [str(path.relative_to(out).parent) for path in outputs] == [str(Path(name).parent) for name in NAMES]
    assert not out.exists()


def test_names_of_outputs(tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    assert output_path(root / "a.nii.gz", root, out) == out / "a_denoised.nii.gz"
    assert output_path(root / "sub" / "a.b.nii", root, out, "x") == out / "sub" / "a.b_x.nii"
    assert output_path(root / "a.nii", root / "a.nii", out) == out / "a_denoised.nii"


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert output_path("in/a.nii", "in", "out") == tmp_path / "out" / "a_denoised.nii"
    assert output_path("in/../in/a.nii", "./in", "out") == tmp_path / "out" / "a_denoised.nii"


@pytest.mark.parametrize(
    ("file", "suffix", "message"),
    [
        ("elsewhere/a.nii", "x", "not below"),
        ("in/../elsewhere/a.nii", "x", "not below"),
        ("in/a.nii", "../x", "cannot be part of a file name"),
        ("in/a.nii", "x\0", "cannot be part of a file name"),
    ],
)
def test_outputs_do_not_escape(tmp_path: Path, file: str, suffix: str, message: str) -> None:
    with pytest.raises(OutputNotWritableError, match=message):
        output_path(tmp_path / file, tmp_path / "in", tmp_path / "out", suffix)


def test_the_input_is_never_the_output(tmp_path: Path) -> None:
    root = fill(tmp_path / "in", ["a.nii"])
    with pytest.raises(OutputNotWritableError, match="input itself"):
        output_path(root / "a.nii", root, root, "")
    (tmp_path / "link").symlink_to(root)
    with pytest.raises(OutputNotWritableError, match="input itself"):
        output_path(root / "a.nii", root, tmp_path / "link", "")


def test_dicom_folder_and_its_sub_folders_are_one_entry(make_dicom: Callable[..., Path], tmp_path: Path) -> None:
    values = np.arange(2 * 1 * 4 * 5).reshape(2, 1, 4, 5)
    make_dicom("in/study", values, change=lambda time, *_: time == 0)
    make_dicom("in/study/more", values, change=lambda time, *_: time == 1)
    make_dicom("in/other", values)
    assert list_series(tmp_path / "in") == [tmp_path / "in" / "other", tmp_path / "in" / "study"]
    np.testing.assert_array_equal(read_series(tmp_path / "in" / "study").array[0], values)
