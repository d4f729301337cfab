# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Phantoms: anatomy with the right order and motion, and shapes in any number."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch

from monai_stcnnt.mri.phantom import CINE_LABELS, cine_phantom, random_shapes

__all__: list[str] = []


@pytest.mark.parametrize("seed", [None, 0, 1, 2])
def test_heart_beats(seed: int | None) -> None:
    phantom = cine_phantom((12, 64, 80), None if seed is None else np.random.RandomState(seed))
    assert phantom.image.shape == phantom.labels.shape == (12, 64, 80)
    assert phantom.image.dtype == torch.complex64
    assert sorted(phantom.labels.unique().tolist()) == sorted(CINE_LABELS.values())
    cavity = (phantom.labels == CINE_LABELS["left ventricle"]).sum((1, 2))
    wall = (phantom.labels == CINE_LABELS["myocardium"]).sum((1, 2))
    assert int(cavity.argmin()) == 6
    assert float(cavity[6]) < 0.75 * float(cavity[0])
    assert float(wall.max() - wall.min()) < 0.2 * float(wall.float().mean())


def test_contrast_of_the_labels() -> None:
    phantom = cine_phantom()
    magnitude = phantom.image.abs()
    means = [float(magnitude[phantom.labels == value].mean()) for value in (1, 2, 3)]
    assert means[1] < 0.5 * means[0]
    assert means[1] < 0.5 * means[2]
    assert float(magnitude[:, :4, :4].max()) < 0.05


def test_cycle_closes_and_phase_is_there() -> None:
    magnitude = cine_phantom((20, 48, 48)).image.abs()
    changes = (magnitude - magnitude.roll(1, 0)).square().mean((1, 2))
    assert float(changes[0]) <= float(changes.max())
    assert float(cine_phantom((4, 48, 48)).image.imag.abs().max()) > 0.1


@pytest.mark.parametrize("axis", ["time", "depth"])
def test_shapes_replay_and_change_along_the_axis(axis: Literal["time", "depth"]) -> None:
    first, second = (random_shapes(np.random.RandomState(3), (6, 20, 24), axis) for _ in range(2))
    assert first.shape == (6, 20, 24)
    assert first.dtype == torch.float32
    assert torch.equal(first, second)
    assert float(first.min()) >= 0
    assert 0.1 < float(first.max()) < 2.5
    assert float(first.diff(dim=0).abs().max()) > 0.01
    assert random_shapes(np.random.RandomState(3), (1, 20, 24), axis).shape == (1, 20, 24)


def test_unknown_axis() -> None:
    with pytest.raises(ValueError, match="depth"):
        random_shapes(np.random.RandomState(0), axis="space")  # type: ignore[arg-type] # the point of the test
