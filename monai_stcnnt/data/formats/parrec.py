# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Philips PAR/REC through nibabel: a header in text (``.PAR``), and the values of all images beside it (``.REC``).

Echoes, parts of complex images and labels of ASL are images of their own; dynamics, cardiac phases and diffusion
weightings are frames. Values are those that the scanner displays.
"""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.parrec import PARRECArrayProxy, PARRECError, PARRECHeader

from monai_stcnnt.data.formats.base import NIFTI_EXTENSION, Format, SeriesSummary
from monai_stcnnt.data.formats.parts import Component, alone_refused, choose_parts, join_parts, pair_of, phase_scale
from monai_stcnnt.data.record import SeriesRecord, outline_of
from monai_stcnnt.errors import MissingFileError, StcnntError, UnreadableFileError

__all__ = ["ParRec"]

_FAILURES = (
    PARRECError, OSError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError,
    ArithmeticError, MemoryError,
)  # fmt: skip
_COMPONENTS: dict[int, Component] = {0: "magnitude", 1: "real", 2: "imaginary", 3: "phase"}
_PHASE_CONTRAST = 4  # a phase of this sequence is a velocity or a field map
_SEPARATE = ("echo number", "image_type_mr", "scanning sequence", "label type")


@dataclass(frozen=True, eq=False)
class _Image:
    """One of the images of a header.

    Attributes:
        key: the name to ask for.
        component: what its values are.
        echo_time: in milliseconds.
        volumes: which of nibabel's volumes are its frames.
        rows: the header's row for each of them.
    """

    key: str
    component: Component
    echo_time: float
    volumes: list[int]
    rows: np.ndarray

    reason = ""
    error = None

    def describe(self) -> str:
        return f"{self.key} ({self.component}, {len(self.volumes)} volumes, echo time {self.echo_time:g} ms)"

    def answers_to(self, series: str) -> bool:
        return series == self.key

    @property
    def frame_times(self) -> np.ndarray:
        """Milliseconds: from the trigger for cardiac phases, from the first frame for dynamics; NaN if unknown."""
        if len(self.volumes) == 1:
            return np.zeros(1)
        begin = 1000 * (self.rows["dyn_scan_begin_time"] - self.rows["dyn_scan_begin_time"][0])
        found = (times for times in (self.rows["trigger_time"], begin) if (np.diff(times) > 0).all())
        return next(found, np.full(len(self.volumes), np.nan))


class ParRec(Format):
    """Philips PAR/REC; see the module."""

    name, label, extensions = "parrec", "PAR/REC", (".par",)
    holds_several = True

    def files_of(self, path: Path) -> list[Path]:
        """List header and values."""
        return [path, *_values_file(path)]

    def list(
        self, path: Path, *, check: bool = True, progress: bool = False, stacks: bool = False
    ) -> list[SeriesSummary]:
        """Tell what a header describes: one image, or each of several by its key."""
        try:
            header, found = _open(path)
        except StcnntError as error:
            return [SeriesSummary(str(path), self.name, refused=str(error))]
        if len(found) == 1 or (len(found) == 2 and pair_of(found)):
            one = super().list(path, check=check)
            if not one[0].refused or len(found) == 1:
                return one
        return [self._of_image(path, header, image) for image in found]

    def outline(self, path: Path) -> SeriesRecord:
        """Read the header."""
        header, found = _open(path)
        return _outline(path, header, choose_parts(found, None, path))

    def read(self, path: Path, *, series: str | int | None = None) -> SeriesRecord:
        """Read one image, or the two parts of a complex one.

        Raises:
            UnreadableFileError: if header or values are damaged or truncated.
            MissingFileError: if the values are not there.
            SeriesSelectionError: if there are several images and none, or one that does not exist, is asked for.
            NotAnImageError: if the image is a part without its other half, or derived.
            PhaseRangeError: if the range of a phase tells no unit.
        """
        header, found = _open(path)
        parts = choose_parts(found, series, path)
        arrays = [_values(path, header, part) for part in parts]
        outline = _outline(path, header, parts)
        if len(parts) == 1:
            return outline.with_array(arrays[0])
        radians = None
        if parts[1].component == "phase":
            radians = phase_scale(str(path), float(arrays[1].min()), float(arrays[1].max()))
        return outline.with_array(join_parts(arrays[0], arrays[1], radians))

    def result_extension(self, path: Path, kind: str) -> str:
        """PAR/REC is not written."""
        return NIFTI_EXTENSION

    def _of_image(self, path: Path, header: PARRECHeader, image: _Image) -> SeriesSummary:
        summary = self.summary_of(_outline(path, header, [image]), len(self.files_of(path)))
        return replace(summary, series=image.key, kind=image.component, refused=alone_refused(image))


def _open(path: Path) -> tuple[PARRECHeader, list[_Image]]:
    """Read a header, and make sure that the values are as many as it says."""
    values = _values_file(path)
    if not values:
        raise MissingFileError(f"{path} has no {path.stem}.REC beside it, which holds the values. Copy both.")
    try:
        with warnings.catch_warnings(), path.open(encoding="latin-1") as file:
            warnings.simplefilter("ignore")  # of several repetition times
            header = PARRECHeader.from_fileobj(file, strict_sort=True)
        found = _images(header)
        planes, size = len(header.image_defs), math.prod(header.get_rec_shape()[:2]) * header.get_data_dtype().itemsize
        actual = values[0].stat().st_size
    except _FAILURES as error:
        raise UnreadableFileError(
            f"{path} cannot be read: {_reason(error)}. It is damaged or incomplete; copy it again."
        ) from None  # the cause quotes lines
    if not 0 <= actual - planes * size < max(size, 1):
        raise UnreadableFileError(
            f"{values[0]} has {actual} bytes, but {path.name} describes {planes} planes of {size}. Copy both again."
        )
    return header, found


def _reason(error: BaseException) -> str:
    """What nibabel found in the geometry or the counts; of other errors the class, since they may quote the header."""
    return str(error) if isinstance(error, PARRECError) else type(error).__name__


def _values_file(path: Path) -> list[Path]:
    return [file for file in sorted(path.parent.glob("*")) if file.stem == path.stem and file.suffix.lower() == ".rec"]


def _images(header: PARRECHeader) -> list[_Image]:
    """Split nibabel's volumes into images, in the order of echoes and kinds."""
    shape = (*header.get_data_shape(), 1)[:4]
    rows = header.image_defs[header.get_sorted_slice_indices()].reshape(shape[3], shape[2])[:, 0]
    separate = [name for name in _SEPARATE if name in rows.dtype.names and len(np.unique(rows[name])) > 1]
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for volume, row in enumerate(rows):
        groups[tuple(int(row[name]) for name in separate)].append(volume)
    images: list[_Image] = []
    for values, volumes in sorted(groups.items()):
        first = rows[volumes[0]]
        component = _COMPONENTS.get(int(first["image_type_mr"]), "derived")
        if component == "phase" and int(first["scanning sequence"]) == _PHASE_CONTRAST:
            component = "derived"
        marks = dict(zip(separate, values, strict=True))
        key = "".join(
            [f"-e{marks['echo number']}" if "echo number" in marks else "",
             f"-{component}" if "image_type_mr" in marks or "scanning sequence" in marks else "",
             f"-{marks['label type']}" if "label type" in marks else ""]
        ).lstrip("-") or "1"  # fmt: skip
        taken = sum(image.key == key or image.key.startswith(f"{key}-") for image in images)
        key = f"{key}-{taken + 1}" if taken else key
        images.append(_Image(key, component, float(first["echo_time"]), volumes, rows[volumes]))
    return images


