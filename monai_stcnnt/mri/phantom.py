# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Simulated images with known truth: a beating heart, random shapes that move in time or fill a volume, and phase.

They need no data and no license: for tests, for notebooks, and as training data of last resort. The phase of an MR
image comes from field inhomogeneity, coils, and flow: smooth over the image, and slowly drifting over frames. Without
it the imaginary part of a simulated image would hold noise alone and give it away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "CINE_LABELS",
    "CinePhantom",
    "cine_phantom",
    "random_shapes",
    "smooth_field",
    "smooth_phase",
]

CINE_LABELS = {"background": 0, "left ventricle": 1, "myocardium": 2, "right ventricle": 3}


@dataclass(frozen=True)
class CinePhantom:
    """A short-axis cine of a beating heart.

    Attributes:
        image: complex64 tensor ``(T, H, W)``, noise-free; magnitudes from 0 (air) to about 1 (blood).
        labels: int64 tensor ``(T, H, W)`` with the values of ``CINE_LABELS``.
    """

    image: Tensor
    labels: Tensor


def cine_phantom(size: Sequence[int] = (16, 128, 128), rng: np.random.RandomState | None = None) -> CinePhantom:
    """Simulate one slice over one heart beat, which repeats without a jump.

    A body with a rim of fat and two lungs holds a left ventricle, whose wall thickens as its cavity shrinks (the area
    of the wall stays the same), and a right ventricle beside it. The heart also moves a little as a whole.

    Args:
        size: ``(T, H, W)``.
        rng: random state for anatomy, motion and phase; default: the same heart each time.

    Returns:
        Image and labels.
    """
    rng = rng or np.random.RandomState(0)
    frames, height, width = size
    systole = 0.5 - 0.5 * torch.cos(2 * torch.pi * torch.arange(frames) / frames)[:, None, None]
    y = torch.linspace(-1, 1, height)[None, :, None]
    x = torch.linspace(-1, 1, width)[None, None, :]
    softness = 1.5 / min(height, width)
    jitter = rng.uniform(-0.03, 0.03, 8)

    def disk(cy: Tensor | float, cx: Tensor | float, ry: Tensor | float, rx: Tensor | float) -> Tensor:
        distance = (torch.sqrt(((y - cy) / ry).square() + ((x - cx) / rx).square()) - 1) * (rx + ry) / 2
        return torch.sigmoid(-distance / softness).expand(frames, height, width)

    cy, cx = 0.05 + jitter[0] - 0.03 * systole, 0.15 + jitter[1] - 0.04 * systole
    cavity = (0.2 + jitter[2]) * (1 - (0.32 + 2 * jitter[3]) * systole)
    wall_area = (0.28 + jitter[2]) ** 2 - (0.2 + jitter[2]) ** 2
    epicardium = torch.sqrt(cavity**2 + wall_area)
    left, heart = disk(cy, cx, cavity, cavity), disk(cy, cx, epicardium, epicardium)
    shrink = 1 - 0.25 * systole
    right = disk(cy - 0.02, cx - 0.3 + jitter[4], 0.26 * shrink, 0.24 * shrink) * (1 - heart)
    image = 0.9 * disk(0.0, 0.0, 0.75 + jitter[5], 0.95)
    for value, region in (
        (0.45, disk(0.0, 0.0, 0.68 + jitter[5], 0.88)),
        (0.06, disk(-0.05, -0.5 + jitter[6], 0.45, 0.25)),
        (0.06, disk(-0.05, 0.62 + jitter[7], 0.42, 0.2)),
        (0.95, right),
        (0.3, heart),
        (1.0, left),
    ):
        image = image + (value - image) * region
    shading = 1 + 0.15 * smooth_field(rng, (height, width)).clamp(-2, 2)
    labels = (right > 0.5) * 3
    labels = torch.where(heart > 0.5, 2, labels)
    labels = torch.where(left > 0.5, 1, labels)
    return CinePhantom(torch.polar(image * shading, smooth_phase(rng, size)), labels)


