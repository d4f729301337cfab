# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Frames in their place: by slice position along the normal, and by time, never by file name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from monai_stcnnt.data.formats.dicom.frames import DicomFrame
from monai_stcnnt.data.record import LPS_TO_RAS
from monai_stcnnt.errors import GeometryError, SeriesMismatchError

__all__ = ["SortedFrames", "sort_frames"]

_SAME_PLACE = 1e-2  # millimeters
_SAME_DIRECTION = 1e-3
_IRREGULAR = 0.05  # of the slice spacing
_ROUNDED = 0.1  # millimeters: positions may be rounded to that
_MISSING = 1.5  # times the usual spacing
_MOTION = 20.0  # millimeters that a head moves at most
_HALF_DAY = 12 * 3600e3
_UNEVEN = 2.0  # times the median
_MOMENTS = ("trigger", "offset", "acquisition", "begin")
_CLOCKS = ("offset", "acquisition", "begin", "content")


@dataclass(frozen=True, eq=False)
class SortedFrames:
    """Frames on a grid of times and slices.

    Args:
        grid: frames ``[time][slice]``, slices along the normal.
        affine: 4x4, from voxel indices (x, y, z) to millimeters in RAS orientation.
        frame_times: ``(T,)`` milliseconds from the first frame, NaN where the files do not tell.
        ordered_by: what ordered the frames in time.
        remarks: what is not as it should be, although the series is used.
    """

    grid: list[list[DicomFrame]]
    affine: np.ndarray
    frame_times: np.ndarray
    ordered_by: str
    remarks: tuple[str, ...] = ()


def sort_frames(frames: Sequence[DicomFrame], name: str) -> SortedFrames:
    """Sort the frames of one series.

    Slices are told apart by their position along the normal. Frames in one place are ordered by the first of these
    that tells them all apart: trigger time, temporal offset, acquisition time, temporal position, content time, the
    dimensions that an enhanced file declares, the temporal position with the label and phase in it, instance number.
    Where times contradict each other (a trigger time may start again with every heart beat), the first that agrees with
    the temporal position counts, or with the dimensions or the instance number where that is not told, or else these
    themselves. Instance numbers that mix weightings between slices give way to these.

    Args:
        frames: all frames of the series.
        name: what to call it in messages.

    Returns:
        The grid with its geometry and times.

    Raises:
        SeriesMismatchError: if frames are missing, duplicated, or differ in size or orientation.
        GeometryError: if slices are not equally spaced on a line.
    """
    _check_same(frames, name)
    frames = _past_midnight(frames)
    stacks, remarks = _stacks(frames, name)
    affine = _affine(stacks, name)
    ordered_by, key = _ordering(stacks, name)
    stacks = [sorted(stack, key=key) for stack in stacks]
    grid = [list(column) for column in zip(*stacks, strict=True)]
    times = _frame_times(grid, ordered_by)
    _check_gaps(grid, times, name)
    return SortedFrames(grid, affine, times, ordered_by, remarks)


def _check_same(frames: Sequence[DicomFrame], name: str) -> None:
    first = frames[0]
    shapes = sorted({frame.shape for frame in frames})
    if len(shapes) > 1:
        raise SeriesMismatchError(f"{name}: the frames have different sizes (rows, columns): {shapes}.")
    if any(np.abs(frame.spacing[:2] - first.spacing[:2]).max() > 1e-4 * first.spacing[:2].max() for frame in frames):
        raise SeriesMismatchError(f"{name}: the frames have different pixel spacings.")


def _past_midnight(frames: Sequence[DicomFrame]) -> list[DicomFrame]:
    """Add a day to clock times after midnight, where no date tells: no series lasts for twelve hours."""
    late = {
        name: max(frame.times[name] for frame in frames) - _HALF_DAY
        for name in ("acquisition", "content")
        if all(name in frame.times for frame in frames)
    }
    result = []
    for frame in frames:
        shifted = {name: frame.times[name] + 2 * _HALF_DAY for name, start in late.items() if frame.times[name] < start}
        result.append(replace(frame, times={**frame.times, **shifted}) if shifted else frame)
    return result


