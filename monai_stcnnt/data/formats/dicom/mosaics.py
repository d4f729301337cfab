# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Mosaics: all slices of a volume side by side in one image, as Siemens and United Imaging (UIH) store them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from monai_stcnnt.data.formats.dicom.headers import Header, number_of, value_of
from monai_stcnnt.errors import GeometryError

__all__ = ["Tile", "tiles_of"]

_SIEMENS_HEADER = 0x00291010
_SIEMENS_COUNT = 0x0019100A
_COUNT_BYTES = 2
_UIH_GROUP, _UIH_CREATOR, _UIH_COUNT, _UIH_SLICES = 0x0065, "Image Private Header", 0x50, 0x51


@dataclass(frozen=True, eq=False)
class Tile:
    """One slice of a mosaic.

    Attributes:
        number: which of the slices.
        shape: rows and columns.
        corner: its first row and column in the image.
        position: ``(3,)`` center of its first voxel in millimeters, DICOM patient axes.
        places: attributes that are its own, such as its time.
    """

    number: int
    shape: tuple[int, int]
    corner: tuple[int, int]
    position: np.ndarray
    places: Dataset


def tiles_of(header: Header, path: Path) -> Iterator[Tile] | None:
    """Take a mosaic apart.

    Args:
        header: of a classic image.
        path: its file, for messages.

    Returns:
        Its slices; None where it is no mosaic.

    Raises:
        GeometryError: if the header does not tell the number and places of the slices.
    """
    words = [str(word).upper() for word in value_of(header, "ImageType") or []]
    dataset = header.dataset
    if str(value_of(header, "Manufacturer") or "").upper().startswith(("UIH", "UNITED IMAGING")):
        count, slices = _uih_header(dataset)
        return _uih_tiles(dataset, path, count, slices) if "VFRAME" in words or count > 1 or slices else None
    if "MOSAIC" not in words and _SIEMENS_HEADER not in header and _SIEMENS_COUNT not in header:
        return None
    count, normal = _siemens_header(dataset)
    return _siemens_tiles(dataset, path, count, normal) if "MOSAIC" in words or count > 1 else None


def _siemens_tiles(dataset: Dataset, path: Path, count: int, normal: np.ndarray | None) -> Iterator[Tile]:
    """Slices of a Siemens mosaic, row by row in a square.

    The position in the header is that of a plane as large as the mosaic around the same center. The number of slices
    and their direction stand in Siemens' own header, which nibabel reads, the number also in (0019,100a).
    """
    axes = np.array([float(v) for v in dataset.get("ImageOrientationPatient") or [0] * 6]).reshape(2, 3)
    spacing = np.array([float(v) for v in dataset.get("PixelSpacing") or [0, 0]])[::-1]
    position = np.array([float(v) for v in dataset.get("ImagePositionPatient") or [np.nan] * 3])
    between = number_of(dataset.get("SpacingBetweenSlices")) or number_of(dataset.get("SliceThickness")) or 0.0
    normal = np.cross(*axes) if normal is None else normal
    grid = max(math.ceil(math.sqrt(count)), 1)
    shape = (int(dataset.Rows) // grid, int(dataset.Columns) // grid)
    if not (count > 0 and 0 < between < math.inf and min(shape) > 0 and np.isfinite([*normal, *position]).all()):
        raise _not_told(path)
    edge = np.array([int(dataset.Columns) - shape[1], int(dataset.Rows) - shape[0]]) / 2 * spacing
    for number in range(count):
        corner = (number // grid * shape[0], number % grid * shape[1])
        yield Tile(number, shape, corner, position + edge @ axes + number * between * normal, Dataset())


def _siemens_header(dataset: Dataset) -> tuple[int, np.ndarray | None]:
    """Number of slices and unit vector from slice to slice, (0, None) where the header does not tell."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nibabel calls its DICOM readers experimental
        from nibabel.nicom import csareader
    count, normal = 0, None
    if _SIEMENS_HEADER in dataset:
        try:
            header = csareader.get_csa_header(dataset, "image")
        except csareader.CSAReadError:
            header = None
        if header is not None:
            count, normal = int(csareader.get_n_mosaic(header) or 0), csareader.get_slice_normal(header)
    if (
        not count
        and _SIEMENS_COUNT in dataset
        and str(value_of(dataset, "Manufacturer") or "").upper().startswith("SIEMENS")
    ):
        stored = dataset[_SIEMENS_COUNT].value
        is_raw = isinstance(stored, bytes) and len(stored) == _COUNT_BYTES  # an implicit file does not tell what it is
        count = int.from_bytes(stored, "little") if is_raw else int(number_of(stored) or 0)
    return count, None if normal is None else np.asarray(normal, float)


def _uih_tiles(dataset: Dataset, path: Path, count: int, slices: Sequence[Dataset]) -> Iterator[Tile]:
    """Slices of a UIH image, row by row in a rectangle; each has a header of its own among private attributes."""
    across = max(math.ceil(math.sqrt(count)), 1)
    down = math.ceil(count / across) or 1
    shape = (int(dataset.Rows) // down, int(dataset.Columns) // across)
    positions = [[float(v) for v in item.get("ImagePositionPatient") or []] for item in slices[:count]]
    if count < 1 or min(shape) < 1 or len(positions) != count or any(len(position) != 3 for position in positions):
        raise _not_told(path)
    for number, position in enumerate(positions):
        corner = (number // across * shape[0], number % across * shape[1])
        places = Dataset({e.tag: e for e in slices[number] if e.tag.group in (0x0008, 0x0020)})
        places.ImagePositionPatient = position
        yield Tile(number, shape, corner, np.array(position), places)


def _uih_header(dataset: Dataset) -> tuple[int, Sequence[Dataset]]:
    try:
        block = dataset.private_block(_UIH_GROUP, _UIH_CREATOR)
    except KeyError:
        return 0, []
    slices = block[_UIH_SLICES].value if _UIH_SLICES in block else []
    slices = slices if isinstance(slices, Sequence) and not isinstance(slices, (str, bytes)) else []
    return int(number_of(block[_UIH_COUNT].value) or 0) if _UIH_COUNT in block else len(slices), slices


def _not_told(path: Path) -> GeometryError:
    return GeometryError(
        f"{path} is a mosaic whose header does not tell the number, direction and spacing of its slices. Export it as "
        "single slices or as enhanced DICOM."
    )
