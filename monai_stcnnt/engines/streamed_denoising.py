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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from monai.engines.evaluator import SupervisedEvaluator
from monai.engines.utils import IterationEvents
from monai.networks.utils import eval_mode
from monai.utils.enums import CommonKeys, MetaKeys
from tqdm import tqdm

from monai_stcnnt.data import SaveSeries, SeriesReader, SeriesRecord, SeriesSlabs
from monai_stcnnt.data.content import check_mr_content
from monai_stcnnt.data.record import outline_of
from monai_stcnnt.data.slabs import IN_MEMORY, MemorySlabs
from monai_stcnnt.engines.adaptation import adapt_network, adaptation_windows
from monai_stcnnt.engines.series_frames import (
    AcquiredFrames,
    SeriesFrames,
    estimate_series_noise,
    slices_apart,
    typical_value,
)
from monai_stcnnt.errors import NoiseLevelError
from monai_stcnnt.inferers import FrameSlidingWindowInferer
from monai_stcnnt.memory import keep_freed_memory
from monai_stcnnt.mri.noise_model import Imaginary, NoiseModel
from monai_stcnnt.networks.nets import ChannelRouter
from monai_stcnnt.networks.nets.base import FrameNet
from monai_stcnnt.transforms import FrameAxis, NoiseOptions

__all__ = ["SavedSeries", "StreamedDenoiser", "denoise_series"]

logger = logging.getLogger(__name__)

_GMAP = "gmap"
_NOISE_MAP = "noise_map"
_COMPLEX_CHANNELS = 3  # real and imaginary part, and the map


@dataclass(frozen=True)
class SavedSeries:
    """A result that was written.

    Attributes:
        path: the file or folder.
        noise: the noise that was told or estimated.
        meta: the metadata of the series, with MONAI's ``saved_to``.
        record: the result, where the image was in memory, for whoever looks at both.
        errors: the standard error of the result, where that was asked for and the image was in memory.
    """

    path: Path
    noise: NoiseModel
    meta: dict[str, Any]
    record: SeriesRecord | None = None
    errors: SeriesRecord | None = None

    @property
    def noise_sigma(self) -> float:
        """Noise standard deviation per component, where the map of the noise is 1."""
        return self.noise.level


