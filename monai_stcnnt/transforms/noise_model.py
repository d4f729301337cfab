# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The noise model of an image, and the image on the matrix that was acquired, with white noise, and back.

They take inference items ``(Z, C, T, H, W)`` as :class:`~monai_stcnnt.transforms.frames.FileToFrames` makes them. The
order is ``EstimateNoiseModeld``, ``ToAcquiredMatrixd``, ``WhitenNoised``; the inverse puts what a denoiser changed back
into the image as it was, and leaves alone what lies outside of the noise's band.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.config.type_definitions import KeysCollection, NdarrayOrTensor
from monai.data.meta_tensor import MetaTensor
from monai.transforms.inverse import InvertibleTransform
from monai.transforms.transform import MapTransform, Transform
from monai.utils.enums import TransformBackends
from monai.utils.type_conversion import convert_to_dst_type, convert_to_tensor
from torch import Tensor

from monai_stcnnt.errors import NoiseLevelError, NoiseModelError
from monai_stcnnt.mri.axis_spectrum import AxisSpectrum
from monai_stcnnt.mri.channels import channels_to_complex, complex_to_channels
from monai_stcnnt.mri.noise_estimation import KnownNoise, estimate_noise_model
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

__all__ = [
    "EstimateNoiseModel",
    "EstimateNoiseModeld",
    "NoiseOptions",
    "ToAcquiredMatrix",
    "ToAcquiredMatrixd",
    "WhitenNoise",
    "WhitenNoised",
]

_BACKEND = [TransformBackends.TORCH, TransformBackends.NUMPY]
_MODEL_KEY = "noise_model"
_MAP_KEY = "noise_map"
_SIGMA_KEY = "noise_sigma"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NoiseOptions:
    """What is told of the noise of a series.

    Attributes:
        sigma: standard deviation per component in the units of the file, where the map is 1; it is then taken as the
            same everywhere. By default it is estimated, with a map.
        spectrum: ``"auto"`` to find the part of k-space that noise fills, ``"white"`` for all of it, or a JSON file
            with the spectrum of a noise model.
        matrix: rows and columns that were acquired, where that is known.

    Raises:
        NoiseLevelError: when the level is not a positive number.
        NoiseModelError: when a matrix is not positive, or is told together with a spectrum.
    """

    sigma: float | None = None
    spectrum: str | Path = "auto"
    matrix: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        if self.sigma is not None and not 0 < self.sigma < float("inf"):
            raise NoiseLevelError(f"noise_sigma must be a positive number, got {self.sigma}.")
        if self.matrix is not None and (min(self.matrix) < 1 or str(self.spectrum) != "auto"):
            raise NoiseModelError(
                f"The acquired matrix is {self.matrix} and the spectrum {str(self.spectrum)!r}. Give two positive "
                "numbers, rows and columns, and no spectrum with them."
            )

    def spectrum_of(
        self, frames: int, rows: int, columns: int
    ) -> tuple[AxisSpectrum, AxisSpectrum, AxisSpectrum] | None:
        """The spectrum that is told for a series of this size; None where it is to be found.

        Raises:
            NoiseModelError: when it does not fit the series, or the file cannot be understood.
        """
        if str(self.spectrum) == "white":
            return AxisSpectrum(frames), AxisSpectrum(rows), AxisSpectrum(columns)
        if self.matrix is not None:
            of = AxisSpectrum.of_matrix
            return AxisSpectrum(frames), of(rows, self.matrix[0]), of(columns, self.matrix[1])
        if str(self.spectrum) == "auto":
            return None
        try:
            text = Path(self.spectrum).expanduser().read_text(encoding="utf-8")
            found = NoiseModel.from_dict({"level": 1.0, "kind": "complex", "echo_shift": (0, 0), **json.loads(text)})
        except (OSError, ValueError, TypeError) as error:
            raise NoiseModelError(f"{self.spectrum} is not the JSON of a noise model: {error}") from error
        sizes = tuple(axis.size for axis in found.spectrum)
        if sizes[1:] != (rows, columns) or (sizes[0] != frames and not found.spectrum[0].is_white):
            raise NoiseModelError(
                f"{self.spectrum} is of {sizes} frames, rows and columns, the image has {(frames, rows, columns)}."
            )
        return AxisSpectrum(frames) if sizes[0] != frames else found.spectrum[0], found.spectrum[1], found.spectrum[2]

    def known(self, shape: Sequence[int], frames: int, gmap: Tensor | None, metadata: Mapping[Any, Any]) -> KnownNoise:
        """What is known of the noise of a series, or of a part of it.

        Args:
            shape: ``(Z, C, T, H, W)`` of the part that is looked at.
            frames: frames of the whole series.
            gmap: relative map of the part, ``(Z, T, H, W)``, each axis of the part's size or 1.
            metadata: of the series; its entry ``acquisition`` may have the acquired matrix.
        """
        spectrum = self.spectrum_of(frames, *shape[3:])
        if spectrum is not None and shape[2] != frames:
            spectrum = (AxisSpectrum(shape[2]), *spectrum[1:])
        said = metadata.get("acquisition") or {}
        matrix = [int(said[name]) if said.get(name) else None for name in ("acquired_rows", "acquired_columns")]
        return KnownNoise(self.sigma, gmap, None, spectrum, (matrix[0], matrix[1]), is_constant=self.sigma is not None)


