# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of the smooth phase."""

from __future__ import annotations

import math

import pytest
import torch

from monai_stcnnt.networks.filters.phase import SmoothPhase, turned, turned_back

__all__: list[str] = []

SHAPES = [(1, 5, 2, 17, 22), (2, 1, 2, 1, 1), (1, 2, 2, 3, 40), (1, 9, 2, 1, 12)]


def unit(angle: torch.Tensor) -> torch.Tensor:
    """Cosine and sine of angles (B, T, 1, H, W) as channels."""
    return torch.cat([angle.cos(), angle.sin()], 2)


def ramp(frames: int = 4, extent: int = 32) -> torch.Tensor:
    """Angles that rise by two radians over the image and by a tenth over the frames, (1, T, 1, H, W)."""
    y, x = torch.linspace(0, 1, extent)[:, None], torch.linspace(0, 1, extent)[None]
    return (y + x**2)[None, None, None] + torch.linspace(0, 0.1, frames).view(1, -1, 1, 1, 1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [0.0, 1.0, 50.0])
def test_the_modulus_is_one_and_turning_back_undoes_turning(
    shape: tuple[int, int, int, int, int], scale: float
) -> None:
    torch.manual_seed(0)
    x = scale * torch.randn(shape)
    phase = SmoothPhase()(x)
    assert phase.shape == x.shape
    torch.testing.assert_close(phase.square().sum(2), torch.ones_like(x[:, :, 0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(turned_back(turned(x, phase), phase), x, atol=1e-4 * max(scale, 1), rtol=0)


def test_turning_is_complex_multiplication() -> None:
    x, angle = torch.randn(1, 2, 2, 4, 5), torch.randn(1, 2, 1, 4, 5)
    number = torch.complex(x[:, :, 0], x[:, :, 1])
    for turn, sign in ((turned, -1), (turned_back, 1)):
        expected = number * torch.exp(1j * sign * angle[:, :, 0])
        torch.testing.assert_close(turn(x, unit(angle)), torch.stack([expected.real, expected.imag], 2))


def test_a_smooth_phase_is_removed() -> None:
    torch.manual_seed(0)
    clean = 30 * unit(ramp())
    straight = turned(clean, SmoothPhase()(clean + torch.randn_like(clean)))
    assert straight[:, :, 0].min() > 0.9 * 30  # at the edges, whose reflection has a kink
    assert straight[:, :, 1].square().mean().sqrt() < 0.1 * 30


def test_noise_alone_gives_a_phase_of_little_change() -> None:
    torch.manual_seed(0)
    phase = SmoothPhase()(torch.randn(1, 8, 2, 48, 48))
    assert (turned(phase, phase.mean((1, 3, 4), keepdim=True))[:, :, 0]).mean() > 0.7


@pytest.mark.parametrize("angle", [0.5, math.pi / 2, 3.0, -2.0])
def test_a_turned_image_has_a_turned_phase(angle: float) -> None:
    torch.manual_seed(0)
    x = 20 * unit(ramp()) + torch.randn(1, 4, 2, 32, 32)
    turn = unit(torch.tensor(angle).view(1, 1, 1, 1, 1))
    torch.testing.assert_close(
        SmoothPhase()(turned_back(x, turn)), turned_back(SmoothPhase()(x), turn), atol=1e-3, rtol=0
    )


def test_smoothing_keeps_constants_and_knows_what_noise_is_left() -> None:
    matrix, left = SmoothPhase().smoothing(40, 3.0, torch.device("cpu"))
    torch.testing.assert_close(matrix.sum(1), torch.ones(40), atol=1e-5, rtol=0)
    torch.testing.assert_close(matrix.square().sum() / 40, left)
    assert left < 0.15
    untouched, all_of_it = SmoothPhase().smoothing(7, 0.0, torch.device("cpu"))
    torch.testing.assert_close(untouched, torch.eye(7), atol=1e-5, rtol=0)
    assert all_of_it == 1


def test_every_image_of_a_batch_is_as_by_itself() -> None:
    x = 3 * torch.randn(3, 4, 2, 12, 9)
    phase = SmoothPhase()(x)
    for n in range(3):
        torch.testing.assert_close(phase[n : n + 1], SmoothPhase()(x[n : n + 1]), atol=1e-5, rtol=0)


def test_script_and_half_precision_regions_give_the_same_and_nothing_is_kept() -> None:
    module, x = SmoothPhase(), 3 * torch.randn(1, 5, 2, 13, 18)
    expected = module(x)
    torch.testing.assert_close(torch.jit.script(module)(x), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(module(x), expected)
    assert not module.state_dict()
