# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
r"""Magnitudes of noisy images: mean and variance, and the signal behind a mean.

One coil makes a Rician magnitude (Gudbjartsson and Patz, 1995, doi:10.1002/mrm.1910340618), the root sum of squares
over coils a non-central chi one (Constantinides et al., 1997, doi:10.1002/mrm.1910380524). Everything here is in units
of the noise level. The exact functions are slow; tables of them serve whole images.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.special import gamma, hyp1f1

__all__ = [
    "RicianTable",
    "rician_mean",
    "rician_shape",
    "rician_signal",
    "rician_table",
    "rician_variance_factor",
]

_LARGEST = 60.0


class RicianTable(NamedTuple):
    """Magnitudes of one number of coils in noise levels, all ``(6001,)``, from signal 0 to 60.

    Attributes:
        signal: the true signal.
        mean: mean of the magnitude.
        variance: its variance.
        slope: derivative of the mean by the signal.
    """

    signal: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    slope: np.ndarray


def rician_mean(theta: np.ndarray, num_coils: int = 1) -> np.ndarray:
    r"""Mean of a magnitude over :math:`\sigma`, at the true signal over sigma ``theta``.

    For one coil (Rician) it rises from :math:`\sqrt{\pi/2}` in air to the signal itself where that is strong; for a
    root sum of squares over coils (non-central chi) it starts higher.

    Args:
        theta: true signal over sigma, 0 or more, any shape.
        num_coils: number of independent coils whose squares were added up.

    Returns:
        Means of the same shape.
    """
    scale = np.sqrt(2.0) * gamma(num_coils + 0.5) / gamma(num_coils)
    return scale * hyp1f1(-0.5, num_coils, -np.square(theta) / 2)


def rician_variance_factor(theta: np.ndarray, num_coils: int = 1) -> np.ndarray:
    r"""Variance of a magnitude over :math:`\sigma^2`, at the true signal over sigma ``theta``.

    For one coil (Rician) it rises from :math:`2 - \pi/2` in air to 1 where the signal is strong; for a root sum of
    squares over coils (non-central chi) it starts higher.

    Args:
        theta: true signal over sigma, 0 or more, any shape.
        num_coils: number of independent coils whose squares were added up.

    Returns:
        Factors of the same shape.
    """
    mean = rician_mean(theta, num_coils)
    return np.clip(2 * num_coils + np.square(theta) - np.square(mean), 0, 1)


def rician_shape(theta: np.ndarray, num_coils: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Bias (mean minus signal) and variance factor of magnitudes, from a table: fast, within 1e-4 of the exact ones.

    Args:
        theta: true signal over sigma, 0 or more, any shape.
        num_coils: number of independent coils whose squares were added up.

    Returns:
        Bias and variance in noise levels, each of that shape; above 60 noise levels, those at 60.
    """
    table = rician_table(num_coils)
    return np.interp(theta, table.signal, table.mean - table.signal), np.interp(theta, table.signal, table.variance)


def rician_signal(mean: np.ndarray, num_coils: int = 1) -> np.ndarray:
    """Signal of which a magnitude with sigma 1 has this mean; 0 where the mean is that of noise alone or less.

    The mean is inverted as by Koay and Basser (2006, doi:10.1016/j.jmr.2006.01.016), here with a table.

    Args:
        mean: means of magnitudes, any shape.
        num_coils: number of independent coils whose squares were added up.

    Returns:
        Signals of the same shape, float32.
    """
    signal, means, *_ = rician_table(num_coils)
    bias = means[-1] - signal[-1]
    return np.where(mean > means[-1], mean - bias, np.interp(mean, means, signal)).astype(np.float32)


@cache
def rician_table(num_coils: int = 1) -> RicianTable:
    """Tabulate magnitudes over their signal, for whoever looks them up again and again.

    Args:
        num_coils: number of independent coils whose squares were added up.
    """
    signal = np.linspace(0, _LARGEST, 6001)
    mean = rician_mean(signal, num_coils)
    return RicianTable(signal, mean, rician_variance_factor(signal, num_coils), np.gradient(mean, signal))
