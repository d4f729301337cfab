# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Loading the weights of a bundle, and starting a training from related weights."""

from __future__ import annotations

import logging
from pathlib import Path

from torch import nn

from monai_stcnnt.checkpoints.channels import fit_input_channels
from monai_stcnnt.checkpoints.states import load_strictly, mismatch_error, read_state_dict

__all__ = ["load_fitting", "load_weights"]

logger = logging.getLogger(__name__)


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


def load_fitting(network: nn.Module, path: str | Path) -> nn.Module:
    """Load what fits by name and shape, to train on from there: a head for other classes keeps its own weights.

    A denoiser with other input channels takes the first convolution as
    :func:`~monai_stcnnt.checkpoints.channels.fit_input_channels` says.

    Args:
        network: the network.
        path: file of ``torch.save`` or ``.safetensors``; nothing in it is run.

    Returns:
        The same network. The log tells how many of its entries were loaded.

    Raises:
        CheckpointMismatchError: if nothing fits; and the other errors of :func:`load_weights`.
    """
    own, found = network.state_dict(), fit_input_channels(read_state_dict(path), network)
    fitting = {name: value for name, value in found.items() if name in own and value.shape == own[name].shape}
    if not fitting:
        raise mismatch_error(network, found, str(path))
    network.load_state_dict(fitting, strict=False)
    logger.info("%d of %d entries of the network were loaded from %s", len(fitting), len(own), path)
    return network
