# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Denoising weights for a network with other input channels: without g-factor map, or with more contrasts."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

__all__ = ["fit_input_channels"]

WEIGHT, BIAS = "stem.conv.weight", "stem.conv.bias"


def fit_input_channels(state_dict: Mapping[str, torch.Tensor], net: nn.Module) -> dict[str, torch.Tensor]:
    """Fit the first convolution of a denoiser to a network that is the same but for its input channels.

    - One channel less: the last one, the g-factor map, is left out as if it were 1 everywhere. Its weights times 1 are
      the same for every pixel, so they move into the bias, and the results are those of a map of ones.
    - More channels: their weights are zero, so that they change nothing until they are trained. They stand behind the
      channels that there were.

    Args:
        state_dict: weights of an :class:`~monai_stcnnt.networks.nets.STCNNTDenoiser` or
            :class:`~monai_stcnnt.networks.nets.STCNNTGuidedDenoiser`; the first kernel has the shape (C', C, 3, 3).
        net: the network that will load them, which is not changed.

    Returns:
        The weights; what still differs is left as it is, for a strict loading to refuse.
    """
    result, own = dict(state_dict), net.state_dict()
    if not {WEIGHT, BIAS} <= result.keys() & own.keys():
        return result
    kernel, wanted = result[WEIGHT], own[WEIGHT].shape[1]
    squares = int(getattr(net, "pack", 1)) ** 2
    if kernel.shape[1] - wanted == squares:
        result[WEIGHT] = kernel[:, :wanted].contiguous()
        result[BIAS] = result[BIAS] + kernel[:, wanted:].sum((1, 2, 3))
    elif kernel.shape[1] < wanted and squares == 1:
        added = kernel.new_zeros(kernel.shape[0], wanted - kernel.shape[1], *kernel.shape[2:])
        result[WEIGHT] = torch.cat([kernel, added], 1)
    return result
