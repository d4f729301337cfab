# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The numbers of :mod:`monai_stcnnt.metrics.fidelity` as MONAI metrics, for validation loops and handlers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.metrics.metric import CumulativeIterationMetric
from torch import Tensor

from monai_stcnnt.metrics.fidelity import magnitude_psnr, magnitude_ssim

__all__ = ["MagnitudePSNRMetric", "MagnitudeSSIMMetric"]


class _PerItemMetric(CumulativeIterationMetric):
    """One number per item of a batch; the aggregate is their mean."""

    _function: Callable[[Tensor, Tensor], float]

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **kwargs: Any) -> Tensor:  # noqa: ANN401, ARG002 - MONAI's
        if y is None:
            raise ValueError(f"{type(self).__name__} needs the truth y beside the prediction.")
        values = [type(self)._function(p, t) for p, t in zip(y_pred.detach(), y.detach(), strict=True)]
        return torch.tensor(values, dtype=torch.float32, device=y_pred.device)[:, None]

    def aggregate(self) -> Tensor:
        """Return the mean over all items so far, a scalar.

        Raises:
            ValueError: when there was none.
        """
        buffer = self.get_buffer()
        if not isinstance(buffer, Tensor):
            raise ValueError(f"{type(self).__name__} has seen no item yet.")
        return buffer.mean()


class MagnitudePSNRMetric(_PerItemMetric):
    """PSNR of magnitudes in decibels, data range the clean maximum of each item.

    Call it with prediction and truth ``(B, C, T, H, W)``, then ``aggregate()``; see
    :func:`monai_stcnnt.metrics.fidelity.magnitude_psnr`.
    """

    _function = staticmethod(magnitude_psnr)


class MagnitudeSSIMMetric(_PerItemMetric):
    """Mean SSIM of the frames' magnitudes, data range the clean maximum of each item.

    Call it with prediction and truth ``(B, C, T, H, W)``, then ``aggregate()``; see
    :func:`monai_stcnnt.metrics.fidelity.magnitude_ssim`.
    """

    _function = staticmethod(magnitude_ssim)
