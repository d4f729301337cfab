# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What happens to the images of an MRD stream: whole series at its end, or every frame as it comes."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from monai_stcnnt.data.formats.mrd.images import (
    ImageGroup,
    MrdImage,
    group_images,
    group_record,
    plane_values,
    role_of,
)
from monai_stcnnt.data.record import SeriesRecord
from monai_stcnnt.errors import GeometryError, StcnntError
from monai_stcnnt.services.engine import RecordDenoiser
from monai_stcnnt.services.mrd.results import annotated

__all__ = ["FrameByFrame", "StreamMode", "WholeSeries"]

StreamMode = Literal["series", "realtime"]

logger = logging.getLogger(__name__)

_MEASURED = 8  # frames that the noise level of a stream is estimated from, at most
_NETWORKS = ("magnitude", "complex")


@dataclass(frozen=True)
class _Denoised:
    """Pixels by number of the image, and what is said about them."""

    pixels: dict[int, np.ndarray]
    comment: str


class _Knowledge:
    """G-factor maps and noise-only images of a stream, which serve the images behind them."""

    def __init__(self) -> None:
        self.gmaps: list[MrdImage] = []
        self.noise_sigma: float | None = None

    def learn(self, image: MrdImage) -> bool:
        """Take what an image tells about noise; whether it was such an image."""
        role = role_of(image)
        if role == "gfactor":
            self.gmaps.append(image)
        elif role == "noise":
            self.noise_sigma = math.sqrt(float(np.mean(np.abs(image.pixels.astype(np.complex128)) ** 2)) / 2)
            logger.info("the stream's noise image has sigma = %g per component", self.noise_sigma)
        return role != "image"

    def gmap_for(self, images: Sequence[MrdImage], group: ImageGroup) -> SeriesRecord | None:
        """The map of a series, where one with its size lies at each of its places."""
        planes = []
        for number in group.planes[0]:
            image = images[number]
            found = next((g for g in reversed(self.gmaps) if _covers(g, image)), None)
            if found is None:
                return None
            planes.append(np.abs(found.pixels[0]).astype(np.float64) / _ratio(found))
        array = np.concatenate(planes)[None, None]
        return SeriesRecord(np.where(array > 0, array, 1.0), np.eye(4), np.zeros(1), {"source": "the stream's map"})


def _ratio(gmap: MrdImage) -> float:
    """What a map of whole numbers was multiplied by; 1 where it does not say."""
    text = gmap.attribute("Image_scale_ratio") or gmap.attribute("GADGETRON_ScaleRatio")
    try:
        value = float(text or 1)
    except ValueError:
        return 1.0
    return value if 0 < value < math.inf else 1.0


def _covers(gmap: MrdImage, image: MrdImage) -> bool:
    near = float(np.abs(gmap.header["position"] - image.header["position"]).max()) < 0.1
    return near and gmap.pixels.shape == image.pixels.shape


def _denoise(
    images: Sequence[MrdImage], group: ImageGroup, denoiser: RecordDenoiser, known: _Knowledge, sigma: float | None
) -> _Denoised:
    """Denoise one series; what cannot be denoised keeps its pixels, and the comment says why."""
    if group.kind not in _NETWORKS:
        return _Denoised({}, f"stcnnt: not denoised, a {group.kind} image without its partner")
    try:
        record = _record(images, group)
        result, level = denoiser(record, known.gmap_for(images, group), sigma or known.noise_sigma)
        pixels = plane_values(images, group, result)
    except StcnntError as error:
        logger.warning("%d images are sent back as they came: %s", len(group.numbers), error)
        return _Denoised({}, f"stcnnt: not denoised ({type(error).__name__})")
    except Exception as error:
        logger.error("%d images are sent back as they came: fault (%s)", len(group.numbers), type(error).__name__)
        logger.debug("where it came from", exc_info=True)
        return _Denoised({}, "stcnnt: not denoised (fault of the server)")
    return _Denoised(pixels, f"stcnnt: denoised, sigma {level:.4g}")


