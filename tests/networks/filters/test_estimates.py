# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of estimates by shrinkage."""

from __future__ import annotations

import pytest
import torch

from monai_stcnnt.networks.filters.estimates import ShrinkageEstimates, blend

__all__: list[str] = []


def waves(frames: int = 6, height: int = 24, width: int = 20) -> torch.Tensor:
    """Clean frames (1, T, 1, H, W) of a few slow waves, far above the noise."""
    y, x = torch.linspace(0, 3, height)[:, None], torch.linspace(0, 2, width)[None]
    return (20 * torch.sin(y) * torch.cos(x)).expand(1, frames, 1, height, width)


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 16, 12), (2, 3, 30), (3, 9, 1), (4, 2, 2), (5, 7, 13)])
def test_any_size_has_estimates_and_errors(size: tuple[int, int, int]) -> None:
    x = 3 * torch.randn(2, size[0], 2, *size[1:])
    estimates, errors = ShrinkageEstimates()(x)
    assert estimates.shape == (2, size[0], 3, 2, *size[1:])
    assert errors.shape == (2, size[0], 3, 1, *size[1:])
    assert estimates.isfinite().all()
    assert errors.min() > 0
    assert errors.max() < 1.001


@pytest.mark.parametrize("frames", [1, 6])
def test_noise_goes_and_the_image_stays(frames: int) -> None:
    torch.manual_seed(0)
    clean = waves(frames)
    estimates, errors = ShrinkageEstimates()(clean + torch.randn_like(clean))
    found = (estimates - clean.unsqueeze(2)).square().mean((0, 1, 3, 4, 5))
    assert found.sqrt().max() < (0.3 if frames > 1 else 0.45)
    assert errors.mean() < 0.2


@pytest.mark.parametrize("frames", [3, 5])
def test_a_constant_stays(frames: int) -> None:
    constant = torch.full((1, frames, 2, 16, 16), 70.0)
    estimates, _ = ShrinkageEstimates()(constant)
    torch.testing.assert_close(estimates, constant.unsqueeze(2).repeat(1, 1, 3, 1, 1, 1), atol=0.01, rtol=0)


def test_pure_noise_goes() -> None:
    torch.manual_seed(0)
    assert blend(*ShrinkageEstimates()(torch.randn(1, 12, 1, 48, 48)))[0].std() < 0.15


@pytest.mark.parametrize("frames", [2, 5])
def test_every_image_of_a_batch_is_as_by_itself(frames: int) -> None:
    torch.manual_seed(0)
    x, module = 2 * torch.randn(3, frames, 2, 12, 14), ShrinkageEstimates()
    estimates, errors = module(x)
    for n in range(3):
        torch.testing.assert_close((estimates[n : n + 1], errors[n : n + 1]), module(x[n : n + 1]), atol=1e-4, rtol=0)


def test_channels_of_blocks_are_estimated_by_themselves() -> None:
    x, module = torch.randn(1, 4, 2, 16, 12), ShrinkageEstimates()
    both, error = module.in_blocks(torch.cat([x, x], 2))
    torch.testing.assert_close(both[:, :, :2], both[:, :, 2:])
    torch.testing.assert_close((both[:, :, :2], error), module.in_blocks(x), atol=1e-5, rtol=0)


def test_script_and_half_precision_regions_give_the_same() -> None:
    module, x = ShrinkageEstimates(), torch.randn(1, 5, 1, 13, 18)
    expected = module(x)
    torch.testing.assert_close(torch.jit.script(module)(x), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(module(x), expected)


def test_no_gradient_passes_and_no_weight_is_kept() -> None:
    module = ShrinkageEstimates()
    estimates, errors = module(torch.randn(1, 2, 1, 9, 9, requires_grad=True))
    assert not estimates.requires_grad
    assert not errors.requires_grad
    assert not module.state_dict()
    assert not list(module.parameters())


def test_a_blend_leans_on_the_smallest_error() -> None:
    estimates = torch.tensor([0.0, 1.0, 2.0]).view(1, 1, 3, 1, 1, 1).expand(1, 1, 3, 2, 4, 5)
    errors = torch.tensor([1.0, 0.1, 1.0]).view(1, 1, 3, 1, 1, 1).expand(1, 1, 3, 1, 4, 5)
    image, error = blend(estimates, errors)
    torch.testing.assert_close(image, torch.ones(1, 1, 2, 4, 5), atol=1e-3, rtol=0)
    assert (error < 0.102).all()
    leaning, _ = blend(estimates, torch.tensor([0.5, 1.0, 1.0]).view(1, 1, 3, 1, 1, 1).expand_as(errors))
    assert leaning.max() < 0.3
    equal, same = blend(estimates, torch.full_like(errors, 0.4))
    torch.testing.assert_close(equal, torch.ones_like(equal))
    torch.testing.assert_close(same, torch.full_like(same, 0.4))
