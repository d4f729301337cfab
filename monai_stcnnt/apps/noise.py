# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Tell the noise of scans without denoising them: the model, and a map of its level in the units of the file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_stcnnt.data import SeriesReader, SeriesRecord, list_series, write_series
from monai_stcnnt.data.formats.registry import list_images
from monai_stcnnt.data.paths import write_aside
from monai_stcnnt.engines.series_frames import SeriesFrames, estimate_series_noise, noise_map_record, read_map
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
) -> list[SeriesNoise]:
    """Estimate the noise of a file, or of every series of a folder.

    Args:
        input: a file or a folder.
        output: folder for a map ``NAME_noise.nii.gz`` and a model ``NAME_noise.json`` of each series.
        series: the one series to take where a DICOM folder holds several.
        gmap: g-factor map, where it is known.
        noise_sigma: the level, where it is known.
        noise_spectrum: ``auto``, ``white``, or a JSON file with a noise model.
        acquired_matrix: rows and columns that the scanner acquired, where they are known.

    Returns:
        The noise of every series that can be denoised.

    Raises:
        StcnntError: one of its classes per cause: a missing or unreadable file, an image without noise, options that
            do not fit it.
    """
    options = NoiseOptions(noise_sigma, noise_spectrum, acquired_matrix)
    found = []
    for path in list_series(input):
        images = [image for image in list_images(path, check=False) if not image.refused]
        names = [series] if series is not None else [image.series for image in images] if len(images) > 1 else [None]
        for name in names:
            with SeriesReader(series=name).open(path) as opened:
                known = None if gmap is None else SeriesReader(check=False).open(gmap)
                frames = SeriesFrames(opened, known)
                model = estimate_series_noise(frames, options)
                record = noise_map_record(opened.outline, model)
                if known is not None:
                    record = record.with_array(record.array * read_map(known, slice(0, 1), slice(0, known.shape[2])))
                    known.release()
            place = None
            if output is not None:
                stem = path.name.split(".")[0] + (f"_{name}" if name else "") + "_noise"
                place = write_noise(record, model, Path(output).expanduser() / stem)
            found.append(SeriesNoise(path, name, model, place))
    return found


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
