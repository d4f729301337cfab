# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The segmenter on packed pixels: any size, the same as its segmenter on packed frames, scripts like it runs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from monai_stcnnt.errors import LayoutError, NetworkConfigError
from monai_stcnnt.networks.nets import STCNNTPackedSegmenter, build_variant

OPTIONS: dict[str, Any] = {
    "img_size": (2, 8, 8),
    "num_heads": 2,
    "norm": "instance2d",
    "block_strings": ("C2", "T1"),
    "levels": 2,
}


def test_logits_are_those_of_packed_frames_unpacked() -> None:
    net = STCNNTPackedSegmenter(2, 3, 4, **OPTIONS).eval()
    x = torch.randn(1, 2, 2, 16, 12)
    packed = torch.stack([x[..., i::2, j::2] for i in range(2) for j in range(2)], 2).flatten(1, 2)
    logits = net.segmenter(packed.transpose(1, 2)).transpose(1, 2).unflatten(1, (3, 2, 2))
    for i in range(2):
        for j in range(2):
            torch.testing.assert_close(net(x)[..., i::2, j::2], logits[:, :, i, j])


@pytest.mark.parametrize("size", [(1, 9, 7), (3, 8, 11)])
def test_any_size_in_either_layout(size: tuple[int, int, int]) -> None:
    net = STCNNTPackedSegmenter(1, 4, 4, pack=3, **OPTIONS).eval()
    frames = STCNNTPackedSegmenter(1, 4, 4, pack=3, layout="BTCHW", **OPTIONS).eval()
    frames.load_state_dict(net.state_dict())
    x = torch.randn(2, 1, *size)
    assert net(x).shape == (2, 4, *size)
    torch.testing.assert_close(frames(x.transpose(1, 2)).transpose(1, 2), net(x))


def test_script_equals_eager_and_every_weight_learns() -> None:
    net = STCNNTPackedSegmenter(1, 4, 4, **OPTIONS)
    x = torch.randn(1, 1, 3, 10, 12)
    net(x).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in net.parameters())
    net.eval()
    torch.testing.assert_close(torch.jit.script(net)(x), net(x))


def test_the_variant_is_small_and_takes_one_channel() -> None:
    net = build_variant("stcnnt_segmenter")
    assert isinstance(net, STCNNTPackedSegmenter)
    assert 0.4e6 < sum(p.numel() for p in net.parameters()) < 1.2e6


def test_wrong_options_are_refused() -> None:
    with pytest.raises(NetworkConfigError, match="pack must be 2"):
        STCNNTPackedSegmenter(1, 4, 4, pack=1, **OPTIONS)
    with pytest.raises(NetworkConfigError, match="deep_supervision"):
        STCNNTPackedSegmenter(1, 4, 4, deep_supervision=True, **OPTIONS)
    with pytest.raises(LayoutError, match="1 channels"):
        STCNNTPackedSegmenter(1, 4, 4, **OPTIONS)(torch.randn(1, 2, 3, 8, 8))
