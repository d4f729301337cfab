# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""To the acquired matrix and back, as transforms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data.meta_tensor import MetaTensor

from monai_stcnnt.errors import NoiseLevelError, NoiseModelError
from monai_stcnnt.mri.axis_spectrum import AxisSpectrum
from monai_stcnnt.mri.fft import fftc
from monai_stcnnt.mri.noise import complex_noise
from monai_stcnnt.mri.noise_model import from_acquired, to_acquired
from monai_stcnnt.mri.phantom import cine_phantom
from monai_stcnnt.transforms import (
    EstimateNoiseModel,
    EstimateNoiseModeld,
    NoiseOptions,
    ToAcquiredMatrixd,
    WhitenNoised,
)

__all__: list[str] = []

AXES = (AxisSpectrum(64, 16, 48, tuple(np.linspace(1.0, 0.3, 32))), AxisSpectrum(48))


def item(kind: str = "complex") -> dict[Any, Any]:
    noise = from_acquired(complex_noise((6, 32, 48), torch.Generator().manual_seed(0)), AXES)
    clean = from_acquired(to_acquired(8 * cine_phantom((6, 64, 48)).image, AXES), AXES)
    image = clean + noise
    values = torch.stack((image.real, image.imag)) if kind == "complex" else image.abs()[None]
    return {"image": MetaTensor(values[None])}


@pytest.mark.parametrize("kind", ["complex", "magnitude"])
def test_what_is_not_changed_comes_back(kind: str) -> None:
    first = EstimateNoiseModeld("image", spectrum="white" if kind == "magnitude" else "auto")(item(kind))
    there, whiten = ToAcquiredMatrixd("image"), WhitenNoised("image")
    second = whiten(there(first))
    back = there.inverse(whiten.inverse(second))
    torch.testing.assert_close(back["image"].as_tensor(), item(kind)["image"].as_tensor(), atol=1e-4, rtol=1e-4)
    assert back["image"].applied_operations == []


def test_noise_is_white_on_the_acquired_matrix_and_only_its_band_changes() -> None:
    first = EstimateNoiseModeld("image")(item())
    model = first["noise_model"]
    assert model.matrix[1] == pytest.approx(32, abs=2)
    assert model.spectrum[1].taper
    assert json.loads(first["image"].meta["noise_model"])["spectrum"]["rows"]["stop"] == model.spectrum[1].stop
    there, whiten = ToAcquiredMatrixd("image"), WhitenNoised("image")
    second = whiten(there(first))
    assert tuple(second["image"].shape[3:]) == model.matrix[1:]
    second["image"] = second["image"] * 0
    back = there.inverse(whiten.inverse(second))["image"].as_tensor()
    before, after = (fftc(torch.complex(x[0, 0], x[0, 1])).abs().square() for x in (item()["image"].as_tensor(), back))
    inside = slice(model.spectrum[1].start, model.spectrum[1].stop)
    assert float(after[:, inside].sum()) < 1e-3 * float(before[:, inside].sum())
    torch.testing.assert_close(after[:, :10], before[:, :10], atol=1e-2, rtol=1e-2)


def test_a_map_goes_where_a_gfactor_map_is_expected() -> None:
    hill = 1 + 1.5 * torch.exp(-(torch.linspace(-1, 1, 64)[:, None] ** 2 + torch.linspace(-1, 1, 64) ** 2) / 0.3)
    image = 10 * cine_phantom((6, 64, 64)).image + hill * complex_noise((6, 64, 64), torch.Generator().manual_seed(0))
    found = ToAcquiredMatrixd("image")(
        EstimateNoiseModeld("image")({"image": torch.stack((image.real, image.imag))[None]})
    )
    assert found["gmap"].shape == (1, 1, 6, 64, 64)
    assert float((found["gmap"][0, 0, 0] * found["noise_sigma"] / hill - 1).abs().median()) < 0.1


def test_options_are_checked(tmp_path: Path) -> None:
    file = tmp_path / "model.json"
    model = EstimateNoiseModel().estimate(item()["image"])
    file.write_text(json.dumps(model.as_dict()), encoding="utf-8")
    told = NoiseOptions(2.0, file)
    assert told.spectrum_of(6, 64, 48) == model.spectrum
    assert NoiseOptions(spectrum="white").spectrum_of(1, 8, 8) == (AxisSpectrum(1), AxisSpectrum(8), AxisSpectrum(8))
    assert NoiseOptions(matrix=(4, 8)).spectrum_of(1, 8, 8)[1].acquired == 4  # type: ignore[index]  # a matrix is told
    with pytest.raises(NoiseModelError, match="the image has"):
        told.spectrum_of(6, 64, 50)
    with pytest.raises(NoiseModelError, match="10 samples"):
        NoiseOptions(matrix=(10, 8)).spectrum_of(1, 8, 8)
    with pytest.raises(NoiseModelError, match="not the JSON"):
        NoiseOptions(spectrum=tmp_path / "none.json").spectrum_of(1, 8, 8)
    with pytest.raises(NoiseModelError, match="no spectrum with them"):
        NoiseOptions(spectrum="white", matrix=(4, 8))
    with pytest.raises(NoiseLevelError, match="positive"):
        NoiseOptions(0.0)


def test_a_transform_without_a_model_says_so() -> None:
    with pytest.raises(NoiseModelError, match="EstimateNoiseModeld"):
        ToAcquiredMatrixd("image")(item())
    with pytest.raises(NoiseModelError, match="MetaTensor"):
        WhitenNoised("image").inverse({"image": torch.ones(1, 2, 1, 8, 8)})
