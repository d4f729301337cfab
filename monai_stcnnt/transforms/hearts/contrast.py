# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Contrasts of other scanners for labelled clips of hearts, and the scale on which networks see them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.transforms.transform import MapTransform, Randomizable
from monai.utils.type_conversion import convert_to_tensor
from torch import Tensor

from monai_stcnnt.mri.hearts.drawing import drawn_heart
from monai_stcnnt.mri.hearts.frame import heart_scale
from monai_stcnnt.mri.hearts.label_sets import class_bits, sets_of_labels
from monai_stcnnt.mri.phantom import smooth_field

__all__ = [
    "RandDrawnHeartd",
    "RandHeartContrastd",
]

CLASSES = 4


class RandDrawnHeartd(MapTransform, Randomizable):
    """Replace a clip, with some probability, by a drawn heart, see :func:`monai_stcnnt.mri.hearts.drawing.drawn_heart`.

    Args:
        keys: the image, one key.
        label_key: sets of classes.
        prob: probability.
        pixel: size of a pixel in mm.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str = "label",
        prob: float = 0.3,
        pixel: float = 1.5,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.label_key, self.prob, self.pixel = label_key, prob, pixel

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandDrawnHeartd:
        """Set the state that everything is drawn from."""
        super().set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Draw or pass on."""
        d = dict(data)
        if self.R.random_sample() < self.prob:
            [key] = self.keys
            heart = drawn_heart(self.R, d[key].shape[1:], self.pixel * float(np.exp(self.R.uniform(-0.2, 0.2))))
            d[key] = heart.image[None]
            d[self.label_key] = sets_of_labels(heart.labels, CLASSES)[None].float()
        return d


class RandHeartContrastd(MapTransform, Randomizable):
    """Change contrast, shading, sharpness and noise of a clip as scanners, coils and sequences do.

    In turn, each with a probability of its own: wall or cavity a little brighter or darker, muscle painted into the
    cavity or blood over the muscle in it, a curve of gray values, shading, resolution along each axis, Rician noise
    (white, or coloured by a low resolution), gain. The result is on the scale of
    :func:`~monai_stcnnt.mri.hearts.heart_scale`.

    Args:
        keys: the image (1, T, H, W), one key.
        label_key: sets of classes.
        prob: probability that a clip is changed at all; the others are only scaled.
    """

    def __init__(
        self, keys: KeysCollection, label_key: str = "label", prob: float = 1.0, allow_missing_keys: bool = False
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.label_key, self.prob = label_key, prob

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> RandHeartContrastd:
        """Set the state that everything is drawn from."""
        super().set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Change one clip."""
        d = dict(data)
        [key] = self.keys
        image = heart_scale(convert_to_tensor(d[key], track_meta=False))
        if self.prob < 1 and self.R.random_sample() >= self.prob:
            return {**d, key: image}
        sets = convert_to_tensor(d[self.label_key], track_meta=False).long()
        for in_tissue, prob in ((self._tissue, 0.4), (self._muscle, 0.25)):
            if self.R.random_sample() < prob:
                image = in_tissue(image, sets)
        for change, prob in ((self._curve, 0.6), (self._shading, 0.6), (self._blur, 0.4), (self._noise, 0.6)):
            if self.R.random_sample() < prob:
                image = change(image)
        d[key] = heart_scale(image.clamp(min=0)) * float(np.exp(self.R.uniform(-0.25, 0.25)))
        return d

    def _field(self, image: Tensor, low: int = 2, high: int = 5) -> Tensor:
        return smooth_field(self.R, image.shape[-2:], int(self.R.randint(low, high)))

    def _tissue(self, image: Tensor, sets: Tensor) -> Tensor:
        """Another intensity of the wall, the cavity or the right ventricle, as contrast and infarcts make it."""
        for value, spread in ((1, 0.3), (2, 0.35), (3, 0.3)):
            factor = torch.exp(spread * float(self.R.randn()) * (0.6 + 0.4 * self._field(image)))
            image = torch.where(sets == class_bits(value), image * factor, image)
        return image

    def _muscle(self, image: Tensor, sets: Tensor) -> Tensor:
        """Muscle in the cavity, or blood instead of it."""
        cavity = sets == class_bits(3)
        wall = sets == class_bits(2)
        if cavity.sum() < 30 or not bool(wall.any()):
            return image
        blood = image[cavity].quantile(0.8)
        if self.R.random_sample() < 0.5:
            return torch.where(cavity & (image < blood), image + (blood - image) * float(self.R.uniform(0.3, 1)), image)
        dark = image[wall].median()
        blobs = self._field(image, 10, 24) > float(self.R.uniform(1.0, 2.0))
        return torch.where(cavity & blobs, dark + 0.1 * (image - dark), image)

    def _curve(self, image: Tensor) -> Tensor:
        """A random curve of gray values, rising in most cases."""
        knots = np.linspace(0, 3, 7)
        steps = np.exp(self.R.uniform(-1, 1, 6)) * np.where(self.R.random_sample(6) < 0.05, -0.5, 1)
        heights = np.concatenate([[0], np.cumsum(steps)])
        heights = (heights - min(heights.min(), 0)) / max(np.ptp(heights), 1e-3) * 3 + self.R.uniform(0, 0.2)
        gamma = float(np.exp(self.R.uniform(-0.4, 0.4)))
        curved = np.interp(image.numpy() ** gamma, knots, heights).astype(np.float32)
        return torch.from_numpy(curved)

    def _shading(self, image: Tensor) -> Tensor:
        """Coils that are nearer to one side."""
        height, width = image.shape[-2:]
        ramp = torch.linspace(-1, 1, height)[:, None] * float(self.R.randn())
        ramp = ramp + torch.linspace(-1, 1, width)[None] * float(self.R.randn())
        return image * torch.exp(0.25 * self.R.uniform(0, 1) * self._field(image) + 0.4 * self.R.uniform(0, 1) * ramp)

    def _blur(self, image: Tensor) -> Tensor:
        """A coarser resolution along each axis."""
        size = [max(int(n * self.R.uniform(0.45, 1.0)), 8) for n in image.shape[-2:]]
        small = torch.nn.functional.interpolate(image, size, mode="bilinear", antialias=True)
        return torch.nn.functional.interpolate(small, image.shape[-2:], mode="bicubic").clamp(min=0)

    def _noise(self, image: Tensor) -> Tensor:
        """Rician noise, of a grid that may be coarser than the pixels."""
        sigma = float(np.exp(self.R.uniform(np.log(0.01), np.log(0.2))))
        size = [max(int(n * self.R.uniform(0.5, 1.0)), 8) for n in image.shape[-2:]]
        noise = torch.from_numpy(self.R.standard_normal((2, *image.shape[1:2], *size)).astype(np.float32))
        noise = torch.nn.functional.interpolate(noise, image.shape[-2:], mode="bilinear")
        noise = noise * (sigma / noise.std().clamp(min=1e-6))
        return torch.hypot(image + noise[:1], noise[1:])
