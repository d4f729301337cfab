# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of the average over mirror images."""

from __future__ import annotations

import torch
from torch import nn

from monai_stcnnt.networks.nets import FlipEnsemble

__all__: list[str] = []


def test_it_is_equivariant_to_flips_that_its_network_is_not() -> None:
    network = nn.Conv3d(2, 1, 3, padding=1)
    ensemble = FlipEnsemble(network)
    x = torch.randn(1, 2, 3, 6, 5)
    with torch.inference_mode():
        for dims in ((-1,), (-2,), (-2, -1)):
            assert not torch.allclose(network(x.flip(dims)), network(x).flip(dims), atol=1e-2)
            torch.testing.assert_close(ensemble(x.flip(dims)), ensemble(x).flip(dims))


def test_it_is_the_mean_of_its_runs() -> None:
    network = nn.Conv3d(2, 1, 3, padding=1)
    x = torch.randn(2, 2, 1, 6, 5)
    runs = [network(x.flip(dims)).flip(dims) for dims in ((2,), (3,), (4,))]  # one frame: mirroring it changes nothing
    runs.append(network(x.flip((3, 4))).flip((3, 4)))
    torch.testing.assert_close(FlipEnsemble(network, (3, 4))(x), torch.stack(runs).mean(0))


def test_without_flips_it_is_the_network_with_the_gradients_of_it() -> None:
    network = nn.Conv3d(1, 1, 3, padding=1)
    x = torch.randn(1, 1, 3, 6, 5)
    assert torch.equal(FlipEnsemble(network, ())(x), network(x))
    FlipEnsemble(network)(x).sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in network.parameters())
