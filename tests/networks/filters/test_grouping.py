# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of shrinkage in groups of similar blocks."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.filters.grouping import GroupedShrinkage, hadamard_basis
from monai_stcnnt.networks.filters.shrinkage import BlockShrinkage, block_starts

__all__: list[str] = []

CPU = torch.device("cpu")
OPTIONS: list[dict[str, int]] = [
    {"frames": 0},
    {"frames": 4},
    {"frames": 1, "size": 8, "stride": 4, "count": 16, "radius": 8},
    {"frames": 2, "size": 5, "stride": 5, "count": 1, "radius": 0},
]


def texture(frames: int = 4, extent: int = 30, period: int = 3) -> torch.Tensor:
    """A random pattern that repeats itself every few pixels, (1, T, 1, H, W)."""
    tile = torch.randn(period, period, generator=torch.Generator().manual_seed(3))
    image = tile.repeat(extent // period + 1, extent // period + 1)[:extent, :extent]
    return image.expand(1, frames, 1, extent, extent).contiguous()


@pytest.mark.parametrize("length", [1, 2, 8, 16])
def test_hadamard_basis_is_orthonormal_and_its_own_inverse(length: int) -> None:
    basis = hadamard_basis(length)
    torch.testing.assert_close(basis @ basis, torch.eye(length))
    torch.testing.assert_close(basis, basis.T)
    torch.testing.assert_close(basis[0], torch.full((length,), length**-0.5))


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("shape", [(1, 5, 2, 17, 22), (2, 1, 1, 1, 1), (1, 3, 1, 2, 9), (1, 2, 2, 30, 3)])
def test_a_pilot_of_much_energy_gives_the_image_back(
    options: dict[str, int], shape: tuple[int, int, int, int, int]
) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape)
    image, error = GroupedShrinkage(**options)(x, 1e5 * x)
    torch.testing.assert_close(image, x, atol=1e-3, rtol=0)
    assert error.shape == (shape[0], shape[1], 1, shape[3], shape[4])
    assert error.min() > 0
    assert error.max() < 1 + 1e-4


