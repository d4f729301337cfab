# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""MetaImage and NRRD keep values, geometry and frame times; without SimpleITK the error says what to install."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from monai_stcnnt import errors
from monai_stcnnt.data.formats.itk import Itk, read_itk, write_itk
from monai_stcnnt.data.formats.nifti import read_nifti
from monai_stcnnt.data.formats.nifti_writer import write_nifti
from monai_stcnnt.data.formats.registry import read_series
from monai_stcnnt.data.listing import list_series

__all__: list[str] = []

sitk = pytest.importorskip("SimpleITK")


@pytest.mark.parametrize("shape", [(6, 5, 4), (6, 5, 4, 3), (6, 5, 1)])
@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_round_trip(make_nifti: Callable[..., Path], tmp_path: Path, shape: tuple[int, ...], suffix: str) -> None:
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    record = read_nifti(make_nifti("in.nii", values, codes=(1, 0)))
    path = write_itk(record, tmp_path / f"out{suffix}")
    again = read_series(path)
    np.testing.assert_array_equal(again.to_spatial(), values)
    np.testing.assert_allclose(again.affine, record.affine, atol=1e-4)
    np.testing.assert_allclose(again.frame_times, record.frame_times, rtol=1e-5)
    assert path in list_series(tmp_path)


def test_geometry_agrees_with_nifti_read_by_simpleitk(make_nifti: Callable[..., Path], tmp_path: Path) -> None:
    path = make_nifti("in.nii", np.arange(120, dtype=np.float32).reshape(6, 5, 4), codes=(1, 0))
    record = read_nifti(path)
    write_nifti(record, tmp_path / "plain.nii")
    sitk.WriteImage(sitk.ReadImage(str(tmp_path / "plain.nii")), str(tmp_path / "other.mha"))
    other = read_itk(tmp_path / "other.mha")
    np.testing.assert_array_equal(other.array, record.array)
    np.testing.assert_allclose(other.affine, record.affine, atol=1e-4)


def test_errors_quote_nothing_of_a_damaged_header(tmp_path: Path) -> None:
    path = tmp_path / "a.nrrd"
    path.write_bytes(b"NRRD0004\ntype: short\ndimension: 3\nSecret^Name\nsizes: 2 2 2\nencoding: raw\n\n" + bytes(16))
    with pytest.raises(errors.UnreadableFileError) as caught:
        read_itk(path)
    assert "Secret" not in "".join(traceback.format_exception(caught.value))


def test_plane_and_complex_image(tmp_path: Path) -> None:
    values = np.arange(20, dtype=np.float32).reshape(4, 5)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / "plane.mha"))
    assert read_itk(tmp_path / "plane.mha").array.shape == (1, 1, 1, 4, 5)
    image = sitk.GetImageFromArray((values - 2j * values).astype(np.complex64))
    sitk.WriteImage(image, str(tmp_path / "complex.nrrd"))
    record = read_itk(tmp_path / "complex.nrrd")
    np.testing.assert_array_equal(record.array[:, 0, 0], np.stack([values, -2 * values]))
    with pytest.raises(errors.OutputNotWritableError, match="magnitude"):
        write_itk(record, tmp_path / "out.mha")


def test_vectors_and_damage_are_refused(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5, 3), np.uint8), isVector=True), str(tmp_path / "color.mha"))
    with pytest.raises(errors.NotAnImageError, match="colors"):
        read_itk(tmp_path / "color.mha")
    (tmp_path / "broken.nrrd").write_bytes(b"broken")
    with pytest.raises(errors.UnreadableFileError, match="broken"):
        read_itk(tmp_path / "broken.nrrd")
    with pytest.raises(errors.MissingFileError, match="absent"):
        read_itk(tmp_path / "absent.mha")


def test_without_simpleitk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in.mha").touch()
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(errors.UnreadableFileError, match="pip install SimpleITK"):
        read_itk(tmp_path / "in.mha")


@pytest.mark.parametrize(("name", "expected"), [("a.mha", True), ("a.NRRD", True), ("a.mhd", True), ("a.nii", False)])
def test_names(name: str, expected: bool) -> None:
    assert Itk().has_name(Path(name)) is expected
