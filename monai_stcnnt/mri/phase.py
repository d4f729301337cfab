# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The phase of MR images: its unit in files, and smooth random phase to make a complex image of a magnitude image.

The phase of an MR image comes from field inhomogeneity, coils, and flow: smooth over the image, and slowly drifting
over frames. Without it the imaginary part of a simulated image would hold noise alone and give it away.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from monai_stcnnt.phase_units import radians_per_unit

__all__ = ["radians_per_unit", "smooth_field", "smooth_phase"]


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
