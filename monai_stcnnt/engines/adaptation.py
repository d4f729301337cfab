# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
r"""Adapt a denoising network to one scan, without a clean image of it.

For noise of covariance :math:`\Sigma`, the squared error of :math:`f(y)` is expected to be
:math:`\|f(y) - y\|^2 + 2\,\mathrm{tr}(\Sigma J) - \mathrm{tr}\,\Sigma` (Stein, 1981, doi:10.1214/aos/1176345632), where
the trace is estimated by the answer to a probe of the same noise (Ramani et al., 2008, doi:10.1109/TIP.2008.2001404).
What is adapted is the last layer: a factor and an offset for each group of its outputs. The risk is quadratic in these,
so the best ones solve linear equations, and no training is needed.

Half of the windows tell whether what the other half suggests is better; if it is not by more than the error of that,
the network stays as it is. Magnitude images are left alone: their noise is Rician, for which this risk does not hold.
"""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from monai_stcnnt.networks.nets.base import ResidualTrunk

__all__ = ["Adaptation", "adapt_network", "adaptation_windows", "find_denoiser"]

logger = logging.getLogger(__name__)

STEP = 0.1
"""Size of the probe, in units of the noise."""
RIDGE = 0.05
"""How strongly factors are held at 1 and offsets at 0, as a share of what the windows say."""
LEAST_WINDOWS = 4
ERRORS = 2.0
"""By how many standard errors the risk has to fall."""


@dataclass(frozen=True)
class Adaptation:
    """What adapting a network to a scan came to.

    Attributes:
        gain: by how much the risk on held-out windows fell, per voxel in units of the noise's variance.
        error: standard error of the gain.
        windows: number of windows that were looked at.
        kept: whether the network was changed.
    """

    gain: float
    error: float
    windows: int
    kept: bool


@dataclass(frozen=True)
class _Risk:
    """The risk of a window against a change: ``change @ matrix @ change + 2 * slope @ change``, per voxel."""

    matrix: torch.Tensor
    slope: torch.Tensor

    def at(self, change: torch.Tensor) -> float:
        return float(change @ self.matrix @ change + 2 * self.slope @ change)


def find_denoiser(network: nn.Module, in_channels: int) -> ResidualTrunk | None:
    """The denoiser inside of a network that takes this number of channels, if there is one."""
    found = (m for m in network.modules() if isinstance(m, ResidualTrunk) and m.in_channels == in_channels)
    return next(found, None)


def adaptation_windows(
    read: Callable[[int, int], torch.Tensor], size: Sequence[int], window: Sequence[int], most: int = 24
) -> Iterator[torch.Tensor]:
    """Cut windows out of a clip that are spread evenly over it, at most so many.

    Args:
        read: gives frames from one to before another, ``(1, C, t, H, W)``.
        size: (T, H, W) of the clip.
        window: (t, h, w); it is halved along H and W where fewer than two fit.
        most: number of windows.
    """
    t, h, w = min(window[0], size[0]), *(min(window[i], max(size[i] // 2 // 8 * 8, 8), size[i]) for i in (1, 2))
    places = list(itertools.product(*(range(0, n - k + 1, k) for n, k in zip(size, (t, h, w), strict=True))))
    for start, row, column in places[:: -(-len(places) // most)]:
        yield read(start, start + t)[..., row : row + h, column : column + w]


def adapt_network(
    network: nn.Module,
    windows: Iterable[torch.Tensor],
    draw: Callable[[torch.Tensor], torch.Tensor] = torch.randn_like,
) -> tuple[nn.Module, Adaptation]:
    """Adapt a network to the windows of one scan.

    Args:
        network: a denoiser, or a network that holds one; it is not changed.
        windows: ``(1, C, t, h, w)`` in SNR units, in the network's layout, a g-factor map last where it takes one.
        draw: makes noise like the scan's, of unit variance where the map is 1, in the shape of its argument; white by
            default.

    Returns:
        The adapted network, or the same one where the risk does not fall by more than its error, and what it came to.
    """
    risks: list[_Risk] = []
    denoiser: ResidualTrunk | None = None
    for window in windows:
        denoiser = denoiser or find_denoiser(network, window.shape[1])
        if denoiser is None or denoiser.out_channels != 2 or not bool(window[:, 1].any()):  # no noise in that part
            break
        risks.append(_risk_of(denoiser.eval(), window, draw))
    if len(risks) < LEAST_WINDOWS:
        logger.info(
            "not adapted: there are %d windows of a complex image, and %d are needed", len(risks), LEAST_WINDOWS
        )
        return network, Adaptation(0.0, 0.0, len(risks), kept=False)
    halves = risks[::2], risks[1::2]
    changes = [_best_change(half) for half in halves]
    held_out = [-risk.at(change) for half, change in zip(halves, reversed(changes), strict=True) for risk in half]
    gains = torch.tensor(held_out)
    gain, error = float(gains.mean()), float(gains.std() / len(gains) ** 0.5)
    result = Adaptation(gain, error, len(risks), kept=gain > ERRORS * error)
    logger.info(
        "%s: the risk on held-out windows falls by %.3g +- %.2g of the noise's variance",
        "adapted to the scan" if result.kept else "not adapted", gain, error,
    )  # fmt: skip
    if not result.kept or denoiser is None:
        return network, result
    adapted = copy.deepcopy(network)
    changed = find_denoiser(adapted, denoiser.in_channels)
    assert changed is not None
    scale, offset = _best_change(risks).chunk(2)
    changed.rescale_head(1.0 + scale, offset)
    return adapted, result


@torch.no_grad()
def _risk_of(denoiser: ResidualTrunk, window: torch.Tensor, draw: Callable[[torch.Tensor], torch.Tensor]) -> _Risk:
    """The risk of a window."""
    noisy, gmap = window[:, : denoiser.out_channels], window[:, denoiser.out_channels :]
    probe = draw(noisy) * (gmap[:, :1] if gmap.shape[1] > 0 else 1.0)
    result, terms = denoiser.head_terms(window)
    answered = denoiser.head_terms(torch.cat([noisy + STEP * probe, gmap], 1))[1] - terms
    inside = terms.flatten(1).double()
    slope = (
        inside @ (result - noisy).flatten().double() + answered.flatten(1).double() @ probe.flatten().double() / STEP
    )
    return _Risk(inside @ inside.T / noisy.numel(), slope / noisy.numel())


def _best_change(risks: list[_Risk]) -> torch.Tensor:
    """The change of the smallest risk of several windows, held near none."""
    matrix = torch.stack([risk.matrix for risk in risks]).mean(0)
    slope = torch.stack([risk.slope for risk in risks]).mean(0)
    held = matrix + RIDGE * torch.diag(matrix.diagonal().clamp_min(1e-6 * float(matrix.diagonal().max()) + 1e-12))
    return -torch.linalg.solve(held, slope)
