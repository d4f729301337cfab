# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""2D weights as a start for a 3D network.

Reference: Carreira, Zisserman, "Quo vadis, action recognition? A new model and the Kinetics dataset", CVPR 2017,
https://doi.org/10.1109/CVPR.2017.502
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import nn

from monai_stcnnt.errors import CheckpointMismatchError
from monai_stcnnt.networks.checks import check_choice

__all__ = ["InflationMode", "inflate_2d_to_3d"]

InflationMode = Literal["center", "average"]


def inflate_2d_to_3d(
    state_dict: Mapping[str, torch.Tensor], net: nn.Module, mode: InflationMode = "center"
) -> dict[str, torch.Tensor]:
    """Inflate the weights of a 2D network to those of its 3D form.

    A kernel (out, in, h, w) becomes (out, in, d, h, w), where ``d`` is what the 3D network has; all other entries stay
    as they are. On an image that is constant along depth:

    - ``center`` puts the 2D kernel into the middle slice and zeros around it. The 3D network gives exactly the 2D
      network's answer in every slice, borders included, and learns to look beyond the slice from there.
    - ``average`` puts the 2D kernel, divided by ``d``, into every slice (Carreira and Zisserman). The answer is the 2D
      network's where the receptive field stays inside the volume; towards the first and last slices it departs from it,
      because the convolutions pad with zeros. For HRNetV2 that field spans several hundred slices, so in a usual volume
      every slice feels it; such weights are a start for training, not a network to use as it is.

    Args:
        state_dict: weights of the 2D network.
        net: the 3D network; it is read for its shapes and not changed.
        mode: ``center`` or ``average``.

    Returns:
        New weights, in the order of ``state_dict``; ``net.load_state_dict`` takes them strictly.

    Raises:
        CheckpointMismatchError: when the names differ, or a shape is not that of an inflated 2D kernel.
        NetworkConfigError: for another mode.
    """
    check_choice("mode", mode, InflationMode)
    targets = net.state_dict()
    differing = sorted(set(targets) ^ set(state_dict))
    if differing:
        raise CheckpointMismatchError(
            f"The 2D weights and the 3D network differ in {len(differing)} names, such as {differing[:10]}. "
            "Build both with the same options."
        )
    return {name: _inflate(name, weight, targets[name].shape, mode) for name, weight in state_dict.items()}


def _inflate(name: str, weight: torch.Tensor, shape: torch.Size, mode: str) -> torch.Tensor:
    if weight.shape == shape:
        return weight.clone()
    if weight.dim() != 4 or len(shape) != 5 or weight.shape != shape[:2] + shape[3:]:
        raise CheckpointMismatchError(
            f"{name} has the shape {list(weight.shape)}, which does not inflate to {list(shape)}; "
            "build both networks with the same options."
        )
    depth = shape[2]
    if mode == "average":
        return (weight / depth).unsqueeze(2).repeat(1, 1, depth, 1, 1)
    inflated = weight.new_zeros(shape)
    inflated[:, :, depth // 2] = weight
    return inflated
