# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
r"""Filters of k-space along one axis, and what they do to noise.

A filter is a real vector of weights with the zero frequency at index ``n // 2``. White noise of standard deviation 1
that passes a filter :math:`w` leaves it with standard deviation :math:`\mathrm{rms}(w)`: its *noise gain*. Filters
normalized by ``"rms"`` therefore keep the noise level, and SNR units hold. The construction of the filters follows the
training simulation of SNRAware (Xue et al., 2025, doi:10.1148/ryai.250227), whose numbers they reproduce.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal

import torch
from torch import Tensor

from monai_stcnnt.mri.fft import fftc, ifftc

__all__ = [
    "Normalization",
    "apply_kspace_filter",
    "asymmetric_filter",
    "elliptic_support",
    "filter_image",
    "gaussian_filter",
    "hanning_taper",
    "noise_gain",
    "normalize_filter",
    "partial_fourier_filter",
    "resolution_filter",
]

Normalization = Literal["rms", "max", "none"]


def normalize_filter(weights: Tensor, normalization: Normalization) -> Tensor:
    """Scale weights of any shape to an rms of 1 (``"rms"``), a peak of 1 (``"max"``), or not (``"none"``)."""
    if normalization == "rms":
        return weights / weights.square().mean().sqrt()
    if normalization == "max":
        return weights / weights.max()
    return weights


def gaussian_filter(length: int, sigma: float, normalization: Normalization = "rms") -> Tensor:
    r"""Symmetric low-pass filter :math:`\exp(-\sigma^2 x^2 / 2)` with :math:`x` from -1 to 1 over k-space.

    An even grid has a frequency without a mirror image (index 0); its weight is 0, so that filtered real images stay
    real.

    Args:
        length: number of samples.
        sigma: strength; 0 is no filter (all ones).
        normalization: see :func:`normalize_filter`.

    Returns:
        Weights ``(length,)``, float32.
    """
    if sigma <= 0 or length < 2:
        return torch.ones(length)
    position = torch.linspace(-1.0, 1.0, length - 1 + length % 2)
    weights = torch.exp(-0.5 * sigma**2 * position.square())
    return normalize_filter(torch.cat((torch.zeros(1 - length % 2), weights)), normalization)


def hanning_taper(width: int) -> Tensor:
    """Rising half of a Hanning window, ``(width,)``: it starts above 0 and ends below 1."""
    steps = torch.arange(1, width + 1, dtype=torch.float64)
    return (0.5 * (1 - torch.cos(2 * torch.pi * steps / (2 * width + 1)))).float()


def asymmetric_filter(
    length: int,
    start: int,
    end: int,
    width: int = 10,
    taper: Literal["hanning", "none"] = "hanning",
    normalization: Normalization = "rms",
) -> Tensor:
    """Pass band from ``start`` to ``end`` (both included) with tapered edges, for partial Fourier sampling.

    Sides that are not cut stay flat; when nothing is cut, both are tapered. Invalid ranges are corrected:
    bounds outside the axis go to its ends, and a reversed range becomes the whole axis. A ``width`` outside of the
    axis becomes 1.

    Args:
        length: number of samples.
        start: first sample that is kept.
        end: last sample that is kept.
        width: length of the taper in samples.
        taper: shape of the edges.
        normalization: see :func:`normalize_filter`.

    Returns:
        Weights ``(length,)``, float32.
    """
    start = 0 if start > length - 1 else max(start, 0)
    end = min(end, length - 1)
    if start > end:
        start, end = 0, length - 1
    if not 0 < width < length:
        width = 1
    kept = end - start + 1
    weights = torch.zeros(length)
    weights[start : end + 1] = 1
    if taper == "hanning":
        ramp = hanning_taper(width)[:kept]
        nothing_cut = start == 0 and end == length - 1
        if start > 0 or nothing_cut:
            weights[start : start + len(ramp)] *= ramp
        if end < length - 1 or nothing_cut:
            weights[end + 1 - len(ramp) : end + 1] *= ramp.flip(0)
    return normalize_filter(weights, normalization)


def partial_fourier_filter(
    length: int,
    ratio: float,
    side: Literal["pre", "post"] = "pre",
    width: int = 10,
    taper: Literal["hanning", "none"] = "hanning",
    normalization: Normalization = "rms",
) -> Tensor:
    """Filter of a partial Fourier acquisition that samples the share ``ratio`` of the lines.

    Args:
        length: number of samples.
        ratio: share of k-space that was sampled, above 0.5; from 1 on, everything passes untouched.
        side: whether the lines before or after the center are missing.
        width: length of the taper in samples.
        taper: shape of the edge.
        normalization: see :func:`normalize_filter`.

    Returns:
        Weights ``(length,)``, float32.
    """
    sampled = int(ratio * length)
    if sampled >= length:
        return torch.ones(length)
    start, end = (length - sampled, length - 1) if side == "pre" else (0, sampled)
    return asymmetric_filter(length, start, end, width, taper, normalization)


def resolution_filter(length: int, ratio: float, normalization: Normalization = "none") -> Tensor:
    """Box, ``(length,)``, that keeps about the share ``ratio`` of k-space: as many samples are cut on both sides."""
    cut = min(int((length - ratio * length) // 2), (length - 1) // 2)
    weights = torch.ones(length)
    if cut > 0:
        weights[:cut] = 0
        weights[length - cut :] = 0
    return normalize_filter(weights, normalization)


def elliptic_support(height: int, width: int, ratio: float, normalization: Normalization = "none") -> Tensor:
    """Ellipse in k-space, ``(height, width)``, whose axes are the share ``ratio`` of the matrix's."""
    y = (torch.arange(height) - height // 2) / max(ratio * height / 2, 0.5)
    x = (torch.arange(width) - width // 2) / max(ratio * width / 2, 0.5)
    return normalize_filter((y[:, None].square() + x.square() <= 1).float(), normalization)


def noise_gain(*filters: Tensor) -> float:
    """Standard deviation of white noise of standard deviation 1 after one filter per axis: the product of their rms.

    Args:
        *filters: weights ``(length,)``, or of any other shape.
    """
    return prod(float(weights.square().mean().sqrt()) for weights in filters)


def apply_kspace_filter(kspace: Tensor, filters: Sequence[Tensor], dims: Sequence[int]) -> Tensor:
    """Multiply k-space by one filter per axis.

    Args:
        kspace: tensor of any shape.
        filters: vectors of weights, as long as the axes that they belong to.
        dims: the axes of the filters, in the same order.

    Returns:
        Filtered k-space, same shape.
    """
    for weights, dim in zip(filters, dims, strict=True):
        shape = [1] * kspace.ndim
        shape[dim] = -1
        kspace = kspace * weights.to(kspace.device).reshape(shape)
    return kspace


def filter_image(image: Tensor, filters: Sequence[Tensor], dims: Sequence[int]) -> Tensor:
    """Filter an image in k-space: transform the axes ``dims``, weight each with its filter, transform back.

    Args:
        image: real or complex tensor of any shape.
        filters: vectors of weights, as long as the axes that they belong to.
        dims: the axes of the filters, in the same order.

    Returns:
        Complex tensor of the same shape.
    """
    return ifftc(apply_kspace_filter(fftc(image, dims), filters, dims), dims)
