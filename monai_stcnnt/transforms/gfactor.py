# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""G-factor maps as part of the network's input, as random maps, and as amplification of an image."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection, NdarrayOrTensor
from monai.data.meta_tensor import MetaTensor
from monai.transforms.inverse import InvertibleTransform
from monai.transforms.transform import MapTransform, Randomizable, Transform
from monai.utils.enums import TransformBackends
from monai.utils.type_conversion import convert_to_dst_type, convert_to_tensor
from torch import Tensor

from monai_stcnnt.errors import GFactorMapError
from monai_stcnnt.mri.gfactor import check_gfactor_map, draw_gfactor_map

__all__ = [
    "AppendGFactor",
    "AppendGFactord",
    "ApplyGFactor",
    "ApplyGFactord",
    "RandGFactorMap",
    "RandGFactorMapd",
]

_BACKEND = [TransformBackends.TORCH, TransformBackends.NUMPY]


def _fit_map(gmap: NdarrayOrTensor | None, image: Tensor, channel_dim: int) -> Tensor:
    """Return a map with the axes of ``image`` and one channel; ones when there is none."""
    shape = list(image.shape)
    shape[channel_dim] = 1
    if gmap is None:
        return torch.ones(shape, dtype=image.dtype, device=image.device)
    given = convert_to_tensor(gmap, dtype=image.dtype, track_meta=False, device=image.device)
    if given.ndim == image.ndim - 1:
        given = given.unsqueeze(channel_dim)
    return check_gfactor_map(given, shape).expand(shape)


class AppendGFactor(Transform):
    """Append the g-factor map to an image as its last channel, the input that the denoising networks expect.

    Args:
        channel_dim: the channel axis: 0 for a clip ``(C, T, H, W)``, 1 for an inference item ``(Z, C, T, H, W)``.
    """

    backend = _BACKEND

    def __init__(self, channel_dim: int = 0) -> None:
        self.channel_dim = channel_dim

    def __call__(self, img: NdarrayOrTensor, gmap: NdarrayOrTensor | None = None) -> NdarrayOrTensor:
        """Append a map.

        Args:
            img: image with C channels along ``channel_dim``.
            gmap: map that broadcasts to the image with one channel; it may lack the channel axis. Default: ones.

        Returns:
            Image with C + 1 channels, of the kind that was given.

        Raises:
            GFactorMapError: when the map does not fit or has values that are not positive.
        """
        image = convert_to_tensor(img, track_meta=False)
        joined = torch.cat((image, _fit_map(gmap, image, self.channel_dim)), dim=self.channel_dim)
        return convert_to_dst_type(joined, img, dtype=joined.dtype)[0]


