# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Images from label maps, and deformation of both, so that a network learns shapes instead of one scanner's contrast.

In the manner of SynthSeg: every class gets a random intensity and texture, everything is deformed at random. What
follows in a scanner comes from other transforms: MONAI's ``RandBiasFieldd`` and, for resolution and noise,
:class:`~monai_stcnnt.transforms.noise.RandMRNoised`. Where SynthSeg has label maps of the whole head, masks of a heart
say nothing about the rest of the body; it is filled with random moving shapes.

References:
    Billot et al., "SynthSeg: segmentation of brain MRI scans of any contrast and resolution without retraining", 2023,
    https://doi.org/10.1016/j.media.2023.102789
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.transforms.transform import MapTransform, Randomizable, RandomizableTransform
from monai.utils.type_conversion import convert_to_dst_type, convert_to_tensor
from torch import Tensor

from monai_stcnnt.errors import LayoutError
from monai_stcnnt.mri.phantom import random_shapes, smooth_field
from monai_stcnnt.transforms.labelled_clip import labelled_frames

__all__ = [
    "RandFrameWarpd",
    "RandImageFromLabelsd",
    "fill_unlabelled",
    "image_from_labels",
    "warp_grid",
]


def fill_unlabelled(label: Tensor) -> Tensor:
    """Give every frame of a clip without labels those of the nearest frame that has some.

    Args:
        label: ``(1, T, H, W)`` with negative values in frames without labels.

    Returns:
        ``(1, T, H, W)`` without negative values; zeros where no frame is labelled.
    """
    known = labelled_frames(label[None])[0].nonzero()[:, 0]
    if len(known) == 0:
        return torch.zeros_like(label)
    nearest = (torch.arange(label.shape[1])[:, None] - known[None]).abs().argmin(1)
    return label[:, known[nearest]]


def image_from_labels(
    rng: np.random.RandomState,
    label: Tensor,
    intensity_ranges: Sequence[Sequence[float]],
    tied: Sequence[Sequence[int]] = (),
    texture: float = 0.1,
    axis: Literal["time", "depth"] = "time",
    background: bool = True,
) -> Tensor:
    """Draw an image that has these labels.

    Args:
        rng: the random state.
        label: classes ``(T, H, W)`` from 0.
        intensity_ranges: for every class from 1, the interval that its mean intensity is drawn from.
        tied: groups of classes that share a mean, such as the two blood pools.
        texture: largest relative standard deviation of the intensities of a class: half of it varies slowly, half from
            pixel to pixel.
        axis: what T is: ``"time"``, over which the shapes of the background move, or ``"depth"``.
        background: whether class 0 is filled with shapes; else it is dark.

    Returns:
        Magnitudes ``(T, H, W)``, float32, not negative.

    Raises:
        ValueError: when a class has no interval.
    """
    classes = len(intensity_ranges) + 1
    if int(label.max()) >= classes:
        raise ValueError(f"Label {int(label.max())} has no entry in intensity_ranges, which has {classes - 1}.")
    means = np.array([rng.uniform(low, high) for low, high in intensity_ranges])
    for group in tied:
        means[[n - 1 for n in group]] = means[group[0] - 1] * rng.uniform(0.9, 1.1, len(group))
    generator = torch.Generator().manual_seed(int(rng.randint(2**31)))
    height, width = label.shape[1:]
    image = torch.zeros(label.shape)
    if background:
        shapes = random_shapes(rng, label.shape, axis, num_shapes=int(rng.randint(4, 20)))
        image = shapes * rng.uniform(0.4, 1.2)
    for n, mean in enumerate(means, start=1):
        slow = smooth_field(rng, (height, width), int(rng.randint(3, 12)))
        fast = torch.randn(label.shape, generator=generator)
        spread = rng.uniform(0, texture / 2, 2)
        image = torch.where(label == n, float(mean) * (1 + spread[0] * slow + spread[1] * fast), image)
    return image.clamp(min=0).float()


class RandImageFromLabelsd(MapTransform, RandomizableTransform):
    """Replace an image, with some probability, by one that is synthesised from its labels.

    Frames without labels get those of the nearest labelled frame, in the labels too: of a synthetic image the truth is
    known everywhere.

    Args:
        keys: the image (C, T, H, W), of which one channel comes back; one key.
        label_key: labels (1, T, H, W).
        prob: probability of a synthetic image.
        intensity_ranges: see :func:`image_from_labels`; every class from 1 needs one.
        tied: see :func:`image_from_labels`.
        tied_prob: probability that the tied classes are tied.
        texture: see :func:`image_from_labels`.
        axis: see :func:`image_from_labels`.
        background_prob: probability that the background is filled with shapes.
        allow_missing_keys: whether a missing key is accepted.

    Raises:
        ValueError: when there is more than one key.
        LayoutError: in the call, for labels that are not (1, T, H, W).
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str = "label",
        prob: float = 0.5,
        intensity_ranges: Sequence[Sequence[float]] = ((0.05, 1.0), (0.05, 1.0), (0.05, 1.0)),
        tied: Sequence[Sequence[int]] = (),
        tied_prob: float = 0.8,
        texture: float = 0.2,
        axis: Literal["time", "depth"] = "time",
        background_prob: float = 1.0,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        if len(self.keys) != 1:
            raise ValueError(f"keys is {self.keys}; one image is synthesised from the labels, so give one key.")
        self.label_key, self.intensity_ranges, self.tied = label_key, intensity_ranges, tied
        self.tied_prob, self.texture, self.background_prob = tied_prob, texture, background_prob
        self.axis: Literal["time", "depth"] = axis

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> RandImageFromLabelsd:
        """Set the state that everything is drawn from."""
        super().set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Synthesise, or return the dictionary as it is."""
        d = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return d
        label = convert_to_tensor(d[self.label_key], track_meta=False)
        if label.ndim != 4 or label.shape[0] != 1:
            raise LayoutError(f"Labels of a clip are (1, T, H, W), found shape {tuple(label.shape)}.")
        label = fill_unlabelled(label)
        tied = self.tied if self.R.random_sample() < self.tied_prob else ()
        background = bool(self.R.random_sample() < self.background_prob)
        for key in self.key_iterator(d):
            image = image_from_labels(
                self.R, label[0], self.intensity_ranges, tied, self.texture, self.axis, background
            )
            d[key] = convert_to_dst_type(image[None], d[key], dtype=torch.float32)[0]
        d[self.label_key] = convert_to_dst_type(label, d[self.label_key])[0]
        return d


