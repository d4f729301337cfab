# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of estimates by shrinkage."""

from __future__ import annotations

import pytest
import torch

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.layers.shrinkage import BlockShrinkage, ShrinkageEstimates, cosine_basis

__all__: list[str] = []

CPU = torch.device("cpu")


def smooth_frames(frames: int = 6, height: int = 24, width: int = 20) -> torch.Tensor:
    """Clean frames (1, T, 1, H, W) of a few slow waves, far above the noise."""
    y, x = torch.linspace(0, 3, height)[:, None], torch.linspace(0, 2, width)[None]
    return (20 * torch.sin(y) * torch.cos(x)).expand(1, frames, 1, height, width)


@pytest.mark.parametrize("length", [1, 2, 5, 8])
def test_basis_is_orthonormal_and_begins_with_the_mean(length: int) -> None:
    basis = cosine_basis(length, CPU)
    torch.testing.assert_close(basis @ basis.T, torch.eye(length), atol=1e-5, rtol=0)
    torch.testing.assert_close(basis[0], torch.full((length,), length**-0.5))


@pytest.mark.parametrize(("frames", "size", "stride"), [(0, 8, 2), (1, 8, 4), (4, 4, 1), (4, 8, 2)])
@pytest.mark.parametrize("shape", [(1, 5, 17, 22), (2, 1, 3, 5), (1, 9, 8, 1)])
def test_a_threshold_of_zero_gives_the_image_back(
    frames: int, size: int, stride: int, shape: tuple[int, int, int, int]
) -> None:
    x = torch.randn(shape)
    torch.testing.assert_close(BlockShrinkage(frames, size, stride, threshold=0).hard(x), x, atol=1e-4, rtol=0)
    assert torch.linalg.vector_norm(BlockShrinkage(frames, size, stride, noise=1e-9).wiener(x, 10 * x) - x) < 1e-2


def test_estimates_remove_noise_and_keep_the_image() -> None:
    torch.manual_seed(0)
    clean = smooth_frames()
    estimates = ShrinkageEstimates()(clean + torch.randn_like(clean))
    assert estimates.shape == (1, 6, 4, 24, 20)
    errors = (estimates - clean).square().mean((0, 1, 3, 4)).sqrt()
    assert errors.max() < 0.5
    assert errors[0] < 0.25  # all frames are the same: long blocks average them


def test_a_constant_stays_and_pure_noise_goes() -> None:
    torch.manual_seed(0)
    constant = torch.full((1, 3, 2, 16, 16), 7.0)
    torch.testing.assert_close(ShrinkageEstimates()(constant), constant.repeat(1, 1, 4, 1, 1), atol=1e-4, rtol=0)
    assert ShrinkageEstimates()(torch.randn(1, 12, 1, 64, 64)).std() < 0.15


def test_every_channel_and_image_is_estimated_by_itself() -> None:
    x = torch.randn(2, 4, 2, 16, 12)
    estimates = ShrinkageEstimates()(x).unflatten(2, (4, 2))
    for n in range(2):
        for c in range(2):
            alone = ShrinkageEstimates()(x[n : n + 1, :, c : c + 1])[0]
            torch.testing.assert_close(estimates[n, :, :, c], alone, atol=1e-5, rtol=0)


def test_script_and_half_precision_regions_give_the_same() -> None:
    x = torch.randn(1, 5, 1, 13, 18)
    module = ShrinkageEstimates()
    expected = module(x)
    torch.testing.assert_close(torch.jit.script(module)(x), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(module(x), expected)


def test_no_gradient_passes_and_no_weight_is_kept() -> None:
    x = torch.randn(1, 2, 1, 9, 9, requires_grad=True)
    module = ShrinkageEstimates()
    assert not module(x).requires_grad
    assert not module.state_dict()


@pytest.mark.parametrize("wrong", [(0, 8, 3), (0, 8, 8), (-1, 8, 2), (0, 1, 1)])
def test_blocks_that_do_not_tile_are_refused(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(NetworkConfigError, match="stride"):
        BlockShrinkage(*wrong)
