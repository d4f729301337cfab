# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The map as a channel, as a factor, and as a random draw."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pytest
import torch
from monai.data.meta_tensor import MetaTensor

from monai_stcnnt.errors import GFactorMapError
from monai_stcnnt.transforms.gfactor import (
    AppendGFactor,
    AppendGFactord,
    ApplyGFactor,
    ApplyGFactord,
    RandGFactorMap,
    RandGFactorMapd,
)

__all__: list[str] = []


@pytest.mark.parametrize(
    ("shape", "channel_dim", "gmap"),
    [
        ((2, 3, 6, 5), 0, (1, 3, 6, 5)),
        ((2, 3, 6, 5), 0, (6, 5)),
        ((2, 3, 6, 5), 0, (3, 6, 5)),
        ((4, 2, 3, 6, 5), 1, (4, 1, 3, 6, 5)),
        ((4, 1, 3, 6, 5), 1, (4, 3, 6, 5)),
        ((4, 1, 3, 6, 5), 1, (1, 1, 1, 6, 5)),
    ],
)
def test_map_becomes_the_last_channel(shape: tuple[int, ...], channel_dim: int, gmap: tuple[int, ...]) -> None:
    image, values = torch.rand(shape), torch.rand(gmap) + 1
    out = AppendGFactor(channel_dim)(image, values)
    assert isinstance(out, torch.Tensor)
    channels = shape[channel_dim]
    assert torch.equal(out.narrow(channel_dim, 0, channels), image)
    appended = out.narrow(channel_dim, channels, 1)
    assert appended.shape[channel_dim] == 1
    assert torch.equal(appended.unique(), values.unique())


def test_missing_map_is_ones() -> None:
    out = AppendGFactord("image")({"image": np.zeros((1, 2, 3, 4), np.float32)})["image"]
    assert isinstance(out, np.ndarray)
    assert out.shape == (2, 2, 3, 4)
    assert np.all(out[1] == 1)


@pytest.mark.parametrize("gmap", [torch.zeros(1, 2, 3, 4), torch.ones(1, 2, 3, 5)])
def test_bad_map_is_refused(gmap: torch.Tensor) -> None:
    with pytest.raises(GFactorMapError):
        AppendGFactord("image")({"image": torch.zeros(2, 2, 3, 4), "gmap": gmap})


@pytest.mark.parametrize("operation", ["multiply", "divide"])
def test_application_is_undone(operation: str) -> None:
    image = MetaTensor(torch.randn(2, 3, 4, 5))
    gmap = 1 + torch.rand(1, 3, 4, 5)
    transform = ApplyGFactord("image", operation=operation)  # type: ignore[arg-type] # one of the two, from the table
    out = transform({"image": image, "gmap": gmap})
    assert out["image"].applied_operations
    expected = image.as_tensor() * gmap if operation == "multiply" else image.as_tensor() / gmap
    torch.testing.assert_close(out["image"].as_tensor(), expected)
    torch.testing.assert_close(transform.inverse(out)["image"].as_tensor(), image.as_tensor())
    assert torch.equal(transform({"image": image})["image"], image)


def test_wrong_operation_and_lost_map() -> None:
    with pytest.raises(ValueError, match="multiply"):
        ApplyGFactor("add")  # type: ignore[arg-type] # the point of the test
    with pytest.raises(GFactorMapError, match="MetaTensor"):
        ApplyGFactor().inverse(torch.zeros(1, 2, 2))


def test_random_map_fits_the_clip_and_replays() -> None:
    data: dict[Hashable, Any] = {"image": torch.zeros(2, 3, 16, 12)}
    maps = [RandGFactorMapd("image").set_random_state(2)(data)["gmap"] for _ in range(2)]
    assert maps[0].shape == (1, 3, 16, 12)
    assert torch.equal(maps[0], maps[1])
    assert torch.equal(maps[0][0, 0], maps[0][0, 2])
    assert float(maps[0].min()) >= 1


def test_random_map_can_be_off() -> None:
    out = RandGFactorMap(prob=0.0)(np.zeros((1, 2, 4, 4), np.float32))
    assert isinstance(out, np.ndarray)
    assert np.all(out == 1)
