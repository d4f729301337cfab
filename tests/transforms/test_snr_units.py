# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""To SNR units and back, with a known or an estimated noise level."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from typing import Any

import numpy as np
import pytest
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose
from monai.transforms.post.dictionary import Invertd

from monai_stcnnt.errors import NoiseLevelError
from monai_stcnnt.transforms.gfactor import AppendGFactord
from monai_stcnnt.transforms.snr_units import (
    EstimateNoiseLevel,
    EstimateNoiseLeveld,
    FromSNRUnits,
    FromSNRUnitsd,
    ToSNRUnits,
    ToSNRUnitsd,
)

__all__: list[str] = []

SHAPES = [(2, 3, 6, 5), (4, 1, 3, 6, 5), (1, 6, 5, 4)]


def scan(sigma: float) -> torch.Tensor:
    """Magnitude clip (1, T, H, W) of a disk with noise."""
    grid = torch.linspace(-1, 1, 48)
    disk = 20.0 * sigma * (torch.hypot(grid[:, None], grid) < 0.5)
    noise = sigma * torch.randn(2, 1, 4, 48, 48, generator=torch.Generator().manual_seed(0))
    return torch.hypot(disk + noise[0], noise[1])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor, MetaTensor])
def test_one_divides_and_the_other_multiplies(shape: tuple[int, ...], make: Any) -> None:  # noqa: ANN401 - three kinds
    image = make(np.random.RandomState(0).randn(*shape).astype(np.float32))
    transform = ToSNRUnits(4.0)
    there = transform(image)
    assert type(there) is type(image)
    np.testing.assert_allclose(np.asarray(there), np.asarray(image) / 4)
    np.testing.assert_allclose(np.asarray(FromSNRUnits(4.0)(there)), np.asarray(image), rtol=1e-6)
    np.testing.assert_allclose(np.asarray(transform.inverse(there)), np.asarray(image), rtol=1e-6)


def test_integers_become_floats() -> None:
    out = ToSNRUnits(2.0)(np.array([[3, 4]], np.int16))
    assert out.dtype == np.float32
    assert out.tolist() == [[1.5, 2.0]]


@pytest.mark.parametrize("scale", [ToSNRUnitsd, FromSNRUnitsd])
def test_inverse_remembers_the_level(scale: type[ToSNRUnitsd | FromSNRUnitsd]) -> None:
    data: dict[Any, Any] = {"image": MetaTensor(torch.randn(1, 2, 4, 4)), "noise_sigma": 5.0}
    transform = scale("image")
    out = transform(data)
    out["noise_sigma"] = 1.0
    torch.testing.assert_close(transform.inverse(out)["image"], data["image"])


def test_level_from_the_dictionary_without_metadata() -> None:
    data: dict[Any, Any] = {"image": torch.ones(1, 2, 2), "noise_sigma": 5.0}
    out = ToSNRUnitsd("image")(data)
    assert float(out["image"].max()) == pytest.approx(0.2)
    assert float(ToSNRUnitsd("image").inverse(out)["image"].max()) == pytest.approx(1)


def test_invertd_brings_a_prediction_back() -> None:
    chain = Compose([EstimateNoiseLeveld("image"), ToSNRUnitsd("image"), AppendGFactord("image")])
    image = scan(3.0)
    item = chain({"image": MetaTensor(image)})
    assert item["image"].shape[0] == 2
    item["pred"] = MetaTensor(item["image"][:1].as_tensor().clone())
    back = Invertd("pred", transform=chain, orig_keys="image", nearest_interp=False)(item)["pred"]
    torch.testing.assert_close(back.as_tensor(), image, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sigma", [0.0, -2.0, float("nan"), float("inf")])
def test_bad_level_is_refused_at_once(sigma: float) -> None:
    with pytest.raises(NoiseLevelError, match="positive"):
        ToSNRUnits(sigma)
    with pytest.raises(NoiseLevelError):
        ToSNRUnitsd("image")({"image": torch.ones(1, 2), "noise_sigma": sigma})


def test_unknown_level_says_what_to_do() -> None:
    with pytest.raises(NoiseLevelError, match="EstimateNoiseLeveld"):
        ToSNRUnits()(torch.ones(1, 2))
    with pytest.raises(NoiseLevelError, match="not a number"):
        ToSNRUnitsd("image")({"image": torch.ones(1, 2), "noise_sigma": "loud"})


def test_estimate_is_logged_and_kept(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        out = EstimateNoiseLeveld("image")({"image": MetaTensor(scan(3.0))})
    assert out["noise_sigma"] == pytest.approx(3, rel=0.05)
    assert out["image"].meta["noise_sigma"] == out["noise_sigma"]
    assert "noise level" in caplog.text
    scaled = ToSNRUnits()(out["image"])
    np.testing.assert_allclose(np.asarray(scaled), scan(3.0).numpy() / out["noise_sigma"], rtol=1e-5)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_estimate_leaves_the_image_alone(kind: Any) -> None:  # noqa: ANN401 - two kinds
    image = kind(scan(2.0).numpy())
    assert EstimateNoiseLevel()(image) is image
    assert EstimateNoiseLevel().estimate(image) == pytest.approx(2, rel=0.05)


def test_estimate_of_an_item_with_a_map() -> None:
    image = scan(2.0)[None]
    gmap = torch.full((1, 1, 1, 48, 48), 4.0)
    data = EstimateNoiseLeveld("image", channel_dim=1)({"image": image, "gmap": gmap})
    assert data["noise_sigma"] == pytest.approx(0.5, rel=0.05)
    data = EstimateNoiseLeveld("image", channel_dim=1, gmap_key=None)({"image": image, "gmap": gmap})
    assert data["noise_sigma"] == pytest.approx(2, rel=0.05)


def test_constant_image_has_no_level() -> None:
    with pytest.raises(NoiseLevelError, match="All voxels"):
        EstimateNoiseLeveld("image")({"image": torch.ones(1, 2, 8, 8)})


@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
def test_strength_scales_the_noise_level_and_is_undone(strength: float) -> None:
    image = MetaTensor(torch.randn(1, 2, 5, 6))
    change = ToSNRUnitsd(keys="image", strength=strength)
    scaled = change({"image": image, "noise_sigma": 4.0})
    torch.testing.assert_close(scaled["image"].as_tensor(), image.as_tensor() / (4.0 * strength))
    torch.testing.assert_close(change.inverse(scaled)["image"].as_tensor(), image.as_tensor())
    plain: dict[Hashable, Any] = {"image": image.as_tensor(), "noise_sigma": 4.0}
    torch.testing.assert_close(change.inverse(change(plain))["image"], image.as_tensor())


@pytest.mark.parametrize("strength", [0.0, -1.0, float("nan"), float("inf")])
def test_strength_that_is_none_is_refused(strength: float) -> None:
    with pytest.raises(NoiseLevelError, match="strength"):
        ToSNRUnitsd(keys="image", strength=strength)
