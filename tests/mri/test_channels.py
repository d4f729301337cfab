# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Complex tensors and their channels."""

from __future__ import annotations

import pytest
import torch

from monai_stcnnt.errors import LayoutError
from monai_stcnnt.mri.channels import channels_to_complex, complex_to_channels, image_magnitude

__all__: list[str] = []


@pytest.mark.parametrize("channel_dim", [0, 1, -1])
def test_round_trip(channel_dim: int) -> None:
    image = torch.randn(3, 4, 5, dtype=torch.complex64)
    channels = complex_to_channels(image, channel_dim)
    torch.testing.assert_close(channels_to_complex(channels, channel_dim), image)
    torch.testing.assert_close(image_magnitude(channels, channel_dim).squeeze(channel_dim), image.abs())


def test_magnitude_of_one_channel() -> None:
    assert image_magnitude(torch.tensor([[-2.0, 3.0]])).tolist() == [[2.0, 3.0]]


@pytest.mark.parametrize("channels", [1, 3])
def test_wrong_channels_are_named(channels: int) -> None:
    with pytest.raises(LayoutError, match=rf"\({channels}, 4\)"):
        channels_to_complex(torch.zeros(channels, 4))


def test_three_channels_have_no_magnitude() -> None:
    with pytest.raises(LayoutError, match=r"\(3, 4\)"):
        image_magnitude(torch.zeros(3, 4))
