# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Denoising of series that need not fit in memory: read, denoised and written slab by slab.

A series is a number of items, each a run of frames: the slices of a cine one after the other, or the planes of a
volume. The frames of an item are read when a window of the network needs them, and written when no window needs them
any more. The values are those of the transforms ``FileToFramesd``, ``ToSNRUnitsd`` and ``AppendGFactord`` and their
inverse over the whole series.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from ignite.engine import Engine
from monai.engines.evaluator import SupervisedEvaluator
from monai.engines.utils import IterationEvents
from monai.networks.utils import eval_mode
from monai.utils.enums import CommonKeys, MetaKeys
from tqdm import tqdm

from monai_stcnnt.data import SaveSeries, SeriesReader, SeriesRecord, SeriesSlabs
from monai_stcnnt.data.slabs import IN_MEMORY, MemorySlabs
from monai_stcnnt.errors import NoiseLevelError
from monai_stcnnt.inferers import FrameSlidingWindowInferer
from monai_stcnnt.mri.gfactor import check_gfactor_map, check_gfactor_size
from monai_stcnnt.mri.noise_level import estimate_noise_level
from monai_stcnnt.transforms import FrameAxis, resolve_frame_axis

__all__ = ["SavedSeries", "SeriesFrames", "StreamedDenoiser", "denoise_series", "estimate_series_noise"]

logger = logging.getLogger(__name__)

_GMAP = "gmap"


class SeriesFrames:
    """An open series as items of frames in SNR units, with its g-factor map as the last channel.

    Args:
        image: the series.
        gmap: its g-factor map, each axis of the image's size or 1; ones where there is none.
        level: what the image is divided by: the noise level, as far as the network is told.
        frame_axis: which axis of the file the frames are, see :func:`~monai_stcnnt.transforms.resolve_frame_axis`.

    Raises:
        GFactorMapError: if the map does not fit or has values that are not positive.
    """

    def __init__(
        self, image: SeriesSlabs, gmap: SeriesSlabs | None = None, level: float = 1.0, frame_axis: FrameAxis = "auto"
    ) -> None:
        self.image = image
        self.gmap = gmap
        self.level = level
        channels, times, slices, rows, columns = image.shape
        self.axis: Literal["time", "slice"] = resolve_frame_axis((channels, columns, rows, slices, times), frame_axis)
        self.items, frames = (slices, times) if self.axis == "time" else (times, slices)
        self.size = (frames, rows, columns)
        if gmap is not None:
            _check_map(gmap, image)

    def read(self, item: int, start: int, stop: int) -> torch.Tensor:
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
            gmap = torch.from_numpy(_read_map(self.gmap, frames, slices)).expand(1, *image.shape[1:])
        return self.to_item(torch.cat([image, gmap]))

    def places(self, item: int, start: int, stop: int) -> tuple[slice, slice]:
        """Frames and slices of the file that frames of an item are."""
        run, one = slice(start, stop), slice(item, item + 1)
        return (run, one) if self.axis == "time" else (one, run)

    def to_item(self, values: torch.Tensor) -> torch.Tensor:
        """From ``(C, T, Z, Y, X)`` of the file to ``(items, C, frames, Y, X)``."""
        return values.permute(2, 0, 1, 3, 4) if self.axis == "time" else values.permute(1, 0, 2, 3, 4)

    def to_file(self, frames: torch.Tensor) -> np.ndarray:
        """From ``(items, C, frames, Y, X)`` in SNR units to ``(C, T, Z, Y, X)`` in those of the file."""
        values = frames.detach().to("cpu", torch.float32) * self.level
        order = (1, 2, 0, 3, 4) if self.axis == "time" else (1, 0, 2, 3, 4)
        return values.permute(order).numpy()


@dataclass(frozen=True)
class SavedSeries:
    """A result that was written.

    Attributes:
        path: the file or folder.
        noise_sigma: the noise standard deviation per component that was given or estimated.
        meta: the metadata of the series, with MONAI's ``saved_to``.
        record: the result, where the image was in memory, for whoever looks at both.
    """

    path: Path
    noise_sigma: float
    meta: dict[str, Any]
    record: SeriesRecord | None = None


