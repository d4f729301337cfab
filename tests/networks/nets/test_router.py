# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of the router."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from monai_stcnnt.errors import LayoutError, NetworkConfigError
from monai_stcnnt.networks.nets import ChannelRouter, build_variant


def test_each_image_goes_to_its_network() -> None:
    nets: list[Any] = [build_variant(f"stcnnt_light{kind}", channels=4).eval() for kind in ("", "_magnitude")]
    for net in nets:
        torch.nn.init.normal_(net.head.conv.weight)
    router = ChannelRouter(nets)
    for net, channels in zip(nets, (3, 2), strict=True):
        x = torch.randn(1, channels, 2, 16, 16)
        assert torch.equal(router(x), net(x))
    with pytest.raises(LayoutError, match="magnitude images"):
        router(torch.randn(1, 4, 2, 16, 16))


def test_two_networks_for_the_same_channels_are_refused() -> None:
    net: Any = build_variant("stcnnt_light", channels=4)
    with pytest.raises(NetworkConfigError, match="differ"):
        ChannelRouter([net, net])