def _stacks(frames: list[DicomFrame], name: str) -> tuple[list[list[DicomFrame]], tuple[str, ...]]:
    """Frames of each slice, as many of one as of another, and what had to be done for it."""
    stacks = _by_place(frames)
    counts = [len(stack) for stack in stacks]
    motion = max(np.abs(frame.position - stack[0].position).max() for stack in stacks for frame in stack)
    tilt = max(np.abs(frame.orientation - frames[0].orientation).max() for frame in frames)
    gaps = np.diff([float(frames[0].normal @ stack[0].position) for stack in stacks])
    is_regular = len(gaps) < 2 or gaps.max() <= _MISSING * np.median(gaps)
    is_plain = len(set(counts)) == 1 and motion <= 10 * _SAME_PLACE and tilt <= _SAME_DIRECTION
    if is_plain and is_regular:
        return stacks, ()
    volumes = _moving_volumes(frames)
    if volumes:
        rows = [list(column) for column in zip(*volumes, strict=True)]
        motion = max(np.abs(frame.position - row[0].position).max() for row in rows for frame in row)
        return rows, (f"the planes move by up to {motion:.1f} mm from volume to volume; those of the first one hold",)
    if is_plain:
        return stacks, ()
    if tilt > _SAME_DIRECTION:
        raise SeriesMismatchError(f"{name}: the frames have different orientations, and make no stack.")
    if len(set(counts)) == 1:
        raise SeriesMismatchError(
            f"{name}: frames of one slice lie at different positions; the table or the plane moved."
        )
    whole = _without_last(stacks)
    if whole:
        left = sum(counts) - sum(map(len, whole))
        return whole, (f"the last volume has {left} of {len(stacks)} slices, and is left out",)
    usual = max(set(counts), key=counts.count)
    odd = [f"slice {i + 1} has {n}" for i, n in enumerate(counts) if n != usual]
    raise SeriesMismatchError(
        f"{name}: frames are missing or surplus. Most of {len(counts)} slices have {usual}, but {', '.join(odd)}."
    )


def _moving_volumes(frames: Sequence[DicomFrame]) -> list[list[DicomFrame]]:
    """Volumes of a scan whose planes followed the head, slices in order; nothing where it is not plain."""
    normal = frames[0].normal
    labels: list[Callable[[DicomFrame], float]] = [
        lambda frame: frame.times.get("index", np.nan),
        lambda frame: float(frame.acquisition),
        lambda frame: frame.times.get("acquisition", np.nan),
    ]
    for label in labels:
        groups: dict[float, list[DicomFrame]] = defaultdict(list)
        for frame in frames:
            groups[label(frame)].append(frame)
        volumes = [sorted(groups[key], key=lambda frame: float(normal @ frame.position)) for key in sorted(groups)]
        places = [np.array([normal @ frame.position for frame in volume]) for volume in volumes]
        if len(volumes) < 2 or len(places[0]) < 2 or len({len(place) for place in places}) > 1:
            continue
        steps = np.diff(places[0])
        shifts = np.array(places) - places[0]
        if (
            steps.min() > _SAME_PLACE
            and np.ptp(shifts, axis=1).max() < 0.5 * steps.min()
            and np.abs(shifts).max() < _MOTION
        ):
            return volumes
    return []


def _without_last(stacks: list[list[DicomFrame]]) -> list[list[DicomFrame]]:
    """Stacks without the frames of a last volume that some slices lack; nothing where others are missing."""
    most = max(map(len, stacks))
    if most < 2 or any(len(stack) < most - 1 for stack in stacks):
        return []
    keys: list[_Key] = [_time_key(name) for name in ("index", *_MOMENTS)]
    keys += [lambda frame: (*map(float, frame.dimensions),), lambda frame: (float(frame.instance[0]),)]
    for key in keys:
        ordered = [sorted(stack, key=key) for stack in stacks]
        kept = [key(frame) for stack in ordered for frame in stack[: most - 1]]
        last = [key(stack[-1]) for stack in ordered if len(stack) == most]
        if not np.isnan(sum([*kept, *last], ())).any() and max(kept) < min(last):
            return [stack[: most - 1] for stack in ordered]
    return []


def _by_place(frames: Sequence[DicomFrame]) -> list[list[DicomFrame]]:
    """Group frames of one position along the normal; groups in the order of the positions."""
    normal = frames[0].normal
    ordered = sorted(frames, key=lambda frame: float(normal @ frame.position))
    stacks: list[list[DicomFrame]] = []
    last = -np.inf
    for frame in ordered:
        location = float(normal @ frame.position)
        if location - last > _SAME_PLACE:
            stacks.append([])
        stacks[-1].append(frame)
        last = location
    return stacks


