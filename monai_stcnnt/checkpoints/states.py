# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Reading state dicts from files without running code, and loading all of them, or what fits, into networks."""

from __future__ import annotations

import logging
import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.utils import optional_import
from torch import nn

from monai_stcnnt.checkpoints.channels import fit_input_channels
from monai_stcnnt.errors import CheckpointMismatchError, MissingFileError, PickledCodeError, UnreadableFileError

__all__ = [
    "list_mismatches",
    "load_fitting",
    "load_strictly",
    "load_weights",
    "mismatch_error",
    "read_state_dict",
]

logger = logging.getLogger(__name__)

NESTS = ("state_dict", "model_state_dict", "model", "network", "net")
"""Names under which training programs keep the weights beside epochs and optimizers."""
ZIP_MAGIC, PICKLE_MAGIC = b"PK\x03\x04", b"\x80"
SHOWN = 10
_DAMAGE = (EOFError, LookupError, TypeError, ValueError, AttributeError, AssertionError, struct.error)

load_safetensors, has_safetensors = optional_import("safetensors.torch", name="load_file")


def read_state_dict(weights: str | Path | Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Read the weights of a network.

    Args:
        weights: a file of ``torch.save`` (either of its formats) or a ``.safetensors`` file; or a state dict. The
            weights may be nested under ``state_dict``, ``model_state_dict``, ``model``, ``network`` or ``net``.

    Returns:
        Names and tensors, on the CPU where they come from a file.

    Raises:
        MissingFileError: if there is no such file.
        PickledCodeError: if the file holds Python objects other than tensors and plain values, or TorchScript code.
        UnreadableFileError: if the file is damaged, of another format, or holds no state dict.
    """
    content = weights if isinstance(weights, Mapping) else _read_file(Path(weights))
    source = "the mapping" if isinstance(weights, Mapping) else str(weights)
    while isinstance(content, Mapping) and not any(isinstance(value, torch.Tensor) for value in content.values()):
        nested = [content[name] for name in NESTS if isinstance(content.get(name), Mapping)]
        content = nested[0] if nested else None
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise UnreadableFileError(
            f"{source} holds no state dict, a mapping of names to tensors, at the top or under one of {NESTS}. "
            "Save net.state_dict()."
        )
    return dict(content)


def _read_file(path: Path) -> object:
    if not path.is_file():
        raise MissingFileError(f"There is no file {path}. Give the path of a checkpoint.")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    with path.open("rb") as file:
        start = file.read(len(ZIP_MAGIC))
    if start != ZIP_MAGIC and not start.startswith(PICKLE_MAGIC):
        raise UnreadableFileError(f"{path} was not written by torch.save: it starts with {start!r}.")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*looks like a TorchScript archive")  # it is refused below
            return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, *_DAMAGE) as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        if found or "TorchScript" in str(error):
            what = found[1] if found else "TorchScript"
            raise PickledCodeError(
                f"{path} holds more than tensors ({what}) and could run code when it is loaded, so it is refused. If "
                "you trust it, load it where it was made and save its state dict alone: "
                "torch.save(net.state_dict(), path)."
            ) from error
        raise UnreadableFileError(f"{path} cannot be read by torch.load; it is damaged or not a checkpoint.") from error


def _read_safetensors(path: Path) -> object:
    if not has_safetensors:
        raise UnreadableFileError(f"{path} needs the package safetensors: pip install safetensors.")
    try:
        return load_safetensors(path)
    except Exception as error:
        raise UnreadableFileError(f"{path} cannot be read as safetensors: {error}.") from error


def list_mismatches(net: nn.Module, state_dict: Mapping[str, torch.Tensor]) -> list[str]:
    """List in words what keeps a state dict from being loaded: shapes first, then unknown names, then missing ones."""
    own = net.state_dict()
    shapes = [
        f"{name} has the shape {list(tensor.shape)}, the network wants {list(own[name].shape)}"
        for name, tensor in state_dict.items()
        if name in own and tensor.shape != own[name].shape
    ]
    unknown = [f"{name} is unknown to the network" for name in state_dict if name not in own]
    missing = [f"{name} is missing" for name in own if name not in state_dict]
    return shapes + unknown + missing


def mismatch_error(net: nn.Module, state_dict: Mapping[str, torch.Tensor], source: str) -> CheckpointMismatchError:
    """Make the error that lists the first ten entries that do not fit a network, and how many more there are.

    Args:
        net: the network.
        state_dict: the weights.
        source: where they come from, the first words of the message.
    """
    problems = list_mismatches(net, state_dict)
    more = f"\n  and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    return CheckpointMismatchError(
        f"{source} does not fit the network:\n  " + "\n  ".join(problems[:SHOWN]) + more + "\n"
        "Build the network with the options that the weights were trained with."
    )


def load_strictly(net: nn.Module, state_dict: Mapping[str, torch.Tensor], source: str) -> None:
    """Load a state dict whose names and shapes are those of the network, all of them.

    Args:
        net: the network; it is changed only if everything fits.
        state_dict: the weights.
        source: where they come from, for the message of the error.

    Raises:
        CheckpointMismatchError: lists the first ten entries that do not fit, and how many more there are.
    """
    if list_mismatches(net, state_dict):
        raise mismatch_error(net, state_dict, source)
    net.load_state_dict(dict(state_dict))


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
