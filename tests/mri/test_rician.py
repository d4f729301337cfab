# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Magnitudes against simulated noise, and the tables against the functions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from monai_stcnnt.mri.rician import rician_mean, rician_shape, rician_signal, rician_variance_factor

__all__: list[str] = []


def test_rician_factor_runs_from_air_to_signal() -> None:
    factor = rician_variance_factor(np.linspace(0, 20, 200))
    assert factor[0] == pytest.approx(2 - math.pi / 2)
    assert factor[-1] == pytest.approx(1, abs=2e-3)
    assert np.all(np.diff(factor) >= -1e-9)


@pytest.mark.parametrize("num_coils", [1, 4])
def test_mean_and_factor_are_those_of_magnitudes(num_coils: int) -> None:
    components = np.random.RandomState(0).randn(2 * num_coils, 100_000)
    components[0] += 1.5
    magnitude = np.sqrt(np.square(components).sum(0))
    assert rician_mean(np.array(1.5), num_coils) == pytest.approx(magnitude.mean(), rel=0.01)
    assert rician_variance_factor(np.array(1.5), num_coils) == pytest.approx(magnitude.var(), rel=0.02)


def test_rician_signal_inverts_the_mean() -> None:
    rng = np.random.default_rng(0)
    for signal in (0.5, 1.0, 3.0, 20.0, 100.0):
        noise = rng.standard_normal((2, 400_000))
        mean = np.hypot(signal + noise[0], noise[1]).mean()
        assert rician_signal(np.array([mean]))[0] == pytest.approx(signal, abs=0.02)
    assert rician_signal(np.array([0.0, 1.2])).tolist() == [0, 0]


@pytest.mark.parametrize("num_coils", [1, 8])
def test_the_table_is_the_functions(num_coils: int) -> None:
    theta = np.random.RandomState(0).uniform(0, 30, 50)
    bias, variance = rician_shape(theta, num_coils)
    np.testing.assert_allclose(bias, rician_mean(theta, num_coils) - theta, atol=1e-4)
    np.testing.assert_allclose(variance, rician_variance_factor(theta, num_coils), atol=1e-4)
    np.testing.assert_allclose(rician_signal(rician_mean(theta, num_coils), num_coils), theta, atol=2e-3)
