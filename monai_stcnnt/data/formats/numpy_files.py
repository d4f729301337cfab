# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""NumPy arrays as series records: one file, or real and imaginary part in a folder.

Arrays carry no geometry: rows come first, ``(Y, X[, Z[, T]])``, voxels are taken to be 1 mm, and frame times are
unknown.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from monai_stcnnt.data.formats.base import Format, WriteOptions, refuse_series
from monai_stcnnt.data.paths import check_exists, write_aside
from monai_stcnnt.data.record import SeriesRecord, regular_frame_times
from monai_stcnnt.data.slabs import with_background
from monai_stcnnt.errors import (
    EmptyImageError,
    NotAnImageError,
    OutputNotWritableError,
    SeriesMismatchError,
    UnreadableFileError,
)

__all__ = ["NumpyFiles", "read_numpy", "write_numpy"]

_REAL, _IMAGINARY = "_real.npy", "_imag.npy"


def read_numpy(path: str | Path) -> SeriesRecord:
    """Read a NumPy file, or the pair of real and imaginary part in a folder.

    Args:
        path: ``.npy`` file, real or complex, ``(Y, X[, Z[, T]])``; or a folder with one ``*_real.npy`` and its
            ``*_imag.npy``.

    Returns:
        The record, with an affine of 1 mm voxels and unknown frame times (NaN).

    Raises:
        MissingFileError: if there is no such file or folder.
        UnreadableFileError: if a file is damaged.
        NotAnImageError: if an array does not have 2 to 4 axes, or holds no numbers.
        EmptyImageError: if it has no voxels.
        SeriesMismatchError: if the folder has no pair or several, or its two files differ in shape.
    """
    path = check_exists(path)
    if path.is_file():
        values = _load(path)
    else:
        pairs = _pairs(path)
        if len(pairs) != 1:
            raise SeriesMismatchError(
                f"{path} has {len(pairs)} pairs of *_real.npy and *_imag.npy. Give a folder with one."
            )
        real, imaginary = (_load(file) for file in pairs[0])
        if real.shape != imaginary.shape or np.iscomplexobj(real) or np.iscomplexobj(imaginary):
            raise SeriesMismatchError(
                f"{path}: real part {real.shape} and imaginary part {imaginary.shape} do not fit."
            )
        values = real + 1j * imaginary
    full = values.reshape((*values.shape, 1, 1)[:4]).transpose(3, 2, 0, 1)
    channels = np.stack([full.real, full.imag]) if np.iscomplexobj(full) else full[None]
    metadata = {
        "source": str(path),
        "file_format": "numpy",
        "file_ndim": values.ndim,
        "file_shape": tuple(values.shape),
        "file_dtype": str(values.dtype),
        "units": ("unknown", "unknown"),
        "kind": "complex" if len(channels) == 2 else "magnitude",
    }
    with np.errstate(over="ignore"):
        array = channels.astype(np.float32)
    return SeriesRecord(array, np.eye(4), regular_frame_times(array.shape[1], np.nan), metadata)


def write_numpy(record: SeriesRecord, path: str | Path) -> Path:
    """Write a record as ``.npy``; the file is complete or absent.

    Args:
        record: what to write.
        path: file name that ends in ``.npy``; missing folders are made.

    Returns:
        The path; the array in it is ``(Y, X[, Z[, T]])`` float32, or complex64.

    Raises:
        OutputNotWritableError: if the name is another, or the place cannot be written to.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() != ".npy":
        raise OutputNotWritableError(f"{path} does not end in .npy. Choose such a name.")
    values = np.ascontiguousarray(record.to_spatial().swapaxes(0, 1))
    with write_aside(path) as aside, open(aside, "wb") as file:
        np.save(file, values, allow_pickle=False)
    return path


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    stems = [name.removesuffix(_REAL) for name in names if name.endswith(_REAL)]
    return [
        (folder / f"{stem}{_REAL}", folder / f"{stem}{_IMAGINARY}") for stem in stems if f"{stem}{_IMAGINARY}" in names
    ]


def _load(path: Path) -> np.ndarray:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError, TypeError, MemoryError, OverflowError, SyntaxError) as error:
        raise UnreadableFileError(
            f"{path} cannot be read as NumPy array ({type(error).__name__}). Save it again."
        ) from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "biufc" or not 2 <= values.ndim <= 4:
        found = f"{values.shape} of {values.dtype}" if isinstance(values, np.ndarray) else type(values).__name__
        raise NotAnImageError(
            f"{path} holds {found}. Images are numbers with 2 to 4 axes: rows, columns, slices, times."
        )
    if values.size == 0:
        raise EmptyImageError(f"{path} has no voxels: its shape is {values.shape}.")
    return values


class NumpyFiles(Format):
    """A ``.npy`` file, or a folder with ``*_real.npy`` and ``*_imag.npy``."""

    name, label = "numpy", "NumPy"
    extensions = (".npy",)
    holds_geometry = False

    def sniff(self, path: Path) -> bool:
        """Tell whether a path is a ``.npy`` file or a folder with a pair."""
        return bool(_pairs(path)) if path.is_dir() else self.has_name(path)

    def entries_in(self, folder: Path, names: Sequence[str]) -> list[Path]:
        """List the folder where it holds a pair; a single file may be a map or a part, and has to be named."""
        return [folder] if _pairs(folder) else []

    def files_of(self, path: Path) -> list[Path]:
        """List the file, or both parts."""
        return [part for pair in _pairs(path) for part in pair] if path.is_dir() else [path]

    def read(self, path: Path, *, series: str | int | None = None) -> SeriesRecord:
        """Read a file or a pair, see :func:`read_numpy`."""
        refuse_series(path, series)
        return read_numpy(path)

    def write(self, record: SeriesRecord, path: Path, how: WriteOptions) -> Path:
        """Write a file, see :func:`write_numpy`."""
        return write_numpy(with_background(record) if how.class_names is None else record, path)

    def result_extension(self, path: Path, kind: str) -> str:
        """A result is one file, also that of a pair."""
        return ".npy"
