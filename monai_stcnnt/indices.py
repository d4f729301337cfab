# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Positions along an axis, for everything that extends images beyond their border."""

import torch

__all__ = ["reflect_index"]


def reflect_index(extent: int, target: int, device: torch.device, start: int = 0) -> torch.Tensor:
    """Positions start .. start + target - 1, folded back into 0 .. extent - 1 by reflection about both ends.

    A position beyond twice the extent folds several times; an extent of 1 repeats its element.
    """
    period = max(2 * (extent - 1), 1)
    index = torch.arange(start, start + target, device=device) % period
    return torch.minimum(index, period - index)
