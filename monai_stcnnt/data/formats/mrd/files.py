# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""MRD files (``.h5``): their images as series. Raw data in them are for reconstructions.

A file holds groups, one for each run of whatever wrote it; in a group, images lie in ``image_0``, ``image_1``, ...,
each with a table of headers, one of attributes, and the pixels.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_stcnnt.data.content import check_image
from monai_stcnnt.data.formats.base import NIFTI_EXTENSION, Format, SeriesKind, SeriesSummary
from monai_stcnnt.data.formats.mrd.images import (
    PIXEL_TYPES,
    ImageGroup,
    MrdImage,
    group_images,
    group_record,
    header_type,
    role_of,
)
from monai_stcnnt.data.record import SeriesRecord
from monai_stcnnt.errors import (
    EmptyImageError,
    MissingPackageError,
    NotAnImageError,
    SeriesSelectionError,
    StcnntError,
    UnreadableFileError,
)

__all__ = ["Mrd"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_TABLES = {"header", "data"}
_DENOISED = ("magnitude", "complex")


class Mrd(Format):
    """MRD files; each series of images in them is one of the file's series, numbered from 1."""

    name, label = "mrd", "MRD"
    extensions = (".h5", ".hdf5", ".mrd")
    holds_several = True

    def sniff(self, path: Path) -> bool:
        """Tell whether a file is HDF5 that MRD software may have written."""
        if not super().sniff(path):
            return False
        with path.open("rb") as file:
            return file.read(len(_SIGNATURE)) == _SIGNATURE and _is_mrd(path)

    def entries_in(self, folder: Path, names: Sequence[str]) -> list[Path]:
        """List MRD files; other HDF5 files of a folder are none of our business."""
        return [path for path in super().entries_in(folder, names) if self.sniff(path)]

    def list(
        self, path: Path, *, check: bool = True, progress: bool = False, stacks: bool = False
    ) -> list[SeriesSummary]:
        """Tell what a file holds; values are read in any case."""
        try:
            images, groups = _series_of(path)
        except StcnntError as error:
            return [SeriesSummary(str(path), self.name, refused=str(error))]
        names = [""] if len(groups) == 1 else [str(n) for n in range(1, len(groups) + 1)]
        return [self._summary(path, images, g, name, check) for g, name in zip(groups, names, strict=True)]

    def _summary(
        self, path: Path, images: Sequence[MrdImage], group: ImageGroup, name: str, check: bool
    ) -> SeriesSummary:
        kind: SeriesKind = group.kind
        try:
            record = _record(path, images, group, name)
            if check:
                check_image(record.array, str(path))
        except StcnntError as error:
            return SeriesSummary(str(path), self.name, name, kind, refused=str(error))
        return self.summary_of(record)

    def read(self, path: Path, *, series: str | int | None = None) -> SeriesRecord:
        """Read a series; see :func:`~monai_stcnnt.data.formats.registry.read_series`."""
        images, groups = _series_of(path)
        number = str(series) if series is not None else _only(path, groups)
        if not number.isdigit() or not 1 <= int(number) <= len(groups):
            raise SeriesSelectionError(f"{path} holds the series 1 to {len(groups)}, not {series!r}.")
        return _record(path, images, groups[int(number) - 1], number if len(groups) > 1 else "")

    def result_extension(self, path: Path, kind: str) -> str:
        """A result is NIfTI: an MRD image belongs to the scan it came from."""
        return NIFTI_EXTENSION


def _only(path: Path, groups: Sequence[ImageGroup]) -> str:
    """Number of the one series that is an image to work on."""
    usable = [n for n, group in enumerate(groups, 1) if group.kind in _DENOISED]
    if len(usable) == 1 or len(groups) == 1:
        return str(usable[0] if usable else 1)
    listed = ", ".join(f"{n} ({group.kind})" for n, group in enumerate(groups, 1))
    raise SeriesSelectionError(f"{path} holds {len(groups)} series: {listed}. Choose one by its number.")


def _record(path: Path, images: Sequence[MrdImage], group: ImageGroup, name: str) -> SeriesRecord:
    if group.kind not in _DENOISED:
        raise NotAnImageError(
            f"{path} holds a {group.kind} image without its other part{f' as series {name}' if name else ''}. "
            "Add the other part, or give a magnitude."
        )
    first = images[group.planes[0][0]]
    metadata: dict[str, Any] = {
        "source": str(path), "file_format": Mrd.name, "file_ndim": 4, "file_dtype": str(first.pixels.dtype),
        "file_shape": first.pixels.shape, "units": ("mm", "msec"), "series": name,
    }  # fmt: skip
    return group_record(images, group, metadata)


def _h5py(path: Path) -> Any:  # noqa: ANN401 - an untyped module
    try:
        return importlib.import_module("h5py")
    except ImportError as error:
        raise MissingPackageError(f"{path} needs h5py and ismrmrd: pip install 'monai-stcnnt[mrd]'.") from error


def _is_mrd(path: Path) -> bool:
    """Whether a group of an HDF5 file holds what MRD calls a header, raw data or images."""
    try:
        with _h5py(path).File(path, "r") as file:
            return any(_is_raw(group) or any(_image_tables(group)) for group in _groups(file))
    except MissingPackageError:
        return True  # by its name; reading it says what is missing
    except (OSError, RuntimeError, KeyError):
        return True  # damaged; reading it says so


def _groups(file: Any) -> Iterator[Any]:  # noqa: ANN401 - an HDF5 file
    yield from (item for item in file.values() if hasattr(item, "keys"))


def _is_raw(group: Any) -> bool:  # noqa: ANN401 - an HDF5 group
    return "data" in group and "head" in (getattr(group["data"], "dtype", np.dtype("u1")).names or ())


def _image_tables(group: Any) -> Iterator[Any]:  # noqa: ANN401 - an HDF5 group
    for item in group.values():
        if hasattr(item, "keys") and set(item) >= _TABLES:
            yield item


def _series_of(path: Path) -> tuple[list[MrdImage], list[ImageGroup]]:
    """Images of a file, and the series that they make; runs of different software apart."""
    images: list[MrdImage] = []
    groups: list[ImageGroup] = []
    is_raw = False
    try:
        with _h5py(path).File(path, "r") as file:
            for group in _groups(file):
                is_raw = is_raw or _is_raw(group)
                found = [image for table in _image_tables(group) for image in _read_table(table)]
                found = [image for image in found if role_of(image) == "image"]
                groups += [_moved(one, len(images)) for one in group_images(found)]
                images += found
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, StcnntError):
            raise
        raise UnreadableFileError(f"{path} cannot be read as MRD ({type(error).__name__}). Copy it again.") from error
    if not groups and is_raw:
        raise NotAnImageError(f"{path} holds raw data without images. Reconstruct it first.")
    if not groups:
        raise EmptyImageError(f"{path} holds no MRD image that can be worked on.")
    return images, groups


def _moved(group: ImageGroup, by: int) -> ImageGroup:
    planes, partner = (tuple(tuple(n + by for n in row) for row in part) for part in (group.planes, group.partner))
    return ImageGroup(group.kind, planes, partner)


def _read_table(table: Any) -> Iterator[MrdImage]:  # noqa: ANN401 - an HDF5 group
    """Images of one table."""
    headers = table["header"][()].astype(header_type())
    texts = table["attributes"][()] if "attributes" in table else [b""] * len(headers)
    pixels = table["data"][()]
    if pixels.ndim != 5 or not len(headers) == len(texts) == len(pixels):
        raise ValueError("tables of different lengths")
    for header, text, values in zip(headers, texts, pixels, strict=True):
        if values.dtype.names is not None:
            first, second = values.dtype.names
            values = values[first] + 1j * values[second]
        plain = values.astype(PIXEL_TYPES.get(int(header["data_type"]), values.dtype))
        yield MrdImage(header, text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text), plain)
