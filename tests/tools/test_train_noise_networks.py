# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What the networks of the noise learn from, and that they learn."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from monai_stcnnt.mri.axis_spectrum import AxisSpectrum
from monai_stcnnt.mri.noise import complex_noise
from monai_stcnnt.mri.noise_map import LevelNet
from monai_stcnnt.mri.noise_model import from_acquired
from monai_stcnnt.mri.spectra.band import BandNet, trained
from tools.train_noise_networks import (
    Case,
    arrays,
    band_loss,
    drawn_axes,
    drawn_repeats,
    grids_of,
    level_loss,
    profiles_of,
    simulated,
    train,
)

__all__: list[str] = []

AXES = (AxisSpectrum.of_matrix(64, 48), AxisSpectrum(56))


@pytest.fixture(scope="module")
def case() -> Case:
    """Noise of level 2 in a band of 48 of 64 rows."""
    noise = from_acquired(complex_noise((4, 48, 56), torch.Generator().manual_seed(0)), AXES)
    image = 20 + 2 * noise
    return Case(image.abs(), image, torch.full((4, 64, 56), 20.0), torch.full((64, 56), 2.0), AXES, 1, True)


def test_targets_are_what_was_simulated(case: Case) -> None:
    (_, rows, fall), (profiles, columns, even) = profiles_of(case)
    assert (int(rows), int(columns)) == (48, 0)
    assert profiles.shape[1] == 28
    assert not even.any()
    assert fall[:20].tolist() == [0] * 20
    assert float(fall[-1]) == -2
    grids = list(grids_of(case, trained(BandNet(), "band")))
    assert len(grids) == 2
    for features, valid, bright, logs in grids:
        assert features.shape[1:] == valid.shape == bright.shape == logs.shape
        assert bool(bright.all())
        assert float(logs[valid].abs().mean()) < 0.3


def test_drawn_axes_are_of_all_kinds() -> None:
    rng = np.random.RandomState(0)
    drawn = [axis for _ in range(60) for axis in drawn_axes((64, 65), rng)]
    assert any(axis.is_white for axis in drawn)
    assert any(axis.acquired < axis.size and not axis.taper for axis in drawn)
    assert any(axis.acquired < axis.size and axis.taper for axis in drawn)
    assert any(axis.acquired == axis.size and axis.taper and min(axis.taper) == 0 for axis in drawn)


def test_networks_learn(case: Case) -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    profiles = list(profiles_of(case))
    grids = list(grids_of(case, trained(BandNet(), "band")))
    for net, loss, samples in ((BandNet(), band_loss, profiles), (LevelNet(), level_loss, grids)):
        of = partial(loss, net, *(part[None] for part in samples[0]))
        before = float(of().detach())
        train(net, loss, samples, 2, 50)
        assert float(of().detach()) < before


def test_repeats_differ_by_little() -> None:
    """By shifts of a small part of a pixel and smooth changes of brightness, or by nothing."""
    y, x = np.mgrid[-2:2:64j, -2:2:64j]
    image = 100 * np.exp(-(y**2) - x**2)
    changes = [np.ptp(drawn_repeats(image, 6, np.random.RandomState(seed)), axis=0).max() for seed in range(30)]
    assert min(changes) == 0
    assert 0.1 < max(changes) < 12


def seeded(seed: int) -> list[tuple[np.ndarray, ...]]:
    """A sample for each of two seeds in three."""
    return [arrays((torch.full((2,), float(seed)), torch.tensor(seed)))] if seed % 3 else []


def test_processes_give_what_one_would() -> None:
    samples = simulated(seeded, range(50), 2)
    assert [int(number) for _, number in samples] == [n for n in range(50) if n % 3]
    assert samples[3][0].tolist() == [5.0, 5.0]
