# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Random clips of a labelled heart in one pixel size: turned, bent, and with walls and cavities of other sizes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.transforms.transform import MapTransform, Randomizable
from monai.utils.type_conversion import convert_to_tensor
from torch import Tensor

from monai_stcnnt.errors import LayoutError
from monai_stcnnt.mri.hearts.label_sets import class_bits
from monai_stcnnt.mri.phantom import smooth_field

__all__ = [
    "HeartPlaces",
    "RandHeartClipd",
    "heart_places",
    "radial_map",
    "wall_profile",
]

RIGHT, WALL, CAVITY = 1, 2, 3
ANGLES = 64
Profile = tuple[np.ndarray, np.ndarray, np.ndarray]
GUESSED_WALL = 9.0
"""Millimeters, where nobody drew the wall."""


@dataclass(frozen=True)
class HeartPlaces:
    """Where the heart is in a series.

    Attributes:
        drawn: slice and frame of every drawn cavity, with its :func:`wall_profile`.
        empty: slice and frame where it is known that there is none.
        center: middle of all cavities, or of the image (row, column).
    """

    drawn: list[tuple[int, int, Profile | None]]
    empty: list[tuple[int, int, Profile | None]]
    center: tuple[float, float]


def heart_places(sets: Tensor, spacing: Sequence[float]) -> HeartPlaces:
    """Find the heart in the sets of classes ``(Z, 1, T, H, W)`` of a series, whose pixels have a size (H, W) in mm."""
    cavity = sets[:, 0] == class_bits(CAVITY)
    drawn = cavity.flatten(2).any(-1)
    empty = (sets[:, 0] & class_bits(WALL, CAVITY) == 0).flatten(2).all(-1)
    pixels = cavity.any(0).any(0).nonzero().float()
    middle = pixels.mean(0) if len(pixels) else (torch.tensor(sets.shape[3:]) - 1) / 2
    listed = [
        [(int(z), int(t), wall_profile(sets[int(z), 0, int(t)], spacing)) for z, t in mask.nonzero()]
        for mask in (drawn, empty)
    ]
    return HeartPlaces(listed[0], listed[1], (float(middle[0]), float(middle[1])))


def wall_profile(sets: Tensor, spacing: Sequence[float]) -> Profile | None:
    """Center and radii of the left ventricle of one frame.

    Args:
        sets: classes that are possible ``(H, W)``, see :mod:`monai_stcnnt.mri.hearts.label_sets`.
        spacing: size of a pixel (H, W) in mm.

    Returns:
        Center (y, x) in mm from the first pixel, and radii of cavity and wall in mm at :data:`ANGLES` angles; None
        where no cavity was drawn. Where no wall was drawn, it is as thick as :data:`GUESSED_WALL`.
    """
    cavity = (sets == class_bits(CAVITY)).numpy()
    if cavity.sum() < 4:
        return None
    heart = cavity | (sets == class_bits(WALL)).numpy()
    steps = np.asarray(spacing, np.float64)
    points = [np.argwhere(mask) * steps for mask in (cavity, heart)]
    center = points[0].mean(0)
    radii = [_outer_radii(p - center, float(steps.max())) for p in points]
    has_wall = heart.sum() > cavity.sum()
    outer = np.maximum(radii[1], radii[0] + 2.0) if has_wall else radii[0] + GUESSED_WALL
    return center, radii[0], outer


def _outer_radii(points: np.ndarray, pixel: float) -> np.ndarray:
    """Largest radius of points (N, 2) by angle, smoothed."""
    radius = np.hypot(points[:, 0], points[:, 1])
    turn = np.arctan2(points[:, 0], points[:, 1]) / (2 * np.pi) * ANGLES
    out = np.zeros(ANGLES)
    np.maximum.at(out, np.rint(turn).astype(int) % ANGLES, radius + pixel / 2)
    known = np.flatnonzero(out)
    out = np.interp(np.arange(ANGLES), known, out[known], period=ANGLES)
    kernel = np.array([0.25, 0.5, 0.25])
    return np.convolve(np.concatenate([out[-1:], out, out[:1]]), kernel, "valid")


def radial_map(
    points: Tensor, center: np.ndarray, inner: np.ndarray, outer: np.ndarray, cavity: float, wall: float
) -> Tensor:
    """Where the points of a heart with another cavity and another wall come from.

    Along every ray from the center the cavity is stretched by one factor and the wall by another; beyond the wall the
    change fades out up to twice its radius.

    Args:
        points: ``(..., 2)`` (y, x) in mm.
        center: (y, x) in mm.
        inner: radii of the cavity at equal angles, in mm.
        outer: radii of the wall.
        cavity: factor of the cavity's radius.
        wall: factor of the wall's thickness.

    Returns:
        The places ``(..., 2)`` in the image as it is.
    """
    offset = points - torch.as_tensor(center, dtype=points.dtype)
    radius = offset.norm(dim=-1).clamp(min=1e-3)
    turn = torch.atan2(offset[..., 0], offset[..., 1]) / (2 * np.pi) * len(inner)
    low = turn.floor()
    share, low = turn - low, low.long() % len(inner)
    high = (low + 1) % len(inner)
    profiles = torch.as_tensor(np.stack([inner, outer]), dtype=points.dtype)
    old_inner, old_outer = profiles[:, low] * (1 - share) + profiles[:, high] * share
    new_inner = old_inner * cavity
    new_outer = new_inner + (old_outer - old_inner) * wall
    limit = 2 * torch.maximum(old_outer, new_outer)
    source = torch.where(
        radius < new_inner,
        radius / cavity,
        torch.where(
            radius < new_outer,
            old_inner + (radius - new_inner) / wall,
            torch.where(
                radius < limit, old_outer + (radius - new_outer) * (limit - old_outer) / (limit - new_outer), radius
            ),
        ),
    )
    return points + offset * (source / radius - 1)[..., None]


