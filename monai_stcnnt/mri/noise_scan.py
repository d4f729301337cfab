# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
r"""Measured noise: noise-only scans, prewhitening, and g-factor maps by pseudo-replicas.

A scan without excitation holds nothing but noise. Its covariance over the coils gives the matrix that makes noise
white with standard deviation 1 per component, which is how reconstructions reach SNR units (Kellman and McVeigh, 2005,
doi:10.1002/mrm.20713).
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import torch
from torch import Tensor

from monai_stcnnt.errors import NoiseLevelError
from monai_stcnnt.mri.noise import RandomSource, complex_noise

__all__ = ["noise_covariance", "prewhiten", "pseudo_replica_gfactor", "replica_noise_map"]


def noise_covariance(noise: Tensor, bandwidth_ratio: float = 1.0) -> Tensor:
    r"""Covariance of noise over the coils, per component.

    Args:
        noise: complex samples ``(coils, ...)`` of a noise-only scan, more samples than coils.
        bandwidth_ratio: receiver bandwidth of the image scan over that of the noise scan; noise power grows with it.

    Returns:
        Complex Hermitian matrix ``(coils, coils)`` :math:`\overline{n n^H} / 2`: ones on the diagonal for noise of
        standard deviation 1 in real and imaginary part.

    Raises:
        NoiseLevelError: when there are too few samples or no noise in them.
    """
    samples = noise.reshape(noise.shape[0], -1)
    coils, count = samples.shape
    if count <= coils:
        raise NoiseLevelError(
            f"{count} noise samples of {coils} coils are too few for a covariance; give more than {coils}"
        )
    centered = samples - samples.mean(1, keepdim=True)
    covariance = bandwidth_ratio * (centered @ centered.mH) / (2 * (count - 1))
    if not float(covariance.diagonal().real.min()) > 0:
        raise NoiseLevelError("the noise scan has a coil without noise; leave that coil out")
    return covariance


def prewhiten(data: Tensor, covariance: Tensor) -> Tensor:
    """Combine coils such that their noise is uncorrelated and has standard deviation 1 per component.

    Args:
        data: complex tensor ``(coils, ...)``, images or k-space.
        covariance: from :func:`noise_covariance`.

    Returns:
        Complex tensor of the same shape, in SNR units: data times the inverse of the covariance's Cholesky factor.

    Raises:
        NoiseLevelError: when the covariance is not positive definite.
    """
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if int(failed):
        raise NoiseLevelError("the noise covariance is not positive definite; are two coils copies of each other?")
    flat = data.reshape(data.shape[0], -1)
    return torch.linalg.solve_triangular(factor, flat.to(factor.dtype), upper=False).reshape(data.shape)


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
        raise NoiseLevelError(f"{num_replicas} replicas have no spread; take 100 or so")
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
