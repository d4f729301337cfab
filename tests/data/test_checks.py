# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What the checks at the door let through and what they refuse."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from monai_stcnnt.data.checks import check_exists, check_image, check_output_folder
from monai_stcnnt.errors import EmptyImageError, MissingFileError, OutputNotWritableError

__all__: list[str] = []


def test_an_image_without_voxels_is_refused() -> None:
    with pytest.raises(EmptyImageError, match="scan"):
        check_image(np.zeros((0, 4)), "scan")


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
