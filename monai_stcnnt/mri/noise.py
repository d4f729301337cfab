# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
r"""Thermal noise of MR images in SNR units: standard deviation 1 per real and imaginary component.

White complex Gaussian noise becomes the noise of a reconstructed image when k-space is filtered (raw-data filters,
partial Fourier, reduced resolution, zero filling), frames are smoothed in time, and parallel imaging amplifies it
with its g-factor. Every filter here is normalized to a root mean square of 1, so that none changes the noise level;
only the g-factor map does. The chain follows SNRAware (Xue et al., 2025, doi:10.1148/ryai.250227); we draw first and
apply second, from a state that is passed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from monai_stcnnt.errors import NoiseLevelError
from monai_stcnnt.mri.fft import fftc, ifftc
from monai_stcnnt.mri.kspace_filter import (
    apply_kspace_filter,
    elliptic_support,
    gaussian_filter,
    normalize_filter,
    partial_fourier_filter,
    resolution_filter,
)

__all__ = [
    "ColoringStep",
    "NoiseColoring",
    "RandomSource",
    "amplify_noise",
    "color_noise",
    "coloring_weights",
    "complex_noise",
    "draw_coloring",
    "filter_signal",
    "noise_covariance",
    "noncentral_chi_magnitude",
    "prewhiten",
    "rician_magnitude",
]

RandomSource = torch.Generator | np.random.RandomState | np.random.Generator
ColoringStep = Literal["gaussian", "partial_fourier", "resolution", "zero_filling", "temporal"]
Side = Literal["pre", "post"]

_GAUSSIAN_SIGMAS = (0.8, 1.0, 1.5, 2.0, 2.25)
_PARTIAL_FOURIER_RATIOS = (0.55, 0.625, 0.75, 0.875)
_RESOLUTION_RATIOS = (0.55, 0.65, 0.75, 0.85, 0.95)
_ZERO_FILLING_RATIOS = (0.5, 0.625, 0.75, 0.875, 1.0)
_TEMPORAL_SIGMAS = (0.25, 0.65, 0.85, 1.0, 1.5, 2.0)


def complex_noise(shape: Sequence[int], generator: RandomSource, sigma: float = 1.0) -> Tensor:
    """White complex Gaussian noise.

    Args:
        shape: shape of the result, for example ``(T, H, W)``.
        generator: where the numbers come from; the same state gives the same noise.
        sigma: standard deviation of the real part and of the imaginary part, each.

    Returns:
        complex64 tensor on the CPU (a ``torch.Generator`` of another device draws there).

    Raises:
        NoiseLevelError: when ``sigma`` is negative or not finite.
    """
    if not (np.isfinite(sigma) and sigma >= 0):
        raise NoiseLevelError(f"The noise level is {sigma}. Give a standard deviation of 0 or more.")
    if isinstance(generator, torch.Generator):
        parts = torch.randn((2, *shape), generator=generator, device=generator.device)
    else:
        parts = torch.from_numpy(np.asarray(generator.standard_normal((2, *shape)), dtype=np.float32))
    return torch.complex(parts[0], parts[1]) * sigma


@dataclass(frozen=True)
class NoiseColoring:
    """What was done to k-space, and so to the noise, of an image ``(..., T, H, W)``. The defaults leave noise white.

    Attributes:
        gaussian: strength of the Gaussian k-space filter along ``(H, W)``; 0 is none.
        partial_fourier: share of k-space that was sampled along ``(H, W)``; 1 is all.
        partial_fourier_side: which lines are missing along ``(H, W)``.
        resolution: share of k-space kept in a box along ``(H, W)``; 1 is all.
        zero_filling: axes of the ellipse of k-space that was sampled, as a share of the matrix; 0 means that all of
            k-space was, corners included.
        temporal: strength of a Gaussian filter along T; 0 is none.
    """

    gaussian: tuple[float, float] = (0.0, 0.0)
    partial_fourier: tuple[float, float] = (1.0, 1.0)
    partial_fourier_side: tuple[Side, Side] = ("pre", "pre")
    resolution: tuple[float, float] = (1.0, 1.0)
    zero_filling: float = 0.0
    temporal: float = 0.0

    @property
    def is_white(self) -> bool:
        """Whether no step changes the spectrum."""
        return all(getattr(self, f.name) == f.default for f in fields(self) if f.name != "partial_fourier_side")


def draw_coloring(rng: np.random.RandomState, prob: Mapping[ColoringStep, float]) -> NoiseColoring:
    """Draw a random combination of steps.

    Args:
        rng: the random state.
        prob: probability of every step; a step that is not named is left out.

    Returns:
        The steps and their strengths.

    Raises:
        ValueError: when a step is unknown or a probability is not within 0 and 1.
    """
    for step, value in prob.items():
        if step not in get_args(ColoringStep) or not 0 <= value <= 1:
            raise ValueError(
                f"Coloring step {step!r} with probability {value}: choose among {get_args(ColoringStep)}, from 0 to 1."
            )

    def happens(step: ColoringStep) -> bool:
        return bool(rng.random_sample() < prob.get(step, 0.0))

    def pair(choices: Sequence[float]) -> tuple[float, float]:
        return float(rng.choice(choices)), float(rng.choice(choices))

    gaussian = pair(_GAUSSIAN_SIGMAS) if happens("gaussian") else (0.0, 0.0)
    partial_fourier = (1.0, 1.0)
    sides: tuple[Side, Side] = ("pre", "pre")
    if happens("partial_fourier"):
        axis = int(rng.randint(3))
        ratios = pair(_PARTIAL_FOURIER_RATIOS)
        partial_fourier = (1.0 if axis == 1 else ratios[0], 1.0 if axis == 0 else ratios[1])
        sides = (_draw_side(rng), _draw_side(rng))
    resolution = pair(_RESOLUTION_RATIOS) if happens("resolution") else (1.0, 1.0)
    zero_filling = float(rng.choice(_ZERO_FILLING_RATIOS)) if happens("zero_filling") else 0.0
    temporal = float(rng.choice(_TEMPORAL_SIGMAS)) if happens("temporal") else 0.0
    return NoiseColoring(gaussian, partial_fourier, sides, resolution, zero_filling, temporal)


def _draw_side(rng: np.random.RandomState) -> Side:
    return "pre" if rng.random_sample() < 0.5 else "post"


def coloring_weights(coloring: NoiseColoring, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The filters of a combination of steps.

    Args:
        coloring: the steps.
        size: ``(T, H, W)`` of the image.

    Returns:
        Weights of temporal frequency ``(T,)`` and of k-space ``(H, W)``, each with a root mean square of 1.
    """
    frames, height, width = size
    lines = []
    for axis, length in enumerate((height, width)):
        weights = gaussian_filter(length, coloring.gaussian[axis])
        weights = weights * partial_fourier_filter(
            length, coloring.partial_fourier[axis], coloring.partial_fourier_side[axis], width=max(length // 16, 1)
        )
        lines.append(weights * resolution_filter(length, coloring.resolution[axis]))
    spatial = lines[0][:, None] * lines[1]
    if coloring.zero_filling > 0:
        spatial = spatial * elliptic_support(height, width, coloring.zero_filling)
    temporal = gaussian_filter(frames, coloring.temporal if frames > 2 else 0.0)
    return temporal, normalize_filter(spatial, "rms")


def color_noise(noise: Tensor, coloring: NoiseColoring) -> Tensor:
    """Filter white noise; its standard deviation stays what it was.

    Args:
        noise: complex tensor ``(..., T, H, W)``.
        coloring: the steps.

    Returns:
        Complex tensor of the same shape.
    """
    if coloring.is_white:
        return noise
    temporal, spatial = coloring_weights(coloring, noise.shape[-3:])
    kspace = fftc(noise, (-2, -1)) * spatial.to(noise.device)
    if coloring.temporal > 0:
        return ifftc(apply_kspace_filter(fftc(kspace, (-3,)), [temporal], (-3,)), (-3, -2, -1))
    return ifftc(kspace, (-2, -1))


def filter_signal(image: Tensor, coloring: NoiseColoring) -> Tensor:
    """Pass the noise-free image through the spatial steps that colored the noise; the zero frequency keeps its value.

    The temporal filter is left out: it would blur motion that the label has to keep.

    Args:
        image: complex tensor ``(..., T, H, W)``.
        coloring: the steps.

    Returns:
        Complex tensor of the same shape.
    """
    if coloring.is_white:
        return image
    spatial = coloring_weights(coloring, image.shape[-3:])[1]
    height, width = spatial.shape
    spatial = spatial / spatial[height // 2, width // 2]
    return ifftc(fftc(image, (-2, -1)) * spatial.to(image.device), (-2, -1))


def amplify_noise(noise: Tensor, gmap: Tensor) -> Tensor:
    """Multiply noise ``(..., T, H, W)`` by a g-factor map ``(H, W)`` (or any shape that broadcasts)."""
    return noise * gmap.to(noise.device)


def rician_magnitude(image: Tensor, sigma: float, generator: RandomSource) -> Tensor:
    """Magnitude of a complex image after complex noise was added to it.

    Args:
        image: complex or real tensor of any shape, noise-free.
        sigma: noise standard deviation per component, in the units of the image.
        generator: where the noise comes from.

    Returns:
        Real tensor of the same shape: Rician distributed where there is signal, Rayleigh where there is none.
    """
    return (image + complex_noise(image.shape, generator, sigma).to(image.device)).abs()


def noncentral_chi_magnitude(coil_images: Tensor, sigma: float, generator: RandomSource) -> Tensor:
    """Root sum of squares over coils after complex noise was added to each.

    Args:
        coil_images: complex or real tensor ``(coils, ...)``, noise-free.
        sigma: noise standard deviation per component and coil, in the units of the image.
        generator: where the noise comes from.

    Returns:
        Real tensor ``(...)``, distributed as non-central chi with twice as many degrees of freedom as coils.
    """
    return torch.linalg.vector_norm(rician_magnitude(coil_images, sigma, generator), dim=0)


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
            f"{count} noise samples of {coils} coils are too few for a covariance. Give more than {coils}."
        )
    centered = samples - samples.mean(1, keepdim=True)
    covariance = bandwidth_ratio * (centered @ centered.mH) / (2 * (count - 1))
    if not float(covariance.diagonal().real.min()) > 0:
        raise NoiseLevelError("The noise scan has a coil without noise. Leave that coil out.")
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
        raise NoiseLevelError("The noise covariance is not positive definite. Are two coils copies of each other?")
    flat = data.reshape(data.shape[0], -1)
    return torch.linalg.solve_triangular(factor, flat.to(factor.dtype), upper=False).reshape(data.shape)
