# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Loading the weights of a bundle."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from monai_stcnnt.checkpoints.states import load_strictly, read_state_dict

__all__ = ["load_weights"]


def load_weights(network: nn.Module, path: str | Path) -> nn.Module:
    """Load a state dict from a file into a network, all names and shapes.

    Args:
        network: the network.
        path: file of ``torch.save`` or ``.safetensors``; nothing in it is run.

    Returns:
        The same network in eval mode.

    Raises:
        MissingFileError: if there is no such file.
        UnreadableFileError: if it is not a checkpoint.
        PickledCodeError: if it holds more than tensors and plain values.
        CheckpointMismatchError: if it does not fit the network.
    """
    load_strictly(network, read_state_dict(path), str(path))
    return network.eval()
