# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What a training of adapters writes: a small file of adapters, and the weights of a plain network."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from monai_stcnnt.checkpoints import load_adapters, load_weights
from monai_stcnnt.engines.training import prepare_network
from monai_stcnnt.handlers.training_state import save_weights
from monai_stcnnt.networks import STCNNTDenoiser
from monai_stcnnt.networks.lora import adapted_layers
from tests.networks.laws import SMALL

__all__: list[str] = []


def small() -> STCNNTDenoiser:
    """Make a small denoiser, always the same."""
    torch.manual_seed(0)
    return STCNNTDenoiser(3, 2, 4, **{**SMALL, "block_strings": "T1"}).eval()


def test_adapters_and_merged_weights_give_the_trained_network(tmp_path: Path) -> None:
    net = prepare_network(small(), torch.device("cpu"), lora=2).eval()
    for _, layer in adapted_layers(net):
        nn.init.normal_(layer.up.weight, std=0.1)  # type: ignore[arg-type]
    save_weights(net, tmp_path / "model.pt")
    x = torch.randn(1, 3, 4, 16, 16)
    with torch.no_grad():
        wanted = net(x)
        torch.testing.assert_close(load_weights(small(), tmp_path / "model.pt")(x), wanted, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(load_adapters(small(), tmp_path / "model_adapters.pt")(x), wanted, rtol=0, atol=0)
    assert (tmp_path / "model_adapters.pt").stat().st_size < (tmp_path / "model.pt").stat().st_size
