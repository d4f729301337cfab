# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Frames of an open series as the network sees them, their noise, and its results as the file has them.

Frames are brought to the acquired matrix as they are read, with white noise of standard deviation 1 times the map that
is their last channel. What the network changed is brought back and added, so that nothing outside of the noise's band
changes. Of magnitudes, whose noise leaks out of the band where there is little signal, the leak is taken off too, where
the result is darker than a few noise levels.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from math import prod
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from monai_stcnnt.data import SeriesRecord, SeriesSlabs
from monai_stcnnt.data.record import weightings_of
from monai_stcnnt.mri.axis_spectrum import AxisSpectrum
from monai_stcnnt.mri.channels import channels_to_complex, complex_to_channels
from monai_stcnnt.mri.gfactor import check_gfactor_map, check_gfactor_size
from monai_stcnnt.mri.noise_estimation import bring_image, estimate_noise_model
from monai_stcnnt.mri.noise_model import (
    Imaginary,
    NoiseModel,
    as_complex,
    beyond_band,
    demodulate,
    from_acquired,
    map_of_frames,
    to_acquired,
    without_leak,
)
from monai_stcnnt.mri.rician import rician_mean
from monai_stcnnt.transforms import FrameAxis, NoiseOptions, resolve_frame_axis

__all__ = [
    "AcquiredFrames",
    "SeriesFrames",
    "axis_of_frames",
    "estimate_series_noise",
    "inner_power",
    "noise_map_record",
    "slices_apart",
    "typical_value",
]

logger = logging.getLogger(__name__)

_SAMPLE = 1_000_000
_RUN = 6
_FEW_SLICES = 12


class SeriesFrames:
    """An open series as items of frames in SNR units, with its g-factor map as the last channel.

    Args:
        image: the series.
        gmap: its g-factor map, each axis of the image's size or 1; ones where there is none.
        level: what the image is divided by: the noise level, as far as the network is told.
        frame_axis: which axis of the file the frames are, see :func:`~monai_stcnnt.transforms.resolve_frame_axis`.
        gmap_unit: value of the map that counts as 1.

    Raises:
        GFactorMapError: if the map does not fit or has values that are not positive.
    """

    def __init__(
        self,
        image: SeriesSlabs,
        gmap: SeriesSlabs | None = None,
        level: float = 1.0,
        frame_axis: FrameAxis = "auto",
        gmap_unit: float = 1.0,
    ) -> None:
        self.gmap_unit = gmap_unit
        self.image = image
        self.gmap = gmap
        self.level = level
        _, times, slices, rows, columns = image.shape
        self.axis = axis_of_frames(image.outline, frame_axis)
        self.items, frames = (slices, times) if self.axis == "time" else (times, slices)
        self.size = (frames, rows, columns)
        if gmap is not None:
            _check_map(gmap, image)

    def read(self, item: int, start: int, stop: int) -> Tensor:
        """Read frames of an item.

        Args:
            item: its number.
            start: first frame.
            stop: the frame after the last.

        Returns:
            ``(1, C + 1, stop - start, Y, X)`` float32.
        """
        frames, slices = self.places(item, start, stop)
        image = torch.from_numpy(self.image.read(frames, slices)) * self.level**-1
        if self.gmap is None:
            gmap = torch.ones_like(image[:1])
        else:
            gmap = torch.from_numpy(read_map(self.gmap, frames, slices)).expand(1, *image.shape[1:]) / self.gmap_unit
        return self.to_item(torch.cat([image, gmap]))

    def places(self, item: int, start: int, stop: int) -> tuple[slice, slice]:
        """Frames and slices of the file that frames of an item are."""
        run, one = slice(start, stop), slice(item, item + 1)
        return (run, one) if self.axis == "time" else (one, run)

    def to_item(self, values: Tensor) -> Tensor:
        """From ``(C, T, Z, Y, X)`` of the file to ``(items, C, frames, Y, X)``."""
        return values.permute(2, 0, 1, 3, 4) if self.axis == "time" else values.permute(1, 0, 2, 3, 4)

    def to_file(self, frames: Tensor) -> np.ndarray:
        """From ``(items, C, frames, Y, X)`` in SNR units to ``(C, T, Z, Y, X)`` in those of the file."""
        values = frames.detach().to("cpu", torch.float32) * self.level
        order = (1, 2, 0, 3, 4) if self.axis == "time" else (1, 0, 2, 3, 4)
        return values.permute(order).numpy()