@pytest.mark.parametrize("options", OPTIONS)
def test_every_image_of_a_batch_is_as_by_itself(options: dict[str, int]) -> None:
    torch.manual_seed(0)
    x, pilot, module = torch.randn(3, 5, 2, 13, 16), 2 * torch.randn(3, 5, 2, 13, 16), GroupedShrinkage(**options)
    image, error = module(x, pilot)
    for n in range(3):
        alone = module(x[n : n + 1], pilot[n : n + 1])
        torch.testing.assert_close((image[n : n + 1], error[n : n + 1]), alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("at_once", [1, 3000])
def test_how_many_values_are_taken_at_once_changes_nothing(options: dict[str, int], at_once: int) -> None:
    torch.manual_seed(0)
    x, pilot, module = torch.randn(2, 4, 1, 12, 11), torch.randn(2, 4, 1, 12, 11), GroupedShrinkage(**options)
    whole = module(x, pilot)
    module.values_at_once = at_once
    torch.testing.assert_close(module(x, pilot), whole, atol=1e-5, rtol=0)


def test_groups_are_blocks_where_a_texture_repeats() -> None:
    module = GroupedShrinkage(0, size=4, stride=3, count=4, radius=3)
    pilot = texture(extent=16)
    places = module.places(module.distances(pilot), block_starts(4, 0, CPU))
    assert places.shape == (1, 1, 25, 4)
    places = places[0, 0]
    rows, columns = places // 13, places % 13
    assert (rows % 3 == rows[:, :1] % 3).all()
    assert (columns % 3 == columns[:, :1] % 3).all()
    assert all(len(set(group)) == 4 for group in places.tolist())


def test_a_group_holds_its_own_block_and_stays_in_its_image() -> None:
    torch.manual_seed(0)
    module = GroupedShrinkage(2, size=4, stride=3, count=8, radius=3)
    index = block_starts(5, 2, CPU)
    places = module.places(module.distances(torch.randn(2, 5, 1, 10, 13)), index)
    assert places.shape == (2, len(index), 12, 8)
    row, column = places.unflatten(2, (3, 4)) // 10, places.unflatten(2, (3, 4)) % 10
    assert row.min() >= 0
    assert row.max() <= 6
    assert column.max() <= 9
    own_row, own_column = torch.arange(3).view(-1, 1, 1) * 3, torch.arange(4).view(1, -1, 1) * 3
    assert ((row == own_row) & (column == own_column)).any(4).all()
    assert (row - own_row).abs().max() <= 3
    assert (column - own_column).abs().max() <= 3


def test_a_group_holds_its_own_block_among_equals() -> None:
    for options in OPTIONS:
        constant = torch.full((1, 5, 1, 16, 19), 70.0)
        image, error = GroupedShrinkage(**options)(constant, constant)
        torch.testing.assert_close(image, constant, atol=0.01, rtol=0)
        assert error.max() < 0.1
        nothing = torch.zeros_like(constant)
        assert not GroupedShrinkage(**options)(nothing, nothing)[0].any()


@pytest.mark.parametrize("frames", [0, 1])
def test_a_texture_that_repeats_is_denoised_better_than_in_single_blocks(frames: int) -> None:
    torch.manual_seed(0)
    clean = 1.5 * texture()
    noisy = clean + torch.randn_like(clean)
    blocks = BlockShrinkage(frames, 4, 1)
    pilot = blocks.firm(noisy[:, :, 0])
    single = (blocks.wiener(noisy[:, :, 0], pilot)[0] - clean[:, :, 0]).square().mean()
    grouped = (GroupedShrinkage(frames)(noisy, pilot.unsqueeze(2))[0] - clean).square().mean()
    assert grouped < 0.9 * single


def test_the_truth_as_a_pilot_tells_the_error_of_groups_that_do_not_overlap() -> None:
    torch.manual_seed(0)
    clean = (2 * torch.randn(1, 4, 1, 24, 24).cumsum(3).cumsum(4) / 10).expand(16, -1, -1, -1, -1).contiguous()
    image, expected = GroupedShrinkage(4, size=4, stride=4, count=1, radius=0)(clean + torch.randn_like(clean), clean)
    found = (image - clean).square().mean((0, 1, 2)).unflatten(0, (6, 4)).unflatten(2, (6, 4)).mean((1, 3))
    wanted = expected.mean((0, 1, 2)).unflatten(0, (6, 4)).unflatten(2, (6, 4)).mean((1, 3))
    torch.testing.assert_close(found, wanted, rtol=0.25, atol=0)
    torch.testing.assert_close(found.mean(), wanted.mean(), rtol=0.05, atol=0)


@pytest.mark.parametrize("frames", [0, 1, 4])
def test_the_truth_as_a_pilot_bounds_the_error(frames: int) -> None:
    torch.manual_seed(0)
    clean = (2 * torch.randn(1, 6, 1, 24, 24).cumsum(3).cumsum(4) / 10).expand(4, -1, -1, -1, -1).contiguous()
    image, expected = GroupedShrinkage(frames)(clean + torch.randn_like(clean), clean)
    ratio = (image - clean).square().mean() / expected.mean()
    assert 0.5 < ratio < 1.1  # overlapping groups are averaged, which the expected error of a group does not know


def test_script_gives_the_same() -> None:
    module, x = GroupedShrinkage(4), torch.randn(1, 5, 2, 13, 18)
    torch.testing.assert_close(torch.jit.script(module)(x, 2 * x), module(x, 2 * x))


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"frames": -1}, "frames"),
        ({"frames": 0, "stride": 5}, "stride"),
        ({"frames": 0, "stride": 0}, "stride"),
        ({"frames": 0, "radius": -1}, "radius"),
        ({"frames": 0, "count": 0}, "count"),
        ({"frames": 0, "count": 8, "radius": 1}, "radius"),
        ({"frames": 0, "count": 6}, "power of 2"),
    ],
)
def test_options_that_do_not_fit_are_refused(wrong: dict[str, Any], match: str) -> None:
    with pytest.raises(NetworkConfigError, match=match):
        GroupedShrinkage(**wrong)


def test_distances_may_be_shared() -> None:
    torch.manual_seed(0)
    x, pilot = torch.randn(1, 6, 2, 17, 12), torch.randn(1, 6, 2, 17, 12)
    some, every = GroupedShrinkage(4), GroupedShrinkage(0)
    torch.testing.assert_close(some(x, pilot, every.distances(pilot)), some(x, pilot), atol=0, rtol=0)
