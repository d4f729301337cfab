# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The level of the noise at every voxel, whatever the frames are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_stcnnt.data import SeriesRecord
from monai_stcnnt.engines.series_frames import inner_power, noise_map_record
from monai_stcnnt.mri.axis_spectrum import AxisSpectrum
from monai_stcnnt.mri.fft import fftc, ifftc
from monai_stcnnt.mri.noise_model import NoiseModel, from_acquired

__all__: list[str] = []

PLANE = (AxisSpectrum(6), AxisSpectrum(5))


@pytest.mark.parametrize("times", [1, 3, 4])
def test_levels_follow_the_slices_however_many_times_there_are(times: int) -> None:
    """A map over slices is the items' where frames are times, and the frames' where they are slices."""
    outline = SeriesRecord(np.zeros((1, times, 3, 6, 5), np.float32), np.eye(4), np.arange(float(times)))
    rising = torch.tensor([1.0, 2.0, 3.0])[:, None, None].expand(3, 6, 5)
    over_items = NoiseModel(2.0, "rician", (AxisSpectrum(times), *PLANE), noise_map=rising[:, None])
    over_frames = NoiseModel(2.0, "rician", (AxisSpectrum(3), *PLANE), noise_map=rising[None].expand(times, 3, 6, 5))
    for model, axis in ((over_items, "time"), (over_frames, "slice")):
        found = noise_map_record(outline, model, axis)  # type: ignore[arg-type]  # literals in a loop
        assert found.array.shape == (1, 1, 3, 6, 5)
        np.testing.assert_allclose(found.array[0, 0, :, 0, 0], [2, 4, 6])


def test_slices_that_are_denoised_apart_have_their_own_levels() -> None:
    outline = SeriesRecord(np.zeros((1, 1, 3, 6, 5), np.float32), np.eye(4), np.zeros(1))
    rising = torch.tensor([1.0, 2.0, 3.0])[:, None, None, None].expand(3, 1, 6, 5)
    model = NoiseModel(2.0, "rician", (AxisSpectrum(1), *PLANE), noise_map=rising)
    np.testing.assert_allclose(noise_map_record(outline, model, "slice").array[0, 0, :, 0, 0], [2, 4, 6])


def test_an_error_in_the_inner_half_of_k_space_grows_by_the_taper_there() -> None:
    weights = torch.hann_window(66)[1:-1] + 0.1
    axes = (AxisSpectrum(96, 16, 80, tuple(weights.tolist())), AxisSpectrum(48, 8, 40))
    kspace = fftc(torch.randn(64, 64, 32, dtype=torch.complex64), (-2, -1))
    kspace[:, :16] = kspace[:, 48:] = 0
    kspace[:, :, :8] = kspace[:, :, 24:] = 0
    error = ifftc(kspace, (-2, -1))
    back = from_acquired(error, axes)
    grown = float(back.abs().square().mean() / error.abs().square().mean())
    assert inner_power(axes[1]) == 1.0
    assert inner_power(axes[0]) > 1.5
    assert grown == pytest.approx(inner_power(axes[0]) * inner_power(axes[1]), rel=0.05)
