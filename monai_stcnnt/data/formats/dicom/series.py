# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""One image of DICOM files: its frames, put in order when they are asked for.

Frames of one series that are no frames of each other are split into images; slices that are, joined to stacks.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from monai_stcnnt.data.formats.dicom.acquisition import acquisition_facts
from monai_stcnnt.data.formats.dicom.frames import DicomFrame
from monai_stcnnt.data.formats.dicom.headers import read_header
from monai_stcnnt.data.formats.dicom.kinds import ALL_DIRECTIONS, Nature, of_range
from monai_stcnnt.data.formats.dicom.pixels import DicomPixels, plane_of
from monai_stcnnt.data.formats.dicom.sorting import SortedFrames, sort_frames
from monai_stcnnt.data.formats.parts import Component
from monai_stcnnt.data.record import SeriesRecord, outline_of
from monai_stcnnt.errors import SeriesMismatchError, StcnntError

__all__ = ["STACK", "DicomSeries", "dicom_outline", "images_of", "stacks_of", "with_signs"]

_ECHO_JITTER = 0.05  # milliseconds
_TILT = 0.05  # of a unit vector; motion correction turns planes by less, another plane is turned by more
_PLANES = ("sag", "cor", "tra")
STACK = "stack"
"""Key of a stack that series of one slice each make; with a number from the second on."""
_FEWEST_SLICES = 3
_REGULAR = 0.1  # of the distance of slices


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