class RandHeartClipd(MapTransform, Randomizable):
    """Cut a random clip around the heart out of a series, deformed and resampled to one pixel size in one go.

    A frame in which something was drawn comes first; the clip is centered near the heart. Half of the clips keep their
    orientation roughly, the others are turned by any angle and mirrored. Size, aspect, shear and a smooth displacement
    are random, and in part of the clips cavity and wall of the left ventricle get other sizes, see
    :func:`radial_map`.

    Args:
        keys: the image and the sets of classes; ``spacing``, the size of a pixel (H, W) in mm, is in the item.
        label_key: the sets among them.
        clip_size: (t, h, w).
        pixel: size of a pixel of the clip in mm.
        offset: largest distance of the heart from the clip's center along each axis, in mm.
        scale: largest relative change of size.
        displacement: standard deviation of the smooth displacement, in mm.
        radial_prob: probability of another cavity and wall.
        turn_prob: probability of any angle and mirror images.
        empty_share: share of clips from slices in which no heart was drawn, where there are such slices.

    Shapes: ``(Z, 1, T, H, W)`` each to ``(1, t, h, w)``. Frames follow each other over the end of the beat.

    Raises:
        LayoutError: in the call, for sets without five axes, or that tell nothing.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str = "label",
        clip_size: Sequence[int] = (1, 112, 112),
        pixel: float = 1.5,
        offset: float = 25.0,
        scale: float = 0.35,
        displacement: float = 2.5,
        radial_prob: float = 0.5,
        turn_prob: float = 0.5,
        empty_share: float = 0.12,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.label_key, self.pixel, self.offset, self.scale = label_key, pixel, offset, scale
        self.clip_size = tuple(int(c) for c in clip_size)
        self.displacement, self.radial_prob, self.turn_prob = displacement, radial_prob, turn_prob
        self.empty_share = empty_share
        self.place, self.points = (0, 0), torch.zeros(0)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandHeartClipd:
        """Set the state that everything is drawn from."""
        super().set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Cut the clips."""
        d = dict(data)
        sets = convert_to_tensor(d[self.label_key], track_meta=False)
        if sets.ndim != 5:
            raise LayoutError(f"Sets of classes of a series are (Z, 1, T, H, W), not the shape {tuple(sets.shape)}.")
        spacing = [float(s) for s in d["spacing"]]
        self.randomize((sets, spacing, d.get("places") or heart_places(sets, spacing)))
        z, start = self.place
        frames = (start + torch.arange(self.clip_size[0])) % sets.shape[2]
        size = torch.tensor([sets.shape[3] * spacing[0], sets.shape[4] * spacing[1]])
        half = torch.tensor(spacing) / 2
        grid = (2 * (self.points + half) / size - 1).flip(-1).float().expand(len(frames), -1, -1, -1)
        for key in self.key_iterator(d):
            series = convert_to_tensor(d[key], track_meta=False)
            clip = series[z][:, frames].movedim(1, 0).float()
            if key == self.label_key:
                inside = torch.nn.functional.grid_sample(clip, grid, "nearest", "zeros", align_corners=False)
                warped = torch.where(inside > 0, inside, torch.full_like(inside, class_bits(0)))
            else:
                warped = torch.nn.functional.grid_sample(clip, grid, "bilinear", "zeros", align_corners=False)
            d[key] = warped.movedim(0, 1)
        return d

    def randomize(self, data: tuple[Tensor, Sequence[float], HeartPlaces]) -> None:
        """Draw slice and first frame, and the places (h, w, 2) in mm that the clip's pixels come from."""
        (sets, spacing, places), rng = data, self.R
        wanted = places.empty if rng.random_sample() < self.empty_share else places.drawn
        choices = wanted or places.drawn or places.empty
        if not choices:
            raise LayoutError("The sets of classes of a series tell nothing: no frame of it is labelled.")
        z, t, profile = choices[rng.randint(len(choices))]
        points = self._points(rng, profile[0] if profile else np.asarray(places.center) * np.asarray(spacing))
        if profile and rng.random_sample() < self.radial_prob:
            points = radial_map(points, *profile, *np.exp(rng.uniform(-0.5, 0.4, 2)))
        self.place, self.points = (z, (t - int(rng.randint(self.clip_size[0]))) % sets.shape[2]), points

    def _points(self, rng: np.random.RandomState, center: np.ndarray) -> Tensor:
        """Places of a clip around a center, in mm."""
        height, width = self.clip_size[1:]
        y = (torch.arange(height)[:, None] - (height - 1) / 2) * self.pixel
        x = (torch.arange(width)[None, :] - (width - 1) / 2) * self.pixel
        grid = torch.stack(torch.broadcast_tensors(y, x), -1)
        angle, mirror = rng.uniform(-0.5, 0.5), 1.0
        if rng.random_sample() < self.turn_prob:
            angle, mirror = rng.uniform(-np.pi, np.pi), rng.choice([-1.0, 1.0])
        zoom = np.exp(rng.uniform(-self.scale, self.scale))
        aspect, shear = np.exp(rng.uniform(-0.12, 0.12)), rng.uniform(-0.12, 0.12)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = zoom * turn @ np.array([[aspect, shear], [0, mirror / aspect]])
        fields = [smooth_field(rng, (height, width), int(rng.randint(4, 9))) for _ in range(2)]
        moved = grid + self.displacement * rng.random_sample() * torch.stack(fields, -1)
        shift = rng.uniform(-self.offset, self.offset, 2)
        offset, across, middle = (torch.from_numpy(part).float() for part in (shift, matrix, center))
        return (moved + offset) @ across.T + middle