class AcquiredFrames:
    """The frames of one item on the acquired matrix, and back.

    Args:
        frames: the series; its level is that of the model, times the strength.
        model: its noise.
        item: number of the item.
        device: where the work is done.
        imaginary: what the imaginary part is of magnitudes whose noise is not white, which are denoised as complex
            images: zeros for a network for real images, noise for one for complex images alone; None where the network
            takes magnitudes alone.

    Attributes:
        size: ``(T, H, W)`` of the matrix that the network sees.
    """

    def __init__(
        self,
        frames: SeriesFrames,
        model: NoiseModel,
        item: int,
        device: torch.device,
        *,
        imaginary: Imaginary | None = None,
    ) -> None:
        self.frames, self.model, self.item, self.device = frames, model, item, device
        self.whole = not model.spectrum[0].is_white
        self.dims = (-3, -2, -1) if self.whole else (-2, -1)
        self.axes = model.spectrum[-len(self.dims) :]
        is_white = all(axis.is_white for axis in self.axes)
        self.imaginary = None if model.kind == "complex" or is_white else imaginary
        if self.imaginary is not None:
            self.axes = tuple(beyond_band(axis) for axis in self.axes)
        elif model.kind != "complex":
            self.axes = tuple(axis.bare() for axis in self.axes)
        self.size = (frames.size[0], *(axis.acquired for axis in self.axes))[-3:]
        self._told = model.level / frames.level
        self._pending: dict[int, tuple[Tensor, Tensor]] = {}
        self._results: list[Tensor] = []
        self._variances: list[Tensor] = []

    def read(self, start: int, stop: int) -> Tensor:
        """Read frames ``(1, C + 1, t, h, w)`` of the acquired matrix, the last channel the map.

        Where noise does not fill the axis of the frames either, which is found in small volumes only, all are brought
        at once.
        """
        if self.whole:
            if not self._pending:
                self._pending[0] = self._bring(0, self.frames.size[0])
            return self._pending[0][1][:, :, start:stop]
        raw, brought = self._bring(start, stop)
        if not self.model.is_plain:
            parts = zip(raw.split(1, dim=2), brought.split(1, dim=2), strict=True)
            self._pending |= dict(enumerate(parts, start))
        return brought

    def finish(self, start: int, block: Tensor) -> Tensor | None:
        """Take finished frames; give what can be written: ``(1, C, t, H, W)`` from ``start`` on, or all at the end."""
        if self.model.is_plain:
            return block
        if not self.whole:
            pairs = [self._pending.pop(n) for n in range(start, start + block.shape[2])]
            raw, brought = (torch.cat([pair[n] for pair in pairs], dim=2) for n in (0, 1))
            return self._back(raw, brought, block, start)
        self._results.append(block)
        done = torch.cat(self._results, dim=2)
        return None if done.shape[2] < self.size[0] else self._back(*self._pending[0], done, 0)

    def finish_variance(self, variance: Tensor) -> Tensor | None:
        """Take the variance ``(1, 1, t, h, w)`` of finished frames, and give it where :meth:`finish` gives those.

        The network's error lies mostly in the inner half of k-space, where images have their detail, and is multiplied
        by the taper there on the way back.
        """
        if self.model.is_plain:
            return variance
        variance = variance * prod(inner_power(axis) for axis in self.axes)
        if self.whole:
            self._variances.append(variance)
            variance = torch.cat(self._variances, dim=2)
            if variance.shape[2] < self.size[0]:
                return None
        frames = self.frames.size[0] if self.whole else variance.shape[2]
        size = (frames, *self.frames.size[1:])
        return torch.nn.functional.interpolate(variance, size, mode="trilinear")

    def _bring(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        raw = self.frames.read(self.item, start, stop).to(self.device)
        if self.model.kind == "chi":
            values = _one_coil(raw[:, :-1].cpu().numpy(), self.model.num_coils)
            raw = torch.cat([torch.from_numpy(values).to(raw), raw[:, -1:]], dim=1)
        if self.model.is_plain:
            return raw, raw
        size = self.size[1:]
        gmap = self._map(raw, start, size, self.size[0] if self.whole else stop - start)
        if self.model.kind == "complex":
            image = bring_image(raw[:, :-1], self.model, self.dims)
        else:
            image = to_acquired(raw[:, :-1], self.axes, self.dims)
            if self.imaginary is not None:
                image = as_complex(image, self.imaginary, gmap * self._told, self.item, start)
        return raw, torch.cat([image, gmap], dim=1)

    def _map(self, raw: Tensor, start: int, size: tuple[int, ...], count: int) -> Tensor:
        """The map ``(1, 1, count, *size)`` of frames that were read: told by a file, or the model's."""
        if self.model.noise_map is None:
            gmap = raw[:, -1:]
            shape = (count, *size)
            return gmap if gmap.shape[2:] == shape else torch.nn.functional.interpolate(gmap, shape, mode="trilinear")
        total = count if self.whole else self.frames.size[0]
        gmap = map_of_frames(self.model, self.item, slice(start, start + count), total, size)
        return gmap[None, None].to(self.device)

    def _back(self, raw: Tensor, brought: Tensor, block: Tensor, start: int) -> Tensor:
        """The image with what the network changed in its noise's band."""
        image, known = raw[:, :-1], brought[:, :-1]
        if self.model.kind == "complex" and block.shape[1] == 2:
            change = from_acquired(channels_to_complex(block - known, 1), self.axes, self.dims)
            return image + complex_to_channels(demodulate(change, [-s for s in self.model.echo_shift]), 1)
        if image.shape[1] == 2:
            return from_acquired(block, [axis.bare() for axis in self.axes], self.dims).clamp(min=0)
        if all(axis.is_white for axis in self.axes):
            return block
        inside = from_acquired(to_acquired(image, self.axes, self.dims), self.axes, self.dims)
        result = from_acquired(block[:, :1], self.axes, self.dims)
        level = self._map(raw, start, image.shape[3:], image.shape[2]) * self._told
        return without_leak(image, result, inside, level, is_biased=self.imaginary is not None)


def inner_power(axis: AxisSpectrum) -> float:
    """Mean square of a taper in the inner half of the samples that it has; that of all is 1."""
    quarter = axis.acquired // 4
    inner = axis.weights()[axis.start + quarter : axis.stop - quarter]
    return float(inner.square().mean())


def _one_coil(magnitude: np.ndarray, num_coils: int) -> np.ndarray:
    """Sums of squares over coils in SNR units as magnitudes of one coil whose mean has the same signal behind it."""
    signal = np.linspace(0, 40, 2001)
    many, one = rician_mean(signal, num_coils), rician_mean(signal)
    weak = magnitude * (one[0] / many[0])
    strong = magnitude + (one[-1] - many[-1])
    between = np.interp(magnitude, many, one)
    return np.where(magnitude < many[0], weak, np.where(magnitude > many[-1], strong, between)).astype(np.float32)


def _check_map(gmap: SeriesSlabs, image: SeriesSlabs) -> None:
    """Refuse a map that does not fit, or has values that are not positive, before the work starts."""
    name = str(gmap.meta.get("source", "the g-factor map"))
    check_gfactor_size(gmap.shape, (1, *image.shape[1:]), name)
    for place in gmap.all_places():
        check_gfactor_map(torch.from_numpy(gmap.read(*place)), name=name)


def read_map(gmap: SeriesSlabs, frames: slice, slices: slice) -> np.ndarray:
    """Read a map where an image is read; an axis of one stands for all."""
    whole = slice(0, 1)
    return gmap.read(frames if gmap.shape[1] > 1 else whole, slices if gmap.shape[2] > 1 else whole)


def typical_value(noise_map: SeriesSlabs) -> float:
    """Median of a part of a map, which then counts as its unit.

    Raises:
        GFactorMapError: if it is not a positive number.
    """
    values = np.concatenate([noise_map.read(*place).ravel() for place in noise_map.sample_places(1_000_000)])
    middle = float(np.median(values))
    check_gfactor_map(torch.tensor([middle]), name=str(noise_map.meta.get("source", "the noise map")))
    return middle


def axis_of_frames(outline: SeriesRecord, frame_axis: FrameAxis = "auto") -> Literal["time", "slice"]:
    """Decide which axis of a series the frames are.

    Args:
        outline: the series.
        frame_axis: see :func:`~monai_stcnnt.transforms.resolve_frame_axis`; times are no frames by themselves where
            they have several diffusion weightings.

    Returns:
        ``"time"`` or ``"slice"``.
    """
    if frame_axis == "auto" and len(weightings_of(outline.metadata)) > 1:
        return "slice"
    channels, times, slices, rows, columns = outline.array.shape
    return resolve_frame_axis((channels, columns, rows, slices, times), frame_axis)


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
    _, times, slices, rows, columns = outline.array.shape
    apart = model.spectrum[0].size != slices  # see slices_apart
    if apart or axis_of_frames(outline, frame_axis) == "time":
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