def denoise_series(
    image: SeriesSlabs,
    saver: SaveSeries,
    network: torch.nn.Module,
    inferer: FrameSlidingWindowInferer,
    *,
    gmap: SeriesSlabs | None = None,
    noise_sigma: float | None = None,
    strength: float = 1.0,
    frame_axis: FrameAxis = "auto",
    device: torch.device | str = "cpu",
    amp: bool = False,
) -> SavedSeries:
    """Denoise an open series and save it as it comes; it and its map are closed.

    Args:
        image: the series.
        saver: what saves the result.
        network: called with windows ``(n, C + 1, t, h, w)`` in SNR units, the last channel the g-factor map; it has to
            lie on ``device``.
        inferer: what cuts the windows.
        gmap: g-factor map, each axis of the image's size or 1; ones where there is none.
        noise_sigma: noise standard deviation per component; by default it is estimated.
        strength: factor on the noise level that the network is told.
        frame_axis: which axis of the file the frames are, see :func:`~monai_stcnnt.transforms.resolve_frame_axis`.
        device: where windows are computed.
        amp: compute in bfloat16 where that is safe.

    Returns:
        The result.

    Raises:
        NoiseLevelError: if the noise level or the strength is not a positive number, or there is no noise to estimate.
        ChangedFileError: if a file was changed meanwhile; then nothing is saved.
        StcnntError: the errors of reading, of the network and of writing.
    """
    place = torch.device(device)
    with contextlib.ExitStack() as stack:
        for series in (image, gmap):
            if series is not None:
                stack.callback(series.release)
        _check_positive(noise_sigma=noise_sigma, strength=strength)
        frames = SeriesFrames(image, gmap, frame_axis=frame_axis)
        sigma = estimate_series_noise(frames) if noise_sigma is None else float(noise_sigma)
        frames.level = sigma * strength
        total = frames.items * inferer.count_windows(frames.size)
        bar = stack.enter_context(tqdm(total=total, disable=not inferer.progress))
        stack.enter_context(eval_mode(network))
        stack.enter_context(torch.autocast(place.type, dtype=torch.bfloat16, enabled=amp))
        blocks = _blocks(frames, inferer, network, place, bar)
        first = next(blocks)
        outline = _outline_of_result(image.outline, first[2].shape[0])
        sink = stack.enter_context(saver.open(outline))
        kept = np.empty(outline.array.shape, np.float32) if isinstance(image, MemorySlabs) else None
        for times, slices, values in chain([first], blocks):
            sink.write(times, slices, values)
            if kept is not None:
                kept[:, times, slices] = values
        image.close()
    logger.debug("wrote %s", sink.path)
    record = None if kept is None else outline.with_array(kept)
    return SavedSeries(sink.path, sigma, {**outline.metadata, MetaKeys.SAVED_TO.value: str(sink.path)}, record)


class StreamedDenoiser(SupervisedEvaluator):
    """MONAI's evaluator for series of any size: each item is read, denoised and written slab by slab.

    Its results are those of a :class:`monai.engines.SupervisedEvaluator` whose preprocessing, inferer and
    postprocessing work on the whole series in memory. An iteration gives the open image and a :class:`SavedSeries`, and
    fires ``MODEL_COMPLETED`` when that is written.

    Args:
        device: where windows are computed.
        val_data_loader: items with the paths ``image`` and perhaps ``gmap``, one series each.
        network: see :func:`denoise_series`.
        saver: what saves the results.
        inferer: what cuts the windows.
        reader: what opens the images.
        noise_sigma: noise standard deviation per component of all series; by default each one's is estimated.
        strength: factor on the noise level that the network is told.
        frame_axis: see :func:`denoise_series`.
        memory: largest size in bytes, as float32, of a series that is read at once.
        scratch: folder to unpack compressed files in, default: the system's own.
        kwargs: of MONAI's evaluator, such as ``val_handlers``, ``amp`` (in bfloat16) and ``compile``.

    Raises:
        NoiseLevelError: if the noise level or the strength is not a positive number.
    """

    inferer: FrameSlidingWindowInferer

    def __init__(
        self,
        device: torch.device | str,
        val_data_loader: Iterable[Mapping[str, Any]],
        network: torch.nn.Module,
        saver: SaveSeries,
        inferer: FrameSlidingWindowInferer,
        reader: SeriesReader | None = None,
        noise_sigma: float | None = None,
        strength: float = 1.0,
        frame_axis: FrameAxis = "auto",
        memory: int = IN_MEMORY,
        scratch: str | Path | None = None,
        **kwargs: Any,  # noqa: ANN401 - passed on
    ) -> None:
        _check_positive(noise_sigma=noise_sigma, strength=strength)
        super().__init__(torch.device(device), val_data_loader, network, inferer=inferer, decollate=False, **kwargs)
        self.saver, self.reader = saver, reader or SeriesReader()
        self.noise_sigma, self.strength, self.frame_axis = noise_sigma, strength, frame_axis
        self.memory, self.scratch = memory, scratch

    def _iteration(self, engine: Engine, batchdata: Mapping[str, Any]) -> dict[str, Any]:
        """Denoise one item."""
        path = batchdata.get(_GMAP)
        image = self.reader.open(batchdata[CommonKeys.IMAGE], memory=self.memory, scratch=self.scratch)
        gmap = SeriesReader(check=False).open(path, memory=self.memory, scratch=self.scratch) if path else None
        saved = denoise_series(
            image, self.saver, self.network, self.inferer, gmap=gmap, noise_sigma=self.noise_sigma,
            strength=self.strength, frame_axis=self.frame_axis, device=self.state.device, amp=bool(self.amp),
        )  # fmt: skip
        output: dict[str, Any] = {CommonKeys.IMAGE: image, CommonKeys.LABEL: None, CommonKeys.PRED: saved}
        engine.state.output = output  # type: ignore[assignment]  # a number in pytorch-ignite, a dictionary in MONAI
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return output


