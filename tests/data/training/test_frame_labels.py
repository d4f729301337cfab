# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Masks of some frames: those frames hold classes, the others are marked; what does not fit is refused by name."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_stcnnt.data import MNMS_TO_ACDC, UNLABELLED, LoadFrameLabelsd, read_frame_labels
from monai_stcnnt.errors import LabelShapeError, LabelValueError, LayoutError, MissingFileError

SIZE = (4, 3, 2, 5)


def save(path: Path, array: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(array.astype(np.uint8), np.eye(4)), path)
    return path


@pytest.fixture
def mask() -> np.ndarray:
    return np.random.RandomState(0).randint(0, 4, SIZE[:3])


def test_one_file_per_frame_fills_those_frames(tmp_path: Path, mask: np.ndarray) -> None:
    files = [save(tmp_path / "a.nii.gz", mask), save(tmp_path / "b.nii.gz", 3 - mask)]
    labels = read_frame_labels(files, SIZE, [0, 3])
    assert labels.shape == SIZE
    np.testing.assert_array_equal(labels[..., 0], mask)
    np.testing.assert_array_equal(labels[..., 3], 3 - mask)
    assert (labels[..., [1, 2, 4]] == UNLABELLED).all()


def test_a_file_for_all_frames_labels_those_that_hold_something_or_are_named(tmp_path: Path, mask: np.ndarray) -> None:
    array = np.zeros(SIZE)
    array[..., 1], array[..., 4] = mask, mask
    file = save(tmp_path / "a.nii.gz", array)
    labels = read_frame_labels([file], SIZE)
    assert [bool((labels[..., t] >= 0).all()) for t in range(5)] == [False, True, False, False, True]
    named = read_frame_labels([file], SIZE, [4], MNMS_TO_ACDC)
    assert (named[..., :4] == UNLABELLED).all()
    np.testing.assert_array_equal(named[..., 4], np.array([0, 3, 2, 1])[mask])


def test_the_mask_of_an_image_without_time_counts_even_when_it_is_empty(tmp_path: Path) -> None:
    labels = read_frame_labels([save(tmp_path / "a.nii.gz", np.zeros(SIZE[:3]))], SIZE[:3])
    np.testing.assert_array_equal(labels, np.zeros((*SIZE[:3], 1)))


def test_values_that_are_no_class_are_refused_with_the_file(tmp_path: Path, mask: np.ndarray) -> None:
    file = save(tmp_path / "odd.nii.gz", np.where(mask == 3, 7, mask))
    with pytest.raises(LabelValueError, match=r"odd.nii.gz holds the values \[7.0\]"):
        read_frame_labels([file], SIZE, [0])
    with pytest.raises(LabelValueError, match="the class 4 of 4"):
        read_frame_labels([file], SIZE, [0], {0: 0, 1: 1, 2: 2, 7: 4})
    half = tmp_path / "half.nii.gz"
    nib.save(nib.Nifti1Image((mask * 0.5).astype(np.float32), np.eye(4)), half)
    with pytest.raises(LabelValueError, match=r"half.nii.gz"):
        read_frame_labels([half], SIZE, [0])


def test_other_shapes_are_refused_with_the_file(tmp_path: Path, mask: np.ndarray) -> None:
    small = save(tmp_path / "small.nii.gz", mask[:, :2])
    with pytest.raises(LabelShapeError, match=r"small.nii.gz"):
        read_frame_labels([small], SIZE, [0])
    one = save(tmp_path / "one.nii.gz", mask)
    with pytest.raises(LabelShapeError, match="do not fit an image"):
        read_frame_labels([one], SIZE)
    with pytest.raises(LabelShapeError, match="do not fit an image"):
        read_frame_labels([one], SIZE, [0, 1])
    with pytest.raises(LabelShapeError, match="has 5 frames"):
        read_frame_labels([one], SIZE, [5])


def test_a_named_frame_that_is_empty_beside_filled_ones_is_refused(tmp_path: Path, mask: np.ndarray) -> None:
    array = np.zeros(SIZE)
    array[..., 0], array[..., 2] = mask, mask
    with pytest.raises(LabelValueError, match="counted from 1"):
        read_frame_labels([save(tmp_path / "a.nii.gz", array)], SIZE, [1, 3])


def test_a_missing_mask_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"gone.nii.gz"):
        read_frame_labels([tmp_path / "gone.nii.gz"], SIZE, [0])


def test_the_transform_lays_labels_beside_the_image(tmp_path: Path, mask: np.ndarray) -> None:
    image = MetaTensor(torch.rand(1, *SIZE), affine=torch.diag(torch.tensor([2.0, 2.0, 8.0, 1.0])))
    label = str(save(tmp_path / "a.nii.gz", mask))
    item: dict[Hashable, Any] = {"image": image, "label": label, "frames": [2], "label_values": None}
    out = LoadFrameLabelsd("label")(item)
    assert set(out) == {"image", "label"}
    assert out["label"].shape == image.shape
    torch.testing.assert_close(out["label"].affine, image.affine)
    assert (out["label"][..., 2] >= 0).all()
    with pytest.raises(LayoutError, match="loaded"):
        LoadFrameLabelsd("label")({**item, "image": "a.nii.gz"})
