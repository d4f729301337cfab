# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Magnitude and phase make a complex image, in whatever unit the phase comes."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from monai.data.meta_tensor import MetaTensor

from monai_stcnnt.errors import LayoutError, PhaseRangeError
from monai_stcnnt.transforms.complex import MagnitudePhaseToComplex, MagnitudePhaseToComplexd

__all__: list[str] = []

ANGLE = torch.linspace(-3.1, 3.1, 24).reshape(1, 2, 3, 4)


@pytest.mark.parametrize(
    ("unit", "scale", "tolerance"),
    [
        ("radians", 1.0, 1e-5),
        ("auto", 1.0, 1e-5),
        ("degrees", 180 / np.pi, 1e-5),
        ("auto", 4096 / np.pi, 2e-3),
        ("auto", 1000.0, 2e-3),
        ("auto", 180 / np.pi, 1e-2),
    ],
)
def test_units(unit: Any, scale: float, tolerance: float) -> None:  # noqa: ANN401 - one of the literals
    phase = ANGLE * scale
    out = MagnitudePhaseToComplex(unit)(torch.full_like(ANGLE, 5.0), phase.round() if scale > 100 else phase)
    expected = torch.cat((5 * ANGLE.cos(), 5 * ANGLE.sin()))
    torch.testing.assert_close(torch.as_tensor(out), expected, atol=5 * tolerance, rtol=0)


def test_unsigned_integers_cover_the_circle(caplog: pytest.LogCaptureFixture) -> None:
    phase = np.arange(0, 4096, 256, dtype=np.uint16).reshape(1, 1, 4, 4)
    with caplog.at_level(logging.INFO):
        out = np.asarray(MagnitudePhaseToComplex()(np.ones((1, 1, 4, 4), np.int16), phase))
    assert out.dtype == np.float32
    np.testing.assert_allclose(out.sum((1, 2, 3)), 0, atol=1e-5)
    assert "one unit is" in caplog.text


def test_dictionary_form_keeps_the_metadata() -> None:
    image = MetaTensor(torch.ones(1, 2, 3, 4), meta={"name": "scan"})
    out = MagnitudePhaseToComplexd("image")({"image": image, "phase": ANGLE})
    assert sorted(map(str, out)) == ["image"]
    assert out["image"].shape == (2, 2, 3, 4)
    assert out["image"].meta["name"] == "scan"
    assert float(MagnitudePhaseToComplexd("image")({"image": image})["image"][1].abs().max()) == 0


@pytest.mark.parametrize(
    ("magnitude", "phase"),
    [
        (torch.ones(2, 2, 3, 4), ANGLE),
        (-torch.ones(1, 2, 3, 4), ANGLE),
        (torch.ones(1, 2, 3, 5), ANGLE),
    ],
)
def test_what_does_not_fit_is_refused(magnitude: torch.Tensor, phase: torch.Tensor) -> None:
    with pytest.raises(LayoutError):
        MagnitudePhaseToComplex()(magnitude, phase)


@pytest.mark.parametrize("scale", [1e-3, 300.0])
def test_a_phase_of_unclear_range_is_refused(scale: float) -> None:
    with pytest.raises(PhaseRangeError, match="3142"):
        MagnitudePhaseToComplex()(torch.ones_like(ANGLE), ANGLE * scale)


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match="radians"):
        MagnitudePhaseToComplex("turns")  # type: ignore[arg-type] # the point of the test
    with pytest.raises(ValueError, match="one key"):
        MagnitudePhaseToComplexd(["a", "b"])