class EstimateNoiseModel(Transform):
    """Estimate the noise of an item ``(Z, C, T, H, W)``, log it, and write it into the metadata of a MetaTensor.

    How it is estimated, and how well, is said at :func:`monai_stcnnt.mri.noise_estimation.estimate_noise_model`.

    Args:
        sigma: see :class:`NoiseOptions`.
        spectrum: see there.
        matrix: see there.
    """

    backend = _BACKEND

    def __init__(
        self, sigma: float | None = None, spectrum: str | Path = "auto", matrix: Sequence[int] | None = None
    ) -> None:
        rows_columns = None if matrix is None else (int(matrix[0]), int(matrix[1]))
        self.options = NoiseOptions(sigma, spectrum, rows_columns)

    def estimate(self, img: NdarrayOrTensor, gmap: NdarrayOrTensor | None = None) -> NoiseModel:
        """Return the model, and log it.

        Args:
            img: ``(Z, C, T, H, W)``, C = 1 for magnitudes, 2 for real and imaginary part. Whether T is depth is known
                from the trace of ``FileToFrames``; without one it is time.
            gmap: g-factor map that broadcasts to the image with one channel.

        Raises:
            NoiseLevelError: when the image is constant or otherwise has no noise to estimate.
            NoiseModelError: when what is told does not fit.
        """
        image = convert_to_tensor(img, dtype=torch.float32, track_meta=False)
        given = None if gmap is None else convert_to_tensor(gmap, dtype=torch.float32, track_meta=False)[:, 0]
        metadata = img.meta if isinstance(img, MetaTensor) else {}
        known = self.options.known(image.shape, image.shape[2], given, metadata)
        model = estimate_noise_model(image, known, is_volume=_is_volume(img))
        logger.info("noise: %s", model.describe())
        return model

    def __call__(self, img: NdarrayOrTensor, gmap: NdarrayOrTensor | None = None) -> NdarrayOrTensor:
        """Return the image itself; a MetaTensor carries ``noise_model`` and ``noise_sigma`` in its metadata."""
        model = self.estimate(img, gmap)
        if isinstance(img, MetaTensor):
            _note(img, model)
        return img


def _is_volume(img: NdarrayOrTensor) -> bool:
    traces = img.applied_operations if isinstance(img, MetaTensor) else []
    axes = [t["extra_info"]["frame_axis"] for t in traces if t.get("class") == "FileToFrames"]
    return bool(axes) and axes[-1] == "slice" and img.shape[2] > 1


