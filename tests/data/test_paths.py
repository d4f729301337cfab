# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What the checks at the door let through and what they refuse; output is complete or absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from monai_stcnnt.data.paths import check_exists, check_output_folder, write_aside
from monai_stcnnt.errors import MissingFileError, OutputNotWritableError

__all__: list[str] = []


def test_missing_file(tmp_path: Path) -> None:
    assert check_exists(str(tmp_path)) == tmp_path
    with pytest.raises(MissingFileError, match="absent"):
        check_exists(tmp_path / "absent")


def test_output_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    folder = check_output_folder(tmp_path / "a" / "b")
    assert folder.is_dir()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["file", "file/below", "file/below/it"])
def test_output_folder_that_is_a_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputNotWritableError, match="file"):
        check_output_folder(tmp_path / name)


def test_output_folder_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OutputNotWritableError, match="Permission denied"):
        check_output_folder(tmp_path)


def test_file_takes_its_name_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "new" / "out.nii.gz"
    with write_aside(target) as aside:
        aside.write_text("done")
        assert aside.parent == target.parent
        assert aside.name.startswith(".")
        assert aside.name.endswith(".nii.gz")
        assert not target.exists()
    assert target.read_text() == "done"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "out.nii"
    target.write_text("old")

    def write_half() -> None:
        with write_aside(target) as aside:
            aside.write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_folder_is_moved_whole_or_not(tmp_path: Path) -> None:
    target = tmp_path / "series"
    with write_aside(target) as aside:
        aside.mkdir()
        (aside / "1.dcm").write_text("1")
    assert (target / "1.dcm").read_text() == "1"
    with pytest.raises(OutputNotWritableError, match="exists already"), write_aside(target) as aside:
        aside.mkdir()

    def write_half() -> None:
        with write_aside(tmp_path / "other") as aside:
            aside.mkdir()
            (aside / "1.dcm").write_text("1")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert list(tmp_path.iterdir()) == [target]


def test_place_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputNotWritableError, match="file"), write_aside(tmp_path / "file" / "out.nii") as aside:
        aside.write_text("")
