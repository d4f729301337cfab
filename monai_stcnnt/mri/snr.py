# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Signal-to-noise ratio of an image, and scaling to a wanted one.

The foreground is where the noise-free magnitude exceeds a tenth of its 99th percentile. The SNR is the mean
noise-free magnitude over the foreground, divided by the noise standard deviation per real and imaginary component. In
SNR units that standard deviation is 1, so the SNR is the mean magnitude itself. A g-factor map is not part of this
number.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from monai_stcnnt.errors import NoiseLevelError

__all__ = ["foreground_mask", "foreground_mean", "image_snr", "snr_scale"]

FOREGROUND_SHARE = 0.1
FOREGROUND_PERCENTILE = 99.0


def foreground_mask(magnitude: Tensor) -> Tensor:
    """Where the magnitude exceeds a tenth of its 99th percentile.

    Args:
        magnitude: noise-free magnitudes of any shape, all of which make up one image.

    Returns:
        Boolean tensor of the same shape; all false for an image without signal.
    """
    bright = float(np.percentile(magnitude.detach().cpu().numpy(), FOREGROUND_PERCENTILE))
    return magnitude > FOREGROUND_SHARE * bright if bright > 0 else magnitude > 0


def foreground_mean(magnitude: Tensor) -> float:
    """Mean of a noise-free magnitude image of any shape over its foreground; 0 for an image without signal."""
    mask = foreground_mask(magnitude)
    return float(magnitude[mask].mean()) if bool(mask.any()) else 0.0


def image_snr(magnitude: Tensor, sigma: float) -> float:
    """SNR of an image.

    Args:
        magnitude: noise-free magnitudes of any shape.
        sigma: noise standard deviation per component, in the same units.

    Returns:
        Mean foreground magnitude over ``sigma``.

    Raises:
        NoiseLevelError: when ``sigma`` is not a positive number.
    """
    if not (np.isfinite(sigma) and sigma > 0):
        raise NoiseLevelError(f"The noise level is {sigma}; the SNR needs a positive standard deviation.")
    return foreground_mean(magnitude) / sigma


def snr_scale(magnitude: Tensor, snr: float, reference: float | None = None) -> float:
    """Factor that brings an image to a wanted SNR in SNR units.

    Args:
        magnitude: noise-free magnitudes of any shape, in any units.
        snr: the wanted mean foreground magnitude.
        reference: amplitude that is to become ``snr``, in the image's units. Give the foreground mean of the whole
            series for a crop of it, which may hold little but air. Default: the foreground mean of ``magnitude``.

    Returns:
        The factor; 1 for an image without signal.
    """
    amplitude = foreground_mean(magnitude) if reference is None else float(reference)
    return snr / amplitude if amplitude > torch.finfo(torch.float32).tiny else 1.0