def warp_grid(
    rng: np.random.RandomState,
    size: Sequence[int],
    rotation: float = 0.5,
    scale: float = 0.25,
    shear: float = 0.1,
    displacement: float = 0.05,
    motion: float = 0.02,
) -> Tensor:
    """Where every pixel of a randomly deformed clip comes from: the same for all frames but for a small motion.

    Args:
        rng: the random state.
        size: ``(T, H, W)``.
        rotation: largest angle in radians.
        scale: largest relative change of size, also a little different along the two axes.
        shear: largest shear.
        displacement: standard deviation of a smooth displacement, as a share of half the image.
        motion: the same for a displacement that swings once over the frames.

    Returns:
        Grid ``(T, H, W, 2)`` for :func:`torch.nn.functional.grid_sample`.
    """
    frames, height, width = size
    angle, zoom = rng.uniform(-rotation, rotation), np.exp(rng.uniform(-scale, scale))
    stretch = np.exp(rng.uniform(-scale / 3, scale / 3))
    ratio = height / width
    cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
    matrix = np.array([[cos * stretch, -sin * ratio], [sin / ratio, cos / stretch]])
    matrix = matrix @ np.array([[1, rng.uniform(-shear, shear)], [0, 1]])
    theta = torch.from_numpy(np.concatenate([matrix, np.zeros((2, 1))], 1)).float()
    grid = torch.nn.functional.affine_grid(theta[None], [1, 1, height, width], align_corners=False)
    fields = [torch.stack([smooth_field(rng, (height, width), points) for _ in range(2)], -1) for points in (6, 5)]
    swing = torch.sin(2 * torch.pi * torch.arange(frames) / max(frames, 2) + rng.uniform(0, 2 * np.pi))
    moving = motion * swing[:, None, None, None] * fields[1]
    return grid + displacement * fields[0] + moving


class RandFrameWarpd(MapTransform, Randomizable):
    """Deform a clip and its labels in the plane of its frames: rotation, size, shear, smooth displacement, motion.

    MONAI's elastic and affine transforms for three axes would deform over time as well.

    Args:
        keys: the image and the labels, (C, T, H, W) of one size.
        label_key: the labels among them, which are not interpolated.
        rotation: see :func:`warp_grid`, and so on.
        scale: see there.
        shear: see there.
        displacement: see there.
        motion: see there.
        flip_prob: probability of a mirror image, along each of H and W.
        allow_missing_keys: whether a missing key is accepted.

    Raises:
        LayoutError: in the call, for a clip without four axes.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str = "label",
        rotation: float = 0.5,
        scale: float = 0.25,
        shear: float = 0.1,
        displacement: float = 0.05,
        motion: float = 0.02,
        flip_prob: float = 0.0,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.label_key, self.flip_prob = label_key, flip_prob
        self.options = {
            "rotation": rotation, "scale": scale, "shear": shear, "displacement": displacement, "motion": motion
        }  # fmt: skip
        self.grid = torch.zeros(0)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandFrameWarpd:
        """Set the state that everything is drawn from."""
        super().set_random_state(seed, state)
        return self

    def randomize(self, data: Sequence[int]) -> None:
        """Draw the deformation of a clip of size ``data = (T, H, W)``."""
        signs = np.where(self.R.random_sample(2) < self.flip_prob, -1.0, 1.0)
        self.grid = warp_grid(self.R, data, **self.options) * torch.from_numpy(signs).float()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Deform all keys alike."""
        d = dict(data)
        for n, key in enumerate(self.key_iterator(d)):
            clip = convert_to_tensor(d[key], track_meta=False).float()
            if clip.ndim != 4:
                raise LayoutError(f"Expected a clip (C, T, H, W), found shape {tuple(clip.shape)}.")
            if n == 0:
                self.randomize(clip.shape[1:])
            mode = "nearest" if key == self.label_key else "bilinear"
            warped = torch.nn.functional.grid_sample(
                clip.movedim(1, 0), self.grid.to(clip.device), mode, "reflection", align_corners=False
            )
            d[key] = convert_to_dst_type(warped.movedim(0, 1), d[key], dtype=torch.float32)[0]
        return d