def _record(images: Sequence[MrdImage], group: ImageGroup) -> SeriesRecord:
    """Record of a series; where it lies does not matter to the network, so that headers need not say it."""
    try:
        return group_record(images, group)
    except GeometryError:
        plain = [MrdImage(_upright(image), image.attributes, image.pixels) for image in images]
        return group_record(plain, group)


def _upright(image: MrdImage) -> np.void:
    header: Any = image.header.copy()
    header["field_of_view"] = header["matrix_size"]
    header["read_dir"], header["phase_dir"], header["slice_dir"] = np.eye(3)
    header["position"] = (0, 0, header["slice"])
    return header


class WholeSeries:
    """Images wait for the end of the stream, and are denoised as the series that they make.

    Args:
        denoiser: the network.
    """

    def __init__(self, denoiser: RecordDenoiser) -> None:
        self.denoiser = denoiser
        self.waiting: list[MrdImage] = []

    def take(self, image: MrdImage) -> Iterator[MrdImage]:
        """Keep an image; nothing is finished yet."""
        self.waiting.append(image)
        yield from ()

    def finish(self) -> Iterator[MrdImage]:
        """Yield every image that was taken, in the order that they came in, once."""
        known = _Knowledge()
        numbers = [n for n, image in enumerate(self.waiting) if not known.learn(image)]
        images = [self.waiting[n] for n in numbers]
        done: dict[int, MrdImage] = {}
        for group in group_images(images):
            found = _denoise(images, group, self.denoiser, known, None)
            for n in group.numbers:
                done[numbers[n]] = annotated(images[n], found.comment, found.pixels.get(n))
        for number, image in enumerate(self.waiting):
            yield done.get(number, image)
        self.waiting = []


class FrameByFrame:
    """Every image is denoised when it comes, together with the frames before it at its place.

    The network never sees a later frame, so that the delay is its own time. Parts of complex images come one by one
    and are not joined: a phase, a real and an imaginary image go back as they came.

    Args:
        denoiser: the network.
        context: frames that a frame is denoised with, itself included.
    """

    def __init__(self, denoiser: RecordDenoiser, context: int) -> None:
        self.denoiser = denoiser
        self.context = context
        self.known = _Knowledge()
        self._before: dict[tuple[Any, ...], deque[MrdImage]] = {}
        self._levels: dict[tuple[Any, ...], tuple[int, float]] = {}

    def take(self, image: MrdImage) -> Iterator[MrdImage]:
        """Yield an image's result."""
        if self.known.learn(image):
            yield image
            return
        header = image.header
        names = ("measurement_uid", "image_series_index", "slice", "contrast", "set", "image_type")
        key = (*(int(header[name]) for name in names), image.pixels.shape, image.pixels.dtype.str)
        frames = self._before.setdefault(key, deque(maxlen=self.context))
        frames.append(image)
        clip = list(frames)
        group = ImageGroup(image.part or "magnitude", tuple((n,) for n in range(len(clip))))
        found = _denoise(clip, group, self.denoiser, self.known, self._level(key, clip, group))
        yield annotated(image, found.comment, found.pixels.get(len(clip) - 1))

    def _level(self, key: tuple[Any, ...], clip: Sequence[MrdImage], group: ImageGroup) -> float | None:
        """Noise level of a place, estimated again while few frames are known; None where that fails or is told."""
        if self.denoiser.options.noise_sigma or self.known.noise_sigma or group.kind not in _NETWORKS:
            return None
        count, level = self._levels.get(key, (0, 0.0))
        if count < min(_MEASURED, self.context) and len(clip) & (len(clip) - 1) == 0:
            try:
                level = self.denoiser.noise_level(_record(clip, group), self.known.gmap_for(clip, group))
            except StcnntError as error:
                logger.debug("no noise level from %d frames: %s", len(clip), error)
                return None
            self._levels[key] = (len(clip), level)
        return level

    def finish(self) -> Iterator[MrdImage]:
        """Nothing waits."""
        yield from ()
