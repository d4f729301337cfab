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
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from ignite.engine import Engine
from monai.config.type_definitions import KeysCollection
from monai.engines.evaluator import SupervisedEvaluator
from monai.engines.utils import IterationEvents
from monai.transforms.transform import MapTransform
from monai.utils.enums import CommonKeys, MetaKeys
from tqdm import tqdm

from monai_stcnnt.data import SaveSeriesd, SeriesRecord, SeriesSlabs, check_gfactor_map
from monai_stcnnt.errors import GFactorMapError, NoiseLevelError
from monai_stcnnt.inferers import FrameSlidingWindowInferer
from monai_stcnnt.mri.noise_level import estimate_noise_level
from monai_stcnnt.transforms import FrameAxis, resolve_frame_axis

__all__ = ["DenoiseStreamed", "EstimateNoiseOfSeriesd", "SavedSeries", "SeriesFrames"]

logger = logging.getLogger(__name__)

_GMAP = "gmap"
_SIGMA = "noise_sigma"


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


class EstimateNoiseOfSeriesd(MapTransform):
    """Estimate the noise level of an open series, from an evenly spread part of it where it is large, and log it.

    How it is estimated is said at :func:`~monai_stcnnt.mri.noise_level.estimate_noise_level`.

    Args:
        keys: the open series; the dictionary's entry ``noise_sigma`` gets the level of the first.
        frame_axis: see :class:`SeriesFrames`.
        allow_missing_keys: pass over keys that are absent.
    """

    def __init__(self, keys: KeysCollection, frame_axis: FrameAxis = "auto", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.frame_axis: FrameAxis = frame_axis

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Estimate the level.

        Args:
            data: open series by key; ``gmap`` may be their g-factor map.

        Returns:
            The same, with ``noise_sigma``.

        Raises:
            NoiseLevelError: if there is no noise to estimate.
            GFactorMapError: if the map does not fit or has values that are not positive.
        """
        d = dict(data)
        for key in self.key_iterator(d):
            frames = SeriesFrames(d[key], d.get(_GMAP), frame_axis=self.frame_axis)
            d.setdefault(_SIGMA, _estimate(frames))
        return d


@dataclass(frozen=True)
class SavedSeries:
    """A result that was written.

    Attributes:
        meta: the metadata of the series, with ``saved_to``.
    """

    meta: dict[str, Any]


class DenoiseStreamed:
    """One iteration of an evaluator: denoise an open series, and save it as it comes.

    The evaluator's network and inferer are used, its automatic mixed precision (``amp``, in bfloat16), and its device.
    The batch is the dictionary of ``image``, and perhaps ``gmap`` and ``noise_sigma``; series in it are closed.

    Args:
        saver: what saves the result; its first saver is used.
        noise_sigma: noise standard deviation per component; by default that of the batch.
        strength: factor on the noise level that the network is told.
        frame_axis: see :class:`SeriesFrames`.
    """

    def __init__(
        self,
        saver: SaveSeriesd,
        noise_sigma: float | None = None,
        strength: float = 1.0,
        frame_axis: FrameAxis = "auto",
    ) -> None:
        for name, value in (("noise level", noise_sigma), ("strength", strength)):
            if value is not None and not 0 < value < float("inf"):
                raise NoiseLevelError(f"The {name} must be a positive number, got {value}.")
        self.saver = saver
        self.noise_sigma = noise_sigma
        self.strength = strength
        self.frame_axis: FrameAxis = frame_axis

    def __call__(self, engine: Engine, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Denoise one series.

        Args:
            engine: the evaluator, a supervised one.
            batch: the open series.

        Returns:
            What a supervised evaluator returns: the image, no label, and a :class:`SavedSeries` for the prediction.

        Raises:
            ChangedFileError: if a file was changed meanwhile; then nothing is saved.
            StcnntError: the errors of reading, of the network and of writing.
        """
        assert isinstance(engine, SupervisedEvaluator)
        image, gmap = batch[CommonKeys.IMAGE], batch.get(_GMAP)
        sigma = self.noise_sigma if self.noise_sigma is not None else batch.get(_SIGMA)
        if sigma is None:
            raise NoiseLevelError("The noise level is unknown: give noise_sigma, or estimate it before.")
        with contextlib.ExitStack() as stack:
            for series in (image, gmap):
                if series is not None:
                    stack.callback(series.release)
            frames = SeriesFrames(image, gmap, float(sigma) * self.strength, self.frame_axis)
            saved = self._run(engine, frames)
        engine.state.output = {CommonKeys.IMAGE: image, CommonKeys.LABEL: None, CommonKeys.PRED: saved}
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        output: dict[str, Any] = engine.state.output
        return output

    def _run(self, engine: SupervisedEvaluator, frames: SeriesFrames) -> SavedSeries:
        inferer = engine.inferer
        assert isinstance(inferer, FrameSlidingWindowInferer)
        device = torch.device(engine.state.device)
        inferer.sw_device = device
        amp = torch.autocast(device.type, dtype=torch.bfloat16, enabled=bool(engine.amp))
        total = frames.items * inferer.count_windows(frames.size)
        with contextlib.ExitStack() as stack:
            bar = stack.enter_context(tqdm(total=total, disable=not inferer.progress))
            stack.enter_context(engine.mode(engine.network))
            stack.enter_context(torch.no_grad())
            stack.enter_context(amp)
            blocks = _blocks(frames, inferer, engine.network, bar)
            item, start, block = next(blocks)
            outline = _outline_of_result(frames.image.outline, block.shape[0])
            sink = stack.enter_context(self.saver.savers[0].open(outline))
            while True:
                places = frames.places(item, start, start + block.shape[1 if frames.axis == "time" else 2])
                sink.write(*places, block)
                following = next(blocks, None)
                if following is None:
                    break
                item, start, block = following
            frames.image.close()
        logger.debug("wrote %s", sink.path)
        return SavedSeries({**outline.metadata, MetaKeys.SAVED_TO.value: str(sink.path)})


def _blocks(
    frames: SeriesFrames,
    inferer: FrameSlidingWindowInferer,
    network: torch.nn.Module,
    bar: tqdm,
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield the number of the item and of the first frame, and finished values of the file ``(C, t, z, Y, X)``."""
    for item in range(frames.items):

        def read(start: int, stop: int, item: int = item) -> torch.Tensor:
            return frames.read(item, start, stop)

        for start, block in inferer.stream(read, frames.size, network, advance=bar.update):
            yield item, start, frames.to_file(block)


def _outline_of_result(outline: SeriesRecord, channels: int) -> SeriesRecord:
    """What is saved: what was read, or its magnitude where the network makes one channel of two."""
    shape = (channels, *outline.array.shape[1:])
    metadata = {**outline.metadata, "kind": "complex" if channels == 2 else "magnitude"}
    return SeriesRecord(np.broadcast_to(np.float32(0), shape), outline.affine, outline.frame_times, metadata)


def _check_map(gmap: SeriesSlabs, image: SeriesSlabs) -> None:
    """Refuse a map that does not fit, or has values that are not positive, before the work starts."""
    name = str(gmap.meta.get("source", "the g-factor map"))
    if gmap.shape[0] != 1 or any(have not in (1, want) for have, want in zip(gmap.shape, image.shape, strict=True)):
        check_gfactor_map(np.ones(gmap.shape, np.float32), image.shape, name)
    for place in gmap.all_places():
        values = gmap.read(*place)
        if not bool((np.isfinite(values) & (values > 0)).all()):
            raise GFactorMapError(
                f"{name} has values that are not positive and finite. Set voxels outside of the body to 1."
            )


def _read_map(gmap: SeriesSlabs, frames: slice, slices: slice) -> np.ndarray:
    """Read a map where an image is read; an axis of one stands for all."""
    whole = slice(0, 1)
    return gmap.read(frames if gmap.shape[1] > 1 else whole, slices if gmap.shape[2] > 1 else whole)


def _estimate(frames: SeriesFrames) -> float:
    """Noise level of a series or of a part of it; see :class:`EstimateNoiseOfSeriesd`."""
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
