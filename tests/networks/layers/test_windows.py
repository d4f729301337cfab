# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Windows: split and merge undo each other, sizes fit the image, levels follow their rule."""

from __future__ import annotations

import itertools

import pytest
import torch

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.layers.windows import (
    WindowSize,
    keep_window_count,
    keep_window_size,
    level_windows,
    merge_heads,
    merge_tokens,
    resolve_windows,
    split_heads,
    split_tokens,
)

__all__: list[str] = []

Triple = tuple[int, int, int]


def random_geometry(seed: int) -> tuple[Triple, Triple, Triple]:
    """Draw a size, a window that divides it, and a patch that divides the window."""
    generator = torch.Generator().manual_seed(seed)
    patch, per_window, windows = (torch.randint(1, 4, (3,), generator=generator).tolist() for _ in range(3))
    window = [p * n for p, n in zip(patch, per_window, strict=True)]
    size = [w * n for w, n in zip(window, windows, strict=True)]
    return tuple(size), tuple(window), tuple(patch)


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_merge_undoes_split(seed: int, across: bool) -> None:
    size, window, patch = random_geometry(seed)
    image = torch.randn(2, *size, 3)
    tokens = split_tokens(image, window, patch, across)
    assert tokens.shape[2] == patch[0] * patch[1] * patch[2] * 3
    torch.testing.assert_close(merge_tokens(tokens, size, window, patch, across), image, rtol=0, atol=0)


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_tokens_are_the_patches(seed: int, across: bool) -> None:
    size, window, patch = random_geometry(seed)
    image = torch.randn(2, *size, 3)
    tokens = split_tokens(image, window, patch, across)
    counts = [s // w for s, w in zip(size, window, strict=True)]
    inside = [w // p for w, p in zip(window, patch, strict=True)]
    groups, members = (inside, counts) if across else (counts, inside)
    rows = itertools.product(range(2), *(range(n) for n in groups))
    for row, (b, *group) in enumerate(rows):
        for column, member in enumerate(itertools.product(*(range(n) for n in members))):
            win, place = (member, group) if across else (group, member)
            start = [n * w + m * p for n, w, m, p in zip(win, window, place, patch, strict=True)]
            cut = image[b][tuple(slice(s, s + p) for s, p in zip(start, patch, strict=True))]
            torch.testing.assert_close(tokens[row, column], cut.flatten(), rtol=0, atol=0)


@pytest.mark.parametrize("seed", range(20))
def test_resolved_windows_fit_any_image(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    size, window, patch = (tuple(torch.randint(1, 20, (3,), generator=generator).tolist()) for _ in range(3))
    fitted = resolve_windows(size, WindowSize(window, patch))
    for extent, wanted, w, p in zip(size, window, fitted.window, fitted.patch, strict=True):
        assert w % p == 0
        assert 1 <= w <= extent
        assert extent // w >= max(extent // wanted, 1)


@pytest.mark.parametrize(
    ("extent", "window", "patch", "fitted"),
    [(64, 8, 4, (8, 4)), (70, 8, 4, (8, 4)), (30, 8, 4, (10, 5)), (5, 8, 4, (4, 2)), (1, 8, 4, (1, 1))],
)
def test_resolved_window_examples(extent: int, window: int, patch: int, fitted: tuple[int, int]) -> None:
    result = resolve_windows((1, extent, extent), WindowSize((1, window, window), (1, patch, patch)))
    assert (result.window[1], result.patch[1]) == fitted


@pytest.mark.parametrize(
    ("sizing", "windows"),
    [("keep_num_window", [8, 4, 2, 1]), ("keep_window_size", [8, 8, 8, 4]), ("mixed", [8, 8, 4, 4])],
)
def test_windows_follow_the_levels(sizing: str, windows: list[int]) -> None:
    sizes = [(4, 64 // 2**i, 64 // 2**i) for i in range(4)]
    first, later = level_windows(sizes, WindowSize((2, 8, 8), (1, 4, 4)), sizing)
    assert [w.window[1] for w in first] == windows
    assert all(w.window[0] == 2 and w.patch[0] == 1 for w in [*first, *later])
    assert later == [keep_window_size(size, w) for size, w in zip(sizes, first, strict=True)]


def test_later_blocks_halve_a_window_that_fits_only_once() -> None:
    assert keep_window_size((1, 8, 8), WindowSize((1, 8, 8), (1, 4, 4))) == WindowSize((1, 4, 4), (1, 2, 2))


def test_window_count_stays_and_follows_each_axis() -> None:
    wanted = WindowSize((2, 8, 8), (1, 4, 2))
    assert keep_window_count((4, 16, 32), (4, 32, 64), wanted, 1) == WindowSize((2, 4, 4), (1, 2, 1))


def test_unknown_rule_is_refused() -> None:
    with pytest.raises(NetworkConfigError, match="'shrink'"):
        level_windows([(1, 8, 8)], WindowSize((1, 4, 4), (1, 2, 2)), "shrink")


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("channels", [1, 6])
@pytest.mark.parametrize("seed", range(4))
def test_heads_share_the_features_of_a_token_in_their_order(seed: int, channels: int, across: bool) -> None:
    size, window, patch = random_geometry(seed)
    x = torch.randn(2, *size, channels)
    tokens = split_tokens(x, window, patch, across)
    features = tokens.shape[2]
    for heads in (heads for heads in range(1, features + 1) if features % heads == 0):
        y = split_heads(x, window, patch, across, heads)
        wanted = tokens.unflatten(2, (heads, -1)).transpose(1, 2)
        torch.testing.assert_close(y, wanted, rtol=0, atol=0)
        torch.testing.assert_close(merge_heads(y, size, window, patch, across), x, rtol=0, atol=0)
