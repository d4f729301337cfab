# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Noise by SNR on patients, and the table of what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from benchmarks import ejection_by_snr, heart_folds
from benchmarks.ejection_by_snr import cut_patient, measure, noisy_patient, picture, table
from monai_stcnnt.transforms.hearts import HeartPlaces


@pytest.fixture
def patient() -> dict[str, Any]:
    """A bright disk that beats, of three slices and eight frames."""
    y, x = np.mgrid[-24:24, -24:24] * 2.0
    radius = np.hypot(y - 6, x)
    frames = np.array([radius < 20 + 4 * np.cos(2 * np.pi * t / 8) for t in range(8)])
    image = torch.from_numpy(np.where(frames, 10.0, 1.0)).float().expand(3, 8, 48, 48)[:, None]
    drawn = {t: {"cavity": [0, 1, 2], "wall": [], "nothing": []} for t in (0, 4)}
    return {
        "image": MetaTensor(image.clone(), affine=torch.diag(torch.tensor([2.0, 2.0, 8.0, 1.0]))),
        "truth": np.where(frames, 3, 0)[None].repeat(3, 0),
        "drawn": drawn,
        "spacing": (2.0, 2.0),
        "places": HeartPlaces([], [], (27.0, 24.0)),
    }


class Threshold(torch.nn.Module):
    """Bright is cavity, all else is wall."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        zero = torch.zeros_like(x)
        return torch.cat([zero - 50, zero - 50, zero, 100 * (x - 0.6)], dim=1)


def test_the_part_keeps_what_was_drawn(patient: dict[str, Any]) -> None:
    part = cut_patient(patient, 36, 1)
    assert part["image"].shape == (3, 1, 6, 36, 36)
    assert list(part["drawn"]) == [0, 3]
    np.testing.assert_array_equal(part["truth"][:, 0].sum((1, 2)), patient["truth"][:, 0].sum((1, 2)))
    assert cut_patient(patient, None, None)["image"].shape == patient["image"].shape
    middle = cut_patient(patient, None, 0, 1)
    assert middle["image"].shape == (1, 1, 2, 48, 48)
    assert middle["drawn"][1] == {"cavity": [0], "wall": [], "nothing": []}
    torch.testing.assert_close(middle["image"][0, 0, 1], patient["image"][1, 0, 4])


def test_noise_has_the_wanted_level(patient: dict[str, Any]) -> None:
    noisy, sigma = noisy_patient(patient, 5.0, 0)
    clean = patient["image"].as_tensor().numpy()[:, 0].transpose(1, 0, 2, 3)
    blood = clean == 10
    assert noisy.array[0][blood].std() == pytest.approx(sigma, rel=0.1)


def test_more_noise_is_worse_and_a_perfect_denoiser_undoes_it(
    patient: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def perfect(record: Any, way: str, sigma: float) -> Any:  # noqa: ANN401, ARG001 - as the original
        clean = patient["image"].as_tensor().numpy()[:, 0].transpose(1, 0, 2, 3)[None]
        return record if way == "noisy" else record.with_array(clean)

    monkeypatch.setattr(ejection_by_snr, "denoised", perfect)
    options = heart_folds.parser().parse_args(["--data", "."])
    rows = [row for snr in (1.0, 20.0) for row in measure(patient, Threshold(), snr, ("noisy", "denoised"), options)]
    dice = {(row["snr"], row["way"]): row["dice"] for row in rows}
    assert dice[1.0, "noisy"] < dice[20.0, "noisy"]
    assert dice[1.0, "denoised"] > 0.9
    assert table(rows).splitlines()[2].startswith("| 1 | ")
    assert picture(rows, tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
