# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Losses that compare pixel by pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_stcnnt.errors import OptionError
from monai_stcnnt.losses.base import ClipLoss

__all__ = [
    "CharbonnierLoss",
    "ComplexL1Loss",
    "ComplexMSELoss",
    "ComplexRMSELoss",
    "LogMSELoss",
    "PSNRLoss",
    "PerpendicularLoss",
    "perpendicular_error",
]

_EPS = torch.finfo(torch.float32).eps


class ComplexMSELoss(ClipLoss):
    """Mean squared error; for complex clips the mean squared magnitude of the difference, twice that per channel."""

    def frame_values(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the value of every frame, ``(B, T)``."""
        return (input - target).square().sum(1).mean((-2, -1))


class ComplexRMSELoss(ClipLoss):
    """Mean magnitude of the difference: the root is taken pixel by pixel, before the mean."""

    def frame_values(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the value of every frame, ``(B, T)``."""
        return torch.linalg.vector_norm(input - target, dim=1).mean((-2, -1))


class ComplexL1Loss(ClipLoss):
    """Mean absolute error; for complex clips the sum of those of real and imaginary part."""

    def frame_values(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the value of every frame, ``(B, T)``."""
        return (input - target).abs().sum(1).mean((-2, -1))


class CharbonnierLoss(ClipLoss):
    r"""Mean of :math:`\sqrt{|d|^2 + \epsilon^2}`, an absolute error that is smooth at zero.

    See Charbonnier et al., 1994, doi:10.1109/ICIP.1994.413553.

    Args:
        eps: half-width of the smooth part, in the units of the image.
    """

    def __init__(self, eps: float = 1e-3) -> None:
        super().__init__()
        self.eps = eps

    def frame_values(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the value of every frame, ``(B, T)``."""
        return ((input - target).square().sum(1) + self.eps**2).sqrt().mean((-2, -1))


class PerpendicularLoss(ClipLoss):
    """Mean error across the direction of the prediction, which treats magnitude and phase alike.

    See Terpstra et al., 2022, doi:10.1016/j.media.2022.102509, in the symmetric form of SNRAware: where the phases
    differ by more than a right angle, the target's magnitude is added twice less the error. A clip with one channel
    is taken for real and imaginary part of equal value, which leaves no error across; use another loss for magnitudes.
    """

    def frame_values(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the value of every frame, ``(B, T)``."""
        return perpendicular_error(input.expand(-1, 2, -1, -1, -1), target.expand(-1, 2, -1, -1, -1)).mean((-2, -1))


def perpendicular_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Distance of the target from the line through zero and the prediction, beyond a right angle mirrored.

    Args:
        prediction: ``(B, 2, T, H, W)``.
        target: ``(B, 2, T, H, W)``.

    Returns:
        Errors ``(B, T, H, W)``.
    """
    cross = prediction[:, 0] * target[:, 1] - prediction[:, 1] * target[:, 0]
    across = cross.abs() / (torch.linalg.vector_norm(prediction, dim=1) + _EPS)
    angle = torch.atan2(prediction[:, 1], prediction[:, 0] + _EPS) - torch.atan2(target[:, 1], target[:, 0] + _EPS)
    mirrored = 2 * torch.linalg.vector_norm(target, dim=1) - across
    return torch.where(angle.cos() >= 0, across, mirrored)


class LogMSELoss(ClipLoss):
    r"""Logarithm of the mean squared error of every frame, :math:`\log(1 + \mathrm{mean}(d^2) / \epsilon)`.

    Its gradient is the relative improvement, so that clips of high and of low SNR count the same, as they do in a mean
    of PSNRs; see Chen et al., Simple baselines for image restoration, 2022, doi:10.1007/978-3-031-20071-7_2.

    Args:
        eps: squared error below which nothing is gained, in squared units of the image.

    Raises:
        OptionError: when it is not positive.
    """

    def __init__(self, eps: float = 0.003) -> None:
        super().__init__()
        if not eps > 0:
            raise OptionError(f"eps is {eps}. Give a positive number.")
        self.eps = eps

    def frame_values(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the value of every frame, ``(B, T)``."""
        return ((input - target).square().mean((1, -2, -1)) / self.eps).log1p()


class PSNRLoss(ClipLoss):
    r"""Logarithm of the error, :math:`10 - \mathrm{mean} \log_{10}(r^2 / (d^2 + \epsilon))`, element by element.

    Args:
        data_range: the range :math:`r` of the images.

    Raises:
        OptionError: when the range is not positive.
    """

    def __init__(self, data_range: float = 2048.0) -> None:
        super().__init__()
        if not data_range > 0:
            raise OptionError(f"data_range is {data_range}. Give a positive number.")
        self.data_range = data_range

    def frame_values(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the value of every frame, ``(B, T)``."""
        return 10 - (self.data_range**2 / ((input - target).square() + _EPS)).log10().mean((1, -2, -1))