def denoise_series(
    image: SeriesSlabs,
    saver: SaveSeries,
    network: torch.nn.Module,
    inferer: FrameSlidingWindowInferer,
    *,
    gmap: SeriesSlabs | None = None,
    noise: NoiseOptions | None = None,
    noise_map: SeriesSlabs | None = None,
    strength: float = 1.0,
    frame_axis: FrameAxis = "auto",
    device: torch.device | str = "cpu",
    amp: bool = False,
    adapt: bool = False,
    force: bool = False,
    save_uncertainty: bool = False,
) -> SavedSeries:
    """Denoise an open series and save it as it comes; it and its map are closed.

    Args:
        image: the series.
        saver: what saves the result.
        network: called with windows ``(n, C + 1, t, h, w)`` in SNR units, the last channel the g-factor map; it has to
            lie on ``device``. With ``save_uncertainty`` its last channel is the variance of the error of the others.
        inferer: what cuts the windows.
        gmap: g-factor map, each axis of the image's size or 1; ones where there is none.
        noise: what is told of the noise; the rest is estimated.
        noise_map: level of the noise in the units of the image, instead of a g-factor map and a level.
        strength: factor on the noise level that the network is told.
        frame_axis: which axis of the file the frames are, see :func:`~monai_stcnnt.transforms.resolve_frame_axis`.
        device: where windows are computed.
        amp: let the network compute in bfloat16 where that is safe.
        adapt: adapt the network to the scan first, see :mod:`monai_stcnnt.engines.adaptation`.
        force: take also what is not a magnitude or complex MR image.
        save_uncertainty: save the standard error of the result, in the units of the image, beside it as
            ``NAME_uncertainty``; of complex images it is that of each component.

    Returns:
        The result.

    Raises:
        NoiseLevelError: if the strength is not a positive number, or there is no noise to estimate.
        NoiseModelError: if what is told of the noise does not fit the series.
        NotAnImageError: if it is not a magnitude or complex MR image, see
            :func:`~monai_stcnnt.data.content.check_mr_content`.
        NetworkOutputError: if the network makes NaN or infinite values.
        ChangedFileError: if a file was changed meanwhile; then nothing is saved.
        StcnntError: the errors of reading, of the network and of writing.
    """
    place = torch.device(device)
    with contextlib.ExitStack() as stack:
        for series in (image, gmap, noise_map):
            if series is not None:
                stack.callback(series.release)
        _check_positive(strength=strength)
        check_mr_content(image, force=force)
        noise = noise or NoiseOptions()
        if noise_map is not None:
            unit = typical_value(noise_map)
            gmap, noise = noise_map, replace(noise, sigma=unit)
        frames = SeriesFrames(image, gmap, frame_axis=frame_axis, gmap_unit=1.0 if noise_map is None else unit)
        model = estimate_series_noise(frames, noise)
        frames, model = slices_apart(frames, model)
        frames.level = model.level * strength
        acquired = partial(AcquiredFrames, frames, model, device=place, imaginary=_imaginary_for(network))
        if adapt:
            network = _adapted(network, frames.items, acquired, inferer, place)
        total = frames.items * inferer.count_windows(acquired(0).size)
        bar = stack.enter_context(tqdm(total=total, leave=False, disable=None if inferer.progress else True))
        stack.enter_context(eval_mode(network))

        def called(windows: torch.Tensor) -> torch.Tensor:
            with torch.autocast(place.type, dtype=torch.bfloat16, enabled=amp):
                result: torch.Tensor = network(windows)
            return result

        blocks = _blocks(frames, acquired, inferer, called, bar, errors=int(save_uncertainty))
        first = next(blocks)
        channels = first[2].shape[0] - save_uncertainty
        outline = _outline_of_result(image.outline, channels, model.level)
        sink = stack.enter_context(saver.open(outline))
        outlines, sinks = [outline], [sink]
        if save_uncertainty:
            outlines.append(_outline_of_result(image.outline, 1, model.level))
            beside = saver.beside(sink.path, "uncertainty", "standard error of the result")
            sinks.append(stack.enter_context(beside.open(outlines[1])))
        kept = [np.empty(one.array.shape, np.float32) for one in outlines if isinstance(image, MemorySlabs)]
        for times, slices, made in chain([first], blocks):
            values = np.maximum(made[:channels], 0) if channels == 1 and not force else made[:channels]
            for number, part in enumerate([values, made[channels:]][: len(sinks)]):
                sinks[number].write(times, slices, part)
                if kept:
                    kept[number][:, times, slices] = part
        image.close()
    logger.debug("wrote %s", sink.path)
    records = [one.with_array(values) for one, values in zip(outlines, kept, strict=False)]
    meta = {**outline.metadata, MetaKeys.SAVED_TO.value: str(sink.path)}
    return SavedSeries(sink.path, model, meta, *records)


