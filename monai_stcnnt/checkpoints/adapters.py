# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Files of low-rank adapters: a few hundred kilobytes beside the weights that they were trained on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from monai_stcnnt.checkpoints.states import read_state_dict
from monai_stcnnt.errors import CheckpointMismatchError, UnreadableFileError
from monai_stcnnt.networks.lora import adapted_layers, adapter_state, inject_adapters

__all__ = ["adapter_content", "load_adapters", "save_adapters"]

OPTIONS, NORM = "options.", "norm."
SHOWN = 10


def adapter_content(net: nn.Module) -> dict[str, torch.Tensor]:
    """What a file of adapters holds: their weights, options, and the norm of each layer that they stand beside.

    Raises:
        CheckpointMismatchError: for a network without adapters.
    """
    layers = dict(adapted_layers(net))
    if not layers:
        raise CheckpointMismatchError("The network has no adapters to save. inject_adapters makes them.")
    layer = next(iter(layers.values()))
    down: Any = layer.down
    options = {"rank": down.weight.shape[0] // layer.parts, "scale": layer.scale, "dropout": layer.dropout.p}
    norms = {NORM + name: _norm(layer.base) for name, layer in layers.items()}
    return adapter_state(net) | norms | {OPTIONS + k: torch.tensor(float(v)) for k, v in options.items()}


def save_adapters(net: nn.Module, path: str | Path) -> None:
    """Write the adapters of a network alone.

    Raises:
        CheckpointMismatchError: for a network without adapters.
    """
    torch.save(adapter_content(net), path)


def load_adapters(net: nn.Module, adapters: str | Path | Mapping[str, torch.Tensor]) -> nn.Module:
    """Put saved adapters beside the layers of the network that they were trained with.

    Args:
        net: the network, with the weights that the adapters were trained on, and without adapters; it is changed.
        adapters: a file of :func:`save_adapters`, or its content.

    Returns:
        The same network; :func:`~monai_stcnnt.networks.lora.merge_adapters` makes it a plain one.

    Raises:
        MissingFileError: if there is no such file.
        UnreadableFileError: if it is not a file of adapters.
        CheckpointMismatchError: for adapters of another network: layers that it lacks or that it has besides, weights
            of another shape, or layers whose weights are not those of the training; with the differences.
    """
    source = "the mapping" if isinstance(adapters, Mapping) else str(adapters)
    content = read_state_dict(adapters)
    names = [name.removeprefix(NORM) for name in content if name.startswith(NORM)]
    options = {name.removeprefix(OPTIONS): float(v) for name, v in content.items() if name.startswith(OPTIONS)}
    if not names or set(options) != {"rank", "scale", "dropout"}:
        raise UnreadableFileError(f"{source} holds no adapters of save_adapters.")
    _check(net, content, names, source)
    rank = int(options["rank"])
    inject_adapters(net, rank, rank * options["scale"], options["dropout"], names=names)
    own = adapter_state(net)
    with torch.no_grad():
        for name, layer in adapted_layers(net):
            for part in ("down", "up"):
                key = f"{name}.{part}.weight"
                if key not in content or content[key].shape != own[key].shape:
                    raise CheckpointMismatchError(f"{source}: {key} is missing or has another shape than the layer.")
                getattr(layer, part).weight.copy_(content[key])
    return net


def _norm(layer: nn.Module) -> torch.Tensor:
    weight: Any = layer.weight
    return torch.linalg.vector_norm(weight.detach().double()).cpu().float()


def _check(net: nn.Module, content: Mapping[str, torch.Tensor], names: list[str], source: str) -> None:
    """Compare the layers of the network with those of the training."""
    modules = dict(net.named_modules())
    problems = [f"{name} is not in this network" for name in names if name not in modules]
    for name in names:
        if name not in modules:
            continue
        if not hasattr(modules[name], "weight"):
            problems.append(f"{name} has adapters already, or no weight")
            continue
        ours, theirs = float(_norm(modules[name])), float(content[NORM + name])
        down, weight = content.get(f"{name}.down.weight"), modules[name].weight
        if down is not None and isinstance(weight, torch.Tensor) and down.shape[1:] != weight.shape[1:]:
            problems.append(f"{name} takes {list(weight.shape[1:])}, its adapter {list(down.shape[1:])}")
        elif abs(ours - theirs) > 1e-3 * abs(theirs):
            problems.append(f"{name} has weights of norm {ours:.5g}, and {theirs:.5g} in the training of the adapters")
    if problems:
        more = f"\n  and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise CheckpointMismatchError(
            f"{source} holds adapters of another network:\n  " + "\n  ".join(problems[:SHOWN]) + more + "\n"
            "Load the weights that they were trained on first."
        )