def _check_positive(**values: float | None) -> None:
    for name, value in values.items():
        if value is not None and not 0 < value < float("inf"):
            raise NoiseLevelError(f"{name} must be a positive number, got {value}.")


def _blocks(
    frames: SeriesFrames,
    inferer: FrameSlidingWindowInferer,
    network: torch.nn.Module,
    device: torch.device,
    bar: tqdm,
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Yield frames and slices of the file, and their finished values ``(C, t, z, Y, X)``."""
    for item in range(frames.items):

        def read(start: int, stop: int, item: int = item) -> torch.Tensor:
            return frames.read(item, start, stop).to(device)

        for start, block in inferer.stream(read, frames.size, network, advance=bar.update):
            yield *frames.places(item, start, start + block.shape[2]), frames.to_file(block)


def _outline_of_result(outline: SeriesRecord, channels: int) -> SeriesRecord:
    """What is saved: what was read, or its magnitude where the network makes one channel of two."""
    shape = (channels, *outline.array.shape[1:])
    metadata = {**outline.metadata, "kind": "complex" if channels == 2 else "magnitude"}
    return SeriesRecord(np.broadcast_to(np.float32(0), shape), outline.affine, outline.frame_times, metadata)


def _check_map(gmap: SeriesSlabs, image: SeriesSlabs) -> None:
    """Refuse a map that does not fit, or has values that are not positive, before the work starts."""
    name = str(gmap.meta.get("source", "the g-factor map"))
    check_gfactor_size(gmap.shape, (1, *image.shape[1:]), name)
    for place in gmap.all_places():
        check_gfactor_map(torch.from_numpy(gmap.read(*place)), name=name)


def _read_map(gmap: SeriesSlabs, frames: slice, slices: slice) -> np.ndarray:
    """Read a map where an image is read; an axis of one stands for all."""
    whole = slice(0, 1)
    return gmap.read(frames if gmap.shape[1] > 1 else whole, slices if gmap.shape[2] > 1 else whole)


def estimate_series_noise(frames: SeriesFrames) -> float:
    """Estimate the noise level of an open series, from an evenly spread part of it where it is large, and log it.

    How it is estimated is said at :func:`~monai_stcnnt.mri.noise_level.estimate_noise_level`.

    Args:
        frames: the series, with its g-factor map if it has one.

    Returns:
        Noise standard deviation per component, for a g-factor of 1.

    Raises:
        NoiseLevelError: if there is no noise to estimate.
    """
    places = frames.image.sample_places()
    parts = [torch.from_numpy(frames.image.read(*place)) for place in places]
    image = frames.to_item(torch.cat(parts, dim=2)).contiguous()
    gmap = None
    if frames.gmap is not None:
        maps = [torch.from_numpy(_read_map(frames.gmap, *place)) for place in places]
        expanded = [m.expand(1, *part.shape[1:]) for m, part in zip(maps, parts, strict=True)]
        gmap = frames.to_item(torch.cat(expanded, dim=2)).contiguous()
    estimate = estimate_noise_level(image, 1, gmap)
    logger.info("estimated noise level: sigma = %g per component (from the %s)", estimate.sigma, estimate.method)
    return estimate.sigma
