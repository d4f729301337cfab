# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""g-factor maps from files fit their image or are refused by name."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from monai_stcnnt.data.formats.registry import read_series
from monai_stcnnt.data.gfactor import read_gfactor_map
from monai_stcnnt.errors import GFactorMapError, MissingFileError

__all__: list[str] = []


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3), (5, 4, 3, 1), (5, 4, 3, 7), (5, 4, 1)])
def test_map_broadcasts_over_the_image(make_nifti: Callable[..., Path], shape: tuple[int, ...]) -> None:
    image = read_series(make_nifti("in.nii", np.arange(420.0).reshape(5, 4, 3, 7)))
    values = np.linspace(1, 2, np.prod(shape)).reshape(shape)
    gmap = read_gfactor_map(make_nifti("gmap.nii", values), image)
    assert gmap.dtype == np.float32
    assert np.broadcast_shapes(gmap.shape, image.array.shape) == image.array.shape
    np.testing.assert_allclose(gmap.transpose(4, 3, 2, 1, 0).reshape(shape), values, rtol=1e-6)


def test_constant_map_is_taken(make_nifti: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    image = read_series(make_nifti("in.nii", np.arange(60.0).reshape(5, 4, 3)))
    assert read_gfactor_map(make_nifti("gmap.nii", np.ones((5, 4, 3))), image).max() == 1
    assert caplog.text == ""


def test_other_affine_is_logged(make_nifti: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    image = read_series(make_nifti("in.nii", np.arange(60.0).reshape(5, 4, 3)))
    path = make_nifti("gmap.nii", np.ones((5, 4, 3)), codes=(0, 1), srow_x=[0, 3, 0, 0])
    with caplog.at_level(logging.WARNING, "monai_stcnnt"):
        read_gfactor_map(path, image)
    assert "another affine" in caplog.text


def test_bad_map_is_named(make_nifti: Callable[..., Path], tmp_path: Path) -> None:
    image = read_series(make_nifti("in.nii", np.arange(60.0).reshape(5, 4, 3)))
    with pytest.raises(GFactorMapError, match=r"gmap\.nii"):
        read_gfactor_map(make_nifti("gmap.nii", np.zeros((5, 4, 3))), image)
    with pytest.raises(GFactorMapError, match=r"gmap\.nii"):
        read_gfactor_map(make_nifti("gmap.nii", np.ones((4, 5, 3))), image)
    with pytest.raises(MissingFileError, match=r"none\.nii"):
        read_gfactor_map(tmp_path / "none.nii", image)
