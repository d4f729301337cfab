# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Agreement of two ways to measure, and how sure an ejection fraction is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monai_stcnnt.errors import LayoutError

__all__ = ["Agreement", "bland_altman", "ejection_fraction_spread"]


@dataclass(frozen=True)
class Agreement:
    """Differences between two ways to measure the same things.

    Attributes:
        bias: mean difference, first minus second.
        deviation: standard deviation of the differences; NaN for one pair.
        count: number of pairs.
    """

    bias: float
    deviation: float
    count: int

    @property
    def limits(self) -> tuple[float, float]:
        """Limits of agreement: 95% of the differences lie between them, if they are normally distributed."""
        return self.bias - 1.96 * self.deviation, self.bias + 1.96 * self.deviation


def bland_altman(first: np.ndarray, second: np.ndarray) -> Agreement:
    """Compare two ways to measure.

    Args:
        first: ``(N,)``.
        second: ``(N,)``, in the same order and unit.

    Returns:
        Bias and spread of the differences.

    Raises:
        LayoutError: if the shapes differ, or there is no pair.

    References:
        Bland, Altman, Lancet 1986, https://doi.org/10.1016/S0140-6736(86)90837-8
    """
    a, b = np.asarray(first, float), np.asarray(second, float)
    if a.ndim != 1 or a.shape != b.shape or not len(a):
        raise LayoutError(f"Pairs of values are two (N,), not {a.shape} and {b.shape}.")
    difference = a - b
    spread = float(difference.std(ddof=1)) if len(a) > 1 else float("nan")
    return Agreement(float(difference.mean()), spread, len(a))


def ejection_fraction_spread(volumes: np.ndarray) -> tuple[float, float]:
    """Ejection fraction and how much it changes from view to view.

    The spread over turned and mirrored views is that of the network's indecision. What all views get wrong alike is not
    in it, so that the error may be larger.

    Args:
        volumes: ``(V, T)``, the volume of a ventricle in every view and frame.

    Returns:
        Mean and standard deviation over the views, in percent, each view at the frames of the largest and smallest mean
        volume; NaN where there is one view only, or an empty ventricle.

    Raises:
        LayoutError: for other axes.
    """
    if volumes.ndim != 2:
        raise LayoutError(f"Volumes by view and frame are (V, T), not the shape {volumes.shape}.")
    mean = volumes.mean(0)
    diastole, systole = volumes[:, mean.argmax()], volumes[:, mean.argmin()]
    if not (diastole > 0).all():
        return float("nan"), float("nan")
    fractions = 100 * (diastole - systole) / diastole
    return float(fractions.mean()), float(fractions.std(ddof=1)) if len(fractions) > 1 else float("nan")
