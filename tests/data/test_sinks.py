# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Results that are written as they come: the same files as written at once, whole or not there."""

from __future__ import annotations

import gzip
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
import pytest

from monai_stcnnt.data import SaveSeries, SeriesRecord, SeriesSink, read_series, write_nifti
from monai_stcnnt.data.formats.nifti_writer import NiftiSink
from monai_stcnnt.data.record import outline_of
from monai_stcnnt.errors import LayoutError, OutputNotWritableError

__all__: list[str] = []


def fill(sink: SeriesSink, values: np.ndarray) -> None:
    """Write ``(C, T, Z, Y, X)`` slab by slab, slices in a mixed order."""
    times, slices = values.shape[1:3]
    for place in np.random.default_rng(1).permutation(slices).tolist():
        for first in range(0, times, 3):
            frames, one = slice(first, min(first + 3, times)), slice(place, place + 1)
            sink.write(frames, one, values[:, frames, one])


def outline(record: SeriesRecord) -> SeriesRecord:
    return outline_of(record.array.shape, record.affine, record.frame_times, record.metadata)


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    """Let files grow to a size only, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def unpacked(path: Path) -> bytes:
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("shape", "kind", "version"),
    [((6, 5), "f4", 1), ((6, 5, 4), "f4", 2), ((6, 5, 1, 7), "i2", 1), ((6, 5, 3, 7), "f4", 1), ((6, 5, 3, 7), "c8", 1),
     ((6, 5, 3, 7, 2), "f4", 1), ((1, 1, 3, 7), "f4", 1), ((6, 5, 3, 1, 1), "c8", 1)],
)  # fmt: skip
def test_nifti_files_are_those_that_are_written_at_once(
    tmp_path: Path, make_nifti: Callable[..., Path], suffix: str, dtype: str, shape: tuple[int, ...], kind: str,
    version: int,
) -> None:  # fmt: skip
    values = np.random.default_rng(0).normal(0, 100, shape).astype(kind)
    record = read_series(make_nifti("scan.nii", values, version=version))
    whole = write_nifti(record, tmp_path / f"whole{suffix}", dtype=dtype)  # type: ignore[arg-type]
    target = tmp_path / f"slabs{suffix}"
    with NiftiSink(outline(record), target, dtype) as sink:  # type: ignore[arg-type]
        fill(sink, record.array)
        assert not target.exists()
    assert unpacked(target) == unpacked(whole)
    assert sorted(os.listdir(tmp_path)) == sorted(["scan.nii", whole.name, target.name])


@pytest.mark.parametrize("memory", [0, 1 << 30])
@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_a_saver_writes_every_format_as_at_once(
    tmp_path: Path, make_dicom: Callable[..., Path], make_nifti: Callable[..., Path], memory: int, dtype: str
) -> None:
    values = np.random.default_rng(0).integers(0, 1000, (5, 3, 7, 6))
    np.save(tmp_path / "array.npy", values.transpose(2, 3, 1, 0).astype(np.float32))
    sources = [make_dicom("scan", values), tmp_path / "array.npy", make_nifti("a.nii", values.astype(np.float32).T)]
    for source in sources:
        record = read_series(source)
        record = record.with_array(record.array * 1.37 + 0.1)
        saver = SaveSeries(tmp_path / "out", dtype=dtype, uid_seed="x")  # type: ignore[arg-type]
        with saver.open(outline(record), memory=memory) as sink:
            fill(sink, record.array)
        saved = read_series(sink.path)
        tolerance = 0 if dtype == "float32" and source.suffix else 0.05
        np.testing.assert_allclose(saved.array, record.array, atol=tolerance)
        np.testing.assert_allclose(saved.affine, record.affine, atol=1e-5)
        if sink.path.is_dir():
            headers = [pydicom.dcmread(file) for file in sorted(sink.path.iterdir())]
            assert [header.InstanceNumber for header in headers] == list(range(1, 16))
            with pytest.raises(OutputNotWritableError, match="exists already"):
                saver.open(outline(record))
    assert sorted(os.listdir(tmp_path / "out")) == ["a_denoised.nii", "array_denoised.npy", "scan_denoised"]


def test_a_saver_can_be_told_the_file(tmp_path: Path, make_nifti: Callable[..., Path]) -> None:
    record = read_series(make_nifti("scan.nii", np.random.default_rng(0).normal(size=(6, 5, 4)).astype(np.float32)))
    saver = SaveSeries(tmp_path, output_file=tmp_path / "sub" / "b.nii.gz")
    with saver.open(outline(record)) as sink:
        fill(sink, record.array)
    np.testing.assert_array_equal(read_series(tmp_path / "sub" / "b.nii.gz").array, record.array)
    with pytest.raises(LayoutError, match="source"):
        saver.open(outline_of((1, 1, 1, 2, 2), np.eye(4), np.zeros(1), {}))


@pytest.mark.parametrize("name", ["out.nii", "out.nii.gz"])
@pytest.mark.parametrize("memory", [0, 1 << 30])
@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_nothing_is_left_of_work_that_failed(
    tmp_path: Path, make_nifti: Callable[..., Path], name: str, memory: int, dtype: str
) -> None:
    record = read_series(make_nifti("scan.nii", np.random.default_rng(0).normal(size=(6, 5, 4)).astype(np.float32)))
    (tmp_path / name).write_text("old")
    saver = SaveSeries(tmp_path, dtype=dtype, output_file=tmp_path / name)  # type: ignore[arg-type]

    def interrupted() -> None:
        with saver.open(outline(record), memory=memory) as sink:
            sink.write(slice(0, 1), slice(0, 2), record.array[:, :, :2])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / name).read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == sorted(["scan.nii", name])


@pytest.mark.parametrize("name", ["out.nii", "out.nii.gz", "out.npy"])
def test_a_full_disk_shows_before_the_work(tmp_path: Path, make_nifti: Callable[..., Path], name: str) -> None:
    record = read_series(make_nifti("scan.nii", np.random.default_rng(0).normal(size=(64, 64, 8)).astype(np.float32)))
    saver = SaveSeries(tmp_path, output_file=tmp_path / name)
    with file_limit(1 << 16), pytest.raises(OutputNotWritableError, match=name), saver.open(outline(record), memory=0):
        pytest.fail("there was room")
    assert os.listdir(tmp_path) == ["scan.nii"]


def test_a_disk_that_fills_up_at_the_end_leaves_nothing(tmp_path: Path, make_nifti: Callable[..., Path]) -> None:
    values = np.random.default_rng(0).normal(size=(64, 64, 8)).astype(np.float32)
    record = read_series(make_nifti("scan.nii", values))

    def pack() -> None:
        with NiftiSink(outline(record), tmp_path / "out.nii.gz") as sink:
            fill(sink, record.array)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, resource.RLIM_INFINITY))

    with file_limit(1 << 30), pytest.raises(OutputNotWritableError, match=r"out\.nii\.gz cannot be written"):
        pack()
    assert os.listdir(tmp_path) == ["scan.nii"]


def test_a_place_that_is_no_folder_is_refused(tmp_path: Path, make_nifti: Callable[..., Path]) -> None:
    record = read_series(make_nifti("scan.nii", np.random.default_rng(0).normal(size=(6, 5, 4)).astype(np.float32)))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputNotWritableError), NiftiSink(outline(record), tmp_path / "file" / "out.nii"):
        pytest.fail("it was taken")


KILLED = """
import os, signal, sys
import numpy as np
from monai_stcnnt.data.formats.nifti_writer import NiftiSink
from monai_stcnnt.data.record import outline_of
shape = (1, 4, 3, 8, 8)
with NiftiSink(outline_of(shape, np.eye(4), np.arange(4.0), {}), __import__("pathlib").Path(sys.argv[1])) as sink:
    sink.write(slice(0, 2), slice(0, 3), np.ones((1, 2, 3, 8, 8), np.float32))
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["out.nii", "out.nii.gz"])
def test_a_killed_process_leaves_nothing_under_the_name(tmp_path: Path, name: str) -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", KILLED, str(tmp_path / name)], capture_output=True)
    assert done.returncode == -9
    assert not (tmp_path / name).exists()
    assert all(left.startswith(".") for left in os.listdir(tmp_path))
