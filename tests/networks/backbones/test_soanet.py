# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The stack of attentions: stages in a row, and the three examples that it has to take."""

from __future__ import annotations

import pytest
import torch

from monai_stcnnt.networks.backbones import STCNNTSOANet
from tests.networks.laws import SMALL, check_gradients

__all__: list[str] = []


@pytest.mark.parametrize("downsample", [True, False])
def test_stages_stand_in_a_row(downsample: bool) -> None:
    net = STCNNTSOANet(3, 4, ["T1", "L1", "G0"], downsample=downsample, **SMALL).eval()
    x = torch.randn(1, 2, 3, 16, 16)
    wanted = []
    y = x
    for down, block in zip(net.downs, net.blocks, strict=True):
        y = block(down(y))
        wanted.append(y)
    outputs = net(x)
    assert net.strides == ([1, 2, 4] if downsample else [1, 1, 1])
    for got, expected in zip(outputs, wanted, strict=True):
        torch.testing.assert_close(got, expected)


def test_stages_default_to_the_block_strings() -> None:
    assert len(STCNNTSOANet(3, 4, ["T1", "L1"], **SMALL).blocks) == 2
    assert len(STCNNTSOANet(3, 4, "T1", **SMALL).blocks) == 1
    assert len(STCNNTSOANet(3, 4, ["T1"], 3, **SMALL).blocks) == 3


@pytest.mark.parametrize(
    "block_strings",
    [
        ["S3ShS3Sh", "S3ShS3Sh", "S3Sh" * 6, "S3ShS3Sh"],
        ["V2" * 12],
        ["V3" * 3, "V3" * 6, "V3" * 12],
    ],
    ids=["Swin", "ViT", "3D ViT"],
)
def test_examples_run_forward_and_backward(block_strings: list[str]) -> None:
    net = STCNNTSOANet(2, 2, block_strings, **{**SMALL, "img_size": (4, 32, 32)})
    x = torch.randn(1, 4, 2, 32, 32)
    assert [y.shape[2] for y in net(x)] == [2 * 2**i for i in range(len(block_strings))]
    check_gradients(net, x)