class EstimateNoiseModeld(MapTransform):
    """Dictionary form of :class:`EstimateNoiseModel`: writes the entries ``noise_model`` and ``noise_sigma`` as well.

    Args:
        keys: the images; the entries hold the noise of the first.
        sigma: see :class:`NoiseOptions`.
        spectrum: see there.
        matrix: see there.
        gmap_key: where a g-factor map may be.
        allow_missing_keys: whether a missing key is accepted.
    """

    backend = EstimateNoiseModel.backend

    def __init__(
        self,
        keys: KeysCollection,
        sigma: float | None = None,
        spectrum: str | Path = "auto",
        matrix: Sequence[int] | None = None,
        gmap_key: str = "gmap",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.gmap_key = gmap_key
        self.estimate_noise_model = EstimateNoiseModel(sigma, spectrum, matrix)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Estimate the noise of every image."""
        d = dict(data)
        for key in self.key_iterator(d):
            model = self.estimate_noise_model.estimate(d[key], d.get(self.gmap_key))
            if isinstance(d[key], MetaTensor):
                _note(d[key], model)
            if _MODEL_KEY not in d:
                d[_MODEL_KEY], d[_SIGMA_KEY] = model, model.level
        return d


def _note(img: MetaTensor, model: NoiseModel) -> None:
    """Write a model into metadata, as text and a tensor, which a data loader can collate."""
    img.meta[_MODEL_KEY], img.meta[_SIGMA_KEY] = json.dumps(model.as_dict()), model.level
    if model.noise_map is not None:
        img.meta[_MAP_KEY] = model.noise_map


def _model_of(img: NdarrayOrTensor, model: NoiseModel | None) -> NoiseModel:
    if model is None and isinstance(img, MetaTensor) and _MODEL_KEY in img.meta:
        model = NoiseModel.from_dict(json.loads(img.meta[_MODEL_KEY]), img.meta.get(_MAP_KEY))
    if model is None:
        raise NoiseModelError("The noise is unknown: give its model, or put EstimateNoiseModeld before.")
    return model


class _AroundDenoiser(InvertibleTransform):
    """Something that is done before a denoiser, whose inverse adds what that changed to the image as it was."""

    backend = _BACKEND

    def __call__(
        self, img: NdarrayOrTensor, model: NoiseModel | None = None, gmap: NdarrayOrTensor | None = None
    ) -> NdarrayOrTensor:
        """Apply to an item.

        Args:
            img: ``(Z, C, T, H, W)``, C = 1 for magnitudes, 2 for real and imaginary part.
            model: its noise; default: that of a MetaTensor's metadata.
            gmap: g-factor map that broadcasts to the image with one channel; default: the map of the model.

        Raises:
            NoiseModelError: when there is no model, or it is one of another image.
        """
        known = _model_of(img, model)
        image = convert_to_tensor(img, dtype=torch.float32, track_meta=False)
        levels = _levels(image, known, gmap)
        out = self._there(image, known, levels)
        result = convert_to_dst_type(out, img, dtype=torch.float32)[0]
        if isinstance(result, MetaTensor):
            self.push_transform(result, extra_info={"image": image, "there": out, "model": known, "levels": levels})
        return result

    def inverse(self, data: Tensor) -> Tensor:
        """Undo it on the item, or on what a denoiser made of it.

        Raises:
            NoiseModelError: when the tensor does not remember what was done.
        """
        if not isinstance(data, MetaTensor):
            raise NoiseModelError("The inverse needs a MetaTensor that remembers the image. A plain tensor does not.")
        info = self.pop_transform(data)["extra_info"]
        changed = convert_to_tensor(data, dtype=torch.float32, track_meta=False)
        image, there, levels = (info[name].to(changed) for name in ("image", "there", "levels"))
        out = self._back(changed, image, there, levels, info["model"])
        return convert_to_dst_type(out, data, dtype=torch.float32)[0]

    def _there(self, image: Tensor, model: NoiseModel, levels: Tensor) -> Tensor:
        raise NotImplementedError

    def _back(self, changed: Tensor, image: Tensor, there: Tensor, levels: Tensor, model: NoiseModel) -> Tensor:
        raise NotImplementedError


_DIMS = (-3, -2, -1)


class ToAcquiredMatrix(_AroundDenoiser):
    """Bring an item to the matrix that was acquired: k-space is cropped to the part that the noise fills.

    The signal of a complex image is brought to the center of k-space; of magnitudes what lies around the band is kept,
    see :func:`~monai_stcnnt.mri.noise_model.beyond_band`. The inverse adds what was changed meanwhile to the image as
    it was; of magnitudes, the noise outside of the band is taken off as well where the result is dark.
    """

    def _there(self, image: Tensor, model: NoiseModel, _levels: Tensor) -> Tensor:
        axes = [axis.bare() for axis in _spectrum_of(model)]
        if model.kind != "complex":
            return to_acquired(image, axes, _DIMS)
        turned = demodulate(channels_to_complex(image, 1), model.echo_shift)
        return complex_to_channels(to_acquired(turned, axes, _DIMS), 1)

    def _back(self, changed: Tensor, image: Tensor, there: Tensor, levels: Tensor, model: NoiseModel) -> Tensor:
        axes = [axis.bare() for axis in _spectrum_of(model)]
        if model.kind == "complex":
            change = from_acquired(channels_to_complex(changed - there, 1), axes, _DIMS)
            return image + complex_to_channels(demodulate(change, [-s for s in model.echo_shift]), 1)
        if model.is_white:
            return changed
        result, inside = from_acquired(changed, axes, _DIMS), from_acquired(there, axes, _DIMS)
        return without_leak(image, result, inside, levels, is_biased=True)


class WhitenNoise(_AroundDenoiser):
    """Take the taper off the noise of an item on its acquired matrix.

    Magnitudes become the real part of a complex image, see :func:`~monai_stcnnt.mri.noise_model.as_complex`.

    Args:
        imaginary: see there; ``"zero"`` where the network is a :class:`~monai_stcnnt.networks.nets.ChannelRouter` with
            one for real images.
    """

    def __init__(self, imaginary: Imaginary = "zero") -> None:
        super().__init__()
        self.imaginary = imaginary

    def _there(self, image: Tensor, model: NoiseModel, levels: Tensor) -> Tensor:
        axes = _tapers(model)
        if model.kind == "complex":
            return _of_channels(image, axes, to_acquired)
        if model.is_white:
            return image
        white = to_acquired(image, axes, _DIMS)
        parts = enumerate(zip(white, levels, strict=True))
        items = [as_complex(one, self.imaginary, level, n) for n, (one, level) in parts]
        return torch.stack(items)

    def _back(self, changed: Tensor, image: Tensor, there: Tensor, _levels: Tensor, model: NoiseModel) -> Tensor:
        axes = _tapers(model)
        if model.kind == "complex":
            return image + _of_channels(changed - there, axes, from_acquired)
        if model.is_white:
            return changed
        return from_acquired(changed[:, :1], axes, _DIMS)


def _spectrum_of(model: NoiseModel) -> list[AxisSpectrum]:
    return [axis if model.kind == "complex" else beyond_band(axis) for axis in model.spectrum]


def _tapers(model: NoiseModel) -> list[AxisSpectrum]:
    return [axis.cropped() for axis in _spectrum_of(model)]


def _of_channels(image: Tensor, axes: Sequence[AxisSpectrum], how: Callable[..., Tensor]) -> Tensor:
    if all(axis.is_white for axis in axes):
        return image
    return complex_to_channels(how(channels_to_complex(image, 1), axes, _DIMS), 1)


def _levels(image: Tensor, model: NoiseModel, gmap: NdarrayOrTensor | None) -> Tensor:
    """Level of the noise ``(Z, 1, T, H, W)`` on the grid of an image."""
    size = image.shape[2:]
    if gmap is not None:
        given = convert_to_tensor(gmap, dtype=torch.float32, track_meta=False).to(image)
        return given.expand(image.shape[0], 1, *size) * model.level
    maps = [map_of_frames(model, z, slice(0, size[0]), size[0], size[1:]) for z in range(image.shape[0])]
    return torch.stack(maps)[:, None].to(image) * model.level


class _AroundDenoiserd(MapTransform, InvertibleTransform):
    """Dictionary form of :class:`_AroundDenoiser`."""

    backend = _BACKEND

    def __init__(
        self, keys: KeysCollection, transform: _AroundDenoiser, gmap_key: str = "gmap", allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.gmap_key = gmap_key
        self.transform = transform

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Apply to every image."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.transform(d[key], d.get(_MODEL_KEY), d.get(self.gmap_key))
        return d

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Undo for every image."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.transform.inverse(d[key])
        return d


class ToAcquiredMatrixd(_AroundDenoiserd):
    """Dictionary form of :class:`ToAcquiredMatrix`; a map of the noise goes where a g-factor map is expected.

    Args:
        keys: the images.
        gmap_key: the g-factor map, which is brought to the acquired matrix; where there is none, that of the model is
            put there.
        allow_missing_keys: whether a missing key is accepted.
    """

    def __init__(self, keys: KeysCollection, gmap_key: str = "gmap", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, ToAcquiredMatrix(), gmap_key, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Apply to every image, and bring the map."""
        d = super().__call__(data)
        for key in self.key_iterator(d):
            size = tuple(d[key].shape[2:])
            model = _model_of(d[key], d.get(_MODEL_KEY))
            if d.get(self.gmap_key) is not None:
                gmap = convert_to_tensor(d[self.gmap_key], dtype=torch.float32, track_meta=False)
                if tuple(gmap.shape[2:]) != size:
                    d[self.gmap_key] = torch.nn.functional.interpolate(gmap, size, mode="trilinear")
            elif model.noise_map is not None:
                maps = [map_of_frames(model, z, slice(0, size[0]), size[0], size[1:]) for z in range(d[key].shape[0])]
                d[self.gmap_key] = torch.stack(maps)[:, None]
            break
        return d


class WhitenNoised(_AroundDenoiserd):
    """Dictionary form of :class:`WhitenNoise`.

    Args:
        keys: the images.
        gmap_key: the g-factor map on the acquired matrix, where :class:`ToAcquiredMatrixd` puts it.
        imaginary: see :class:`WhitenNoise`.
        allow_missing_keys: whether a missing key is accepted.
    """

    def __init__(
        self,
        keys: KeysCollection,
        gmap_key: str = "gmap",
        imaginary: Imaginary = "zero",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, WhitenNoise(imaginary), gmap_key, allow_missing_keys)
