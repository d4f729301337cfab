# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The noise model of an open series, from a part of it: one model for the whole series."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from monai_stcnnt.data import SeriesRecord
from monai_stcnnt.engines.series_frames import SeriesFrames
from monai_stcnnt.mri.noise_estimation import estimate_noise_model
from monai_stcnnt.mri.noise_model import NoiseModel, map_of_frames
from monai_stcnnt.mri.noise_spectrum import AxisSpectrum
from monai_stcnnt.transforms import FrameAxis, NoiseOptions, resolve_frame_axis

__all__ = ["estimate_series_noise", "noise_map_record", "slices_apart"]

logger = logging.getLogger(__name__)

_SAMPLE = 1_000_000
_RUN = 6
_FEW_SLICES = 12


def estimate_series_noise(frames: SeriesFrames, options: NoiseOptions | None = None) -> NoiseModel:
    """Estimate the noise of an open series, from an evenly spread part of it where it is large, and log it.

    How it is estimated is said at :func:`~monai_stcnnt.mri.noise_estimation.estimate_noise_model`.

    Args:
        frames: the series, with its map of the noise if it has one.
        options: what is told.

    Returns:
        The model; a map that was told stays with ``frames``.

    Raises:
        NoiseLevelError: if there is no noise to estimate.
        NoiseModelError: if what is told does not fit.
    """
    options = options or NoiseOptions()
    image, gmap, chosen, is_volume = _sample(frames)
    known = options.known(image.shape, frames.size[0], gmap, frames.image.meta)
    found = estimate_noise_model(image, known, is_volume)
    depth = found.spectrum[0] if is_volume else AxisSpectrum(frames.size[0])
    noise_map = found.noise_map if gmap is None else None
    if noise_map is not None and len(chosen) > 1:
        by_item = is_volume or frames.axis == "time"
        noise_map = _over_items(noise_map, frames.items, chosen) if by_item else noise_map.movedim(0, 1)
    model = NoiseModel(
        found.level,
        found.kind,
        (depth, *found.spectrum[1:]),
        found.num_coils,
        noise_map,
        found.echo_shift,
        found.origins,
    )
    logger.info("noise: %s", model.describe())
    return model


def slices_apart(frames: SeriesFrames, model: NoiseModel) -> tuple[SeriesFrames, NoiseModel]:
    """Take the slices of a volume one by one, where they are few and share noise, which would be taken for signal.

    Args:
        frames: the series.
        model: its noise.

    Returns:
        The series with its slices as items, and the model of that; or both as they were.
    """
    depth, total = model.spectrum[0], frames.size[0]
    if frames.axis != "slice" or frames.items > 1 or depth.is_white or total >= _FEW_SLICES:
        return frames, model
    noise_map = model.noise_map
    if noise_map is not None:
        noise_map = map_of_frames(model, 0, slice(0, total), total, noise_map.shape[2:])[:, None].contiguous()
    apart = SeriesFrames(frames.image, frames.gmap, frames.level, "time", frames.gmap_unit)
    logger.info("neighboring slices share noise: they are denoised one by one")
    return apart, replace(model, spectrum=(AxisSpectrum(1), *model.spectrum[1:]), noise_map=noise_map)


def noise_map_record(outline: SeriesRecord, model: NoiseModel, frame_axis: FrameAxis = "auto") -> SeriesRecord:
    """The level of the noise at every voxel, in the units of the file, the same for all frames in time.

    Args:
        outline: the series, without values.
        model: its noise.
        frame_axis: see :class:`~monai_stcnnt.engines.series_frames.SeriesFrames`.
    """
    channels, times, slices, rows, columns = outline.array.shape
    by_slice = model.noise_map is not None and model.noise_map.shape[0] == slices > 1
    if by_slice or resolve_frame_axis((channels, columns, rows, slices, times), frame_axis) == "time":
        parts = [map_of_frames(model, z, slice(0, 1), times, (rows, columns)) for z in range(slices)]
        levels = torch.cat(parts)
    else:
        levels = map_of_frames(model, 0, slice(0, slices), slices, (rows, columns))
    metadata = {**outline.metadata, "kind": "magnitude", "file_ndim": 3}
    array = (levels[None, None] * model.level).numpy()
    return SeriesRecord(array, outline.affine, outline.frame_times[:1], metadata)


def _sample(frames: SeriesFrames) -> tuple[Tensor, Tensor | None, list[int], bool]:
    """Frames to estimate from: image ``(Z, C, T, H, W)``, its map, which items or first frames, and if T is depth.

    A small volume is taken whole. Of a large one, runs of neighboring slices are taken as if they were series; of
    series
    in time, frames from the middle of some slices.
    """
    total, rows, columns = frames.size
    channels = frames.image.shape[0]
    plane = channels * rows * columns
    if frames.items * total * plane <= _SAMPLE:
        runs = [(item, 0, total) for item in range(frames.items)]
    elif frames.axis == "slice" and total * plane <= _SAMPLE:
        runs = [(0, 0, total)]
    else:
        run = min(total, _RUN)
        count = max(1, _SAMPLE // (plane * run))
        if frames.axis == "slice":
            starts = np.unique(np.linspace(0, total - run, min(count, max(1, total // run))).round().astype(int))
            runs = [(0, int(s), int(s) + run) for s in starts]
        else:
            items = np.unique(np.linspace(0, frames.items - 1, min(count, frames.items)).round().astype(int))
            runs = [(int(z), (total - run) // 2, (total - run) // 2 + run) for z in items]
    parts = [frames.read(*run) * frames.level for run in runs]
    image = torch.cat([part[:, :channels] for part in parts])
    maps = None if frames.gmap is None else torch.cat([part[:, channels] for part in parts]) / frames.level
    is_volume = frames.axis == "slice" and total > 1 and runs[0][2] == total
    by_start = frames.axis == "slice" and not is_volume
    return image, maps, [start if by_start else item for item, start, _ in runs], is_volume


def _over_items(noise_map: Tensor, items: int, chosen: list[int]) -> Tensor:
    """The map of all items, by those that were looked at."""
    place = np.interp(np.arange(items), chosen, np.arange(len(chosen)))
    low = torch.from_numpy(np.floor(place).astype(np.int64)).clamp(max=len(chosen) - 2)
    share = torch.from_numpy(place).float()[:, None, None, None] - low[:, None, None, None]
    return noise_map[low] * (1 - share) + noise_map[low + 1] * share
