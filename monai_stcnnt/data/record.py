# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The one array contract of all readers and writers: a series with its geometry, its frame times and its origin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from monai_stcnnt.errors import GeometryError, LayoutError

__all__ = [
    "LPS_TO_RAS",
    "ImageKind",
    "SeriesRecord",
    "outline_of",
    "record_from_channel_first",
    "regular_frame_times",
    "weightings_of",
]

ImageKind = Literal["magnitude", "complex"]

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From the patient axes of DICOM and ITK to those of NIfTI; its own inverse."""

_SPACINGS = (1e-4, 1e4)  # millimeters
_FARTHEST = 1e6  # millimeters from the origin


@dataclass(frozen=True, eq=False)
class SeriesRecord:
    """One image or series of images, whatever file it came from.

    Args:
        array: ``(C, T, Z, Y, X)`` float32; C = 1 for magnitude (or any real image), 2 for real and imaginary.
        affine: 4x4, from voxel indices (x, y, z) to millimeters in RAS orientation.
        frame_times: ``(T,)`` in milliseconds; NaN where the file does not tell.
        metadata: where the image came from and what a writer needs to give back the same kind of file. All readers set
            ``source`` (path), ``file_format``, ``file_ndim`` (axes of the image in the file, without a channel axis),
            ``file_shape``, ``file_dtype`` and ``units`` (of space and time in the file). Values are strings, numbers,
            or arrays of these.

    Attributes:
        kind: ``"complex"`` for two channels, else ``"magnitude"``.

    Raises:
        LayoutError: if the array or the frame times do not have these shapes.
        GeometryError: if the affine is not 4x4, finite and invertible, or voxels are impossibly small,
            large or far away.
    """

    array: np.ndarray
    affine: np.ndarray
    frame_times: np.ndarray
    metadata: dict[str, Any] = field(default_factory=dict)
    kind: ImageKind = field(init=False)

    def __post_init__(self) -> None:
        """Check the shapes and settle the dtypes."""
        array = np.asarray(self.array, np.float32)
        affine = np.asarray(self.affine, np.float64)
        times = np.asarray(self.frame_times, np.float64)
        source = self.metadata.get("source", "the image")
        if array.ndim != 5 or array.shape[0] not in (1, 2):
            raise LayoutError(
                f"{source}: a record has the axes (C, T, Z, Y, X), C = 1 or 2, not the shape {array.shape}."
            )
        if times.shape != (array.shape[1],):
            raise LayoutError(
                f"{source}: {array.shape[1]} frames need as many frame times, not the shape {times.shape}."
            )
        self._check_affine(affine, str(source))
        kind = "complex" if len(array) == 2 else "magnitude"
        for name, value in (("array", array), ("affine", affine), ("frame_times", times), ("kind", kind)):
            object.__setattr__(self, name, value)

    @staticmethod
    def _check_affine(affine: np.ndarray, source: str) -> None:
        is_finite = affine.shape == (4, 4) and bool(np.isfinite(affine).all())
        spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0)) if is_finite else np.zeros(3)
        if not is_finite or abs(np.linalg.det(affine[:3, :3])) <= 1e-6 * spacing.prod():
            raise GeometryError(
                f"{source}: the affine is not an invertible 4x4 matrix of finite numbers: {affine.tolist()}. "
                "Repair the position, orientation or spacing in the file's header."
            )
        if spacing.min() < _SPACINGS[0] or spacing.max() > _SPACINGS[1]:
            raise GeometryError(
                f"{source}: voxels of {' x '.join(f'{v:.4g}' for v in spacing)} mm are impossible. Repair the spacing, "
                "or its unit, in the file's header."
            )
        if np.abs(affine[:3, 3]).max() > _FARTHEST:
            raise GeometryError(
                f"{source}: the first voxel at {affine[:3, 3].tolist()} mm is impossibly far away. Repair the position "
                "in the file's header."
            )

    @property
    def magnitude(self) -> np.ndarray:
        """Magnitudes ``(T, Z, Y, X)``; those of a magnitude image as they are."""
        return self.array[0] if self.kind == "magnitude" else np.hypot(self.array[0], self.array[1])

    @property
    def frame_time(self) -> float:
        """Median time from frame to frame in milliseconds; NaN for one frame or unknown times."""
        return float(np.median(np.diff(self.frame_times))) if len(self.frame_times) > 1 else float("nan")

    @property
    def spacing(self) -> np.ndarray:
        """Voxel spacing along x, y, z in millimeters, shape ``(3,)``."""
        return np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))

    def with_array(self, array: np.ndarray) -> SeriesRecord:
        """Record of other values with the same geometry, times and metadata.

        Args:
            array: ``(C, T, Z, Y, X)`` with any C of 1 or 2.

        Returns:
            The new record.
        """
        return replace(self, array=array)

    def to_spatial(self) -> np.ndarray:
        """Array in MONAI's spatial order and without a channel axis.

        Returns:
            ``(X, Y)``, ``(X, Y, Z)`` or ``(X, Y, Z, T)``: as many axes as the file had, more where it needs them;
            float32, or complex64 for a complex image.
        """
        values = self.array[0] if self.kind == "magnitude" else self.array[0] + 1j * self.array[1]
        spatial = values.transpose(3, 2, 1, 0)
        ndim = min(4, max(int(self.metadata.get("file_ndim", 2)), _needed_ndim(spatial.shape)))
        return spatial.reshape(spatial.shape[:ndim])


def _needed_ndim(shape: Sequence[int]) -> int:
    """Axes that cannot be left away at the end of (X, Y, Z, T), at least two."""
    return max([2, *(i + 1 for i, n in enumerate(shape) if n > 1)])


def outline_of(
    shape: Sequence[int], affine: np.ndarray, frame_times: np.ndarray, metadata: dict[str, Any]
) -> SeriesRecord:
    """Make a record of a series without its values, which takes no memory whatever its size.

    Args:
        shape: ``(C, T, Z, Y, X)``.
        affine: see :class:`SeriesRecord`.
        frame_times: ``(T,)`` in milliseconds.
        metadata: see :class:`SeriesRecord`.

    Returns:
        The record, with one zero in the place of all values.

    Raises:
        GeometryError: as the record itself.
    """
    return SeriesRecord(np.broadcast_to(np.float32(0), tuple(shape)), affine, frame_times, metadata)


def record_from_channel_first(
    array: np.ndarray, affine: np.ndarray, frame_times: np.ndarray | None, metadata: dict[str, Any]
) -> SeriesRecord:
    """Make a record of an array as MONAI transforms hold it.

    Args:
        array: ``(C, X, Y[, Z[, T]])``; complex with C = 1, or real with C = 1 or 2 (real and imaginary).
        affine: 4x4, from voxel indices to millimeters in RAS orientation.
        frame_times: ``(T,)`` in milliseconds, or None where unknown.
        metadata: see :class:`SeriesRecord`.

    Returns:
        The record.

    Raises:
        LayoutError: if the array has other axes, or a number of frames other than that of the times.
    """
    array = np.asarray(array)
    if not 3 <= array.ndim <= 5:
        raise LayoutError(f"An image to write has the axes (C, X, Y[, Z[, T]]), not the shape {array.shape}.")
    if np.iscomplexobj(array):
        if array.shape[0] != 1:
            raise LayoutError(f"A complex image has one channel, but the shape is {array.shape}.")
        array = np.concatenate([array.real, array.imag])
    full: np.ndarray = np.reshape(array, (*array.shape, 1, 1)[:5]).transpose(0, 4, 3, 2, 1)
    times = np.full(full.shape[1], np.nan) if frame_times is None else frame_times
    return SeriesRecord(full, affine, times, metadata)


def regular_frame_times(frames: int, frame_time: float, start: float = 0.0) -> np.ndarray:
    """Times of equally spaced frames.

    Args:
        frames: number of frames T.
        frame_time: milliseconds from frame to frame; unknown where not a positive number.
        start: time of the first frame in milliseconds.

    Returns:
        ``(T,)`` in milliseconds; NaN for several frames of unknown spacing.
    """
    if frames == 1:
        return np.array([start])
    return start + np.arange(frames) * (frame_time if np.isfinite(frame_time) and frame_time > 0 else np.nan)


def weightings_of(metadata: Mapping[str, Any]) -> tuple[float, ...]:
    """The diffusion weightings of an image, whose frames are no neighbors in time where they differ.

    Args:
        metadata: of the record; ``b_values`` has one for every frame, NaN where a header tells none.

    Returns:
        Those that differ, to the nearest 50 s/mm2; nothing where none is above zero.
    """
    values = np.nan_to_num(np.asarray(metadata.get("b_values", ()), np.float64))
    found = np.unique(50 * np.round(values / 50))
    return tuple(map(float, found)) if found.any() else ()
