# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The readers of this package behind MONAI's ``LoadImage``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from monai.config.type_definitions import PathLike
from monai.data.image_reader import ImageReader
from monai.utils.enums import MetaKeys, SpaceKeys

from monai_stcnnt.data.formats.registry import can_read, open_series, read_series
from monai_stcnnt.data.record import SeriesRecord
from monai_stcnnt.data.slabs import IN_MEMORY, SeriesSlabs
from monai_stcnnt.errors import SeriesMismatchError

__all__ = ["SeriesReader", "monai_metadata"]


@dataclass(frozen=True)
class _SeriesPaths:
    """What ``read`` hands to ``get_data``: names only."""

    paths: tuple[Path, ...]


class SeriesReader(ImageReader):
    """Read what :func:`~monai_stcnnt.data.formats.registry.read_series` reads, in MONAI's axes, with its metadata.

    The array is ``(X, Y)``, ``(X, Y, Z)`` or ``(X, Y, Z, T)``, as many axes as the file has: float32, or complex64
    for a complex image. ``EnsureChannelFirstd(keys)`` puts the channel axis in front, with or without
    ``channel_dim="no_channel"``. The metadata holds the affine (4x4, RAS, millimeters), ``frame_times`` ``(T,)`` and
    ``frame_time`` in milliseconds, ``kind`` (``"magnitude"`` or ``"complex"``) and what a writer needs.

    ``LoadImage`` converts to float32 unless told otherwise, and so drops the imaginary part with no more than numpy's
    ``ComplexWarning``. Load with ``LoadImaged(keys, reader=SeriesReader(), dtype=None)``;
    :class:`~monai_stcnnt.transforms.frames.FileToFrames` refuses a complex image that lost it.

    ``LoadImage`` tries other readers, down to color pictures, after one whose ``read`` fails. Here the file is read in
    ``get_data``, so that a bad file raises its own error.

    Args:
        series: which one, where a folder holds several series.
        check: whether to refuse images with NaN, infinite or only equal values; turn it off for masks.
    """

    def __init__(self, series: str | int | None = None, check: bool = True) -> None:
        super().__init__()
        self.series = series
        self.check = check

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Tell whether the names are of a format that is read.

        Args:
            filename: one or several names.

        Returns:
            Whether there is a reader for all of them.
        """
        return all(can_read(path) for path in _paths(filename))

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: Any) -> _SeriesPaths:  # noqa: ANN401, ARG002 - MONAI's signature
        """Take the names; the files are opened by :meth:`get_data`.

        Args:
            data: the file or folder.
            kwargs: not used.

        Returns:
            What ``get_data`` takes.
        """
        return _SeriesPaths(_paths(data))

    def get_data(self, img: _SeriesPaths) -> tuple[np.ndarray, dict[str, Any]]:
        """Read the file.

        Args:
            img: what ``read`` returned.

        Returns:
            Array ``(X, Y[, Z[, T]])``, and the metadata.

        Raises:
            SeriesMismatchError: if there are several files for one image.
            StcnntError: the errors of :func:`~monai_stcnnt.data.formats.registry.read_series`.
        """
        if len(img.paths) != 1:
            names = ", ".join(str(path) for path in img.paths)
            raise SeriesMismatchError(f"{len(img.paths)} files for one image: {names}. Give one file or one folder.")
        record = read_series(img.paths[0], series=self.series, check=self.check)
        array = record.to_spatial()
        return array, monai_metadata(record, array.shape)

    def open(self, path: str | Path, *, memory: int = IN_MEMORY, scratch: str | Path | None = None) -> SeriesSlabs:
        """Open a file or folder, to read it a slab at a time.

        Args:
            path: the file or folder.
            memory: largest size in bytes, as float32, of a series that is read at once.
            scratch: folder to unpack a compressed file in, default: the system's own.

        Returns:
            The open series, see :func:`~monai_stcnnt.data.formats.registry.open_series`.

        Raises:
            StcnntError: the errors of that function.
        """
        return open_series(path, series=self.series, check=self.check, memory=memory, scratch=scratch)


def monai_metadata(record: SeriesRecord, spatial_shape: Sequence[int]) -> dict[str, Any]:
    """Metadata of a record as MONAI's transforms expect it.

    Args:
        record: the record.
        spatial_shape: sizes ``(X, Y[, Z[, T]])`` of the array.

    Returns:
        The record's metadata with the affine, the frame times and MONAI's keys.
    """
    return {
        **record.metadata,
        "kind": record.kind,
        "frame_times": record.frame_times.copy(),
        "frame_time": record.frame_time,
        MetaKeys.AFFINE.value: record.affine.copy(),
        MetaKeys.ORIGINAL_AFFINE.value: record.affine.copy(),
        MetaKeys.SPACE.value: SpaceKeys.RAS.value,
        MetaKeys.SPATIAL_SHAPE.value: np.asarray(spatial_shape[:3]),
        MetaKeys.ORIGINAL_CHANNEL_DIM.value: float("nan"),
    }


def _paths(data: Sequence[PathLike] | PathLike) -> tuple[Path, ...]:
    if isinstance(data, (list, tuple)):
        return tuple(Path(item) for item in data)
    return (Path(data),)  # type: ignore[arg-type]
