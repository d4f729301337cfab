# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""TorchScript archives with the names of any state dict, for the tests of checkpoints."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

__all__ = ["Archive"]


class Archive(nn.Module):
    """A module whose script has the names of a published state dict, for a TorchScript archive."""

    def __init__(self, state: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        for name, tensor in state.items():
            *path, leaf = name.split(".")
            place: nn.Module = self
            for part in path:
                if not hasattr(place, part):
                    place.add_module(part, nn.Module())
                place = place.get_submodule(part)
            place.register_buffer(leaf, tensor)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the input."""
        return x
