# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The random phase is smooth, drifts slowly, and comes back with its seed."""

from __future__ import annotations

import numpy as np
import torch

from monai_stcnnt.mri.phase import smooth_phase

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
