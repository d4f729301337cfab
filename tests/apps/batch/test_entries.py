# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders of one slice each become one entry where they make a stack; masks by their names are left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from monai_stcnnt.apps.batch.entries import join_slices, leave_out
from monai_stcnnt.data import list_series
from tests.apps.dicom_files import write_series

__all__: list[str] = []


def slice_folders(root: Path, count: int) -> Path:
    """A folder for each slice of a cine, with a series of its own, 8 mm apart."""
    for place in range(count):
        folder = write_series(root / f"slice{place}", np.arange(3 * 64).reshape(3, 1, 8, 8) + place, 20 + place)
        for file in folder.iterdir():
            dataset = pydicom.dcmread(file)
            dataset.ImagePositionPatient = [0, -0.8 * 8 * place, 0.6 * 8 * place]
            dataset.save_as(file)
    return root


@pytest.mark.parametrize(("count", "joined"), [(4, True), (2, False)])
def test_folders_of_slices_are_one_entry(tmp_path: Path, count: int, joined: bool) -> None:
    root = slice_folders(tmp_path / "patient", count)
    entries = list_series(tmp_path)
    assert len(entries) == count
    assert join_slices(entries, ()) == ([root] if joined else entries)


def test_what_is_no_stack_and_what_lies_elsewhere_stays_as_it_is(tmp_path: Path) -> None:
    stack = slice_folders(tmp_path / "a", 3)
    for number in (1, 2, 3):  # all in one place
        write_series(tmp_path / "b" / str(number), np.arange(3 * 64).reshape(3, 1, 8, 8), number)
    np.save(stack / "other.npy", np.zeros((2, 2)))
    entries = list_series(tmp_path)
    others = [entry for entry in entries if entry.parent != stack or entry.is_file()]
    assert set(join_slices(entries, ())) == {stack, *others}


def test_masks_are_left_out_by_their_names(tmp_path: Path) -> None:
    names = ["a_frame01.nii.gz", "a_frame01_gt.nii.gz", "b_gt_cine.nii"]
    entries = [tmp_path / name for name in names]
    for entry in entries:
        entry.touch()
    assert leave_out(entries, "_gt") == [entries[0], entries[2]]
    assert leave_out(entries[1:2], "_gt") == entries[1:2], "a file that is given by itself is meant"
