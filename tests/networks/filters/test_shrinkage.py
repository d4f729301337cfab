# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of shrinkage in blocks."""

from __future__ import annotations

import pytest
import torch

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.filters.shrinkage import (
    BlockShrinkage,
    block_starts,
    block_waves,
    cosine_basis,
    sparseness,
    sum_constants,
    sum_waves,
    wiener_gain,
)

__all__: list[str] = []

CPU = torch.device("cpu")
BLOCKS = [(0, 8, 2), (1, 8, 4), (4, 4, 1), (4, 8, 2), (3, 6, 3)]
SHAPES = [(1, 5, 17, 22), (2, 1, 3, 5), (1, 9, 8, 1), (1, 1, 1, 1), (2, 2, 1, 30)]


def waves(frames: int = 6, height: int = 24, width: int = 20) -> torch.Tensor:
    """Clean images (1, T, H, W) of a few slow waves, far above the noise."""
    y, x = torch.linspace(0, 3, height)[:, None], torch.linspace(0, 2, width)[None]
    return (20 * torch.sin(y) * torch.cos(x)).expand(1, frames, height, width).contiguous()


@pytest.mark.parametrize("length", [1, 2, 5, 8])
def test_basis_is_orthonormal_and_begins_with_the_mean(length: int) -> None:
    basis = cosine_basis(length, CPU)
    torch.testing.assert_close(basis @ basis.T, torch.eye(length), atol=1e-5, rtol=0)
    torch.testing.assert_close(basis[0], torch.full((length,), length**-0.5))


@pytest.mark.parametrize("total", [1, 2, 5, 9])
@pytest.mark.parametrize("frames", [0, 1, 2, 3, 4])
def test_pieces_cover_every_frame_and_lie_inside(total: int, frames: int) -> None:
    pieces = block_starts(total, frames, CPU)
    assert pieces.shape[1] == (min(frames, total) or total)
    assert sorted(set(pieces.flatten().tolist())) == list(range(total))
    assert len(set(pieces[:, 0].tolist())) == len(pieces)
    assert (pieces.diff(dim=1) == 1).all()


@pytest.mark.parametrize(
    ("size", "stride", "extents"), [(4, 1, (9, 6)), (8, 2, (8, 14)), (6, 3, (12, 9)), (5, 5, (5, 10))]
)
def test_blocks_are_transformed_and_summed_as_their_formulas_say(
    size: int, stride: int, extents: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    images, wave = torch.randn(3, *extents), cosine_basis(size, CPU)
    cut = images.unfold(1, size, stride).unfold(2, size, stride)
    coefficients = torch.einsum("ky,nabyx,lx->nlkab", wave, cut, wave).flatten(1, 2).flatten(2)
    blocks = block_waves(images, wave, stride)
    torch.testing.assert_close(blocks, coefficients, atol=1e-5, rtol=0)
    pixels = cut.permute(0, 3, 4, 1, 2).flatten(1, 2).flatten(2)
    summed = torch.nn.functional.fold(pixels, extents, (size, size), stride=stride)[:, 0]
    torch.testing.assert_close(sum_waves(blocks, wave, stride, extents), summed, atol=1e-5, rtol=0)
    values = torch.randn(3, blocks.shape[2])
    everywhere = values.unsqueeze(1).expand(-1, size * size, -1)
    summed = torch.nn.functional.fold(everywhere, extents, (size, size), stride=stride)[:, 0]
    torch.testing.assert_close(sum_constants(values, size, stride, extents), summed, atol=1e-5, rtol=0)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_threshold_of_zero_gives_the_image_back(
    block: tuple[int, int, int], shape: tuple[int, int, int, int]
) -> None:
    x, shrink = torch.randn(shape), BlockShrinkage(*block, threshold=0)
    torch.testing.assert_close(shrink.firm(x), x, atol=1e-4, rtol=0)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_pilot_of_much_energy_gives_the_image_back(
    block: tuple[int, int, int], shape: tuple[int, int, int, int]
) -> None:
    x, shrink = torch.randn(shape), BlockShrinkage(*block)
    image, error = shrink.wiener(x, 1e5 * x)
    torch.testing.assert_close(image, x, atol=1e-3, rtol=0)
    assert error.shape == x.shape
    assert error.min() > 0
    assert error.max() < 1 + 1e-4


def test_rounding_does_not_decide_what_is_kept() -> None:
    torch.manual_seed(0)
    x, shrink = torch.randn(1, 6, 48, 48) + 2, BlockShrinkage(4, 8, 2)
    change = (shrink.firm(x * (1 + 1e-6)) - shrink.firm(x)).abs().max()
    assert change < 3e-5


def test_a_high_threshold_leaves_the_means_of_blocks() -> None:
    shrink = BlockShrinkage(0, 8, 2, threshold=1e6)
    constant = torch.full((1, 3, 16, 16), 7.0)
    torch.testing.assert_close(shrink.firm(constant), constant)
    noise = torch.randn(1, 12, 32, 32)
    assert shrink.firm(noise).std() < 0.1


def test_coefficients_of_noise_have_its_variance() -> None:
    torch.manual_seed(0)
    shrink = BlockShrinkage(4, 4, 2)
    blocks = shrink.coefficients(shrink.pieces(torch.randn(4, 12, 40, 40)))
    inner = blocks.unflatten(3, (21, 21))[..., 1:-1, 1:-1]
    torch.testing.assert_close(inner.square().mean((0, 3, 4)), torch.ones(4, 16), atol=0.1, rtol=0)


@pytest.mark.parametrize("block", BLOCKS)
def test_the_truth_as_a_pilot_tells_the_error(block: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    clean = 2 * torch.randn(1, 8, 24, 24).cumsum(2).cumsum(3) / 10
    shrink = BlockShrinkage(*block)
    x = (clean + torch.randn(8, *clean.shape[1:])).contiguous()
    image, expected = shrink.wiener(x, clean.expand_as(x))
    ratio = (image - clean).square().mean() / expected.mean()
    assert 0.5 < ratio < 1.1  # overlapping blocks are averaged, which the expected error of a block does not know
    assert expected.mean() < 1


def test_gains_are_wieners_and_their_mean_is_the_error() -> None:
    energy = torch.tensor([[0.0, 1.0, 3.0, 1e8]])
    gain = wiener_gain(energy.clone())
    torch.testing.assert_close(gain, torch.tensor([[0.0, 0.5, 0.75, 1.0]]))
    torch.testing.assert_close((1 - gain).square() * energy + gain.square(), gain, atol=1e-6, rtol=0)
    weights = sparseness(torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]), [1]).flatten().tolist()
    assert weights == sorted(weights, reverse=True)
    assert weights[0] == 4


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("at_once", [1, 5000])
def test_how_many_values_are_taken_at_once_changes_nothing(block: tuple[int, int, int], at_once: int) -> None:
    x, pilot, shrink = torch.randn(3, 6, 12, 11), torch.randn(3, 6, 12, 11), BlockShrinkage(*block)
    firm, wiener = shrink.firm(x), shrink.wiener(x, pilot)
    shrink.values_at_once = at_once
    torch.testing.assert_close(shrink.firm(x), firm, atol=1e-5, rtol=0)
    torch.testing.assert_close(shrink.wiener(x, pilot), wiener, atol=1e-5, rtol=0)


