# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Windows and patches: sizes, and the pair of pure functions that split an image into tokens and merge it again.

Everything here is written for (T, H, W); a module that treats every frame by itself folds T into the batch first.
"""

from dataclasses import dataclass

import torch

from monai_stcnnt.networks.checks import check_choice
from monai_stcnnt.networks.layers.frames import Triple, exporting

__all__ = [
    "WINDOW_SIZING",
    "WindowSize",
    "counts",
    "keep_window_count",
    "keep_window_size",
    "level_windows",
    "merge_heads",
    "merge_tokens",
    "resolve_windows",
    "split_heads",
    "split_tokens",
]

WINDOW_SIZING = ("mixed", "keep_window_size", "keep_num_window")
"""How window sizes follow the resolution levels of a backbone; see :func:`level_windows`."""


@dataclass(frozen=True)
class WindowSize:
    """A window and the patches inside it, both (t, h, w) in voxels."""

    window: Triple
    patch: Triple


def counts(size: Triple, unit: Triple) -> Triple:
    """How many whole units stand along each axis."""
    return size[0] // unit[0], size[1] // unit[1], size[2] // unit[2]


def split_pieces(x: torch.Tensor, window: Triple, patch: Triple, across: bool, side: int, depth: int) -> torch.Tensor:
    """Cut an image (B, T, H, W, C) as :func:`split_heads` does, a head having ``side`` pixels of ``depth`` channels."""
    b, t, h, w, c = x.shape
    pt, ph, pw = patch
    mt, mh, mw = counts(window, patch)
    nt, nh, nw = counts((t, h, w), window)
    x = x.reshape(b, nt, mt, pt, nh, mh, ph, nw, mw, pw // side, side, c // depth, depth)
    heads = pt * ph * (pw // side) * (c // depth)
    if across:
        x = x.permute(0, 2, 5, 8, 3, 6, 9, 11, 1, 4, 7, 10, 12)
        return x.reshape(b * mt * mh * mw, heads, nt * nh * nw, side * depth)
    x = x.permute(0, 1, 4, 7, 3, 6, 9, 11, 2, 5, 8, 10, 12)
    return x.reshape(b * nt * nh * nw, heads, mt * mh * mw, side * depth)


def merge_pieces(
    y: torch.Tensor, size: Triple, window: Triple, patch: Triple, across: bool, side: int, depth: int
) -> torch.Tensor:
    """Undo :func:`split_pieces`."""
    pt, ph, pw = patch
    c = y.shape[1] * y.shape[3] // (pt * ph * pw)
    mt, mh, mw = counts(window, patch)
    nt, nh, nw = counts(size, window)
    if across:
        y = y.reshape(-1, mt, mh, mw, pt, ph, pw // side, c // depth, nt, nh, nw, side, depth)
        y = y.permute(0, 8, 1, 4, 9, 2, 5, 10, 3, 6, 11, 7, 12)
    else:
        y = y.reshape(-1, nt, nh, nw, pt, ph, pw // side, c // depth, mt, mh, mw, side, depth)
        y = y.permute(0, 1, 8, 4, 2, 9, 5, 3, 10, 6, 11, 7, 12)
    return y.reshape(-1, size[0], size[1], size[2], c)


def split_tokens(x: torch.Tensor, window: Triple, patch: Triple, across: bool) -> torch.Tensor:
    """Cut an image into windows of patches and lay the patches out as tokens.

    Args:
        x: image (B, T, H, W, C); each extent is a multiple of the window, the window a multiple of the patch.
        window: (t, h, w) of a window.
        patch: (t, h, w) of a patch.
        across: False makes the patches of one window the tokens that meet (one group per window); True makes the
            patches that stand at one position of all windows the tokens that meet (one group per position).

    Returns:
        Tokens (B * groups, tokens, t * h * w * C): the feature is a patch flattened as (t, h, w, C), channel fastest.
    """
    return split_pieces(x, window, patch, across, 1, x.shape[4]).transpose(1, 2).flatten(2)


def merge_tokens(tokens: torch.Tensor, size: Triple, window: Triple, patch: Triple, across: bool) -> torch.Tensor:
    """Undo :func:`split_tokens`, for an image (B, T, H, W, C) of ``size`` = (T, H, W)."""
    pixels = tokens.unflatten(2, (patch[0] * patch[1] * patch[2], -1)).transpose(1, 2)
    return merge_pieces(pixels, size, window, patch, across, 1, pixels.shape[3])


def head_shape(channels: int, width: int, features: int) -> tuple[int, int]:
    """Neighbors along W and channels that a head has in a patch ``width`` wide; (0, 0) if they are not whole.

    So it is while a network is exported, because the features of a whole window depend on the size of the image.
    """
    if exporting():
        return 0, 0
    if channels % features == 0:
        return 1, features
    neighbors = features // channels
    return (neighbors, channels) if features % channels == 0 and width % neighbors == 0 else (0, 0)


def split_heads(x: torch.Tensor, window: Triple, patch: Triple, across: bool, heads: int) -> torch.Tensor:
    """Cut an image into tokens as :func:`split_tokens` does, and every token into heads.

    It is one copy where a head has whole pixels or a pixel whole heads, else two.

    Args:
        x: image (B, T, H, W, C); each extent is a multiple of the window, the window a multiple of the patch.
        window: (t, h, w) of a window.
        patch: (t, h, w) of a patch.
        across: see :func:`split_tokens`.
        heads: a divisor of the features of a token.

    Returns:
        (B * groups, heads, tokens, features of a token / heads).
    """
    features = patch[0] * patch[1] * patch[2] * x.shape[4] // heads
    side, depth = head_shape(x.shape[4], patch[2], features)
    if side == 0:
        return split_tokens(x, window, patch, across).unflatten(2, (heads, features)).transpose(1, 2)
    return split_pieces(x, window, patch, across, side, depth)


def merge_heads(y: torch.Tensor, size: Triple, window: Triple, patch: Triple, across: bool) -> torch.Tensor:
    """Undo :func:`split_heads`, for an image (B, T, H, W, C) of ``size`` = (T, H, W)."""
    channels = y.shape[1] * y.shape[3] // (patch[0] * patch[1] * patch[2])
    side, depth = head_shape(channels, patch[2], y.shape[3])
    if side == 0:
        return merge_tokens(y.transpose(1, 2).flatten(2), size, window, patch, across)
    return merge_pieces(y, size, window, patch, across, side, depth)


def resolve_windows(size: Triple, wanted: WindowSize) -> WindowSize:
    """Fit a wanted window and patch to an image.

    The image is cut into as many windows as fit (one at least), the window into as many patches as fit; where the
    division leaves a remainder the window grows to share it out, and a patch never has a fraction of a voxel.

    Args:
        size: (T, H, W) of the image.
        wanted: window and patch that were asked for.
    """
    windows, patches = [], []
    for extent, window, patch in zip(size, wanted.window, wanted.patch, strict=True):
        grown = max(extent // max(extent // window, 1), 1)
        per_window = min(max(window // patch, 1), grown)
        fitted = grown // per_window
        patches.append(fitted)
        windows.append(fitted * per_window)
    return WindowSize((windows[0], windows[1], windows[2]), (patches[0], patches[1], patches[2]))


def keep_window_count(size: Triple, full_size: Triple, wanted: WindowSize, shrink: int) -> WindowSize:
    """Window sizes for a level that keeps the number of windows of the full resolution, divided by ``shrink``.

    At least 2 windows stay along an axis. Only H and W follow; T keeps what was asked for. Returns the window and
    patch for an image of ``size``.
    """
    window, patch = [wanted.window[0]], [wanted.patch[0]]
    for axis in (1, 2):
        count = max(full_size[axis] // wanted.window[axis] // shrink, 2)
        per_window = max(wanted.window[axis] // wanted.patch[axis], 1)
        window.append(max(size[axis] // count, 1))
        patch.append(max(window[-1] // per_window, 1))
    return WindowSize((window[0], window[1], window[2]), (patch[0], patch[1], patch[2]))


def keep_window_size(size: Triple, wanted: WindowSize) -> WindowSize:
    """Window sizes for a level that keeps the window, halved where fewer than two windows or patches would fit.

    Only H and W follow; T keeps what was asked for.
    """
    window, patch = [wanted.window[0]], [wanted.patch[0]]
    for axis in (1, 2):
        fits = size[axis] // wanted.window[axis] >= 2
        window.append(wanted.window[axis] if fits else max(size[axis] // 2, 1))
        fits = window[-1] // wanted.patch[axis] >= 2
        patch.append(wanted.patch[axis] if fits else max(window[-1] // 2, 1))
    return WindowSize((window[0], window[1], window[2]), (patch[0], patch[1], patch[2]))


def level_windows(sizes: list[Triple], wanted: WindowSize, sizing: str) -> tuple[list[WindowSize], list[WindowSize]]:
    """Window sizes of every resolution level of a backbone.

    ``keep_num_window`` keeps the number of windows, so that they shrink with the image; ``keep_window_size`` keeps
    their size, so that there are fewer; ``mixed`` alternates, even levels by number (halved every second level) and odd
    levels by size. The first block of a level follows the rule; the later blocks of that level keep its window size.

    Args:
        sizes: (T, H, W) per level, full resolution first.
        wanted: window and patch at full resolution.
        sizing: one of :data:`WINDOW_SIZING`.

    Returns:
        Sizes for the first block of every level, and for the later blocks of every level.

    Raises:
        NetworkConfigError: for another rule.
    """
    check_choice("window_sizing", sizing, WINDOW_SIZING)
    first: list[WindowSize] = []
    for level, size in enumerate(sizes):
        by_count = sizing == "keep_num_window" or (sizing == "mixed" and level % 2 == 0)
        if by_count:
            shrink = 2 ** (level // 2) if sizing == "mixed" else 1
            first.append(keep_window_count(size, sizes[0], wanted, shrink))
        else:
            first.append(keep_window_size(size, first[-1] if first else wanted))
    return first, [keep_window_size(size, window) for size, window in zip(sizes, first, strict=True)]
