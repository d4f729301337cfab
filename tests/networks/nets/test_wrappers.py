# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of what stands around networks: the router, the average over mirror images, the check of a denoiser."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from monai_stcnnt.errors import LayoutError, NetworkConfigError, NetworkOutputError
from monai_stcnnt.networks.nets import ChannelRouter, CheckedDenoiser, FlipEnsemble, build_variant

__all__: list[str] = []


def test_each_image_goes_to_its_network() -> None:
    nets: list[Any] = [build_variant(f"stcnnt_light{kind}", channels=4).eval() for kind in ("", "_magnitude")]
    for net in nets:
        torch.nn.init.normal_(net.head.conv.weight)
    router = ChannelRouter(nets)
    for net, channels in zip(nets, (3, 2), strict=True):
        x = torch.randn(1, channels, 2, 16, 16)
        assert torch.equal(router(x), net(x))
    with pytest.raises(LayoutError, match="magnitude images"):
        router(torch.randn(1, 4, 2, 16, 16))


@torch.inference_mode()
def test_real_images_go_to_the_network_for_them() -> None:
    """Complex ones whose imaginary part is zero everywhere; what comes out is real again."""
    nets: list[Any] = [build_variant(f"stcnnt_light{kind}", channels=4).eval() for kind in ("", "_magnitude", "_real")]
    for net in nets:
        torch.nn.init.normal_(net.head.conv.weight)
    router = ChannelRouter(nets[:2], nets[2])
    x = 5 * torch.randn(2, 3, 2, 16, 16)
    assert torch.equal(router(x), nets[0](x))
    x[:, 1] = 0
    out = router(x)
    assert torch.equal(out[:, :1], nets[2](x[:, ::2]))
    assert not out[:, 1].any()
    assert torch.equal(ChannelRouter(nets[:2])(x), nets[0](x))
    with pytest.raises(NetworkConfigError, match="real images takes 2 channels"):
        ChannelRouter(nets[1:2], nets[0])


def test_two_networks_for_the_same_channels_are_refused() -> None:
    net: Any = build_variant("stcnnt_light", channels=4)
    with pytest.raises(NetworkConfigError, match="differ"):
        ChannelRouter([net, net])


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


class Give(torch.nn.Module):
    """Gives one value for every pixel, in as many channels as there are before the g-factor map."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.full_like(x[:, :-1], self.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(NetworkOutputError, match="nothing is written"):
        CheckedDenoiser(Give(value))(torch.rand(1, 3, 2, 4, 4))


def test_magnitudes_do_not_become_negative() -> None:
    image = torch.rand(1, 2, 3, 4, 5)
    image[0, 0, 0, 0, 0] = -7.0
    out = CheckedDenoiser(Give(-5.0))(image)
    assert out[0, 0, 0, 0, 0] == -5.0
    assert int((out < 0).sum()) == 1
    assert bool((CheckedDenoiser(Give(2.0))(image) == 2.0).all())


def test_complex_images_keep_their_signs() -> None:
    assert bool((CheckedDenoiser(Give(-5.0))(torch.rand(1, 3, 2, 4, 4)) == -5.0).all())