def test_nothing_stays_nothing_and_the_input_stays_what_it_is() -> None:
    nothing, shrink = torch.zeros(1, 5, 12, 9), BlockShrinkage(4, 4, 1)
    image, error = shrink.wiener(nothing, nothing)
    assert not image.any()
    assert not error.any()
    assert not shrink.firm(nothing).any()
    x, pilot = torch.randn(1, 5, 12, 9), torch.randn(1, 5, 12, 9)
    before = x.clone(), pilot.clone()
    for frames in (0, 1, 4):
        BlockShrinkage(frames, 4, 1).firm(x)
        BlockShrinkage(frames, 4, 1).wiener(x, pilot)
    torch.testing.assert_close((x, pilot), before, atol=0, rtol=0)


@pytest.mark.parametrize("block", BLOCKS)
def test_every_image_of_a_batch_is_as_by_itself(block: tuple[int, int, int]) -> None:
    x, pilot, shrink = torch.randn(3, 5, 16, 13), torch.randn(3, 5, 16, 13), BlockShrinkage(*block)
    firm = shrink.firm(x)
    image, error = shrink.wiener(x, pilot)
    for n in range(3):
        one = x[n : n + 1]
        alone = shrink.wiener(one, pilot[n : n + 1])
        torch.testing.assert_close(firm[n : n + 1], shrink.firm(one), atol=1e-5, rtol=0)
        torch.testing.assert_close((image[n : n + 1], error[n : n + 1]), alone, atol=1e-5, rtol=0)


def test_noise_goes_and_waves_stay() -> None:
    torch.manual_seed(0)
    clean = waves()
    noisy = clean + torch.randn_like(clean)
    for block in BLOCKS:
        shrink = BlockShrinkage(*block)
        pilot = shrink.firm(noisy)
        assert (pilot - clean).square().mean().sqrt() < 0.5
        assert (shrink.wiener(noisy, pilot)[0] - clean).square().mean().sqrt() < 0.5


@pytest.mark.parametrize("wrong", [(0, 8, 3), (0, 8, 8), (-1, 8, 2), (0, 1, 1), (0, 8, 0)])
def test_blocks_that_do_not_tile_are_refused(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(NetworkConfigError, match="stride"):
        BlockShrinkage(*wrong)
