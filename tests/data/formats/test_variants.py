# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Volumes as other software leaves them: packed under another name, in two files, without voxel sizes, with NaN."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_stcnnt import errors
from monai_stcnnt.data import files_of, list_images, list_series, open_series, read_series, write_series
from monai_stcnnt.data.formats.registry import result_extension

__all__: list[str] = []

VALUES = np.random.default_rng(0).integers(1, 4000, (6, 5, 4, 3)).astype(np.float32)
AFFINE = np.array([[-2, 0.1, 0, 90], [0.1, 2, 0.2, -100], [0, -0.2, 3, -50], [0, 0, 0, 1.0]])


@pytest.mark.parametrize(
    ("name", "pack"),
    [("a.nii", gzip.compress), ("a.nii.bz2", bz2.compress), ("a.nii.gz", bytes), ("a.nii", bz2.compress)],
)
@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_files_are_unpacked_by_their_content(
    make_nifti: Callable[..., Path], tmp_path: Path, name: str, pack: Callable[[bytes], bytes], memory: int
) -> None:
    plain = make_nifti("plain.nii", VALUES)
    path = tmp_path / "in" / name
    path.parent.mkdir()
    path.write_bytes(pack(plain.read_bytes()))
    assert list_series(path.parent) == [path]
    with open_series(path, memory=memory) as slabs:
        np.testing.assert_array_equal(slabs.read(slice(0, 3), slice(0, 4))[0].transpose(3, 2, 1, 0), VALUES)
    np.testing.assert_array_equal(read_series(path).to_spatial(), VALUES)
    assert result_extension(path, "nifti", "magnitude") in (".nii", ".nii.gz")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(errors.UnreadableFileError):
        read_series(path)


def test_header_and_values_in_two_files(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Pair(VALUES, AFFINE), tmp_path / "a.hdr")
    assert list_series(tmp_path) == [tmp_path / "a.hdr"]
    assert files_of(tmp_path / "a.hdr") == [tmp_path / "a.hdr", tmp_path / "a.img"]
    for name in ("a.hdr", "a.img"):
        record = read_series(tmp_path / name)
        np.testing.assert_array_equal(record.to_spatial(), VALUES)
        np.testing.assert_allclose(record.affine, AFFINE, atol=1e-6)
    again = read_series(write_series(record, tmp_path / "out" / "a.nii.gz"))
    np.testing.assert_array_equal(again.array, record.array)
    np.testing.assert_allclose(again.affine, record.affine)
    (tmp_path / "a.img").unlink()
    assert list_series(tmp_path) == [tmp_path / "out" / "a.nii.gz"]


def test_files_of_freesurfer(tmp_path: Path) -> None:
    image = nib.MGHImage(VALUES, AFFINE)
    image.header["tr"] = 2500
    nib.save(image, tmp_path / "a.mgz")
    record = read_series(tmp_path / "a.mgz")
    np.testing.assert_array_equal(record.to_spatial(), VALUES)
    np.testing.assert_allclose(record.affine, AFFINE, atol=1e-5)
    np.testing.assert_allclose(record.frame_times, [0, 2500, 5000])
    (tmp_path / "a.mgz").write_bytes((tmp_path / "a.mgz").read_bytes()[:200])
    with pytest.raises(errors.UnreadableFileError, match=r"a\.mgz"):
        read_series(tmp_path / "a.mgz")


@pytest.mark.parametrize("qform_code", [0, 1])
def test_voxel_sizes_of_pixdim_win_over_a_sform_without_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, qform_code: int
) -> None:
    image = nib.Nifti1Image(VALUES, None)
    image.header.set_qform(np.diag([-1.4, -1.4, 17.7, 1]), qform_code)
    image.header.set_sform(np.diag([-1, -1, 1, 1]), 1)
    image.header["pixdim"][1:4] = [1.4, 1.4, 17.7]
    nib.save(image, tmp_path / "a.nii")
    record = read_series(tmp_path / "a.nii")
    np.testing.assert_allclose(record.affine, np.diag([-1.4, -1.4, 17.7, 1]), atol=1e-6)
    assert "which are taken" in caplog.text
    assert list_images(tmp_path / "a.nii")[0].remarks
    again = read_series(write_series(record, tmp_path / "b.nii"))
    np.testing.assert_allclose(again.affine, record.affine, atol=1e-6)
    assert not again.metadata["remarks"]


