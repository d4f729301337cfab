# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of the denoiser that starts from estimates."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from monai_stcnnt.errors import LayoutError, NetworkConfigError
from monai_stcnnt.networks.layers.shrinkage import ShrinkageEstimates
from monai_stcnnt.networks.nets import STCNNTGuidedDenoiser
from monai_stcnnt.networks.nets.guided_denoiser import signal_of_mean

__all__: list[str] = []


def small(in_channels: int = 3, out_channels: int = 2, **options: Any) -> STCNNTGuidedDenoiser:  # noqa: ANN401
    """A tiny network in evaluation mode, with a head that answers."""
    torch.manual_seed(0)
    keywords = {"img_size": (4, 8, 8), "window_size": (2, 4, 4), "patch_size": (1, 2, 2), "norm": "instance2d"}
    net = STCNNTGuidedDenoiser(
        in_channels, out_channels, 8, block_strings="T1L1", num_heads=2, **{**keywords, **options}
    )
    torch.nn.init.normal_(net.head.conv.weight, std=0.05)  # type: ignore[arg-type]
    return net.eval()


def image(channels: int = 2, gmap: float = 1.0) -> torch.Tensor:
    """A noisy clip with a g-factor map, (1, channels + 1, 3, 16, 12)."""
    torch.manual_seed(1)
    noisy = 5 + torch.randn(1, channels, 3, 16, 12)
    return torch.cat([noisy, torch.full((1, 1, 3, 16, 12), gmap)], dim=1)


def test_starts_as_the_mean_of_the_estimates() -> None:
    net = small()
    torch.nn.init.zeros_(net.head.conv.weight)  # type: ignore[arg-type]
    x = image()
    estimates = ShrinkageEstimates()(x[:, :2].transpose(1, 2)).unflatten(2, (4, 2)).mean(2).transpose(1, 2)
    torch.testing.assert_close(net(x), estimates)


@pytest.mark.parametrize("size", [(1, 16, 16), (3, 17, 30), (5, 9, 4), (2, 7, 1)])
@pytest.mark.parametrize("unshuffle", [1, 2])
def test_any_size_comes_back(size: tuple[int, int, int], unshuffle: int) -> None:
    x = torch.rand(1, 2, *size) + 0.5
    assert small(2, 1, unshuffle=unshuffle)(x).shape == (1, 1, *size)


def test_the_bias_of_magnitudes_is_known() -> None:
    signal = torch.linspace(0, 12, 61, dtype=torch.float64)
    half = signal.square() / 2
    means = math.sqrt(math.pi / 2) * ((1 + half) * torch.special.i0e(half / 2) + half * torch.special.i1e(half / 2))
    torch.testing.assert_close(signal_of_mean(means), signal, atol=0.02, rtol=0)
    assert signal_of_mean(torch.tensor([-1.0, 0.5])).tolist() == [0, 0]


def test_layouts_agree() -> None:
    x = image()
    torch.testing.assert_close(small(layout="BTCHW")(x.transpose(1, 2)).transpose(1, 2), small()(x))


def test_gradient_reaches_every_parameter() -> None:
    net = small().train()
    net(image()).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())


def test_the_map_tells_how_much_noise_there_is() -> None:
    net = small()
    torch.nn.init.zeros_(net.head.conv.weight)  # type: ignore[arg-type]
    x = image()
    louder = torch.cat([x[:, :2] * 3, x[:, 2:] * 3], dim=1)
    torch.testing.assert_close(net(louder), 3 * net(x))


def test_script_equals_eager() -> None:
    net, x = small(), image()
    torch.testing.assert_close(torch.jit.script(net)(x), net(x))


@pytest.mark.parametrize("wrong", [{"in_channels": 2}, {"unshuffle": 0}, {"backbone": "resnet"}])
def test_options_that_do_not_fit_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(NetworkConfigError):
        small(**wrong)


def test_another_layout_is_refused() -> None:
    with pytest.raises(LayoutError):
        small()(torch.randn(1, 2, 3, 16, 12))