def _outline(path: Path, header: PARRECHeader, parts: Sequence[_Image]) -> SeriesRecord:
    first = parts[0]
    columns, rows, slices = header.get_data_shape()[:3]
    metadata: dict[str, Any] = {
        "source": str(path),
        "file_format": ParRec.name,
        "file_ndim": 4 if len(first.volumes) > 1 else 3,
        "file_shape": tuple(header.get_data_shape()),
        "file_dtype": str(header.get_data_dtype()),
        "units": ("mm", "msec"),
        "kind": "complex" if len(parts) == 2 else "magnitude",
        "vendor": "Philips",
        "series": "+".join(part.key for part in parts) if len(parts) == 2 else "",
    }
    shape = (len(parts), len(first.volumes), slices, rows, columns)
    return outline_of(shape, header.get_affine(), first.frame_times, metadata)


def _values(path: Path, header: PARRECHeader, image: _Image) -> np.ndarray:
    """Values ``(1, T, Z, Y, X)`` of one image, as the scanner displays them."""
    proxy = PARRECArrayProxy(str(_values_file(path)[0]), header, scaling="dv")
    try:
        volumes = [proxy[..., volume] if proxy.ndim == 4 else proxy[...] for volume in image.volumes]
    except _FAILURES as error:
        raise UnreadableFileError(f"{path} cannot be read: {_reason(error)}. Copy it and its .REC again.") from None
    with np.errstate(over="ignore"):
        return np.stack(volumes).astype(np.float32).transpose(0, 3, 2, 1)[None]
