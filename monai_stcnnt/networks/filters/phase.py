# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Turn the smooth phase of complex images away, so that the signal is real."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from monai_stcnnt.networks.filters.shrinkage import cosine_basis

__all__ = ["SmoothPhase", "turned", "turned_back"]


def turned(x: torch.Tensor, phase: torch.Tensor) -> torch.Tensor:
    """Complex frames (B, T, 2, H, W) times the conjugate of unit numbers of the same shape."""
    real, imaginary, cosine, sine = x[:, :, :1], x[:, :, 1:], phase[:, :, :1], phase[:, :, 1:]
    return torch.cat([real * cosine + imaginary * sine, imaginary * cosine - real * sine], 2)


def turned_back(x: torch.Tensor, phase: torch.Tensor) -> torch.Tensor:
    """Complex frames (B, T, 2, H, W) times unit numbers of the same shape; undoes :func:`turned`."""
    real, imaginary, cosine, sine = x[:, :, :1], x[:, :, 1:], phase[:, :, :1], phase[:, :, 1:]
    return torch.cat([real * cosine - imaginary * sine, imaginary * cosine + real * sine], 2)


class SmoothPhase(nn.Module):
    """Phase of the smoothed image: of the finest scale where that stands out of the noise, else of a coarser one.

    Phases of MR images are mostly smooth. Without them an image is real but for what changes quickly, which stays in
    the imaginary part; nothing is lost, whatever the phase is.

    Args:
        widths: standard deviations of the Gaussians in pixels, coarse to fine.
        over_frames: standard deviation over frames.
        significance: energy over that of the noise at which a finer scale counts as much as all coarser ones.

    Shapes: complex frames (B, T, 2, H, W) in units of the noise to cosine and sine of the phase, the same shape.
    """

    def __init__(
        self,
        widths: Sequence[float] = (32.0, 16.0, 8.0, 4.0, 3.0),
        over_frames: float = 2.0,
        significance: float = 16.0,
    ) -> None:
        super().__init__()
        self.widths = list(widths)
        self.over_frames, self.significance = over_frames, significance

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Find the phase of complex frames (B, T, 2, H, W), always in single precision."""
        if torch.jit.is_scripting():
            return self.found(x.float())
        with torch.autocast(x.device.type, enabled=False):
            return self.found(x.float())

    def found(self, x: torch.Tensor) -> torch.Tensor:
        """The phase, from coarse to fine scales."""
        phase = torch.cat([torch.ones_like(x[:, :, :1]), torch.zeros_like(x[:, :, 1:])], 2)
        frames, noise_t = self.smoothing(x.shape[1], self.over_frames, x.device)
        steady = torch.matmul(frames, x.flatten(2)).unflatten(2, x.shape[2:])
        for width in self.widths:
            rows, noise_y = self.smoothing(x.shape[3], width, x.device)
            columns, noise_x = self.smoothing(x.shape[4], width, x.device)
            smooth = torch.matmul(torch.matmul(rows, steady), columns)
            energy = smooth.square().sum(2, keepdim=True)
            share = energy / (energy + self.significance * noise_t * noise_y * noise_x)
            phase = share * smooth * torch.rsqrt(energy + 1e-12) + (1.0 - share) * phase
            phase = phase * torch.rsqrt(phase.square().sum(2, keepdim=True) + 1e-12)
        return phase

    def smoothing(self, extent: int, width: float, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Matrix that smooths an axis, reflected at its ends, and the share of white noise's variance that is left."""
        wave = torch.arange(extent, device=device, dtype=torch.float32) * (math.pi * width / extent)
        gain = torch.exp(-0.5 * wave.square())
        basis = cosine_basis(extent, device)
        return torch.matmul(basis.t() * gain, basis), gain.square().mean()
