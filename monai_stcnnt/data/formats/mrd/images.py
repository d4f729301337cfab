# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""MRD images as series records and back: which images make one series, where they lie, and what their values mean.

An MRD image is a fixed header, attributes as XML, and pixels. The standard (Inati et al. 2017, doi:10.1002/mrm.26089)
puts its ``position`` at the center of the volume, in millimeters and LPS. Here that is voxel n / 2 along each axis,
where the center of a Fourier transform lies; Gadgetron's DICOM files have it there too.
"""

from __future__ import annotations

import functools
import importlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from monai_stcnnt.data.formats.parts import join_parts, phase_scale
from monai_stcnnt.data.record import LPS_TO_RAS, SeriesRecord
from monai_stcnnt.errors import GeometryError, MissingPackageError

__all__ = [
    "PIXEL_TYPES",
    "ImageGroup",
    "MrdImage",
    "Role",
    "group_images",
    "group_record",
    "header_type",
    "pixels_of",
    "plane_values",
    "role_of",
]

Role = Literal["image", "gfactor", "noise", "other"]
PartName = Literal["magnitude", "phase", "real", "imaginary", "complex"]

PIXEL_TYPES = {1: "<u2", 2: "<i2", 3: "<u4", 4: "<i4", 5: "<f4", 6: "<f8", 7: "<c8", 8: "<c16"}
"""NumPy types of the standard's ``data_type``."""

_PARTS: dict[int, PartName] = {0: "magnitude", 1: "magnitude", 2: "phase", 3: "real", 4: "imaginary", 5: "complex"}
_PAIRS: dict[PartName, PartName] = {"magnitude": "phase", "real": "imaginary"}
_TICK = 2.5  # milliseconds of a time stamp, which the standard leaves to the vendor and Siemens' converters write

_SAME_PLACE = 1e-2  # millimeters


@functools.cache
def header_type() -> np.dtype[Any]:
    """NumPy type of an image header, 198 bytes.

    Raises:
        MissingPackageError: if the package ``ismrmrd`` is not installed.
    """
    try:
        hdf5 = importlib.import_module("ismrmrd.hdf5")
    except ImportError as error:
        raise MissingPackageError("MRD needs the package ismrmrd: pip install 'monai-stcnnt[mrd]'.") from error
    found: np.dtype[Any] = hdf5.image_header_dtype
    return found


@dataclass(frozen=True, eq=False)
class MrdImage:
    """One MRD image.

    Attributes:
        header: its fixed header, a scalar of :func:`header_type`.
        attributes: its meta attributes, XML.
        pixels: ``(channels, z, y, x)``.
    """

    header: np.void
    attributes: str
    pixels: np.ndarray

    @property
    def part(self) -> PartName | None:
        """Which part of a complex image it is; None for colors and unknown types."""
        return _PARTS.get(int(self.header["image_type"]))

    def attribute(self, name: str) -> str:
        """Value of a meta attribute, empty where there is none; the first of several."""
        pattern = rf"<name>\s*{re.escape(name)}\s*</name>\s*<value>([^<]*)</value>"
        found = re.search(pattern, self.attributes)
        return "" if found is None else found.group(1).strip()


def role_of(image: MrdImage) -> Role:
    """Tell what an image is for, by its attribute ``DataRole`` (or Gadgetron's older names of it) and its type.

    Args:
        image: the image.

    Returns:
        ``"gfactor"`` for a map of g-factors, ``"noise"`` for a noise-only image, ``"other"`` for colors, several coils
        and navigators, else ``"image"``.
    """
    names = " ".join(image.attribute(f"{prefix}DataRole") for prefix in ("", "GADGETRON_", "GT_")).lower()
    if "gfactor" in names:
        return "gfactor"
    if image.part is None or image.pixels.shape[0] != 1 or int(image.header["flags"]) & 1 or image.pixels.size == 0:
        return "other"
    return "noise" if "noise" in names else "image"


@dataclass(frozen=True)
class ImageGroup:
    """Images that make one series.

    Attributes:
        kind: of the series: ``"magnitude"``, ``"complex"``, or the part that it is where its partner is missing.
        planes: numbers of the images ``[time][place]``; one place for volumes.
        partner: the second part in the same order (phase or imaginary), empty where there is none.
    """

    kind: PartName
    planes: tuple[tuple[int, ...], ...]
    partner: tuple[tuple[int, ...], ...] = ()

    @property
    def numbers(self) -> list[int]:
        """Numbers of all images of the group."""
        return [number for row in (*self.planes, *self.partner) for number in row]


