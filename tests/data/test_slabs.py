# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Series that are read a slab at a time: the same values as read at once, and the same refusals."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from monai_stcnnt.data import SeriesReader, open_series, read_series
from monai_stcnnt.data.record import outline_of
from monai_stcnnt.data.slabs import MemorySlabs
from monai_stcnnt.data.slabs import SeriesSlabs as Slabs
from monai_stcnnt.errors import (
    ChangedFileError,
    ConstantImageError,
    EmptyImageError,
    NonFiniteValuesError,
    OutputNotWritableError,
    SeriesSelectionError,
    StcnntError,
    UnreadableFileError,
)
from tests.apps.dicom_files import moving_disc, write_series

__all__: list[str] = []


def assert_same(path: Path, **options: str) -> None:
    """Hold slabs of a file to what is read at once: values, geometry, times, metadata."""
    whole = read_series(path, **options)  # type: ignore[arg-type]
    with open_series(path, memory=0, **options) as series:  # type: ignore[arg-type]
        assert not isinstance(series, MemorySlabs)
        assert series.shape == whole.array.shape
        values = np.full(series.shape, np.nan, np.float32)
        times, slices = series.shape[1:3]
        for first in range(0, times, 2):
            for place in range(slices):
                frames, one = slice(first, min(first + 2, times)), slice(place, place + 1)
                slab = series.read(frames, one)
                assert slab.dtype == np.float32
                values[:, frames, one] = slab
        np.testing.assert_array_equal(values, whole.array)
        np.testing.assert_array_equal(series.outline.affine, whole.affine)
        np.testing.assert_array_equal(series.outline.frame_times, whole.frame_times)
        assert set(series.meta) == set(whole.metadata)
        for key, value in whole.metadata.items():
            np.testing.assert_array_equal(series.meta[key], value)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int16", "complex64"])
@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 4), (6, 5, 1, 7), (6, 5, 3, 7)])
def test_nifti(make_nifti: Callable[..., Path], suffix: str, dtype: str, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).normal(100, 30, shape).astype(dtype)
    if dtype == "complex64":
        values = (values * np.exp(1j * np.arange(values.size).reshape(shape))).astype(dtype)
    assert_same(make_nifti(f"scan{suffix}", values))


def test_nifti_with_a_slope_a_pair_of_parts_and_version_2(make_nifti: Callable[..., Path]) -> None:
    values = np.random.default_rng(0).integers(0, 1000, (6, 5, 3, 7)).astype(np.int16)
    assert_same(make_nifti("scaled.nii", values, slope=(0.37, -12.5)))
    pair = np.random.default_rng(0).normal(size=(6, 5, 3, 7, 2)).astype(np.float32)
    assert_same(make_nifti("pair.nii.gz", pair))
    assert_same(make_nifti("two.nii", values, version=2))


def test_dicom(tmp_path: Path, make_dicom: Callable[..., Path], make_enhanced: Callable[..., Path]) -> None:
    values = np.random.default_rng(0).integers(0, 1000, (5, 3, 7, 6))
    assert_same(make_dicom("classic", values))
    assert_same(make_enhanced("enhanced.dcm", values))
    source = tmp_path / "complex"
    write_series(source, moving_disc(3, 2), 8)
    write_series(source, moving_disc(3, 2, seed=1), 10, "P", (2.0, -4096.0))
    assert_same(source, series="8+10")


def test_real_files(shared_data: Path) -> None:
    for name in ("cine_sax_bivme/dicom_one_slice_Se2", "dicom_siemens_mosaic_fmri", "brain_t1_siemens_xa30_enhanced"):
        folder = shared_data / name
        assert_same(next(iter(sorted(folder.rglob("*.dcm")))).parent)


def test_small_series_and_other_formats_are_read_at_once(tmp_path: Path, make_nifti: Callable[..., Path]) -> None:
    values = np.random.default_rng(0).normal(size=(6, 5, 3, 7)).astype(np.float32)
    np.save(tmp_path / "array.npy", values)
    for path in (make_nifti("scan.nii", values), tmp_path / "array.npy"):
        with SeriesReader().open(path) as series:
            assert isinstance(series, MemorySlabs)
            np.testing.assert_array_equal(series.read(slice(2, 4), slice(1, 2)), read_series(path).array[:, 2:4, 1:2])


@pytest.mark.parametrize(
    ("value", "error"), [(np.nan, NonFiniteValuesError), (np.inf, NonFiniteValuesError), (None, ConstantImageError)]
)
def test_what_cannot_be_worked_on_is_refused(
    make_nifti: Callable[..., Path], value: float | None, error: type[Exception]
) -> None:
    values = np.random.default_rng(0).normal(size=(6, 5, 3, 7)).astype(np.float32)
    values[2, 3, 1, 4] = 0 if value is None else value
    path = make_nifti("scan.nii", values * (value is not None))
    with pytest.raises(error) as large:
        open_series(path, memory=0)
    with pytest.raises(error) as small:
        read_series(path)
    assert str(large.value) == str(small.value)
    open_series(path, memory=0, check=False).close()


