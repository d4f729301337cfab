# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""A loss on the spectrum."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_stcnnt.errors import OptionError
from monai_stcnnt.losses.base import ClipLoss

__all__ = ["SpectralLoss"]

_SMALLEST = 1e-7


class SpectralLoss(ClipLoss):
    """Distance of the complex logarithms of two spectra, over a band of spatial frequencies.

    The logarithm weighs weak, high frequencies like strong, low ones, and the distance counts both magnitude and
    phase. A frame's value is the sum over the band divided by the number of its channels and pixels.

    Phases that lie on two sides of a half turn count as a whole turn apart, as in SNRAware.

    Args:
        min_bound: half the side of the square around the zero frequency that is left out, in percent of the axis.
        max_bound: how far the band reaches, in percent of the axis.

    Raises:
        OptionError: when the bounds are not within 0 and 100, the smaller one first.
    """

    def __init__(self, min_bound: float = 5.0, max_bound: float = 95.0) -> None:
        super().__init__()
        if not 0 <= min_bound < max_bound <= 100:
            raise OptionError(f"The bounds are {min_bound} and {max_bound}. Give two percentages, the smaller first.")
        self.min_bound = min_bound
        self.max_bound = max_bound

    def frame_values(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the value of every frame, ``(B, T)``."""
        difference = self._log_spectrum(target) - self._log_spectrum(input)
        band = self._band(input.shape[-2], input.shape[-1], input.device)
        return (difference.abs() * band).sum((-2, -1)) / input[0, :, 0].numel()

    def _log_spectrum(self, clip: Tensor) -> Tensor:
        image = torch.complex(clip[:, 0], clip[:, 1]) if clip.shape[1] == 2 else clip[:, 0]
        spectrum = torch.fft.fftshift(torch.fft.fftn(image, dim=(-2, -1)), dim=(-2, -1))
        return torch.log(torch.where(spectrum == 0, torch.full_like(spectrum, _SMALLEST), spectrum))

    def _band(self, height: int, width: int, device: torch.device) -> Tensor:
        band = torch.zeros(height, width, device=device)
        outer, inner = [], []
        for extent in (height, width):
            reach, hole = int(self.max_bound / 100 * extent), int(self.min_bound / 100 * extent)
            outer.append(slice(extent - reach, reach))
            inner.append(slice(extent // 2 - hole, extent // 2 + hole + 1))
        band[outer[0], outer[1]] = 1
        band[inner[0], inner[1]] = 0
        return band