def _affine(stacks: list[list[DicomFrame]], name: str) -> np.ndarray:
    """Affine from the positions; the nominal spacing serves for a single slice only."""
    first = stacks[0][0]
    origin = first.position
    positions = np.array([stack[0].position for stack in stacks])
    if len(stacks) == 1:
        step = first.normal * first.spacing[2]
    else:
        step = (positions[-1] - positions[0]) / (len(stacks) - 1)
        _check_steps(positions, step, name)
    affine = np.eye(4)
    affine[:3, 0] = first.orientation[0] * first.spacing[0]
    affine[:3, 1] = first.orientation[1] * first.spacing[1]
    affine[:3, 2] = step
    affine[:3, 3] = origin
    return LPS_TO_RAS @ affine


def _check_steps(positions: np.ndarray, step: np.ndarray, name: str) -> None:
    gaps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    usual = float(np.median(gaps))
    wide = [i for i, gap in enumerate(gaps) if gap > _MISSING * usual]
    if wide:
        where = ", ".join(f"after slice {i + 1} ({gaps[i]:.2f} mm)" for i in wide)
        raise SeriesMismatchError(f"{name}: slices are missing; the usual spacing is {usual:.2f} mm, but not {where}.")
    line = positions[0] + np.arange(len(positions))[:, None] * step
    if np.abs(positions - line).max() > max(_IRREGULAR * usual, min(_ROUNDED, 0.25 * usual)):
        raise GeometryError(
            f"{name}: slices are not equally spaced on a line (spacings {gaps.min():.2f} to {gaps.max():.2f} mm)."
        )


_Key = Callable[[DicomFrame], tuple[float, ...]]


def _ordering(stacks: list[list[DicomFrame]], name: str) -> tuple[str, _Key]:
    """Find what tells the frames of every slice apart."""
    if len(stacks[0]) == 1:
        return "position", lambda _: (0.0,)
    keys: dict[str, _Key] = {label: _time_key(label) for label in (*_MOMENTS, "index", "content")}
    numbers: dict[str, _Key] = {
        "index": keys["index"],
        "dimensions": lambda frame: tuple(map(float, frame.dimensions)),
        "dynamics": _within_dynamics if _has_parts(stacks) else lambda _: (),
        "instance": lambda frame: tuple(map(float, frame.instance)),
        "weighting": _weighting,
    }
    keys = {label: key for label, key in keys.items() if _tells_apart(stacks, key)}
    numbers = {label: key for label, key in numbers.items() if _tells_apart(stacks, key)}
    if "dynamics" in numbers:
        keys.pop("content", None)  # when an image was made
    if "instance" in numbers and "weighting" in numbers and _mixes(stacks, numbers["instance"]):
        del numbers["instance"]
    if not keys and not numbers:
        raise SeriesMismatchError(
            f"{name}: {len(stacks[0])} frames lie in one place, and nothing in their headers orders them."
        )
    chosen = next(iter({**keys, **numbers}.items()))
    if numbers and keys and _contradict_themselves(stacks, keys, *numbers.values()):
        count = next(iter(numbers.items()))
        chosen = next((item for item in keys.items() if _orders(stacks, item[1]) == _orders(stacks, count[1])), count)
    return chosen


def _has_parts(stacks: list[list[DicomFrame]]) -> bool:
    """Whether temporal positions are parted into control and label, or into phases."""
    return any(len({frame.times.get(name) for frame in stacks[0]}) > 1 for name in ("label", "phase", "trigger"))


def _within_dynamics(frame: DicomFrame) -> tuple[float, ...]:
    """Temporal position, and label and phase in it, as far as they are told."""
    times = frame.times
    phase = times.get("trigger", 0.0), times.get("phase", 0.0)
    return times.get("index", np.nan), times.get("label", 0.0), *phase


def _weighting(frame: DicomFrame) -> tuple[float, ...]:
    """Number of the diffusion direction, and b-value."""
    return frame.times.get("gradient", np.nan), frame.b_value


def _mixes(stacks: list[list[DicomFrame]], key: _Key) -> bool:
    """Whether a key puts frames of different weightings into one volume."""
    ordered = [sorted(stack, key=key) for stack in stacks]
    return any(len(set(map(_weighting, row))) > 1 for row in zip(*ordered, strict=True))


