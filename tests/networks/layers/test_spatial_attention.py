# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Spatial attention: who meets whom, by brute force and by who changes when a pixel changes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.layers.attention import attend
from monai_stcnnt.networks.layers.spatial_attention import SpatialAttention, SpatialKind, part_mask, shifted_parts
from monai_stcnnt.networks.layers.windows import WindowSize

__all__: list[str] = []

Triple = tuple[int, int, int]
KINDS: list[SpatialKind] = ["local", "global", "vit", "swin"]


def make(
    kind: SpatialKind,
    size: Triple = (1, 8, 8),
    window: Triple = (1, 4, 4),
    patch: Triple = (1, 2, 2),
    **options: Any,  # noqa: ANN401
) -> SpatialAttention:
    """Make a small module in eval mode, 2 to 4 channels."""
    defaults = {"output_proj": False, "kernel_size": 1, "position_bias": "none", "num_heads": 1}
    return SpatialAttention(2, 4, size, WindowSize(window, patch), kind, **{**defaults, **options}).eval()


def brute_force(module: Any, x: torch.Tensor, meet: list[list[tuple[slice, ...]]]) -> torch.Tensor:  # noqa: ANN401
    """Let the image patches of every list attend to each other, pixel values of a patch as one token."""
    q, k, v = module.project(x)
    result = torch.zeros_like(v)
    for patches in meet:
        a, b, c = (torch.stack([y[0, 0, :, i, j].flatten() for i, j in patches])[None, None] for y in (q, k, v))
        out = attend(a, b, c, "cosine", None, None, 0.0)[0, 0]
        for token, (rows, columns) in zip(out, patches, strict=True):
            result[0, 0, :, rows, columns] = token.reshape(
                v.shape[2], rows.stop - rows.start, columns.stop - columns.start
            )
    return result


def squares(starts: list[tuple[int, int]], size: int) -> list[tuple[slice, ...]]:
    """Squares of an image by their corners."""
    return [(slice(i, i + size), slice(j, j + size)) for i, j in starts]