class StreamedDenoiser(SupervisedEvaluator):
    """MONAI's evaluator for series of any size: each item is read, denoised and written slab by slab.

    Its results are those of a :class:`monai.engines.SupervisedEvaluator` whose preprocessing, inferer and
    postprocessing work on the whole series in memory. An iteration gives the open image and a :class:`SavedSeries`, and
    fires ``MODEL_COMPLETED`` when that is written.

    Args:
        device: where windows are computed.
        val_data_loader: items with the paths ``image`` and perhaps ``gmap`` or ``noise_map``, one series each.
        network: see :func:`denoise_series`.
        saver: what saves the results.
        inferer: what cuts the windows.
        reader: what opens the images.
        noise_sigma: noise standard deviation per component of all series, see
            :class:`~monai_stcnnt.engines.series_frames.NoiseOptions`.
        noise_spectrum: see there.
        acquired_matrix: see there.
        strength: factor on the noise level that the network is told.
        frame_axis: see :func:`denoise_series`.
        adapt: see :func:`denoise_series`.
        memory: largest size in bytes, as float32, of a series that is read at once.
        scratch: folder to unpack compressed files in, default: the system's own.
        force: take also what is not a magnitude or complex MR image.
        save_uncertainty: see :func:`denoise_series`.
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
        noise_spectrum: str | Path = "auto",
        acquired_matrix: Sequence[int] | None = None,
        strength: float = 1.0,
        frame_axis: FrameAxis = "auto",
        adapt: bool = False,
        memory: int = IN_MEMORY,
        scratch: str | Path | None = None,
        force: bool = False,
        save_uncertainty: bool = False,
        **kwargs: Any,  # noqa: ANN401 - passed on
    ) -> None:
        _check_positive(strength=strength)
        keep_freed_memory()
        matrix = None if acquired_matrix is None else (int(acquired_matrix[0]), int(acquired_matrix[1]))
        self.noise = NoiseOptions(noise_sigma, noise_spectrum, matrix)
        super().__init__(torch.device(device), val_data_loader, network, inferer=inferer, decollate=False, **kwargs)
        self.saver, self.reader = saver, reader or SeriesReader()
        self.strength, self.frame_axis = strength, frame_axis
        self.memory, self.scratch, self.adapt = memory, scratch, adapt
        self.force, self.save_uncertainty = force, save_uncertainty

    def _iteration(self, engine: Engine, batchdata: Mapping[str, Any]) -> dict[str, Any]:
        """Denoise one item."""
        image = self.reader.open(batchdata[CommonKeys.IMAGE], memory=self.memory, scratch=self.scratch)
        maps = [
            SeriesReader(check=False).open(path, memory=self.memory, scratch=self.scratch) if path else None
            for path in (batchdata.get(_GMAP), batchdata.get(_NOISE_MAP))
        ]
        saved = denoise_series(
            image, self.saver, self.network, self.inferer, gmap=maps[0], noise_map=maps[1], noise=self.noise,
            strength=self.strength, frame_axis=self.frame_axis, device=self.state.device, amp=bool(self.amp),
            adapt=self.adapt, force=self.force, save_uncertainty=self.save_uncertainty,
        )  # fmt: skip
        output: dict[str, Any] = {CommonKeys.IMAGE: image, CommonKeys.LABEL: None, CommonKeys.PRED: saved}
        engine.state.output = output  # type: ignore[assignment]  # a number in pytorch-ignite, a dictionary in MONAI
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return output


def _adapted(
    network: torch.nn.Module,
    items: int,
    acquired: Callable[[int], AcquiredFrames],
    inferer: FrameSlidingWindowInferer,
    device: torch.device,
) -> torch.nn.Module:
    """A network that is adapted to windows of some items of a series, as it sees them, where that is better."""
    chosen = sorted({items // 4, items // 2, 3 * items // 4})
    size = acquired(0).size
    parts = (adaptation_windows(acquired(n).read, size, inferer.window, 24 // len(chosen)) for n in chosen)
    return adapt_network(network, (window.to(device) for part in parts for window in part))[0]


def _imaginary_for(network: torch.nn.Module) -> Imaginary | None:
    """What the imaginary part of real images is for a network; None where it takes magnitudes alone."""
    parts = list(network.modules())
    if any(isinstance(part, ChannelRouter) and part.real is not None for part in parts):
        return "zero"
    takes_complex = any(isinstance(part, FrameNet) and part.in_channels == _COMPLEX_CHANNELS for part in parts)
    return "noise" if takes_complex else None


def _check_positive(**values: float | None) -> None:
    for name, value in values.items():
        if value is not None and not 0 < value < float("inf"):
            raise NoiseLevelError(f"{name} must be a positive number, got {value}.")


def _blocks(
    frames: SeriesFrames,
    acquired_frames: Callable[[int], AcquiredFrames],
    inferer: FrameSlidingWindowInferer,
    network: Callable[[torch.Tensor], torch.Tensor],
    bar: tqdm,
    errors: int = 0,
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Yield frames and slices of the file, and their finished values ``(C + errors, t, z, Y, X)``, errors last."""
    for item in range(frames.items):
        acquired = acquired_frames(item)
        for start, block in inferer.stream(acquired.read, acquired.size, network, advance=bar.update):
            values = acquired.finish(start, block[:, : block.shape[1] - errors])
            if errors:
                variance = acquired.finish_variance(block[:, -errors:])
                values = None if variance is None or values is None else torch.cat([values, variance.sqrt()], 1)
            if values is not None:
                first = 0 if acquired.whole else start
                yield *frames.places(item, first, first + values.shape[2]), frames.to_file(values)


def _outline_of_result(outline: SeriesRecord, channels: int, sigma: float) -> SeriesRecord:
    """What is saved: what was read, or its magnitude where the network makes one channel of two."""
    shape = (channels, *outline.array.shape[1:])
    metadata = {**outline.metadata, "kind": "complex" if channels == 2 else "magnitude", "noise_sigma": sigma}
    return outline_of(shape, outline.affine, outline.frame_times, metadata)
