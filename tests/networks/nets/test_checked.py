# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of the check of what a denoiser gives."""

from __future__ import annotations

import pytest
import torch

from monai_stcnnt.errors import NetworkOutputError
from monai_stcnnt.networks.nets import CheckedDenoiser

__all__: list[str] = []


class Give(torch.nn.Module):
    """Gives one value for every pixel, in as many channels as there are before the g-factor map."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.full_like(x[:, :-1], self.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(NetworkOutputError, match="nothing is written"):
        CheckedDenoiser(Give(value))(torch.rand(1, 3, 2, 4, 4))


def test_magnitudes_do_not_become_negative() -> None:
    image = torch.rand(1, 2, 3, 4, 5)
    image[0, 0, 0, 0, 0] = -7.0
    out = CheckedDenoiser(Give(-5.0))(image)
    assert out[0, 0, 0, 0, 0] == -5.0
    assert int((out < 0).sum()) == 1
    assert bool((CheckedDenoiser(Give(2.0))(image) == 2.0).all())


def test_complex_images_keep_their_signs() -> None:
    assert bool((CheckedDenoiser(Give(-5.0))(torch.rand(1, 3, 2, 4, 4)) == -5.0).all())
