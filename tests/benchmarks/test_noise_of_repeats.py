# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The comparison with repeats: thermal noise has the details that its spectrum leaves it, drift has none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.noise_of_repeats import map_error
from monai_stcnnt.mri import AxisSpectrum, complex_noise, from_acquired

__all__: list[str] = []

WHITE = (AxisSpectrum(48), AxisSpectrum(48))


@pytest.mark.parametrize("spectra", [WHITE, (AxisSpectrum.of_matrix(48, 30), AxisSpectrum(48))])
def test_details_tell_thermal_noise_from_drift(spectra: tuple[AxisSpectrum, AxisSpectrum]) -> None:
    white = complex_noise((20, spectra[0].acquired, 48), torch.Generator().manual_seed(0))
    noise = from_acquired(2 * white, spectra).real.permute(2, 1, 0)[:, :, None].numpy()
    levels = np.full((48, 48, 1), 2.0)
    still = map_error(levels, 100 + noise, spectra, is_pair=False)
    drift = 3 * np.random.RandomState(0).standard_normal(20)
    moved = map_error(levels, 100 + noise + drift, spectra, is_pair=False)
    for found in (still, moved):
        for name in ("details", "typical details"):
            assert found[f"median error of {name}"] < 0.06
            assert found[f"median ratio of {name}"] == pytest.approx(1, abs=0.03)
    assert abs(still["not thermal"]) < 0.05
    assert moved["not thermal"] > 0.4
    assert moved["median error"] > 0.3
    far = map_error(1.5 * levels, 100 + noise, spectra, is_pair=False)
    assert far["median error of details"] == pytest.approx(0.5, abs=0.05)


def test_pulsating_voxels_are_not_typical() -> None:
    noise = 2 * complex_noise((20, 48, 48), torch.Generator().manual_seed(0)).real
    noise[:, ::6, ::6] *= 8
    found = map_error(np.full((48, 48, 1), 2.0), 100 + noise.permute(2, 1, 0)[:, :, None].numpy(), WHITE, is_pair=False)
    assert found["median ratio of details"] < 0.75
    assert found["median ratio of typical details"] > 0.85
