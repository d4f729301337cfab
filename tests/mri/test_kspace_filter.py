# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of the filters: what they keep, what they cut, and how much noise passes."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from monai_stcnnt.mri.kspace_filter import (
    apply_kspace_filter,
    asymmetric_filter,
    elliptic_support,
    filter_image,
    gaussian_filter,
    hanning_taper,
    noise_gain,
    partial_fourier_filter,
    resolution_filter,
)
from monai_stcnnt.mri.noise import complex_noise

__all__: list[str] = []

FILTERS = {
    "gaussian": gaussian_filter(32, 1.5),
    "gaussian_odd": gaussian_filter(33, 0.8),
    "asymmetric": asymmetric_filter(32, 8, 31),
    "partial_fourier": partial_fourier_filter(32, 0.625, "post"),
    "resolution": resolution_filter(32, 0.7, "rms"),
}


@pytest.mark.parametrize("name", FILTERS)
def test_rms_filters_have_unit_gain(name: str) -> None:
    assert noise_gain(FILTERS[name]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("normalization", ["rms", "max", "none"])
def test_normalization_of_the_gaussian(normalization: Literal["rms", "max", "none"]) -> None:
    weights = gaussian_filter(17, 1.2, normalization)
    assert int(weights.argmax()) == 8
    expected = {"rms": noise_gain(weights), "max": float(weights.max()), "none": float(weights.max())}
    assert expected[normalization] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("length", [8, 9])
def test_gaussian_is_symmetric_about_the_zero_frequency(length: int) -> None:
    weights = gaussian_filter(length, 1.0, "none")
    center = length // 2
    for step in range(1, (length - 1) // 2 + 1):
        assert weights[center - step] == pytest.approx(float(weights[center + step]))
    image = filter_image(torch.randn(length), [weights], (0,))
    assert float(image.imag.abs().max()) < 1e-5


@pytest.mark.parametrize(
    "weights", [gaussian_filter(9, 0.0), partial_fourier_filter(9, 1.0), resolution_filter(9, 1.0)]
)
def test_filters_that_are_off_are_ones(weights: torch.Tensor) -> None:
    assert weights.tolist() == [1.0] * 9


@pytest.mark.parametrize(("start", "end", "kept"), [(8, 31, 24), (0, 20, 21), (-3, 40, 32), (20, 10, 32), (40, 5, 6)])
def test_asymmetric_pass_band(start: int, end: int, kept: int) -> None:
    weights = asymmetric_filter(32, start, end, width=4)
    assert int((weights > 0).sum()) == kept


def test_taper_rises_and_mirrors_on_the_other_side() -> None:
    ramp = hanning_taper(6)
    assert bool((ramp.diff() > 0).all())
    assert float(ramp[0]) > 0
    assert float(ramp[-1]) < 1
    torch.testing.assert_close(asymmetric_filter(32, 8, 31, 6), asymmetric_filter(32, 0, 23, 6).flip(0))
    assert asymmetric_filter(32, 8, 31, 6, taper="none")[8:].unique().numel() == 1


def test_sides_of_partial_fourier() -> None:
    before, after = partial_fourier_filter(16, 0.75, "pre"), partial_fourier_filter(16, 0.75, "post")
    assert before[:4].sum() == 0
    assert before[4:].min() > 0
    assert after[13:].sum() == 0
    assert after[:13].min() > 0


def test_support_contains_the_center_and_not_the_corners() -> None:
    support = elliptic_support(16, 12, 0.5)
    assert support[8, 6] == 1
    assert support[0, 0] == 0
    assert 0.5 < float(support.mean()) / (torch.pi / 16) < 1.5


def test_noise_gain_is_what_noise_does() -> None:
    first, second = gaussian_filter(64, 2.0, "max"), resolution_filter(48, 0.6)
    noise = complex_noise((8, 64, 48), torch.Generator().manual_seed(0))
    filtered = filter_image(noise, [first, second], (1, 2))
    assert float(filtered.real.std()) == pytest.approx(noise_gain(first, second), rel=0.02)


def test_filters_of_two_axes_are_applied_in_any_order() -> None:
    kspace = torch.randn(5, 6, 3, dtype=torch.complex64)
    rows, columns = torch.rand(5), torch.rand(6)
    torch.testing.assert_close(
        apply_kspace_filter(kspace, [rows, columns], (0, 1)), apply_kspace_filter(kspace, [columns, rows], (1, 0))
    )
