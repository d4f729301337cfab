# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The random phase is smooth, drifts slowly, and comes back with its seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_stcnnt.errors import PhaseRangeError
from monai_stcnnt.mri.phantom import smooth_phase
from monai_stcnnt.phase_units import radians_per_unit

__all__: list[str] = []


def test_smooth_in_space_and_slow_in_time() -> None:
    phase = smooth_phase(np.random.RandomState(0), (10, 48, 48))
    assert phase.shape == (10, 48, 48)
    assert float(phase.diff(dim=1).abs().max()) < 1
    assert 0 < float(phase.diff(dim=0).abs().max()) < 0.5
    assert float(phase[0].std()) > 0.3


def test_replay_and_parameters() -> None:
    first = smooth_phase(np.random.RandomState(4), (3, 8, 8))
    torch.testing.assert_close(first, smooth_phase(np.random.RandomState(4), (3, 8, 8)))
    still = smooth_phase(np.random.RandomState(4), (3, 8, 8), drift=0.0)
    assert torch.equal(still[0], still[2])
    flat = smooth_phase(np.random.RandomState(4), (1, 8, 8), amplitude=0.0, ramp=0.0, drift=0.0)
    assert flat.unique().numel() == 1


@pytest.mark.parametrize(
    ("low", "high", "half_turn"),
    [
        (-3.14, 3.14, np.pi), (0, 6.28, np.pi), (-5.0, 1.0, np.pi), (0, 0, np.pi), (-180, 180, 180), (0, 359, 180),
        (-3142, 3140, 1000 * np.pi), (0, 6283, 1000 * np.pi), (-4096, 4094, 4096), (0, 4095, 2048), (-2048, 2047, 2048),
        (0, 65535, 32768), (-32768, 0, 32768),
    ],
)  # fmt: skip
def test_a_phase_has_the_unit_that_its_range_tells(low: float, high: float, half_turn: float) -> None:
    assert radians_per_unit(low, high) == pytest.approx(np.pi / half_turn)


@pytest.mark.parametrize(("low", "high"), [(-0.004, 0.004), (-1000, 1000), (0, 3142), (-100, 4000 - 2500), (0, 20)])
def test_an_unclear_range_of_a_phase_is_refused(low: float, high: float) -> None:
    with pytest.raises(PhaseRangeError, match="3142"):
        radians_per_unit(low, high)