def group_images(images: Sequence[MrdImage]) -> list[ImageGroup]:
    """Sort images into series, by their counters and positions.

    Images of one series share measurement, series, contrast, set, average, size and type. Their places are told apart
    by position along the normal, their times by repetition, phase and order. Places that are not evenly spaced, or do
    not have the same number of times, become a series each. A phase joins its magnitude, and an imaginary part its
    real part, where there is exactly one of each with the same counters; velocities stay alone.

    Args:
        images: those whose role is ``"image"``, in the order that they came in.

    Returns:
        The series, in the order of their first images.
    """
    stacks: dict[tuple[Any, ...], list[int]] = {}
    for number, image in enumerate(images):
        stacks.setdefault((*_counters(image), int(image.header["image_series_index"]), image.part), []).append(number)
    groups: list[ImageGroup] = []
    waiting: dict[tuple[Any, ...], list[ImageGroup]] = {}
    for key, numbers in stacks.items():
        for planes in _planes(images, numbers):
            group = ImageGroup(key[-1], planes)
            groups.append(group)
            waiting.setdefault((*key[:-2], key[-1], _place(images[planes[0][0]])), []).append(group)
    for group in list(groups):
        second = _PAIRS.get(group.kind)
        head = images[group.planes[0][0]]
        key = (*_counters(head), group.kind, _place(head))
        partners = waiting.get((*_counters(head), second, _place(head)), []) if second else []
        if len(partners) == len(waiting[key]) == 1 and _fits(images, group, partners[0]):
            joined = ImageGroup("complex", group.planes, partners[0].planes)
            groups = [joined if one is group else one for one in groups if one is not partners[0]]
    return sorted(groups, key=lambda one: min(one.numbers))


def _counters(image: MrdImage) -> tuple[Any, ...]:
    """What all images of a series and of its partner have in common."""
    names = ("measurement_uid", "contrast", "set", "average")
    size = tuple(float(v) for v in np.round(_vector(image, "field_of_view"), 3))
    return (*(int(image.header[name]) for name in names), image.pixels.shape, size)


def _place(image: MrdImage) -> tuple[float, ...]:
    return tuple(float(v) for v in np.round(_vector(image, "position"), 2) + 0.0)


