# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The list of what was drawn, alone and as a part of a patient."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_stcnnt.data.training.drawn_structures import read_drawn_structures
from monai_stcnnt.data.training.labelled_folders import acdc_datalist
from monai_stcnnt.errors import UnreadableFileError

FRAME = {"index0": 7, "endocardial_slices": [1, 2], "epicardial_slices": [2], "slices_with_nothing_drawn": [0]}


def write(path: Path, **changes: list[int]) -> Path:
    path.write_text(json.dumps({"frames": {"frame08": {**FRAME, **changes}}}), encoding="utf-8")
    return path


def test_lists_by_frame(tmp_path: Path) -> None:
    drawn = read_drawn_structures(write(tmp_path / "labelled.json"))
    assert drawn == {7: {"cavity": [1, 2], "wall": [2], "nothing": [0]}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epicardial_slices": [3]}, r"\[3\] have an outer contour"),
        ({"slices_with_nothing_drawn": [1]}, r"\[1\] a cav"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, changes: dict[str, list[int]], said: str) -> None:
    with pytest.raises(UnreadableFileError, match=said):
        read_drawn_structures(write(tmp_path / "labelled.json", **changes))


@pytest.mark.parametrize("text", ["", "[]", '{"frames": [1]}', '{"frames": {"a": {"index0": 1}}}'])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "labelled.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UnreadableFileError, match="what was drawn"):
        read_drawn_structures(file)


def test_patients_bring_their_list(tmp_path: Path) -> None:
    folder = tmp_path / "patient001"
    folder.mkdir()
    image = nib.Nifti1Image(np.ones((4, 4, 3, 9), np.float32), np.eye(4))
    nib.save(image, folder / "patient001_4d.nii.gz")
    nib.save(image.slicer[..., 0], folder / "patient001_frame08_gt.nii.gz")
    assert "drawn" not in acdc_datalist(tmp_path)[0]
    write(folder / "labelled.json")
    assert acdc_datalist(tmp_path)[0]["drawn"][7]["wall"] == [2]
