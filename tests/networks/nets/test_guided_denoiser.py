# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of the denoiser that starts from estimates."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from monai_stcnnt.errors import LayoutError, NetworkConfigError
from monai_stcnnt.mri.rician import rician_mean
from monai_stcnnt.networks.filters.estimates import ShrinkageEstimates, blend
from monai_stcnnt.networks.filters.phase import SmoothPhase, turned, turned_back
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


def test_starts_as_the_blend_of_the_groups_without_the_phase() -> None:
    net = small()
    torch.nn.init.zeros_(net.head.conv.weight)  # type: ignore[arg-type]
    x = image()
    noisy = x[:, :2].transpose(1, 2)
    phase = SmoothPhase()(noisy)
    estimates, errors = ShrinkageEstimates()(turned(noisy, phase))
    guess = turned_back(blend(estimates[:, :, 1:], errors[:, :, 1:])[0], phase)
    torch.testing.assert_close(net(x), guess.transpose(1, 2))


def test_magnitudes_start_as_the_blend_without_bias() -> None:
    net = small(2, 1)
    torch.nn.init.zeros_(net.head.conv.weight)  # type: ignore[arg-type]
    x = image(1)
    estimates, errors = ShrinkageEstimates()(x[:, :1].transpose(1, 2))
    guess = signal_of_mean(blend(estimates[:, :, 1:], errors[:, :, 1:])[0])
    torch.testing.assert_close(net(x), guess.transpose(1, 2))


def test_the_guess_is_nearer_to_the_truth_than_the_image() -> None:
    net = small()
    torch.nn.init.zeros_(net.head.conv.weight)  # type: ignore[arg-type]
    torch.manual_seed(2)
    y, x = torch.linspace(0, 3, 32)[:, None], torch.linspace(0, 2, 32)[None]
    clean = torch.stack([20 * y.sin() * x.cos(), 20 * y.sin() * x.sin()])[None, :, None].expand(1, 2, 5, 32, 32)
    gmap = 1 + y.expand(1, 1, 5, 32, 32) / 3
    noisy = clean + gmap * torch.randn_like(clean)
    found = ((net(torch.cat([noisy, gmap], 1)) - clean) / gmap).square().mean().sqrt()
    assert found < 0.4


@pytest.mark.parametrize("angle", [0.7, math.pi / 2, -2.5, math.pi])
def test_a_turned_image_gives_the_turned_result(angle: float) -> None:
    net, x = small(), image()
    c, s = math.cos(angle), math.sin(angle)

    def turn(values: torch.Tensor) -> torch.Tensor:
        real, imaginary = values[:, :1], values[:, 1:2]
        return torch.cat([c * real - s * imaginary, s * real + c * imaginary, values[:, 2:]], 1)

    torch.testing.assert_close(net(turn(x)), turn(net(x)), atol=1e-3, rtol=0)


def test_every_image_of_a_batch_is_as_by_itself() -> None:
    net = small()
    x = torch.cat([image(), image().flip(3), image() * 2])
    together = net(x)
    for n in range(3):
        torch.testing.assert_close(together[n : n + 1], net(x[n : n + 1]), atol=1e-4, rtol=0)


def test_a_constant_image_has_a_finite_result_and_gradient() -> None:
    for in_channels in (2, 3):
        net = small(in_channels, in_channels - 1).train()
        for value in (0.0, 40.0):
            x = torch.cat([torch.full((1, in_channels - 1, 3, 16, 12), value), torch.ones(1, 1, 3, 16, 12)], 1)
            y = net(x)
            y.square().sum().backward()
            assert y.isfinite().all()
            assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_half_precision_regions_leave_the_estimates_in_single_precision() -> None:
    net, x = small(), image()
    expected = net.guided(x[:, :2].transpose(1, 2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(net.guided(x[:, :2].transpose(1, 2)), expected)
    torch.nn.init.zeros_(net.head.conv.weight)  # type: ignore[arg-type]
    expected_guess = net(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(net(x), expected_guess)


def test_only_stem_backbone_and_head_have_weights() -> None:
    assert {name.split(".")[0] for name in small().state_dict()} == {"stem", "backbone", "head"}


@pytest.mark.parametrize("size", [(1, 16, 16), (3, 17, 30), (5, 9, 4), (2, 7, 1), (1, 1, 1)])
@pytest.mark.parametrize("pack", [1, 2])
def test_any_size_comes_back(size: tuple[int, int, int], pack: int) -> None:
    x = torch.rand(1, 3, *size) + 0.5
    for channels in (1, 2):
        y = small(channels + 1, channels, pack=pack)(x[:, : channels + 1])
        assert y.shape == (1, channels, *size)
        assert y.isfinite().all()


def test_the_bias_of_magnitudes_is_known() -> None:
    signal = torch.linspace(0, 12, 61, dtype=torch.float64)
    means = torch.tensor(rician_mean(signal.numpy()))
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


@pytest.mark.parametrize("channels", [1, 2])
def test_script_equals_eager(channels: int) -> None:
    net, x = small(channels + 1, channels), image(channels)
    with torch.no_grad(), torch.jit.optimized_execution(False):  # optimizing takes a minute
        torch.testing.assert_close(torch.jit.script(net)(x), net(x))


@pytest.mark.parametrize("wrong", [{"in_channels": 1}, {"pack": 0}, {"backbone": "resnet"}])
def test_options_that_do_not_fit_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(NetworkConfigError):
        small(**wrong)


def test_another_layout_is_refused() -> None:
    with pytest.raises(LayoutError):
        small()(torch.randn(1, 2, 3, 16, 12))