def random_shapes(
    rng: np.random.RandomState,
    size: Sequence[int] = (16, 64, 64),
    axis: Literal["time", "depth"] = "time",
    num_shapes: int = 16,
) -> Tensor:
    """Random ellipses with edges and texture, fast enough to be drawn for every training step.

    Args:
        rng: the random state.
        size: ``(T, H, W)``.
        axis: what T is: ``"time"``, over which the shapes move and pulsate periodically; or ``"depth"``, along which
            they are ellipsoids.
        num_shapes: number of shapes; later ones cover earlier ones.

    Returns:
        Magnitudes ``(T, H, W)`` from 0 to about 1, float32.

    Raises:
        ValueError: when the axis is neither time nor depth.
    """
    if axis not in ("time", "depth"):
        raise ValueError(f"axis is {axis!r}. Choose 'time' or 'depth'.")
    frames, height, width = size
    t = torch.linspace(-1, 1, frames)[:, None, None] if frames > 1 else torch.zeros(1, 1, 1)
    y = torch.linspace(-1, 1, height)[None, :, None]
    x = torch.linspace(-1, 1, width)[None, None, :]
    image = torch.zeros(frames, height, width)
    texture = 1 + 0.2 * smooth_field(rng, (height, width), control_points=int(rng.randint(4, 12)))
    for index in range(num_shapes):
        cy, cx = rng.uniform(-0.8, 0.8, 2)
        ry, rx = rng.uniform(0.04, 0.6, 2) if index > 1 else rng.uniform(0.6, 0.95, 2)
        angle, value, softness = rng.uniform(0, np.pi), rng.uniform(0.02, 1.0), rng.uniform(0.003, 0.03)
        beat = torch.sin(np.pi * int(rng.randint(1, 3)) * (t + 1) + rng.uniform(0, 2 * np.pi))
        moving = axis == "time"
        dy = y - cy - (0.08 * rng.randn() * beat if moving else 0)
        dx = x - cx - (0.08 * rng.randn() * beat if moving else 0)
        size_factor = 1 + rng.uniform(0, 0.35) * beat if moving else torch.ones(())
        u, v = np.cos(angle) * dy + np.sin(angle) * dx, np.cos(angle) * dx - np.sin(angle) * dy
        depth = torch.zeros(()) if moving else (t - rng.uniform(-0.8, 0.8)) / rng.uniform(0.2, 1.2)
        distance = (
            torch.sqrt((u / (ry * size_factor)).square() + (v / (rx * size_factor)).square() + depth.square()) - 1
        )
        region = torch.sigmoid(-distance * min(ry, rx) / softness)
        image = image + (value * texture - image) * region
    return image.clamp(min=0).float()


def smooth_field(rng: np.random.RandomState, size: Sequence[int], control_points: int = 4) -> Tensor:
    """Random smooth scalar field: a grid of Gaussian control points, interpolated with cubics.

    Args:
        rng: the random state.
        size: ``(H, W)``.
        control_points: number of control points along each axis.

    Returns:
        Real tensor ``(H, W)`` with values of about unit standard deviation.
    """
    grid = torch.from_numpy(rng.standard_normal((1, 1, control_points, control_points))).float()
    rows, columns = (_cubic_weights(control_points, extent) for extent in size)
    return rows @ grid[0, 0] @ columns.T


@lru_cache(maxsize=256)
def _cubic_weights(points: int, extent: int) -> Tensor:
    """Weights (extent, points) that interpolate ``points`` values; the bicubic interpolation of an image is separable.

    A product with them is about ten times as fast as the interpolation of an image.
    """
    unit = torch.eye(points)[None, :, :, None]
    return torch.nn.functional.interpolate(unit, size=(extent, 1), mode="bicubic", align_corners=True)[0, :, :, 0].T


def smooth_phase(
    rng: np.random.RandomState, size: Sequence[int], amplitude: float = 1.5, ramp: float = 2.0, drift: float = 0.2
) -> Tensor:
    """Random smooth phase of a clip.

    The sum of a constant anywhere on the circle, a linear ramp (an off-center echo), a smooth field, and a second
    smooth field whose weight wanders slowly over the frames.

    Args:
        rng: the random state.
        size: ``(T, H, W)``.
        amplitude: standard deviation of the static smooth field, in radians.
        ramp: standard deviation of the ramp along each axis, in radians from the center to the edge.
        drift: standard deviation of the part that changes over the frames, in radians.

    Returns:
        Phase in radians, real tensor ``(T, H, W)``.
    """
    frames, height, width = size
    constant = rng.uniform(-np.pi, np.pi)
    slopes = rng.standard_normal(2) * ramp
    y = torch.linspace(-1, 1, height)[:, None]
    x = torch.linspace(-1, 1, width)
    static = constant + slopes[0] * y + slopes[1] * x + amplitude * smooth_field(rng, (height, width))
    wave_phase, cycles = rng.uniform(0, 2 * np.pi), rng.uniform(0.25, 1.5)
    wave = torch.sin(wave_phase + 2 * np.pi * cycles * torch.arange(frames) / max(frames, 1))
    moving = drift * smooth_field(rng, (height, width), control_points=3)
    return (static + wave[:, None, None] * moving).float()
