# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What a training of low-rank adapters leaves: the adapters alone, and the weights with them merged in."""

from __future__ import annotations

import copy
from pathlib import Path

import ignite.distributed as idist
import torch
from ignite.engine import Events
from monai.engines import Workflow
from torch import nn

from monai_stcnnt.checkpoints import save_adapters
from monai_stcnnt.checkpoints.states import load_strictly, read_state_dict
from monai_stcnnt.data import write_aside
from monai_stcnnt.networks.lora import merge_adapters

__all__ = ["AdapterFiles"]


class AdapterFiles:
    """At the end of a training, write the best adapters alone, and make the best weights those of a plain network.

    Put it behind what writes the best weights, with their adapters, during the training.

    Args:
        network: the network with adapters.
        folder: of the files.
        model_name: file of the best weights in it, which is replaced by that of the network without adapters.
        name: file of the adapters, made for the weights that the training started from.
    """

    def __init__(self, network: nn.Module, folder: str | Path, model_name: str, name: str = "adapters.pt") -> None:
        self.network, self.model, self.adapters = network, Path(folder) / model_name, Path(folder) / name

    def attach(self, engine: Workflow) -> None:
        """Act when the training is done."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Workflow) -> None:  # noqa: ARG002 - a handler is called with its engine
        """Write both files.

        Raises:
            MissingFileError: if there are no best weights.
            CheckpointMismatchError: if they are not those of the network with its adapters.
        """
        if idist.get_rank() != 0:
            return
        best = copy.deepcopy(self.network)
        load_strictly(best, read_state_dict(self.model), str(self.model))
        with write_aside(self.adapters) as aside:
            save_adapters(best, aside)
        plain = merge_adapters(best).state_dict()
        with write_aside(self.model) as aside:
            torch.save({name: value.detach().cpu() for name, value in plain.items()}, aside)
