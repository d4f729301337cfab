# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What the checks at the door let through and what they refuse."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from monai_stcnnt.data.checks import check_exists, check_gfactor_map, check_image, check_output_folder
from monai_stcnnt.errors import EmptyImageError, GFactorMapError, MissingFileError, OutputNotWritableError

__all__: list[str] = []

IMAGE_SHAPE = (1, 7, 3, 4, 5)


@pytest.mark.parametrize("shape", [IMAGE_SHAPE, (1, 1, 3, 4, 5), (1, 1, 1, 4, 5), (1, 7, 1, 4, 5), (1, 1, 1, 1, 1)])
def test_maps_that_broadcast_are_taken(shape: tuple[int, ...]) -> None:
    check_gfactor_map(np.full(shape, 1.3), IMAGE_SHAPE)
    check_gfactor_map(np.full(shape, 1.3), (2, *IMAGE_SHAPE[1:]))


@pytest.mark.parametrize(
    ("gmap", "message"),
    [
        (np.ones((1, 1, 3, 5, 4)), r"\(4, 5, 3, 1\).*\(5, 4, 3, 7\)"),
        (np.ones((1, 1, 2, 4, 5)), "sizes"),
        (np.ones((1, 6, 3, 4, 5)), "sizes"),
        (np.ones((2, 1, 3, 4, 5)), "channels"),
        (np.ones((1, 1, 3, 4, 5), complex), "complex"),
        (np.zeros((1, 1, 3, 4, 5)), "60 values of 60"),
        (np.where(np.arange(60).reshape(1, 1, 3, 4, 5) == 7, -1, 1), "1 values of 60"),
        (np.where(np.arange(60).reshape(1, 1, 3, 4, 5) == 7, np.nan, 1), "1 values of 60"),
        (np.where(np.arange(60).reshape(1, 1, 3, 4, 5) == 7, np.inf, 1), "1 values of 60"),
    ],
)
def test_other_maps_are_refused(gmap: np.ndarray, message: str) -> None:
    with pytest.raises(GFactorMapError, match=message):
        check_gfactor_map(gmap, IMAGE_SHAPE)


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
