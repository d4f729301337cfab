# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Tell the noise of scans without denoising them: the model, and a map of its level in the units of the file."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_stcnnt.data import (
    SeriesReader,
    SeriesRecord,
    SeriesSummary,
    check_exists,
    check_output_folder,
    list_images,
    list_series,
    output_path,
    write_series,
)
from monai_stcnnt.data.content import check_mr_content
from monai_stcnnt.data.formats.base import NIFTI_EXTENSION
from monai_stcnnt.data.paths import write_aside
from monai_stcnnt.engines.series_frames import SeriesFrames, estimate_series_noise, noise_map_record, read_map
from monai_stcnnt.errors import NotAnImageError, StcnntError, UnreadableFileError
from monai_stcnnt.mri.noise_model import NoiseModel
from monai_stcnnt.transforms import NoiseOptions

__all__ = ["SeriesNoise", "find_noise", "write_noise"]


@dataclass(frozen=True)
class SeriesNoise:
    """The noise of one series.

    Attributes:
        source: the file or folder.
        series: which series of a DICOM folder, None where there is one.
        model: the noise.
        map: NIfTI file with its level at every voxel, None where nothing was written.
    """

    source: Path
    series: str | None
    model: NoiseModel
    map: Path | None = None

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        place = None if self.map is None else str(self.map)
        return {"source": str(self.source), "series": self.series, "map": place, **self.model.as_dict()}


def find_noise(
    input: str | Path,
    output: str | Path | None = None,
    *,
    series: str | None = None,
    gmap: str | Path | None = None,
    noise_sigma: float | None = None,
    noise_spectrum: str = "auto",
    acquired_matrix: tuple[int, int] | None = None,
    force: bool = False,
    on_failure: Callable[[Path, StcnntError], object] | None = None,
) -> list[SeriesNoise]:
    """Estimate the noise of a file, or of every series of a folder.

    Args:
        input: a file or a folder.
        output: folder for a map ``NAME_noise.nii.gz`` and a model ``NAME_noise.json`` of each series; sub folders are
            those of the input.
        series: the one series to take where a DICOM folder holds several.
        gmap: g-factor map, where it is known.
        noise_sigma: the level, where it is known.
        noise_spectrum: ``auto``, ``white``, or a JSON file with a noise model.
        acquired_matrix: rows and columns that the scanner acquired, where they are known.
        force: take also what is not an MR image by its values.
        on_failure: called for each of several images whose noise cannot be told, instead of raising the error.

    Returns:
        The noise of every series that can be denoised.

    Raises:
        NotAnImageError: if no series can be denoised.
        StcnntError: one of its classes per cause: a missing or unreadable file, an image without noise, options that
            do not fit it.
    """
    options = NoiseOptions(noise_sigma, noise_spectrum, acquired_matrix)
    found: list[SeriesNoise] = []
    refused: list[str] = []
    root, folder = check_exists(input), None if output is None else check_output_folder(output)
    known = None if gmap is None else check_exists(gmap)
    listed = list_series(root)
    for path in listed:
        try:
            images = list_images(path, check=False)
            refused += [image.refused for image in images if image.refused]
            for name in _names(images, series):
                record, model = _look(path, name, known, options, force=force)
                place = None
                if folder is not None:
                    place = output_path(path, root, folder, f"{name}_noise" if name else "noise", NIFTI_EXTENSION)
                    place = write_noise(record, model, place.with_name(place.name.removesuffix(NIFTI_EXTENSION)))
                found.append(SeriesNoise(path, name, model, place))
        except StcnntError as error:
            if on_failure is None or len(listed) == 1:
                raise
            on_failure(path, error)
    if not found and refused:
        raise NotAnImageError(refused[0])
    return found


def _names(images: Sequence[SeriesSummary], series: str | None) -> list[str | None]:
    """Which series to look at: the one that is asked for, or all that are not refused.

    Raises:
        UnreadableFileError: if the only image is meant to be one, and cannot be read.
    """
    usable = [image.series for image in images if not image.refused]
    if not usable and any(image.kind == "unknown" for image in images):
        raise UnreadableFileError(images[0].refused)
    return [series] if series is not None else [*usable] if len(images) > 1 else [None] * len(usable)


def _look(
    path: Path, series: str | None, gmap: Path | None, options: NoiseOptions, *, force: bool
) -> tuple[SeriesRecord, NoiseModel]:
    """Level at every voxel, and model, of one series."""
    with SeriesReader(series=series).open(path) as opened:
        check_mr_content(opened, force=force)
        known = None if gmap is None else SeriesReader(check=False).open(gmap)
        frames = SeriesFrames(opened, known)
        model = estimate_series_noise(frames, options)
        record = noise_map_record(opened.outline, model)
        if known is not None:
            record = record.with_array(record.array * read_map(known, slice(0, 1), slice(0, known.shape[2])))
            known.release()
    return record, model


def write_noise(levels: SeriesRecord, model: NoiseModel, place: Path) -> Path:
    """Write the level of the noise at every voxel as NIfTI, and the model as JSON.

    Args:
        levels: see :func:`~monai_stcnnt.engines.series_frames.noise_map_record`.
        model: the noise.
        place: where to, without an ending.

    Returns:
        The NIfTI file.

    Raises:
        OutputNotWritableError: if it cannot be written.
    """
    saved = write_series(levels, place.with_name(place.name + ".nii.gz"))
    with write_aside(place.with_name(place.name + ".json")) as aside:
        aside.write_text(json.dumps(model.as_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return saved
