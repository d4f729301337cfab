# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Losses that compare neighborhoods: structural similarity and Gaussian derivatives, both of magnitudes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from monai.metrics.regression import compute_ssim_and_cs
from torch import Tensor, nn

from monai_stcnnt.errors import OptionError
from monai_stcnnt.losses.base import ClipLoss, clip_magnitude

__all__ = [
    "ClipSSIMLoss",
    "GaussianDerivativeLoss",
    "gaussian_derivative",
    "gaussian_derivative_kernel",
]


class ClipSSIMLoss(ClipLoss):
    """One minus the structural similarity of magnitudes, per frame or in 3D windows over frames.

    Windows are uniform, one around every pixel, with the image reflected at its border, as in SNRAware. The data
    range is the larger range of the two tensors, over the whole batch, and at least a tenth of the target's maximum.
    A window longer than an axis is cut to it.

    See Wang et al., 2004, doi:10.1109/TIP.2003.819861.

    Args:
        spatial_dims: 2 for windows in a frame, 3 for windows over (T, H, W).
        win_size: side of the window.
        k1: stability constant of the luminance term.
        k2: stability constant of the contrast term.

    Raises:
        OptionError: when ``spatial_dims`` is not 2 or 3 or the window is not positive.
    """

    def __init__(self, spatial_dims: Literal[2, 3] = 2, win_size: int = 7, k1: float = 0.01, k2: float = 0.03) -> None:
        super().__init__()
        if spatial_dims not in (2, 3) or win_size < 1:
            raise OptionError(f"spatial_dims is {spatial_dims}, win_size {win_size}: choose 2 or 3, and at least 1.")
        self.spatial_dims = spatial_dims
        self.win_size = win_size
        self.k1 = k1
        self.k2 = k2

    def frame_values(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the value of every frame, ``(B, T)``."""
        prediction, truth = clip_magnitude(input), clip_magnitude(target)
        batch, _, frames = prediction.shape[:3]
        smallest = 0.1 * truth.max().abs().detach() + 1e-9
        data_range = torch.maximum(prediction.max() - prediction.min(), truth.max() - truth.min())
        if self.spatial_dims == 2:
            prediction, truth = (x.transpose(1, 2).flatten(0, 1) for x in (prediction, truth))
        window = [min(self.win_size, extent) for extent in prediction.shape[2:]]
        border = [side for size in reversed(window) for side in ((size - 1) // 2, size // 2)]
        similarity, _ = compute_ssim_and_cs(
            nn.functional.pad(prediction, border, mode="reflect"),
            nn.functional.pad(truth, border, mode="reflect"),
            spatial_dims=self.spatial_dims,
            kernel_size=window,
            kernel_sigma=[1.0] * self.spatial_dims,
            data_range=torch.maximum(data_range, smallest),  # type: ignore[arg-type] # a tensor, so that its gradient counts
            kernel_type="uniform",
            k1=self.k1,
            k2=self.k2,
        )
        return 1 - similarity.reshape(batch, frames, -1).mean(2)


def gaussian_derivative(
    sigma: float, order: Literal[0, 1, 2] = 1, halfwidth: float = 3.0, spacing: float = 1.0
) -> Tensor:
    r"""Sampled Gaussian, or its first or second derivative.

    Args:
        sigma: standard deviation of the Gaussian, in the units of ``spacing``.
        order: of the derivative.
        halfwidth: length on either side, in standard deviations; rounded to samples.
        spacing: distance of samples.

    Returns:
        float64 tensor ``(length,)`` of odd length; the Gaussian sums to 1, the absolute values of a derivative do.
    """
    reach = round(halfwidth * sigma / spacing)
    position = torch.arange(-reach, reach + 1, dtype=torch.float64) * spacing
    kernel = torch.exp(-0.5 * (position / sigma).square())
    kernel = kernel / kernel.sum()
    if order == 1:
        kernel = -position / sigma**2 * kernel
    elif order == 2:
        kernel = (position.square() / sigma**4 - 1 / sigma**2) * kernel
    return kernel / kernel.abs().sum() if order else kernel


def gaussian_derivative_kernel(sigmas: Sequence[float], orders: Sequence[Literal[0, 1, 2]]) -> Tensor:
    """Product of one kernel per axis, ``(n0, n1, ...)``, float32; its absolute values sum to 1."""
    kernel = torch.ones((), dtype=torch.float64)
    for sigma, order in zip(sigmas, orders, strict=True):
        kernel = kernel[..., None] * gaussian_derivative(sigma, order)
    return (kernel / kernel.abs().sum()).float()


class GaussianDerivativeLoss(ClipLoss):
    """Mean absolute difference of mixed Gaussian derivatives of magnitudes, at several scales.

    The derivative is of first order along every axis at once, which answers to corners and texture; borders are
    padded with zeros. The values of the scales are averaged.

    Args:
        spatial_dims: 2 for derivatives in a frame, 3 for those over (T, H, W).
        sigmas: scales along H and W, in pixels.
        temporal_sigmas: scales along T, in frames, one for each of ``sigmas``; only in 3D, by default the same.

    Raises:
        OptionError: when ``spatial_dims`` is not 2 or 3, a scale is not positive, or their numbers differ.
    """

    def __init__(
        self,
        spatial_dims: Literal[2, 3] = 2,
        sigmas: Sequence[float] = (0.5, 1.0, 1.25),
        temporal_sigmas: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        temporal = sigmas if temporal_sigmas is None else temporal_sigmas
        if spatial_dims not in (2, 3) or (spatial_dims == 2 and temporal_sigmas is not None):
            raise OptionError(f"spatial_dims is {spatial_dims}: choose 2, without temporal_sigmas, or 3.")
        if len(temporal) != len(sigmas) or not sigmas or min(*sigmas, *temporal) <= 0:
            raise OptionError(
                f"Sigmas {tuple(sigmas)} and temporal_sigmas {tuple(temporal)}: give as many, all positive."
            )
        kernels = []
        for spatial, frame in zip(sigmas, temporal, strict=True):
            scales = (frame, spatial, spatial) if spatial_dims == 3 else (spatial, spatial)
            kernel = gaussian_derivative_kernel(scales, [1] * spatial_dims)
            kernels.append(kernel if spatial_dims == 3 else kernel[None])
        for index, kernel in enumerate(kernels):
            self.register_buffer(f"kernel{index}", kernel[None, None], persistent=False)
        self.num_scales = len(kernels)

    def frame_values(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the value of every frame, ``(B, T)``."""
        difference = clip_magnitude(input) - clip_magnitude(target)
        total = difference.new_zeros(difference.shape[0], difference.shape[2])
        for index in range(self.num_scales):
            kernel = self.get_buffer(f"kernel{index}").to(difference)
            padding = [extent // 2 for extent in kernel.shape[2:]]
            total = total + nn.functional.conv3d(difference, kernel, padding=padding).abs().mean((1, -2, -1))
        return total / self.num_scales
