# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Arrays without headers: rows first, real and imaginary part as a pair."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monai_stcnnt import errors
from monai_stcnnt.data.formats.numpy_files import NumpyFiles, read_numpy, write_numpy
from monai_stcnnt.data.formats.registry import read_series
from monai_stcnnt.data.listing import list_series

__all__: list[str] = []


def values_of(shape: tuple[int, ...]) -> np.ndarray:
    """Complex values that all differ."""
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return (values - 2j * values).astype(np.complex64)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3), (4, 5, 3, 7)])
@pytest.mark.parametrize("kind", ["real", "complex", "pair"])
def test_round_trip(tmp_path: Path, shape: tuple[int, ...], kind: str) -> None:
    values = values_of(shape) if kind != "real" else values_of(shape).real
    if kind == "pair":
        np.save(tmp_path / "input_real.npy", values.real)
        np.save(tmp_path / "input_imag.npy", values.imag)
        np.save(tmp_path / "gmap.npy", np.ones(shape[:2]))
        path = tmp_path
        assert list_series(path) == [path]
    else:
        path = tmp_path / "in.npy"
        np.save(path, values)
    record = read_series(path)
    assert record.kind == ("magnitude" if kind == "real" else "complex")
    assert record.array.shape[1:] == ((*shape, 1, 1)[3], (*shape, 1, 1)[2], *shape[:2])
    if len(shape) == 4:
        assert np.isnan(record.frame_times).all()
    out = write_numpy(record, tmp_path / "out" / "out.npy")
    np.testing.assert_array_equal(np.load(out), values)
    if kind == "pair":
        assert read_series(path / "gmap.npy", check=False).array.shape[-2:] == shape[:2]


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        ({"a.npy": np.ones(3)}, errors.NotAnImageError, "2 to 4 axes"),
        ({"a.npy": np.ones((2, 2, 2, 2, 2))}, errors.NotAnImageError, "2 to 4 axes"),
        ({"a.npy": np.array([["a", "b"]])}, errors.NotAnImageError, "holds"),
        ({"a.npy": np.ones((0, 4))}, errors.EmptyImageError, "no voxels"),
        ({"a.npy": np.ones((2, 4))}, errors.ConstantImageError, "everywhere"),
        ({"x_real.npy": np.eye(3), "x_imag.npy": np.eye(4)}, errors.SeriesMismatchError, "do not fit"),
        ({"x_real.npy": np.eye(3) * 1j, "x_imag.npy": np.eye(3)}, errors.SeriesMismatchError, "do not fit"),
        ({f"{n}_{p}.npy": np.eye(3) for n in "xy" for p in ("real", "imag")}, errors.SeriesMismatchError, "2 pairs"),
    ],
)
def test_other_arrays_are_refused(
    tmp_path: Path, files: dict[str, np.ndarray], error: type[Exception], message: str
) -> None:
    for name, values in files.items():
        np.save(tmp_path / name, values)
    path = tmp_path / "a.npy" if "a.npy" in files else tmp_path
    with pytest.raises(error, match=message):
        read_series(path)


def test_damaged_and_pickled_files_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.eye(30))
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-50])
    (tmp_path / "b.npy").write_bytes(b"text")
    np.save(tmp_path / "c.npy", np.array([[{}]], object), allow_pickle=True)
    for name in ("a", "b", "c"):
        with pytest.raises(errors.UnreadableFileError, match=f"{name}.npy"):
            read_numpy(tmp_path / f"{name}.npy")


def test_paths(tmp_path: Path) -> None:
    assert NumpyFiles().sniff(Path("a.npy"))
    assert not NumpyFiles().sniff(tmp_path)
    np.save(tmp_path / "in.npy", np.eye(3))
    record = read_numpy(tmp_path / "in.npy")
    with pytest.raises(errors.OutputNotWritableError, match=r"\.npy"):
        write_numpy(record, tmp_path / "out.txt")