def test_errors_are_those_of_reading_at_once(tmp_path: Path, make_nifti: Callable[..., Path]) -> None:
    path = make_nifti("scan.nii.gz", np.random.default_rng(0).normal(size=(6, 5, 3, 7)).astype(np.float32))
    packed = path.read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "sum.nii.gz").write_bytes(packed[:-6] + b"\0\0" + packed[-4:])
    (tmp_path / "empty").mkdir()
    for name, error in (("cut.nii.gz", UnreadableFileError), ("sum.nii.gz", UnreadableFileError),
                        ("empty", EmptyImageError)):  # fmt: skip
        with pytest.raises(error):
            open_series(tmp_path / name, memory=0)
    with pytest.raises(SeriesSelectionError):
        open_series(path, series="8", memory=0)


@pytest.mark.parametrize("how", ["rewritten", "truncated", "replaced", "removed"])
def test_a_file_that_changes_meanwhile_is_noticed(make_nifti: Callable[..., Path], how: str) -> None:
    values = np.random.default_rng(0).normal(size=(6, 5, 3, 7)).astype(np.float32)
    path = make_nifti("scan.nii", values)
    series = open_series(path, memory=0)
    content = path.read_bytes()
    if how == "rewritten":
        path.write_bytes(content)
        os.utime(path, ns=(0, 0))
    elif how == "truncated":
        path.write_bytes(content[:-100])
    elif how == "replaced":
        other = path.with_name("other.nii")
        other.write_bytes(content)
        other.replace(path)
    else:
        path.unlink()
    with pytest.raises(ChangedFileError, match=r"scan\.nii was changed"):
        series.read(slice(5, 7), slice(2, 3))
    with pytest.raises(ChangedFileError):
        series.close()


def test_a_dicom_file_that_changes_meanwhile_is_noticed(make_dicom: Callable[..., Path]) -> None:
    folder = make_dicom("classic", np.random.default_rng(0).integers(0, 1000, (3, 2, 7, 6)))
    series = open_series(folder, memory=0)
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes()[:-40])
    series.release()
    with pytest.raises(ChangedFileError):
        series.read(slice(0, 3), slice(0, 2))


def test_no_room_to_unpack_is_an_error_that_says_so(tmp_path: Path, make_nifti: Callable[..., Path]) -> None:
    path = make_nifti("scan.nii.gz", np.zeros((64, 64, 4, 7), np.float32))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        with pytest.raises(OutputNotWritableError, match="cannot be unpacked"):
            open_series(path, memory=0, scratch=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == [path.name]


class Endless(Slabs):
    """A series of any size that remembers what was read."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(outline_of(shape, np.eye(4), np.full(shape[1], np.nan), {}), [])

    def _read(self, frames: slice, slices: slice) -> np.ndarray:
        return np.zeros((self.shape[0], frames.stop - frames.start, slices.stop - slices.start, *self.shape[3:]))

    def release(self) -> None:
        """Nothing is open."""


def test_a_sample_is_all_of_a_small_series_and_a_spread_part_of_a_large_one() -> None:
    assert Endless((1, 4, 3, 5, 6)).sample_places() == [(slice(0, 4), slice(0, 3))]
    large = Endless((2, 1000, 40, 256, 256)).sample_places(8_000_000)
    assert all(frames == slice(494, 506) for frames, _ in large)
    assert [one.start for _, one in large] == [0, 10, 20, 29, 39]
    assert Endless((1, 5, 3, 5000, 5000)).sample_places(8_000_000) == [(slice(2, 3), slice(0, 1))]
    volume = Endless((1, 1, 5000, 256, 256)).sample_places(8_000_000)
    assert len(volume) == 122
    assert volume[0] == (slice(0, 1), slice(0, 1))
    assert volume[-1] == (slice(0, 1), slice(4999, 5000))


@pytest.mark.parametrize("shape", [(1, 7, 5, 4, 4), (2, 1, 9, 4, 4), (1, 9, 1, 4, 4), (1, 3, 2, 40, 40)])
@pytest.mark.parametrize("most", [1, 100, 200, 10_000])
def test_slabs_of_all_hold_every_plane_once(shape: tuple[int, ...], most: int) -> None:
    seen = np.zeros(shape[1:3], int)
    for frames, slices in Endless(shape).all_places(most):
        assert seen[frames, slices].size * shape[0] * shape[3] * shape[4] <= max(most, shape[0] * shape[3] * shape[4])
        seen[frames, slices] += 1
    assert (seen == 1).all()


def test_errors_have_one_base() -> None:
    assert issubclass(ChangedFileError, StcnntError)
    assert issubclass(ChangedFileError, OSError)
