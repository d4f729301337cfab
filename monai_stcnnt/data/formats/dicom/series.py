# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""One image of DICOM files: its frames, put in order when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from monai_stcnnt.data.formats.dicom.acquisition import acquisition_facts
from monai_stcnnt.data.formats.dicom.frames import DicomFrame
from monai_stcnnt.data.formats.dicom.headers import read_header
from monai_stcnnt.data.formats.dicom.sorting import SortedFrames, sort_frames
from monai_stcnnt.data.formats.parts import Component
from monai_stcnnt.data.record import SeriesRecord
from monai_stcnnt.data.slabs import outline_of
from monai_stcnnt.errors import SeriesMismatchError, StcnntError

__all__ = ["DicomSeries", "dicom_outline"]


@dataclass(frozen=True, eq=False)
class DicomSeries:
    """Images of one kind: one series, one echo, one part of a complex image.

    Args:
        path: the file or folder.
        key: the name to ask for.
        frames: its frames, in no order; none of a series whose files cannot be used.
        number: SeriesNumber, -1 where absent.
        uid: SeriesInstanceUID.
        error: why it cannot be used.
        skipped: number of files in the folder that are no images.
    """

    path: Path
    key: str
    frames: tuple[DicomFrame, ...]
    number: int
    uid: str
    error: StcnntError | None = None
    skipped: int = 0

    @property
    def component(self) -> Component:
        """What its values are."""
        return self.frames[0].nature.component if self.frames else "derived"

    @property
    def reason(self) -> str:
        """What makes it a derived image, empty elsewhere."""
        return self.frames[0].nature.reason if self.frames else ""

    @property
    def echo_time(self) -> float:
        """In milliseconds, NaN where absent."""
        return self.frames[0].echo_time if self.frames else math.nan

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return f"{self.path}, series {self.key}"

    @property
    def declared_low(self) -> float:
        """Where the range of the values begins, as the rescale intercept declares it."""
        return min(frame.intercept for frame in self.frames)

    @cached_property
    def ordered(self) -> SortedFrames:
        """The frames by time and slice, see :func:`~monai_stcnnt.data.formats.dicom.sorting.sort_frames`."""
        return sort_frames(self.frames, self.name)

    @cached_property
    def files(self) -> list[Path]:
        """The files, which the numbers in the record's metadata count."""
        return sorted({frame.path for row in self.ordered.grid for frame in row})

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """``(1, T, Z, Y, X)``."""
        grid = self.ordered.grid
        return 1, len(grid), len(grid[0]), *grid[0][0].shape

    def answers_to(self, series: str) -> bool:
        """Whether it is meant by a key, a series number or a UID."""
        return series in (self.key, str(self.number), self.uid)

    def describe(self) -> str:
        """One line without anything about the patient."""
        if not self.frames:
            return f"{self.key} (cannot be used)"
        first = self.frames[0]
        echo = f", echo time {first.echo_time:g} ms" if math.isfinite(first.echo_time) else ""
        size = f"{len(self.frames)} frames of {first.shape[1]} x {first.shape[0]}"
        return f"{self.key} ({self.component}, {size}{echo})"

    def outline(self) -> SeriesRecord:
        """The record without its values; ``file_dtype`` in its metadata is empty."""
        grid, index = self.ordered.grid, {file: number for number, file in enumerate(self.files)}
        first, ordered_by = grid[0][0], self.ordered.ordered_by
        _, times, slices, rows, columns = self.shape
        metadata: dict[str, Any] = {
            "source": str(self.path),
            "file_format": "dicom",
            "file_ndim": 4 if times > 1 else 3 if slices > 1 else 2,
            "file_shape": (columns, rows, slices, times),
            "file_dtype": "",
            "units": ("mm", "msec"),
            "kind": "magnitude",
            "vendor": first.vendor,
            "acquisition": acquisition_facts(read_header(first.path)),
            "series": self.key,
            "component": self.component,
            "ordered_by": ordered_by,
            "repetition_time": first.repetition_time,
            "remarks": self.ordered.remarks,
            "slice_times": np.array(
                [[frame.times.get(self.ordered.ordered_by, np.nan) for frame in row] for row in grid]
            ),
            "heart_rate": first.heart_rate,
            "b_values": np.array([row[0].b_value for row in grid]),
            "dicom_files": [str(file) for file in self.files],
            "dicom_frames": np.array([[(index[frame.path], frame.number) for frame in row] for row in grid]),
        }
        return outline_of(self.shape, self.ordered.affine, self.ordered.frame_times, metadata)


def dicom_outline(parts: Sequence[DicomSeries]) -> SeriesRecord:
    """Make a record of an image, or of the two parts of a complex one, without reading pixels.

    Args:
        parts: the image, or magnitude and phase, or real and imaginary part.

    Returns:
        The record with zero in the place of all values, which takes no memory.

    Raises:
        SeriesMismatchError: if the two parts differ in size, position or times.
    """
    first, *others = (part.outline() for part in parts)
    if not others:
        return first
    second, name = others[0], f"{parts[0].name} and {parts[1].key}"
    if first.array.shape != second.array.shape or not np.allclose(first.affine, second.affine, atol=1e-2):
        raise SeriesMismatchError(f"{name}: the two parts of the complex image differ in size or position.")
    if not np.allclose(first.frame_times, second.frame_times, atol=1.0, equal_nan=True):
        raise SeriesMismatchError(f"{name}: the two parts of the complex image differ in their frame times.")
    metadata = {
        **first.metadata,
        "kind": "complex",
        "series": f"{parts[0].key}+{parts[1].key}",
        "component": f"{parts[0].component}+{parts[1].component}",
    }
    return outline_of((2, *first.array.shape[1:]), first.affine, first.frame_times, metadata)