GRID = list(itertools.product((0, 4), (0, 4)))
MEETINGS: dict[str, list[list[tuple[slice, ...]]]] = {
    "local": [squares([(a + i, b + j) for i in (0, 2) for j in (0, 2)], 2) for a, b in GRID],
    "global": [squares([(a + i, b + j) for a, b in GRID], 2) for i in (0, 2) for j in (0, 2)],
    "vit": [squares(GRID, 4)],
    "swin": [squares([(a + i, b + j) for i in range(4) for j in range(4)], 1) for a, b in GRID],
}


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_meet_as_the_kind_says(kind: SpatialKind) -> None:
    module, x = make(kind), torch.randn(1, 1, 2, 8, 8)
    torch.testing.assert_close(module(x), brute_force(module, x, MEETINGS[kind]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", [0, 1])
def test_position_bias_before_and_after(kind: SpatialKind, place: int) -> None:
    biased = make(kind, position_bias=("before_softmax", "after_softmax")[place])
    plain, x = make(kind), torch.randn(1, 2, 2, 8, 8)
    state = biased.state_dict()
    table = state.pop("position_bias.table")
    plain.load_state_dict(state)
    assert not torch.allclose(biased(x), plain(x))
    table.fill_(0.7)
    difference = biased(x) - plain(x)
    if place == 0:
        torch.testing.assert_close(difference, torch.zeros_like(difference), atol=1e-5, rtol=0)
    else:
        assert difference.abs().max() > 0.01


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("qkv", ["conv", "linear"])
@pytest.mark.parametrize("size", [(3, 9, 7), (1, 1, 1), (4, 8, 16), (2, 3, 20), (5, 1, 4)])
def test_any_size_in_any_size_out(kind: SpatialKind, spatial_dims: int, qkv: str, size: Triple) -> None:
    module = make(
        kind,
        (4, 8, 8),
        (2, 4, 4),
        spatial_dims=spatial_dims,
        qkv=qkv,
        shifted=kind == "swin",
        position_bias="after_softmax",
        num_heads=2,
    )
    y = module(torch.randn(1, size[0], 2, size[1], size[2]))
    assert y.shape == (1, size[0], 4, size[1], size[2])
    assert bool(y.isfinite().all())


@pytest.mark.parametrize("kind", KINDS)
def test_frames_meet_in_three_dimensions_only(kind: SpatialKind) -> None:
    x = torch.randn(1, 4, 2, 8, 8)
    for spatial_dims, seen in ((2, [False, True, False, False]), (3, [True] * 4)):
        module = make(kind, (4, 8, 8), (4, 4, 4) if kind != "vit" else (2, 4, 4), (1, 2, 2), spatial_dims=spatial_dims)
        if kind == "global" and spatial_dims == 3:
            module = make(kind, (4, 8, 8), (1, 4, 4), (1, 2, 2), spatial_dims=3)
        other = x.clone()
        other[:, 1] += 1
        changed = (module(other) - module(x)).abs().amax([0, 2, 3, 4]) > 1e-6
        assert changed.tolist() == seen


@pytest.mark.parametrize("kind", KINDS)
def test_one_frame_is_the_same_in_two_and_three_dimensions(kind: SpatialKind) -> None:
    flat = make(kind, position_bias="after_softmax")
    deep = make(kind, position_bias="after_softmax", spatial_dims=3)
    deep.load_state_dict({n: t.unsqueeze(2) if t.dim() == 4 else t for n, t in flat.state_dict().items()})
    x = torch.randn(2, 1, 2, 8, 8)
    torch.testing.assert_close(deep(x), flat(x))


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_shift_changes_nothing_where_one_window_covers_all(spatial_dims: int) -> None:
    plain = make("swin", (2, 4, 4), (2, 4, 4), spatial_dims=spatial_dims)
    shifted = make("swin", (2, 4, 4), (2, 4, 4), spatial_dims=spatial_dims, shifted=True)
    shifted.load_state_dict(plain.state_dict())
    x = torch.randn(1, 2, 2, 4, 4)
    torch.testing.assert_close(shifted(x), plain(x))
    assert not torch.allclose(shifted(torch.cat([x, x], 3)), plain(torch.cat([x, x], 3)))


def test_shifted_windows_join_neighbors_and_not_the_two_ends() -> None:
    module, x = make("swin", (1, 8, 8), (1, 4, 4), shifted=True), torch.randn(1, 1, 2, 8, 8)
    y = module(x)
    x[..., 0, 0] += 1
    changed = (module(x) - y).abs().amax([0, 1, 2]) > 1e-6
    wanted = torch.zeros(8, 8, dtype=torch.bool)
    wanted[:2, :2] = True
    assert changed.tolist() == wanted.tolist()


@pytest.mark.parametrize(
    ("size", "window", "shift"),
    [((4, 4, 8), (2, 2, 4), (1, 1, 2)), ((2, 6, 6), (2, 3, 3), (0, 1, 1)), ((1, 8, 4), (1, 4, 4), (0, 2, 0))],
)
def test_mask_parts_what_the_roll_joined(size: Triple, window: Triple, shift: Triple) -> None:
    parts = shifted_parts(size, window, shift, torch.device("cpu"))
    corners = itertools.product(*(range(0, s, w) for s, w in zip(size, window, strict=True)))
    for group, corner in enumerate(corners):
        voxels = list(itertools.product(*(range(c, c + w) for c, w in zip(corner, window, strict=True))))
        wrapped = [tuple(p + d >= s for p, d, s in zip(voxel, shift, size, strict=True)) for voxel in voxels]
        wanted = torch.tensor([[0.0 if a == b else -100.0 for b in wrapped] for a in wrapped])
        torch.testing.assert_close(part_mask(parts[group]), wanted)


@pytest.mark.parametrize("size", [(4, 8, 12), (2, 8, 8), (4, 4, 12), (6, 12, 4)])
def test_windows_with_one_mask_go_together(size: Triple, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {
        "shifted": True, "num_heads": 2, "position_bias": "before_softmax", "spatial_dims": 3,
    }  # fmt: skip
    module, x = make("swin", size, (2, 4, 4), **options), torch.randn(2, size[0], 2, *size[1:])
    together = module(x)
    monkeypatch.setattr("monai_stcnnt.networks.layers.spatial_attention.exporting", lambda: True)
    torch.testing.assert_close(together, module(x))  # as an export does it, with a mask for every window


def test_local_stays_in_its_window_when_the_image_grows() -> None:
    module, x = make("local", position_bias="after_softmax"), torch.randn(1, 1, 2, 14, 11)
    torch.testing.assert_close(module(x)[..., :8, :8], module(x[..., :8, :8]))


def test_global_keeps_the_number_of_windows() -> None:
    module = make("global")
    assert module.fit_windows((1, 32, 16)) == ((1, 32, 16), (1, 16, 8), (1, 2, 2))
    assert module.fit_windows((1, 9, 5)) == ((1, 12, 8), (1, 6, 4), (1, 2, 2))


@pytest.mark.parametrize("kind", ["local", "global", "vit"])
def test_strided_queries_keep_the_size(kind: SpatialKind) -> None:
    module = make(kind, qk_stride=2, output_proj=True)
    assert module(torch.randn(1, 2, 2, 11, 8)).shape == (1, 2, 4, 11, 8)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kind": "axial"}, "'axial'"),
        ({"kind": "local", "qkv": "mlp"}, "'mlp'"),
        ({"kind": "local", "similarity": "l1"}, "'l1'"),
        ({"kind": "local", "position_bias": "yes"}, "'yes'"),
        ({"kind": "swin", "num_heads": 3}, "num_heads=3"),
        ({"kind": "swin", "qk_stride": 2}, r"qk_stride=2 .* \(1, 1, 1\)"),
        ({"kind": "local", "qk_stride": 2, "qkv": "linear"}, "qkv is linear"),
        ({"kind": "local", "qk_stride": 2, "num_heads": 8}, "num_heads=8"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(NetworkConfigError, match=said):
        make(**options)