def _vector(image: MrdImage, name: str) -> np.ndarray:
    """A vector of a header, zero where it is no number: it tells images apart, whatever it is worth."""
    return np.nan_to_num(image.header[name].astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _fits(images: Sequence[MrdImage], first: ImageGroup, second: ImageGroup) -> bool:
    """Whether a second part can be joined: not a velocity, and of the same extent."""
    is_velocity = bool(images[second.planes[0][0]].attribute("FlowVelocity"))
    return not is_velocity and [len(row) for row in first.planes] == [len(row) for row in second.planes]


def _planes(images: Sequence[MrdImage], numbers: Sequence[int]) -> list[tuple[tuple[int, ...], ...]]:
    """Split the images of one stack into series of regular planes ``[time][place]``."""
    first = images[numbers[0]]
    normal = np.cross(_vector(first, "read_dir"), _vector(first, "phase_dir"))
    along: dict[int, list[int]] = {}
    for number in numbers:
        place = round(float(_vector(images[number], "position") @ normal) / _SAME_PLACE)
        near = next((known for known in (place, place - 1, place + 1) if known in along), place)
        along.setdefault(near, []).append(number)
    for places in along.values():
        places.sort(key=lambda n: (int(images[n].header["repetition"]), int(images[n].header["phase"]), n))
    columns = [along[key] for key in sorted(along)]
    is_volume = images[numbers[0]].pixels.shape[1] > 1
    if is_volume or len({len(c) for c in columns}) > 1 or not _are_regular([images[c[0]] for c in columns]):
        return [tuple((number,) for number in column) for column in columns]
    return [tuple(zip(*columns, strict=True))]


def _are_regular(images: Sequence[MrdImage]) -> bool:
    """Whether planes are parallel and evenly spaced."""
    for name in ("read_dir", "phase_dir"):
        directions = np.array([_vector(image, name) for image in images])
        if float(np.abs(directions - directions[0]).max()) > 1e-4:
            return False
    steps = np.diff(np.array([_vector(image, "position") for image in images]), axis=0)
    if len(steps) == 0:
        return True
    typical = max(float(np.linalg.norm(steps[0])), _SAME_PLACE)
    return bool(np.abs(steps - steps.mean(axis=0)).max() < 0.02 * typical)


def group_record(
    images: Sequence[MrdImage], group: ImageGroup, metadata: Mapping[str, Any] | None = None
) -> SeriesRecord:
    """Make a record of a series.

    Args:
        images: what was given to :func:`group_images`.
        group: the series.
        metadata: for the record, see :class:`~monai_stcnnt.data.record.SeriesRecord`.

    Returns:
        The record: C = 2 for a complex series.

    Raises:
        GeometryError: if the headers have no usable directions or field of view.
        PhaseRangeError: if a phase has no known scale.
    """
    first = _stacked(images, group.planes)
    if group.partner:
        second = _stacked(images, group.partner)
        is_phase = images[group.partner[0][0]].part == "phase"
        first = join_parts(first[None], second[None], _radians(second) if is_phase else None)
    elif group.kind == "complex":
        first = np.stack([first.real, first.imag])
    else:
        first = first[None]
    record_metadata = {
        "source": "the stream",
        "kind": "complex" if len(first) == 2 else "magnitude",
        **(metadata or {}),
    }
    with np.errstate(over="ignore"):
        array = first.astype(np.float32)
    return SeriesRecord(array, _affine(images, group), _times(images, group), record_metadata)


def _stacked(images: Sequence[MrdImage], planes: Iterable[Sequence[int]]) -> np.ndarray:
    """``(T, Z, Y, X)`` of one part, double precision."""
    rows = [np.concatenate([images[n].pixels[0] for n in row]) for row in planes]
    values = np.stack(rows)
    return values.astype(np.complex128 if np.iscomplexobj(values) else np.float64)


def _radians(phase: np.ndarray) -> float:
    return phase_scale("the phase", float(phase.min()), float(phase.max()))


def _affine(images: Sequence[MrdImage], group: ImageGroup) -> np.ndarray:
    first = images[group.planes[0][0]]
    header, (_, depth, rows, columns) = first.header, first.pixels.shape
    if not all(np.isfinite(header[name]).all() for name in ("field_of_view", "position")):
        raise GeometryError("The MRD headers have a position or field of view that is not a number.")
    extent = np.asarray(header["field_of_view"], float) / (columns, rows, depth)
    axes = np.array([header["read_dir"], header["phase_dir"], header["slice_dir"]], float) * extent[:, None]
    if len(group.planes[0]) > 1:
        last = images[group.planes[0][-1]].header["position"]
        axes[2] = (last.astype(float) - header["position"]) / (len(group.planes[0]) - 1)
    spacing = np.sqrt((axes**2).sum(axis=1))
    if not (np.isfinite(axes).all() and spacing.min() > 0 and abs(np.linalg.det(axes)) > 1e-6 * spacing.prod()):
        raise GeometryError(
            f"The MRD headers have no usable geometry: field of view {header['field_of_view'].tolist()} mm, directions "
            f"{header['read_dir'].tolist()}, {header['phase_dir'].tolist()}, {header['slice_dir'].tolist()}."
        )
    affine = np.eye(4)
    affine[:3, :3] = axes.T
    center = np.array([columns, rows, depth if depth > 1 else 0]) / 2
    affine[:3, 3] = header["position"] - center @ axes
    return LPS_TO_RAS @ affine


def _times(images: Sequence[MrdImage], group: ImageGroup) -> np.ndarray:
    """Milliseconds after the trigger, or after the first frame; NaN where the stamps do not grow."""
    headers = [images[row[0]].header for row in group.planes]
    trigger = np.array([h["physiology_time_stamp"][0] for h in headers], float) * _TICK
    clock = np.array([h["acquisition_time_stamp"] for h in headers], float) * _TICK
    for stamps in (trigger, clock - clock[0]):
        if len(stamps) > 1 and bool((np.diff(stamps) > 0).all()):
            return stamps
    return np.zeros(1) if len(headers) == 1 else np.full(len(headers), np.nan)


def plane_values(images: Sequence[MrdImage], group: ImageGroup, record: SeriesRecord) -> dict[int, np.ndarray]:
    """Split a record into the images that it was made of, in their own types.

    Args:
        images: what the record was made of.
        group: which of them.
        record: of the same size; what the network made of it.

    Returns:
        Pixels ``(1, z, y, x)`` by number of the image. Whole numbers are rounded to the nearest that the type holds.
    """
    values = record.array.astype(np.float64)
    if group.partner and images[group.partner[0][0]].part == "phase":
        parts = [np.hypot(*values), _as_before(np.arctan2(values[1], values[0]), _stacked(images, group.partner))]
    elif group.partner:
        parts = [values[0], values[1]]
    else:
        parts = [values[0] + 1j * values[1] if group.kind == "complex" else values[0]]
    result: dict[int, np.ndarray] = {}
    for part, planes in zip(parts, (group.planes, group.partner), strict=False):
        for time, row in enumerate(planes):
            depth = part.shape[1] // len(row)
            for place, number in enumerate(row):
                plane = part[time, place * depth : (place + 1) * depth]
                result[number] = _as_type(plane, images[number].pixels.dtype)[None]
    return result


def _as_before(angle: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """Angles in the unit and range of a phase; whole numbers where it has only these."""
    scale = _radians(phase)
    values = angle / scale
    if bool((phase == np.rint(phase)).all()):
        values = np.rint(values)
    return np.mod(values, 2 * math.pi / scale) if phase.min() >= 0 else values


def _as_type(values: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    if dtype.kind in "ui":
        limits = np.iinfo(dtype)
        return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
    return values.astype(dtype)


def pixels_of(header: np.void, data: bytes) -> np.ndarray:
    """Pixels of an image from its bytes.

    Args:
        header: the header, whose ``data_type`` is known.
        data: as many bytes as it says.

    Returns:
        ``(channels, z, y, x)``.
    """
    x, y, z = (int(n) for n in header["matrix_size"])
    return np.frombuffer(data, PIXEL_TYPES[int(header["data_type"])]).reshape(int(header["channels"]), z, y, x)
