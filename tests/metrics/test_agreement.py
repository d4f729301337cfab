# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Bland and Altman's numbers, and the spread of ejection fractions."""

from __future__ import annotations

import numpy as np
import pytest

from monai_stcnnt.errors import LayoutError
from monai_stcnnt.metrics.agreement import bland_altman, ejection_fraction_spread


def test_bias_and_limits() -> None:
    found = bland_altman(np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.0, 1.0]))
    assert found.bias == pytest.approx(1)
    assert found.deviation == pytest.approx(1)
    assert found.limits == pytest.approx((-0.96, 2.96))
    assert found.count == 3
    with pytest.raises(LayoutError, match="Pairs"):
        bland_altman(np.ones(3), np.ones(2))


def test_views_that_agree_have_no_spread() -> None:
    beat = np.array([100.0, 60.0, 40.0, 70.0])
    assert ejection_fraction_spread(np.stack([beat, 1.1 * beat])) == pytest.approx((60, 0))
    mean, spread = ejection_fraction_spread(np.array([[100.0, 40.0], [100.0, 50.0]]))
    assert (mean, spread) == pytest.approx((55, np.sqrt(50)))


def test_one_view_has_no_spread_and_no_volume_no_fraction() -> None:
    assert np.isnan(ejection_fraction_spread(np.array([[100.0, 50.0]]))[1])
    assert np.isnan(ejection_fraction_spread(np.zeros((2, 3)))).all()
