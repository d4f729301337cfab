# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The standard error of a denoised image, from what its network expects of every pixel."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import nn

from monai_stcnnt.errors import OptionError

__all__ = ["CLUES", "ErrorCalibration", "error_clues", "load_calibrations"]

CLUES = (
    "error of the groups", "error of the blocks", "error of the groups, 5 x 5", "difference of the groups, 5 x 5",
    "change by the network, 5 x 5", "variance of the result, 3 x 3", "variance of the result, 11 x 11",
    "signal", "signal, 15 x 15",
)  # fmt: skip
"""What the standard error is a function of: variances as logarithms, signals as inverse hyperbolic sines."""

_LEAST = 1e-3
_LEAST_VARIANCE = 1e-2


def error_clues(
    result: torch.Tensor, guess: torch.Tensor, differences: torch.Tensor, errors: torch.Tensor
) -> torch.Tensor:
    """What is known of the error of denoised frames, see :data:`CLUES`.

    Args:
        result: denoised frames (B, T, C, H, W) in units of the noise.
        guess: the first guess, of the same shape.
        differences: of the noisy image and the three estimates (B, T, 4, C, H, W).
        errors: logarithms of the errors that the estimates expect (B, T, 3, H, W).

    Returns:
        (B, T, clues, H, W).
    """
    logs = errors[:, :, 1:]
    expected = (torch.exp(logs) * torch.softmax(-4.0 * logs, 2)).sum(2, keepdim=True)
    change = (result - guess).square().mean(2, keepdim=True)
    apart = (differences[:, :, 2] - differences[:, :, 3]).square().mean(2, keepdim=True)
    signal = result.square().sum(2, keepdim=True).sqrt()
    variances = [_around(signal.square(), k) - _around(result, k).square().sum(2, keepdim=True) for k in (3, 11)]
    return torch.cat([
        torch.log(expected + _LEAST), errors[:, :, :1],
        *(torch.log(_around(value, 5) + _LEAST) for value in (expected, apart, change)),
        *(torch.log(value.clamp(min=0) + _LEAST_VARIANCE) for value in variances),
        torch.asinh(signal), torch.asinh(_around(signal, 15)),
    ], 2)  # fmt: skip


def _around(x: torch.Tensor, size: int) -> torch.Tensor:
    """Means of frames (B, T, C, H, W) over squares of pixels, as far as these lie in the image."""
    planes = F.avg_pool2d(x.flatten(0, 1), size, 1, size // 2, count_include_pad=False)
    return planes.unflatten(0, (x.shape[0], x.shape[1]))


class ErrorCalibration(nn.Module):
    """A small function from clues to the standard error, fitted so that 90% of the errors lie within 1.645 of them.

    One hidden layer, whose inputs are clues less their mean over the images of the fit, over their standard deviation,
    no further than 3 of these from 0. It answers with the logarithm of the standard error.

    Args:
        hidden: number of units.

    Shapes: see :func:`error_clues`, to the variance (B, T, 1, H, W) of the error of one channel, in units of the noise.
    """

    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(self, hidden: int = 8) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(len(CLUES)))
        self.register_buffer("spread", torch.ones(len(CLUES)))
        self.layers = nn.Sequential(nn.Linear(len(CLUES), hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def forward(
        self, result: torch.Tensor, guess: torch.Tensor, differences: torch.Tensor, errors: torch.Tensor
    ) -> torch.Tensor:
        """The variance of the error of a result, always in single precision."""
        with torch.autocast(result.device.type, enabled=False):
            clues = error_clues(result.float(), guess.float(), differences.float(), errors.float())
            return torch.exp(2.0 * self.of_clues(clues.movedim(2, -1))).movedim(-1, 2)

    def of_clues(self, clues: torch.Tensor) -> torch.Tensor:
        """Logarithm of the standard error (..., 1) for clues (..., clues)."""
        answer: torch.Tensor = self.layers(((clues - self.mean) / self.spread).clamp(-3.0, 3.0))
        return answer

    def as_dict(self) -> dict[str, Any]:
        """All numbers, for JSON."""
        return {
            name: [float(f"{number:.5g}") for number in value.flatten().tolist()]
            for name, value in self.state_dict().items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ErrorCalibration:
        """The inverse of :meth:`as_dict`."""
        new = cls(len(values["layers.0.bias"]))
        state = {name: torch.tensor(values[name]).view_as(old) for name, old in new.state_dict().items()}
        new.load_state_dict(state)
        return new.eval().requires_grad_(requires_grad=False)


def load_calibrations(file: str | Path, names: Sequence[str]) -> list[ErrorCalibration]:
    """Load calibrations of networks.

    Args:
        file: JSON file with an entry for each network, see :meth:`ErrorCalibration.as_dict`.
        names: which ones.

    Raises:
        OptionError: if the file does not have them all.
    """
    path = Path(file)
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    missing = [name for name in names if name not in known] or ([] if names else ["these networks"])
    if missing:
        raise OptionError(
            f"{path} has no calibration of errors for {', '.join(missing)}. Leave save_uncertainty out, take another "
            "bundle, or fit one (benchmarks/error_calibration.py)."
        )
    return [ErrorCalibration.from_dict(known[name]) for name in names]