def _contradict_themselves(stacks: list[list[DicomFrame]], keys: Mapping[str, _Key], number: _Key, *_: _Key) -> bool:
    """Whether times differ in the order that they give; trigger times also where they are no phases of a heart beat.

    Content times do not count: they tell when an image was made.
    """
    moments = [_orders(stacks, key) for label, key in keys.items() if label in _MOMENTS]
    if any(order != moments[0] for order in moments[1:]):
        return True
    return list(keys)[:1] == ["trigger"] and moments[0] != _orders(stacks, number) and not _is_even(stacks)


def _orders(stacks: list[list[DicomFrame]], key: _Key) -> list[list[int]]:
    """The order that a key gives to the frames of every slice."""
    return [sorted(range(len(stack)), key=lambda place: key(stack[place])) for stack in stacks]


def _is_even(stacks: list[list[DicomFrame]]) -> bool:
    """Whether the trigger times of every slice are about equally far apart, as phases of a heart beat are."""
    steps = [np.diff(sorted(frame.times["trigger"] for frame in stack)) for stack in stacks]
    return all(step.max() < _UNEVEN * np.median(step) for step in steps)


def _time_key(name: str) -> _Key:
    return lambda frame: (frame.times.get(name, np.nan),)


def _tells_apart(stacks: list[list[DicomFrame]], key: _Key) -> bool:
    for stack in stacks:
        values = [key(frame) for frame in stack]
        if len(set(values)) != len(values) or any(np.isnan(v).any() or not v for v in values):
            return False
    return True


def _frame_times(grid: list[list[DicomFrame]], ordered_by: str) -> np.ndarray:
    """Milliseconds from the first frame: the earliest slice of each frame tells its time."""
    if len(grid) == 1:
        return np.zeros(1)
    if ordered_by == "dynamics":
        return _times_within_dynamics(grid)
    source = ordered_by if ordered_by in ("trigger", *_CLOCKS) else "acquisition"
    times = np.array([min(frame.times.get(source, np.nan) for frame in row) for row in grid])
    if np.isfinite(times).all() and (np.diff(times) > 0).all():
        return times - times[0] if source != "trigger" else times
    others = (np.array([min(frame.times.get(n, np.nan) for frame in row) for row in grid]) for n in _CLOCKS)
    found = next((other for other in others if np.isfinite(other).all() and (np.diff(other) > 0).all()), None)
    if found is not None:
        return found - found[0]
    has_parts = len({row[0].times.get("index") for row in grid}) not in (1, len(grid))
    return np.arange(len(grid)) * (np.nan if has_parts else grid[0][0].volume_time)


def _times_within_dynamics(grid: list[list[DicomFrame]]) -> np.ndarray:
    """Milliseconds where dynamics are parted: control and label take half of one each, phases tell their delay."""
    rows = [row[0].times for row in grid]
    unknown = np.full(len(grid), np.nan)
    dynamics, dynamic_of = np.unique([times["index"] for times in rows], return_inverse=True)
    labels, label_of = np.unique([times.get("label", 0.0) for times in rows], return_inverse=True)
    triggers = np.array([times.get("trigger", np.nan) for times in rows])
    if np.isnan(triggers).any():
        triggers = unknown if len({times.get("phase") for times in rows}) > 1 else np.zeros(len(grid))
    for clock in ("offset", "begin", "acquisition"):
        found = np.array([min(frame.times.get(clock, np.nan) for frame in row) for row in grid])
        starts = np.array([found[dynamic_of == number].min() for number in range(len(dynamics))])
        steps = np.diff(starts)
        if len(steps) and np.isfinite(steps).all() and steps.min() > 0:
            times = starts[dynamic_of] + label_of * np.median(steps) / len(labels) + triggers
            return times - times[0] if (np.diff(times) > 0).all() else unknown
    return unknown


def _check_gaps(grid: list[list[DicomFrame]], times: np.ndarray, name: str) -> None:
    """Refuse a series with a hole: in the instance numbers of one slice and in its times at the same place."""
    instances = np.array([row[0].instance[0] for row in grid], float)
    if len(grid) < 3 or len({frame.path for row in grid for frame in row[:1]}) < len(grid):
        return
    steps, gaps = np.diff(instances), np.diff(times)
    missing = (steps > 1.5 * np.median(steps)) & (gaps > 1.5 * np.median(gaps)) if steps.min() > 0 else []
    if np.any(missing):
        where = ", ".join(str(i + 1) for i in np.flatnonzero(missing))
        raise SeriesMismatchError(
            f"{name}: frames are missing after frame {where}: instance numbers and times both jump."
        )
