# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Bad input has one error per cause, whose message names the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monai_stcnnt import errors
from monai_stcnnt.data.formats.registry import can_read, read_series

__all__: list[str] = []

GOOD = np.arange(60, dtype=np.float32).reshape(5, 4, 3)


def with_value(value: float) -> np.ndarray:
    """The good image with one other value."""
    values = GOOD.copy()
    values[2, 2, 1] = value
    return values


@pytest.mark.parametrize(
    ("values", "error"),
    [
        (with_value(np.nan), errors.NonFiniteValuesError),
        (with_value(np.inf), errors.NonFiniteValuesError),
        (with_value(-np.inf), errors.NonFiniteValuesError),
        ((GOOD + 1j * with_value(np.nan)).astype(np.complex64), errors.NonFiniteValuesError),
        (GOOD.astype(np.float64) * 1e300, errors.NonFiniteValuesError),
        (np.full_like(GOOD, 7), errors.ConstantImageError),
        (np.zeros((5, 4, 3), np.complex64), errors.ConstantImageError),
    ],
)
def test_values_that_cannot_be_worked_on(
    make_nifti: Callable[..., Path], values: np.ndarray, error: type[Exception]
) -> None:
    path = make_nifti("in.nii.gz", values)
    with pytest.raises(error) as caught:
        read_series(path)
    assert str(path) in str(caught.value)
    assert read_series(path, check=False).array.size == values.size * (2 if np.iscomplexobj(values) else 1)


def test_an_empty_mask_is_read_without_the_check(make_nifti: Callable[..., Path]) -> None:
    assert read_series(make_nifti("mask.nii", np.zeros((5, 4, 3), np.uint8)), check=False).array.max() == 0


@pytest.mark.parametrize("name", ["notes.txt", "picture.png", "no_suffix", "table.csv", "nii"])
def test_other_files_are_no_images(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("png"):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
    else:
        path.write_text("text")
    with pytest.raises(errors.NotAnImageError, match=name):
        read_series(path)
    assert not can_read(path)


def test_picture_under_the_name_of_nifti_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "picture.nii"
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(path, format="png")
    with pytest.raises(errors.UnreadableFileError, match="picture"):
        read_series(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(errors.MissingFileError, match="absent"):
        read_series(tmp_path / "absent.nii")


def test_a_single_file_has_no_series_to_choose(make_nifti: Callable[..., Path]) -> None:
    with pytest.raises(errors.SeriesSelectionError, match="'cine'"):
        read_series(make_nifti("in.nii", GOOD), series="cine")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "A.NII.GZ", "a.b.nii"])
def test_names_of_nifti(name: str) -> None:
    assert can_read(name)
