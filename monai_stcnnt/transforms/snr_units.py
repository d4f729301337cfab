# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""To SNR units and back, and the noise level when nobody knows it.

In SNR units the noise standard deviation is 1 per real and imaginary component. The transforms take clips
``(C, T, H, W)``, inference items ``(Z, C, T, H, W)`` and file arrays alike: one number scales the whole image.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection, NdarrayOrTensor
from monai.data.meta_obj import get_track_meta
from monai.data.meta_tensor import MetaTensor
from monai.transforms.inverse import InvertibleTransform
from monai.transforms.transform import MapTransform, Transform
from monai.utils.enums import TransformBackends
from monai.utils.type_conversion import convert_to_dst_type, convert_to_tensor

from monai_stcnnt.errors import NoiseLevelError
from monai_stcnnt.mri.noise_level import estimate_noise_level

__all__ = [
    "EstimateNoiseLevel",
    "EstimateNoiseLeveld",
    "FromSNRUnits",
    "FromSNRUnitsd",
    "ToSNRUnits",
    "ToSNRUnitsd",
]

_BACKEND = [TransformBackends.TORCH, TransformBackends.NUMPY]
_SIGMA_KEY = "noise_sigma"

logger = logging.getLogger(__name__)


def _check_sigma(sigma: object) -> float:
    """Return a noise level as a float.

    Raises:
        NoiseLevelError: when it is not a positive, finite number.
    """
    try:
        value = float(sigma)  # type: ignore[arg-type] # whatever a dictionary or a file's metadata held
    except (TypeError, ValueError) as error:
        raise NoiseLevelError(f"The noise level is {sigma!r}, which is not a number.") from error
    if not (np.isfinite(value) and value > 0):
        raise NoiseLevelError(f"The noise level is {value}. Give a positive standard deviation per component.")
    return value


class _ScaleBySigma(InvertibleTransform):
    """Divide (``_exponent`` -1) or multiply (+1) an image by its noise level; the inverse does the opposite."""

    backend = _BACKEND
    _exponent = -1

    def __init__(self, sigma: float | None = None, sigma_key: str = _SIGMA_KEY, strength: float = 1.0) -> None:
        if not (np.isfinite(strength) and strength > 0):
            raise NoiseLevelError(
                f"The strength is {strength}. Give a positive number, 1 for the noise level as it is."
            )
        self.sigma = None if sigma is None else _check_sigma(sigma)
        self.sigma_key = sigma_key
        self.strength = float(strength)

    def __call__(self, img: NdarrayOrTensor, sigma: float | None = None) -> NdarrayOrTensor:
        """Scale an image.

        Args:
            img: image of any shape, real or complex; integers become float32.
            sigma: its noise standard deviation per component; default: the constructor's, else that of the metadata.

        Returns:
            Image of the same shape and kind; a MetaTensor remembers the noise level for the inverse.

        Raises:
            NoiseLevelError: when there is no noise level, or it is not a positive number.
        """
        level = self._level(img, sigma)
        image = convert_to_tensor(img, track_meta=False)
        if not (image.is_floating_point() or image.is_complex()):
            image = image.float()
        out = convert_to_dst_type(image * level**self._exponent, img, dtype=image.dtype)[0]
        if isinstance(out, MetaTensor) and get_track_meta():
            self.push_transform(out, extra_info={"sigma": level})
        return out

    def inverse(self, data: NdarrayOrTensor) -> NdarrayOrTensor:
        """Undo the scaling, with the noise level that a MetaTensor remembers, or else the constructor's.

        Raises:
            NoiseLevelError: when there is neither.
        """
        if isinstance(data, MetaTensor):
            level = _check_sigma(self.pop_transform(data)["extra_info"]["sigma"])
        else:
            level = self._level(data, None)
        return data * level ** (-self._exponent)

    def _level(self, img: NdarrayOrTensor, sigma: float | None) -> float:
        value: object = sigma if sigma is not None else self.sigma
        if value is None and isinstance(img, MetaTensor):
            value = img.meta.get(self.sigma_key)
        if value is None:
            raise NoiseLevelError(
                "The noise level is unknown: give sigma, "
                f"or put EstimateNoiseLeveld before, which writes {self.sigma_key!r}."
            )
        return _check_sigma(value) * self.strength


class ToSNRUnits(_ScaleBySigma):
    """Divide an image by its noise standard deviation per component.

    Args:
        sigma: the noise level; default: the metadata entry ``sigma_key`` of a MetaTensor.
        sigma_key: name of that entry.
        strength: factor on the noise level; a denoiser that follows removes more above 1, less below.

    Raises:
        NoiseLevelError: when ``sigma`` or ``strength`` is not a positive number.
    """

    _exponent = -1


class FromSNRUnits(_ScaleBySigma):
    """Multiply an image in SNR units by its noise standard deviation per component.

    Args:
        sigma: the noise level; default: the metadata entry ``sigma_key`` of a MetaTensor.
        sigma_key: name of that entry.
        strength: factor on the noise level; a denoiser that follows removes more above 1, less below.

    Raises:
        NoiseLevelError: when ``sigma`` or ``strength`` is not a positive number.
    """

    _exponent = 1