class AppendGFactord(MapTransform):
    """Dictionary form of :class:`AppendGFactor`.

    Args:
        keys: images with C channels; they get one more.
        gmap_key: where the map is; ones where there is none.
        channel_dim: see :class:`AppendGFactor`.
        allow_missing_keys: whether a missing key is accepted.
    """

    backend = AppendGFactor.backend

    def __init__(
        self, keys: KeysCollection, gmap_key: str = "gmap", channel_dim: int = 0, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.gmap_key = gmap_key
        self.append_gfactor = AppendGFactor(channel_dim)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Append the map to every image."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.append_gfactor(d[key], d.get(self.gmap_key))
        return d


class ApplyGFactor(InvertibleTransform):
    """Multiply or divide an image by its g-factor map; the inverse does the opposite.

    Dividing an image in SNR units by its map gives noise of standard deviation 1 everywhere.

    Args:
        operation: what to do with the map.
        channel_dim: the channel axis, see :class:`AppendGFactor`.

    Raises:
        ValueError: when the operation is unknown.
    """

    backend = _BACKEND

    def __init__(self, operation: Literal["multiply", "divide"] = "divide", channel_dim: int = 0) -> None:
        if operation not in ("multiply", "divide"):
            raise ValueError(f"operation is {operation!r}. Choose 'multiply' or 'divide'.")
        self.operation = operation
        self.channel_dim = channel_dim

    def __call__(self, img: NdarrayOrTensor, gmap: NdarrayOrTensor | None = None) -> NdarrayOrTensor:
        """Apply a map.

        Args:
            img: image with C channels along ``channel_dim``.
            gmap: map that broadcasts to the image with one channel; it may lack the channel axis. Default: ones.

        Returns:
            Image of the same shape and kind. A MetaTensor remembers the map for the inverse.

        Raises:
            GFactorMapError: when the map does not fit or has values that are not positive.
        """
        image = convert_to_tensor(img, track_meta=False)
        fitted = _fit_map(gmap, image, self.channel_dim)
        out = convert_to_dst_type(image * fitted if self.operation == "multiply" else image / fitted, img)[0]
        if isinstance(out, MetaTensor):
            self.push_transform(out, extra_info={"gmap": fitted.clone()})
        return out

    def inverse(self, data: Tensor) -> Tensor:
        """Undo the last application on this tensor.

        Raises:
            GFactorMapError: when the tensor does not remember a map.
        """
        if not isinstance(data, MetaTensor):
            raise GFactorMapError(
                "The inverse needs a MetaTensor that remembers the g-factor map. A plain tensor does not."
            )
        fitted = self.pop_transform(data)["extra_info"]["gmap"].to(data.device)
        return data / fitted if self.operation == "multiply" else data * fitted


class ApplyGFactord(MapTransform, InvertibleTransform):
    """Dictionary form of :class:`ApplyGFactor`.

    Args:
        keys: the images.
        gmap_key: where the map is; without a map nothing is done.
        operation: see :class:`ApplyGFactor`.
        channel_dim: see :class:`ApplyGFactor`.
        allow_missing_keys: whether a missing key is accepted.
    """

    backend = ApplyGFactor.backend

    def __init__(
        self,
        keys: KeysCollection,
        gmap_key: str = "gmap",
        operation: Literal["multiply", "divide"] = "divide",
        channel_dim: int = 0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.gmap_key = gmap_key
        self.apply_gfactor = ApplyGFactor(operation, channel_dim)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Apply the map to every image."""
        d = dict(data)
        for key in self.key_iterator(d):
            if d.get(self.gmap_key) is not None:
                d[key] = self.apply_gfactor(d[key], d[self.gmap_key])
        return d

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Undo the application for every image that remembers one."""
        d = dict(data)
        for key in self.key_iterator(d):
            if d.get(self.gmap_key) is not None:
                d[key] = self.apply_gfactor.inverse(d[key])
        return d


class RandGFactorMap(Randomizable, Transform):
    """Random smooth g-factor map of parallel imaging, see :func:`monai_stcnnt.mri.gfactor.draw_gfactor_map`.

    Args:
        acceleration_range: smallest and largest total acceleration, both included.
        prob: probability of a map; otherwise it is all ones.
    """

    backend = _BACKEND

    def __init__(self, acceleration_range: tuple[int, int] = (2, 6), prob: float = 1.0) -> None:
        self.acceleration_range = (int(acceleration_range[0]), int(acceleration_range[1]))
        self.prob = prob
        self._gmap = torch.ones(1, 1)

    def randomize(self, data: Sequence[int]) -> None:
        """Draw the map of an image of size ``data = (..., H, W)``."""
        drawn = self.R.random_sample() < self.prob
        self._gmap = (
            draw_gfactor_map(self.R, data[-2:], self.acceleration_range) if drawn else torch.ones(tuple(data[-2:]))
        )

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> NdarrayOrTensor:
        """Return a map ``(1, T, H, W)``, float32, for a clip ``(C, T, H, W)``, of the kind that was given."""
        shape = tuple(img.shape)
        if randomize:
            self.randomize(shape)
        return convert_to_dst_type(self._gmap.expand(1, *shape[1:]).clone(), img, dtype=torch.float32)[0]


class RandGFactorMapd(MapTransform, Randomizable):
    """Dictionary form of :class:`RandGFactorMap`: adds a map that fits the first key's image.

    Args:
        keys: the image or images ``(C, T, H, W)``, which stay untouched.
        gmap_key: where the map goes.
        acceleration_range: see :class:`RandGFactorMap`.
        prob: see :class:`RandGFactorMap`.
        allow_missing_keys: whether a missing key is accepted.
    """

    backend = RandGFactorMap.backend

    def __init__(
        self,
        keys: KeysCollection,
        gmap_key: str = "gmap",
        acceleration_range: tuple[int, int] = (2, 6),
        prob: float = 1.0,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.gmap_key = gmap_key
        self.rand_gfactor_map = RandGFactorMap(acceleration_range, prob)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandGFactorMapd:
        """Set the state that the map is drawn from."""
        super().set_random_state(seed, state)
        self.rand_gfactor_map.set_random_state(seed, state)
        return self

    def randomize(self, data: Sequence[int]) -> None:
        """Draw the map of an image of size ``data = (..., H, W)``."""
        self.rand_gfactor_map.randomize(data)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the map."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[self.gmap_key] = self.rand_gfactor_map(d[key])
            break
        return d
