# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Profiles of the noise of magnitudes: their shape, and that phase and taper look different in them."""

from __future__ import annotations

import pytest
import torch

from monai_stcnnt.mri.axis_spectrum import AxisSpectrum
from monai_stcnnt.mri.noise import complex_noise
from monai_stcnnt.mri.noise_model import from_acquired
from monai_stcnnt.mri.spectra.profiles import CHANNELS, SAME, band_profiles

__all__: list[str] = []

SIZE, ACQUIRED = 96, 60
VARIES = CHANNELS - SAME - 1 - 6  # channel of how the power varies over windows of 16 pixels


def magnitudes(phase: torch.Tensor, brightness: float = 20.0) -> torch.Tensor:
    """Even magnitudes ``(1, T, H, W)`` of a phase ``(T, H, W)``, whose noise fills a part of the rows."""
    axes = (AxisSpectrum.of_matrix(SIZE, ACQUIRED), AxisSpectrum(SIZE))
    noise = complex_noise((len(phase), ACQUIRED, SIZE), torch.Generator().manual_seed(0))
    return (torch.polar(torch.tensor(brightness), phase) + from_acquired(noise, axes)).abs()[None]


@pytest.mark.parametrize("shape", [(1, 1, 30, 41), (2, 6, 48, 24), (30, 1, 26, 26)])
def test_profiles_run_from_the_center_to_the_rim(shape: tuple[int, ...]) -> None:
    rows, columns = band_profiles(torch.rand(shape, generator=torch.Generator().manual_seed(0)) + 1)
    assert rows.shape == (CHANNELS, shape[2] // 2)
    assert columns.shape == (CHANNELS, shape[3] // 2)
    assert bool(torch.isfinite(rows).all() and torch.isfinite(columns).all())
    assert bool((columns[-SAME:].diff(dim=1) == 0).all())


def test_nothing_to_look_at_gives_no_profile() -> None:
    rows, _ = band_profiles(torch.zeros(1, 4, 32, 32))
    assert not bool(rows[: -SAME - 1].any())


def test_the_edge_of_the_band_shows_in_every_look() -> None:
    rows, columns = band_profiles(magnitudes(torch.zeros(6, SIZE, SIZE)))
    decades = rows[0]
    assert float(decades[: ACQUIRED // 2 - 2].min()) > -0.5
    assert float(decades[ACQUIRED // 2 + 2 :].max()) < -1.0
    assert float(columns[0].min()) > -0.5


def test_only_a_phase_makes_windows_differ() -> None:
    y = torch.linspace(-1, 1, SIZE)
    bent = (8 * torch.pi * y.square())[:, None].expand(6, SIZE, SIZE)
    rim = slice(ACQUIRED // 2 - 4, ACQUIRED // 2 + 4)
    flat, phase = (band_profiles(magnitudes(part))[0][VARIES, rim].max() for part in (torch.zeros_like(bent), bent))
    assert float(phase) > float(flat) + 0.1