class _ScaleBySigmad(MapTransform, InvertibleTransform):
    """Dictionary form of :class:`_ScaleBySigma`."""

    backend = _BACKEND
    _scale_class: type[_ScaleBySigma] = ToSNRUnits

    def __init__(
        self,
        keys: KeysCollection,
        sigma: float | None = None,
        sigma_key: str = _SIGMA_KEY,
        allow_missing_keys: bool = False,
        strength: float = 1.0,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.sigma_key = sigma_key
        self.scale = self._scale_class(sigma, sigma_key, strength)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Scale every image by the constructor's noise level, the entry ``sigma_key``, or that of the metadata."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.scale(d[key], None if self.scale.sigma is not None else d.get(self.sigma_key))
        return d

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Undo the scaling of every image."""
        d = dict(data)
        for key in self.key_iterator(d):
            if isinstance(d[key], MetaTensor) or self.scale.sigma is not None or self.sigma_key not in d:
                d[key] = self.scale.inverse(d[key])
            else:
                d[key] = self._scale_class(_check_sigma(d[self.sigma_key]), strength=self.scale.strength).inverse(
                    d[key]
                )
        return d


class ToSNRUnitsd(_ScaleBySigmad):
    """Dictionary form of :class:`ToSNRUnits`.

    Args:
        keys: the images.
        sigma: the noise level of all of them; default: the entry ``sigma_key`` of the dictionary, else of the metadata.
        sigma_key: name of that entry.
        allow_missing_keys: whether a missing key is accepted.
        strength: see :class:`ToSNRUnits`.
    """

    _scale_class = ToSNRUnits


class FromSNRUnitsd(_ScaleBySigmad):
    """Dictionary form of :class:`FromSNRUnits`.

    Args:
        keys: the images.
        sigma: the noise level of all of them; default: the entry ``sigma_key`` of the dictionary, else of the metadata.
        sigma_key: name of that entry.
        allow_missing_keys: whether a missing key is accepted.
        strength: see :class:`ToSNRUnits`.
    """

    _scale_class = FromSNRUnits


class EstimateNoiseLevel(Transform):
    """Estimate the noise level of an image, log it, and write it into the metadata of a MetaTensor.

    How it is estimated, and how well, is said at :func:`monai_stcnnt.mri.noise_level.estimate_noise_level`.

    Args:
        sigma_key: name of the metadata entry.
        channel_dim: the channel axis: 0 for a clip ``(C, T, H, W)``, 1 for an inference item ``(Z, C, T, H, W)``.
    """

    backend = _BACKEND

    def __init__(self, sigma_key: str = _SIGMA_KEY, channel_dim: int = 0) -> None:
        self.sigma_key = sigma_key
        self.channel_dim = channel_dim

    def estimate(self, img: NdarrayOrTensor, gmap: NdarrayOrTensor | None = None) -> float:
        """Return the noise standard deviation per component, and log it.

        Args:
            img: image with one channel (magnitude) or two (real, imaginary) along ``channel_dim``.
            gmap: g-factor map that broadcasts to the image with one channel; the result belongs to a g-factor of 1.

        Raises:
            NoiseLevelError: when the image is constant or otherwise has no noise to estimate.
        """
        image = convert_to_tensor(img, dtype=torch.float32, track_meta=False)
        given = None if gmap is None else convert_to_tensor(gmap, dtype=torch.float32, track_meta=False)
        estimate = estimate_noise_level(image, self.channel_dim, given)
        logger.info("estimated noise level: sigma = %g per component (from the %s)", estimate.sigma, estimate.method)
        return estimate.sigma

    def __call__(self, img: NdarrayOrTensor, gmap: NdarrayOrTensor | None = None) -> NdarrayOrTensor:
        """Return the image itself; a MetaTensor carries its noise level in ``meta[sigma_key]``.

        Args:
            img: image with one channel (magnitude) or two (real, imaginary) along ``channel_dim``.
            gmap: g-factor map that broadcasts to the image with one channel.

        Raises:
            NoiseLevelError: when the image is constant or otherwise has no noise to estimate.
        """
        sigma = self.estimate(img, gmap)
        if isinstance(img, MetaTensor):
            img.meta[self.sigma_key] = sigma
        return img


class EstimateNoiseLeveld(MapTransform):
    """Dictionary form of :class:`EstimateNoiseLevel`: writes the dictionary entry ``sigma_key`` as well.

    Args:
        keys: the images; the entry of the dictionary holds the noise level of the first.
        sigma_key: name of the entry, in the dictionary and in the metadata.
        gmap_key: where a g-factor map may be; None for images whose map does not describe their noise.
        channel_dim: see :class:`EstimateNoiseLevel`.
        allow_missing_keys: whether a missing key is accepted.
    """

    backend = EstimateNoiseLevel.backend

    def __init__(
        self,
        keys: KeysCollection,
        sigma_key: str = _SIGMA_KEY,
        gmap_key: str | None = "gmap",
        channel_dim: int = 0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.gmap_key = gmap_key
        self.sigma_key = sigma_key
        self.estimate_noise_level = EstimateNoiseLevel(sigma_key, channel_dim)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Estimate the noise level of every image."""
        d = dict(data)
        gmap = None if self.gmap_key is None else d.get(self.gmap_key)
        levels = []
        for key in self.key_iterator(d):
            levels.append(self.estimate_noise_level.estimate(d[key], gmap))
            if isinstance(d[key], MetaTensor):
                d[key].meta[self.sigma_key] = levels[-1]
        if levels:
            d[self.sigma_key] = levels[0]
        return d