def with_signs(frames: list[DicomFrame]) -> list[DicomFrame]:
    """Tell apart what has values below zero, as no magnitude has, volume by volume.

    Where headers do not tell the range, the pixels of one slice are looked at: at all its times where the first, the
    middle and the last of them differ.

    Args:
        frames: of one series.

    Returns:
        The frames; those with values below zero are derived images, or velocities.
    """
    called = [frame for frame in frames if frame.nature.component == "magnitude"]
    if all(frame.value_range[0] >= 0 for frame in called):
        return frames
    slices = [sorted(stack, key=lambda frame: frame.instance) for stack in _by_position(called)]
    is_grid = len({len(stack) for stack in slices}) == 1
    volumes = list(zip(*slices, strict=True)) if is_grid else [(frame,) for frame in called]
    few = {0, len(volumes) // 2, len(volumes) - 1}
    natures = {number: _nature_of_volume(volumes[number]) for number in few}
    is_told = any(not math.isnan(frame.value_range[0]) for frame in called)
    if is_told or len({nature.component for nature in natures.values()}) > 1:
        natures = {number: _nature_of_volume(volume) for number, volume in enumerate(volumes)}
    usual = natures[0]
    found = {frame: natures.get(number, usual) for number, volume in enumerate(volumes) for frame in volume}
    return [replace(frame, nature=replace(frame.nature, component=found[frame].component, reason=found[frame].reason))
            if frame in found else frame for frame in frames]  # fmt: skip


def _nature_of_volume(volume: Sequence[DicomFrame]) -> Nature:
    """What a volume is by the range of its values; its middle slice tells where headers do not."""
    middle = volume[len(volume) // 2]
    ranges = [frame.value_range for frame in volume if not math.isnan(frame.value_range[0])] or [_seen_range(middle)]
    return of_range(middle.nature, min(low for low, _ in ranges), max(high for _, high in ranges))


def _seen_range(frame: DicomFrame) -> tuple[float, float]:
    """Smallest and largest value of a frame; (0, 0) where it cannot be read, which is said when it is."""
    try:
        stored = plane_of(DicomPixels(frame.path), frame)
    except StcnntError:
        return 0.0, 0.0
    low, high = sorted(float(value) * frame.slope + frame.intercept for value in (stored.min(), stored.max()))
    return low, high


def _by_position(frames: Sequence[DicomFrame]) -> list[list[DicomFrame]]:
    """Frames that lie in one place, place by place."""
    places: dict[tuple[int, ...], list[DicomFrame]] = defaultdict(list)
    for frame in frames:
        places[tuple(np.round(frame.position * 10).astype(int))].append(frame)
    return list(places.values())


def images_of(frames: list[DicomFrame]) -> list[tuple[str, list[DicomFrame]]]:
    """Split the frames of one series into images: what the values are, contrast, echo, plane.

    Args:
        frames: of one series.

    Returns:
        For each image a mark to add to the series' key, and its frames.
    """
    parts = _split_by(frames, lambda frame: frame.nature.component)
    images = []
    for component, part in parts:
        for contrast, of_contrast in _contrasts(part):
            for echo, of_echo in _echoes(of_contrast):
                mark = echo + (f"-{component}" if len(parts) > 1 else "") + contrast
                images += [(mark + plane, image) for plane, image in _planes(of_echo)]
    return images


def _split_by(frames: Sequence[DicomFrame], key: Callable[[DicomFrame], str]) -> list[tuple[str, list[DicomFrame]]]:
    groups: dict[str, list[DicomFrame]] = defaultdict(list)
    for frame in frames:
        groups[key(frame)].append(frame)
    return sorted(groups.items())


def _share_a_place(frames: Sequence[DicomFrame], key: Callable[[DicomFrame], object]) -> bool:
    """Whether frames of several keys lie in one place."""
    return any(len(set(map(key, stack))) > 1 for stack in _by_position(frames))


def _contrasts(frames: list[DicomFrame]) -> list[tuple[str, list[DicomFrame]]]:
    """Split by the words of the image type where one place was imaged with several, such as water and fat.

    Diffusion weightings of all directions, among others of single ones, are computed from these.
    """
    has_directions = any(frame.nature.diffusion == "DIRECTIONAL" for frame in frames)

    def words(frame: DicomFrame) -> tuple[str, ...]:
        is_mean = has_directions and frame.nature.diffusion == "ISOTROPIC"
        return (*frame.nature.words, ALL_DIRECTIONS) if is_mean else frame.nature.words

    kinds = list(dict.fromkeys(map(words, frames)))
    if len(kinds) == 1 or not _share_a_place(frames, words):
        return [("", frames)]
    common = set.intersection(*(set(kind) for kind in kinds))
    images = []
    for number, kind in enumerate(kinds):
        mark = "_".join(re.sub(r"\W+", "", word.lower()) for word in kind if word not in common)
        images.append((f"-{mark or number + 1}", [frame for frame in frames if words(frame) == kind]))
    return images


def _echoes(frames: list[DicomFrame]) -> list[tuple[str, list[DicomFrame]]]:
    """Split by echo time where one place was imaged at several; slices may differ in it by planning or rounding."""
    times = sorted({frame.echo_time for frame in frames if math.isfinite(frame.echo_time)})
    number, numbers = 0, {}
    for before, time in zip([math.nan, *times], times, strict=False):
        number += time - before > _ECHO_JITTER
        numbers[time] = number
    if not _share_a_place(frames, lambda frame: numbers.get(frame.echo_time, -1)):
        return [("", frames)]
    groups = _split_by(frames, lambda frame: f"{numbers.get(frame.echo_time, -1):04d}")
    return [(f"-e{index}", echo) for index, (_, echo) in enumerate(groups, 1)]


def _planes(frames: list[DicomFrame]) -> list[tuple[str, list[DicomFrame]]]:
    """Split by orientation, as in a localizer."""
    stacks: list[list[DicomFrame]] = []
    for frame in frames:
        for stack in stacks:
            if np.abs(frame.orientation - stack[0].orientation).max() <= _TILT:
                stack.append(frame)
                break
        else:
            stacks.append([frame])
    if len(stacks) == 1:
        return [("", frames)]
    names = [_PLANES[int(np.abs(stack[0].normal).argmax())] for stack in stacks]
    marks = [
        f"-{name}" + (str(names[: i + 1].count(name)) if names.count(name) > 1 else "") for i, name in enumerate(names)
    ]
    return list(zip(marks, stacks, strict=True))


def stacks_of(found: Sequence[DicomSeries]) -> list[DicomSeries]:
    """Join cines of one slice each that make a stack, as most scanners write short-axis views of the heart.

    Args:
        found: the series of a folder.

    Returns:
        A series for each stack of at least three: one study, protocol, matrix, spacing, orientation and number of
        frames, and slices at equal distances. Of a slice that was imaged again, the last series counts.
    """
    groups: dict[tuple[object, ...], list[DicomSeries]] = defaultdict(list)
    for series in found:
        if series.error is None and series.component == "magnitude" and _is_one_slice(series.frames):
            first = series.frames[0]
            protocol = tuple(re.sub(r"\d+", "", text) for text in first.protocol[2:])
            geometry = (first.shape, *np.round(first.spacing[:2], 3), *np.round(first.orientation.ravel(), 2))
            groups[(*first.protocol[:2], protocol, len(series.frames), geometry)].append(series)
    stacks: list[DicomSeries] = []
    for alike in groups.values():
        normal = alike[0].frames[0].normal
        by_place = {round(float(normal @ series.frames[0].position), 1): series for series in alike}
        members = list(by_place.values())
        gaps = np.diff(sorted(by_place))
        if len(members) < _FEWEST_SLICES or np.abs(gaps - np.median(gaps)).max() > _REGULAR * np.median(gaps):
            continue
        frames = tuple(frame for series in members for frame in series.frames)
        key = STACK + (str(len(stacks) + 1) if stacks else "")
        stacks.append(DicomSeries(members[0].path, key, frames, -1, ""))
    return stacks


def _is_one_slice(frames: Sequence[DicomFrame]) -> bool:
    return len(frames) > 1 and all(np.abs(frame.position - frames[0].position).max() < 0.1 for frame in frames)
