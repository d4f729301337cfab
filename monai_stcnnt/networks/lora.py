# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Low-rank adapters: fine-tune a network by a few percent of its weights, and merge them when it is done.

An adapter adds ``alpha / rank * B A x`` to what a linear map or a convolution returns; ``A`` has ``rank`` outputs, and
``B`` starts at zero. Queries, keys and values, which one convolution computes here, have an adapter each.

The library peft is not used: it would give the three one ``A`` of a common rank, its layers take any arguments, which
TorchScript cannot compile, and it needs transformers and accelerate.

See Also:
    Hu et al., LoRA, 2021, https://doi.org/10.48550/arXiv.2106.09685.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args

import torch
from torch import nn

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.checks import check_choice, check_positive, check_probability

__all__ = [
    "AdaptedLayer",
    "AdapterTarget",
    "adapted_layers",
    "adapter_parameters",
    "adapter_state",
    "inject_adapters",
    "merge_adapters",
]

AdapterTarget = Literal["attention", "mixer"]

_LAYERS: dict[str, tuple[str, int, AdapterTarget]] = {
    "project.qkv.conv": ("attn", 3, "attention"),
    "project.qk.conv": ("attn", 2, "attention"),
    "project.v.conv": ("attn", 1, "attention"),
    "project_tokens": ("attn", 3, "attention"),
    "output_proj.conv": ("attn", 1, "attention"),
    "conv1.conv": ("mixer", 1, "mixer"),
    "conv2.conv": ("mixer", 1, "mixer"),
    "linear1": ("mixer", 1, "mixer"),
    "linear2": ("mixer", 1, "mixer"),
}
"""Layers of a cell that are adapted: name -> the cell's module, how many maps the layer is, and what target it is."""


class AdaptedLayer(nn.Module):
    """A linear map or a convolution, and a low-rank one beside it.

    Args:
        base: the layer; its weights are frozen.
        rank: outputs of the first factor, for each part.
        alpha: the adapter is scaled by ``alpha / rank``.
        dropout: probability of dropping a number of the adapter's input in training.
        parts: how many maps the layer is, such as 3 for queries, keys and values; their outputs stand in a row.

    Shapes: those of the layer.

    Raises:
        NetworkConfigError: for a layer of another kind.
    """

    def __init__(self, base: nn.Module, rank: int, alpha: float, dropout: float, parts: int = 1) -> None:
        super().__init__()
        weight: Any = base.weight
        self.parts, self.scale = parts, alpha / rank
        self.base = base.requires_grad_(False)
        self.dropout = nn.Dropout(dropout)
        options: dict[str, Any] = {"bias": False, "device": weight.device, "dtype": weight.dtype}
        if isinstance(base, nn.Linear):
            self.down: nn.Module = nn.Linear(base.in_features, parts * rank, **options)
            self.up: nn.Module = nn.Conv1d(parts * rank, base.out_features, 1, groups=parts, **options)
        elif isinstance(base, nn.Conv2d | nn.Conv3d):
            kind: Any = type(base)
            self.down = kind(base.in_channels, parts * rank, base.kernel_size, stride=base.stride, **options)
            self.up = kind(parts * rank, base.out_channels, 1, groups=parts, **options)
        else:
            raise NetworkConfigError(f"There are no adapters for a {type(base).__name__}.")
        self.linear = isinstance(base, nn.Linear)
        nn.init.zeros_(self.up.weight)  # type: ignore[arg-type]  # a parameter, typed through nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the layer and its adapter."""
        y = self.down(self.dropout(x))
        if self.linear:
            y = self.up(y.flatten(0, -2).unsqueeze(-1)).squeeze(-1).unflatten(0, x.shape[:-1])
        else:
            y = self.up(y)
        return self.base(x) + self.scale * y

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """The layer with the adapter added to its weights."""
        base: Any = self.base
        down: Any = self.down
        up: Any = self.up
        a = down.weight.flatten(1).unflatten(0, (self.parts, -1))
        b = up.weight.flatten(1).unflatten(0, (self.parts, -1))
        base.weight += self.scale * torch.bmm(b, a).view_as(base.weight)
        return self.base


def _targets(net: nn.Module, kinds: Sequence[str]) -> Iterator[tuple[nn.Module, str, str, int]]:
    """Parent, name in it, full name and parts of every layer that is adapted."""
    modules = dict(net.named_modules())
    for full in modules:
        for ending, (root, parts, kind) in _LAYERS.items():
            if kind in kinds and f".{full}".endswith(f".{root}.{ending}"):
                parent, _, name = full.rpartition(".")
                yield modules[parent], name, full, parts


def inject_adapters(
    net: nn.Module,
    rank: int = 8,
    alpha: float | None = None,
    dropout: float = 0.0,
    targets: Sequence[AdapterTarget] = ("attention", "mixer"),
    names: Sequence[str] | None = None,
) -> list[str]:
    """Freeze a network and put adapters beside layers of its cells; its results stay what they are until training.

    Args:
        net: a network or backbone with attention cells; it is changed.
        rank: of every adapter.
        alpha: scale of the adapters times the rank; the rank by default.
        dropout: probability of dropping a number of an adapter's input in training.
        targets: ``attention`` (queries, keys, values and output) and ``mixer`` (both maps or convolutions).
        names: full names of the layers, to adapt these alone.

    Returns:
        Names of the layers.

    Raises:
        NetworkConfigError: for options that do not exist, and for a network without such layers, or with adapters.
    """
    check_positive(rank=rank)
    check_probability("dropout", dropout)
    for target in targets:
        check_choice("targets", target, AdapterTarget)
    if any(True for _ in adapted_layers(net)):
        raise NetworkConfigError("The network has adapters already. Merge them first.")
    found = [target for target in _targets(net, targets) if names is None or target[2] in names]
    if not found:
        raise NetworkConfigError(
            f"This {type(net).__name__} has no layers to adapt: targets={list(targets)} are of attention cells, out of "
            f"{list(get_args(AdapterTarget))}."
        )
    net.requires_grad_(False)
    for parent, name, _, parts in found:
        layer = AdaptedLayer(getattr(parent, name), rank, rank if alpha is None else alpha, dropout, parts)
        setattr(parent, name, layer.train(net.training))
    return [full for _, _, full, _ in found]


def adapted_layers(net: nn.Module) -> Iterator[tuple[str, AdaptedLayer]]:
    """Names and adapted layers of a network."""
    return ((name, module) for name, module in net.named_modules() if isinstance(module, AdaptedLayer))


def adapter_parameters(net: nn.Module) -> list[nn.Parameter]:
    """The weights of all adapters, for an optimizer."""
    return [p for _, layer in adapted_layers(net) for part in (layer.down, layer.up) for p in part.parameters()]


def adapter_state(net: nn.Module) -> dict[str, torch.Tensor]:
    """Names and weights of all adapters, on the CPU: a small part of the network's state dict."""
    return {
        f"{name}.{part}.weight": getattr(layer, part).weight.detach().cpu().clone()
        for name, layer in adapted_layers(net)
        for part in ("down", "up")
    }


def merge_adapters(net: nn.Module) -> nn.Module:
    """Add all adapters to the weights beside them, and remove them; every weight can be trained again.

    Returns:
        The same network, with the names that it had before the adapters.
    """
    for full, layer in list(adapted_layers(net)):
        parent, _, name = full.rpartition(".")
        setattr(net.get_submodule(parent), name, layer.merged())
    return net.requires_grad_(True)
