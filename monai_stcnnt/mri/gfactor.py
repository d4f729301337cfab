# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
r"""G-factor maps: how much parallel imaging amplifies noise at every pixel.

For SENSE (Pruessmann et al., 1999, doi:10.1002/(SICI)1522-2594(199911)42:5<952::AID-MRM16>3.0.CO;2-S) the
pixels that fold onto each other have sensitivities :math:`S` (coils x pixels) and

.. math:: g_i = \sqrt{[(S^H S)^{-1}]_{ii} \, [S^H S]_{ii}} \ge 1 .

Synthetic maps are computed with that formula from loop coils placed around the image: realistic shapes at no cost.
A map multiplies the noise standard deviation pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from monai_stcnnt.errors import GFactorMapError, NoiseLevelError
from monai_stcnnt.mri.noise import RandomSource, complex_noise

__all__ = [
    "check_gfactor_map",
    "check_gfactor_size",
    "coil_sensitivities",
    "draw_gfactor_map",
    "pseudo_replica_gfactor",
    "replica_noise_map",
    "sense_gfactor",
]

_GRID = 48


def check_gfactor_map(gmap: Tensor, shape: Sequence[int] | None = None, name: str = "the g-factor map") -> Tensor:
    """Return the map unchanged when all its values are finite and positive and it broadcasts to ``shape``.

    Args:
        gmap: the map.
        shape: of the image, or of what of it has the map's axes.
        name: what to call the map in a message, such as its path.

    Raises:
        GFactorMapError: when a value is zero, negative, or not finite, or the shape does not fit.
    """
    if shape is not None:
        check_gfactor_size(gmap.shape, shape, name)
    bad = int((~(torch.isfinite(gmap) & (gmap > 0))).sum())
    if bad or not gmap.numel():
        raise GFactorMapError(
            f"{name} has {bad} values of {gmap.numel()} that are not positive and finite. Put 1 where the g-factor is "
            "unknown, as outside of the body."
        )
    return gmap


def check_gfactor_size(size: Sequence[int], shape: Sequence[int], name: str = "the g-factor map") -> None:
    """Make sure that a map of some size covers an image.

    Args:
        size: of the map; each axis has the image's size or 1.
        shape: of the image, or of what of it has the map's axes.
        name: what to call the map in a message.

    Raises:
        GFactorMapError: when it does not.
    """
    try:
        fits = torch.broadcast_shapes(tuple(size), tuple(shape)) == tuple(shape)
    except RuntimeError:
        fits = False
    if not fits:
        raise GFactorMapError(
            f"{name} has the shape {tuple(size)}, which does not fit an image of {tuple(shape)}: each axis must have "
            "the image's size or 1."
        )


def coil_sensitivities(size: Sequence[int], positions: np.ndarray, radius: float = 0.6) -> Tensor:
    """Sensitivities of loop coils around an image that spans -1 to 1 along both axes.

    Args:
        size: ``(H, W)``.
        positions: coil centers ``(coils, 2)`` as (y, x).
        radius: loop radius; the sensitivity falls with the cube of the distance beyond it.

    Returns:
        Complex tensor ``(coils, H, W)``; the phase is the direction toward the coil.
    """
    y = torch.linspace(-1, 1, size[0])[:, None]
    x = torch.linspace(-1, 1, size[1])
    centers = torch.from_numpy(np.asarray(positions)).float()
    dy = y - centers[:, 0, None, None]
    dx = x - centers[:, 1, None, None]
    strength = (radius**2 / (radius**2 + dy.square() + dx.square())) ** 1.5
    return torch.polar(strength, torch.atan2(dy, dx))


def sense_gfactor(sensitivities: Tensor, acceleration: Sequence[int], regularization: float = 1e-4) -> Tensor:
    """G-factor of SENSE with regular undersampling and white noise in the coils.

    Args:
        sensitivities: complex tensor ``(coils, H, W)``; H and W are multiples of the accelerations.
        acceleration: undersampling along ``(H, W)``.
        regularization: added to the diagonal, as a share of its mean, so that the inverse exists everywhere.

    Returns:
        Real tensor ``(H, W)``, 1 or more.

    Raises:
        GFactorMapError: when an acceleration does not divide the matrix.
    """
    coils, height, width = sensitivities.shape
    ry, rx = acceleration
    if height % ry or width % rx:
        raise GFactorMapError(f"Accelerations {ry} x {rx} do not divide the matrix {height} x {width}.")
    folded = sensitivities.reshape(coils, ry, height // ry, rx, width // rx).permute(2, 4, 0, 1, 3)
    folded = folded.reshape(height // ry, width // rx, coils, ry * rx)
    gram = folded.mH @ folded
    diagonal = gram.diagonal(dim1=-2, dim2=-1).real
    load = regularization * diagonal.mean(-1)[..., None, None] * torch.eye(ry * rx)
    inverse = torch.linalg.inv(gram + load).diagonal(dim1=-2, dim2=-1).real
    gfactor = (inverse * diagonal).clamp(min=1).sqrt()
    unfolded = gfactor.reshape(height // ry, width // rx, ry, rx).permute(2, 0, 3, 1)
    return unfolded.reshape(height, width)


def draw_gfactor_map(
    rng: np.random.RandomState,
    size: Sequence[int],
    acceleration_range: tuple[int, int] = (2, 6),
    max_gfactor: float = 6.0,
) -> Tensor:
    """Random smooth g-factor map of an image, or of a part of one.

    Twelve to thirty-two coils sit on a jittered ellipse around the field of view; the acceleration goes along one
    axis or is split over both, four at most along each where the total allows it. SENSE without regularization can
    exceed any bound; a map above a random peak is brought down to it by a power (``g ** p`` stays smooth, and 1 stays
    1). The map is computed on a coarse grid and a random part of it (at least half along each axis) is interpolated,
    since training sees crops.

    Args:
        rng: the random state.
        size: ``(H, W)``.
        acceleration_range: smallest and largest total acceleration, both included.
        max_gfactor: upper bound of the random peak, which also stays below ``1 + 0.7 * acceleration``.

    Returns:
        Real tensor ``(H, W)`` with values from 1 to ``max_gfactor``.
    """
    total = int(rng.randint(acceleration_range[0], acceleration_range[1] + 1))
    splits = [(a, total // a) for a in range(1, total + 1) if total % a == 0]
    mild = [split for split in splits if max(split) <= 4] or splits
    ry, rx = mild[int(rng.randint(len(mild)))]
    coils = int(rng.randint(12, 33))
    angles = 2 * np.pi * (np.arange(coils) + rng.uniform(-0.25, 0.25, coils)) / coils + rng.uniform(0, 2 * np.pi)
    distance = rng.uniform(1.1, 1.4, 2)
    positions = np.stack((distance[0] * np.sin(angles), distance[1] * np.cos(angles)), axis=1)
    grid = (ry * -(-_GRID // ry), rx * -(-_GRID // rx))
    gmap = sense_gfactor(coil_sensitivities(grid, positions, radius=rng.uniform(0.3, 0.6)), (ry, rx))
    peak = rng.uniform(1.2, max(1.2, min(max_gfactor, 1 + 0.7 * total)))
    gmap = gmap ** min(1.0, float(np.log(peak)) / max(float(gmap.max().log()), 1e-6))
    padded = torch.nn.functional.pad(gmap[None, None], (2, 2, 2, 2), "replicate")
    gmap = torch.nn.functional.avg_pool2d(padded, 5, 1)[0, 0]
    rows, columns = _part(rng, grid[0]), _part(rng, grid[1])
    part = gmap[rows[0] : rows[1], columns[0] : columns[1]]
    smooth = torch.nn.functional.interpolate(part[None, None], size=tuple(size), mode="bilinear", align_corners=False)
    return smooth[0, 0].clamp(min=1.0)


def _part(rng: np.random.RandomState, length: int) -> tuple[int, int]:
    extent = int(rng.randint(length // 2, length + 1))
    start = int(rng.randint(0, length - extent + 1))
    return start, start + extent


def replica_noise_map(
    reconstruct: Callable[[Tensor], Tensor], kspace: Tensor, num_replicas: int, generator: RandomSource
) -> Tensor:
    """Noise standard deviation per component of a reconstruction, pixel by pixel, by pseudo-replicas.

    White noise of standard deviation 1 is added to k-space again and again, each time reconstructed (Robson et al.,
    2008, doi:10.1002/mrm.21728); the spread of the results is the noise map. Any reconstruction will do, linear or not.

    Args:
        reconstruct: turns k-space into a complex image.
        kspace: prewhitened k-space ``(coils, ...)``; samples that are exactly zero were not acquired and get no noise.
        num_replicas: number of reconstructions; the relative error of the result is about
            ``1 / (2 * sqrt(num_replicas))``.
        generator: where the noise comes from.

    Returns:
        Real tensor of the image's shape.

    Raises:
        NoiseLevelError: when there are fewer than two replicas.
    """
    if num_replicas < 2:
        raise NoiseLevelError(f"{num_replicas} replicas have no spread. Take 100 or so.")
    acquired = (kspace != 0).to(kspace.dtype)
    mean, square = torch.zeros(()), torch.zeros(())
    reference = reconstruct(kspace)
    for _ in range(num_replicas):
        noise = complex_noise(kspace.shape, generator).to(kspace) * acquired
        difference = reconstruct(kspace + noise) - reference
        mean, square = mean + difference, square + difference.abs().square()
    variance = (square - mean.abs().square() / num_replicas) / (num_replicas - 1)
    return (variance.clamp(min=0) / 2).sqrt()


def pseudo_replica_gfactor(accelerated: Tensor, full: Tensor, acceleration: float, minimum: float = 1e-3) -> Tensor:
    r"""G-factor map of two noise maps: :math:`\sigma_R / (\sigma_1 \sqrt{R})`.

    Args:
        accelerated: noise map of the accelerated reconstruction, real tensor ``(H, W)`` or any shape.
        full: noise map of the fully sampled reconstruction, same shape.
        acceleration: the factor R by which fewer samples were acquired.
        minimum: lower bound of the result, which keeps it positive where a reconstruction has no noise.

    Returns:
        Real tensor of the same shape.
    """
    return (accelerated / (full.clamp(min=torch.finfo(full.dtype).tiny) * sqrt(acceleration))).clamp(min=minimum)
