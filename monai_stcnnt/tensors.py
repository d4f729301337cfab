# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Rules about tensors that networks, inferers and transforms share: positions beyond a border, and finite results."""

import torch

from monai_stcnnt.errors import NetworkOutputError

__all__ = ["check_network_output", "cyclic_index", "reflect_index"]


def reflect_index(extent: int, target: int, device: torch.device, start: int = 0) -> torch.Tensor:
    """Positions start .. start + target - 1, folded back into 0 .. extent - 1 by reflection about both ends.

    A position beyond twice the extent folds several times; an extent of 1 repeats its element.
    """
    period = max(2 * (extent - 1), 1)
    index = wrapped(torch.arange(start, start + target, device=device), period)
    return torch.minimum(index, period - index)


def cyclic_index(extent: int, shift: int, device: torch.device) -> torch.Tensor:
    """Positions shift .. shift + extent - 1 of an axis that begins again where it ends."""
    return wrapped(torch.arange(shift, shift + extent, device=device), extent)


def wrapped(index: torch.Tensor, period: int) -> torch.Tensor:
    """Remainder of whole numbers; the divisor is a tensor, because exporters take one that they do not know yet."""
    return torch.remainder(index, torch.full([1], period, dtype=torch.int64, device=index.device))


@torch.compiler.disable  # a compiled network cannot look at its values
def check_network_output(out: torch.Tensor) -> None:
    """Refuse what a network made if it is not finite, before anything is made of it.

    Raises:
        NetworkOutputError: if a value is NaN or infinite.
    """
    if not bool(out.isfinite().all()):
        raise NetworkOutputError(
            "The network made values that are NaN or infinite, so nothing is written. Its weights may be damaged; or "
            "compute without amp, or on another device."
        )