def test_a_quaternion_that_is_too_long_does_not_stop_voxel_sizes(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VALUES, None)
    image.header.set_qform(np.diag([-1.4, -1.4, 17.7, 1]), 1)
    image.header.set_sform(np.diag([-1, -1, 1, 1]), 1)
    image.header["pixdim"][1:4] = [1.4, 1.4, 17.7]
    image.header["quatern_b"] = image.header["quatern_c"] = 0.8
    nib.save(image, tmp_path / "a.nii")
    np.testing.assert_allclose(read_series(tmp_path / "a.nii").affine, np.diag([-1.4, -1.4, 17.7, 1]), atol=1e-6)


def test_a_pixdim_that_was_never_set_does_not_win(tmp_path: Path) -> None:
    affine = np.diag([-1.4, -1.4, 17.7, 1])
    image = nib.Nifti1Image(VALUES, None)
    image.header.set_sform(affine, 1)
    image.header["pixdim"][1:4] = 1
    nib.save(image, tmp_path / "a.nii")
    record = read_series(tmp_path / "a.nii")
    np.testing.assert_allclose(record.affine, affine, atol=1e-6)
    assert not record.metadata["remarks"]


@pytest.mark.parametrize(("step", "known"), [(0.033, True), (2.0, True), (2000.0, False)])
def test_a_frame_time_without_unit_has_to_be_plausible(
    make_nifti: Callable[..., Path], step: float, known: bool
) -> None:
    times = read_series(make_nifti("a.nii", VALUES, frame_time=step, units=("mm", "unknown"))).frame_times
    assert bool(np.isfinite(times).all()) is known


@pytest.mark.parametrize("memory", [0, 1 << 30])
def test_nan_around_the_head_stays_nan(tmp_path: Path, memory: int) -> None:
    values = VALUES.copy()
    values[0], values[:, 0, :2] = np.nan, np.nan
    nib.save(nib.Nifti1Image(values, AFFINE), tmp_path / "a.nii.gz")
    with open_series(tmp_path / "a.nii.gz", memory=memory) as slabs:
        record = slabs.record()
    assert np.isfinite(record.array).all()
    assert "are NaN" in record.metadata["remarks"][0]
    for name in ("b.nii", "b.npy"):
        write_series(record, tmp_path / name)
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "b.nii").dataobj), values)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), values.swapaxes(0, 1))
    values[3, 2, 1] = np.nan
    nib.save(nib.Nifti1Image(values, AFFINE), tmp_path / "a.nii.gz")
    with pytest.raises(errors.NonFiniteValuesError):
        read_series(tmp_path / "a.nii.gz")


def test_a_sequence_of_slicer(tmp_path: Path) -> None:
    pytest.importorskip("SimpleITK")
    values = VALUES.astype("<i2")
    header = (
        "NRRD0004\ntype: short\ndimension: 4\nspace: left-posterior-superior\nsizes: 3 6 5 4\n"
        "space directions: none (2,0,0) (0,2,0) (0,0,3)\nkinds: list domain domain domain\nendian: little\n"
        "encoding: raw\nspace origin: (0,0,0)\n\n"
    )
    (tmp_path / "a.seq.nrrd").write_bytes(header.encode() + np.moveaxis(values, -1, 0).tobytes(order="F"))
    np.testing.assert_array_equal(read_series(tmp_path / "a.seq.nrrd").to_spatial(), VALUES)
