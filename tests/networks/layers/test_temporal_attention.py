# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Temporal attention: frames are a set unless causal, T is free, heads share channels or pixels."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.layers.attention import attend
from monai_stcnnt.networks.layers.temporal_attention import TemporalAttention

__all__: list[str] = []


def make(**options: Any) -> TemporalAttention:  # noqa: ANN401
    """Make a small module in eval mode, 3 to 4 channels."""
    return TemporalAttention(3, 4, options.pop("num_heads", 2), **options).eval()


@pytest.mark.parametrize("similarity", ["cosine", "dot", "normalized"])
def test_permuting_frames_permutes_the_output(similarity: Any) -> None:  # noqa: ANN401
    module, x, order = make(similarity=similarity), torch.randn(2, 5, 3, 6, 5), [3, 0, 4, 1, 2]
    torch.testing.assert_close(module(x[:, order]), module(x)[:, order])


def test_every_frame_sees_every_frame() -> None:
    module, x = make(), torch.randn(1, 4, 3, 5, 5)
    y = module(x)
    x[:, 2] += 1
    assert bool(((module(x) - y).abs().amax([0, 2, 3, 4]) > 0).all())


def test_causal_does_not_see_the_future() -> None:
    module, x = make(causal=True), torch.randn(1, 4, 3, 5, 5)
    y = module(x)
    x[:, 2] += 1
    changed = (module(x) - y).abs().amax([0, 2, 3, 4]) > 0
    assert changed.tolist() == [False, False, True, True]


def test_causal_runs_frame_by_frame() -> None:
    module, x = make(causal=True), torch.randn(1, 4, 3, 5, 5)
    y = module(x)
    for frames in range(1, 5):
        torch.testing.assert_close(module(x[:, :frames]), y[:, :frames])


@pytest.mark.parametrize("causal", [False, True])
def test_one_frame_passes_its_values_on(causal: bool) -> None:
    module, x = make(causal=causal, output_proj=False), torch.randn(2, 1, 3, 5, 5)
    torch.testing.assert_close(module(x), module.project(x)[2])


def test_more_than_a_thousand_frames() -> None:
    assert make(causal=True)(torch.randn(1, 1003, 3, 2, 2)).shape == (1, 1003, 4, 2, 2)


@pytest.mark.parametrize(("h", "w"), [(1, 1), (1, 4), (5, 3)])
def test_any_image_size(h: int, w: int) -> None:
    assert make()(torch.randn(2, 3, 3, h, w)).shape == (2, 3, 4, h, w)


def test_heads_are_slices_of_the_channels() -> None:
    module, x = make(output_proj=False), torch.randn(1, 3, 3, 4, 4)
    q, k, v = module.project(x)
    heads = []
    for head in range(2):
        a, b, c = (part[:, None, :, 2 * head : 2 * head + 2].flatten(3) for part in (q, k, v))
        heads.append(attend(a, b, c, "cosine", None, None, 0.0)[:, 0].unflatten(2, (2, 4, 4)))
    torch.testing.assert_close(module(x), torch.cat(heads, dim=2))


def test_pixel_heads_may_outnumber_the_channels() -> None:
    module, x = make(num_heads=8, heads="pixel", output_proj=False), torch.randn(1, 3, 3, 4, 4)
    q, k, v = (part.flatten(2).unflatten(2, (8, 8)).transpose(1, 2) for part in module.project(x))
    wanted = attend(q, k, v, "cosine", None, None, 0.0).transpose(1, 2).reshape(1, 3, 4, 4, 4)
    torch.testing.assert_close(module(x), wanted)
    with pytest.raises(NetworkConfigError, match="num_heads=8"):
        make(num_heads=8)


def test_pixels_that_heads_do_not_divide_are_refused() -> None:
    with pytest.raises(NetworkConfigError, match=r"36 numbers .* num_heads=8"):
        make(num_heads=8, heads="pixel")(torch.randn(1, 2, 3, 3, 3))


def test_strided_queries_keep_the_size() -> None:
    assert make(qk_stride=2)(torch.randn(1, 3, 3, 7, 6)).shape == (1, 3, 4, 7, 6)


@pytest.mark.parametrize(
    "options", [{"heads": "row"}, {"similarity": "l1"}, {"num_heads": 3}, {"num_heads": 0, "heads": "pixel"}]
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(NetworkConfigError, match=str(next(iter(options.values())))):
        make(**options)
