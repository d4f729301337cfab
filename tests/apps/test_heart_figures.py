# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Clinical figures of masks whose figures are known."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from monai_stcnnt.apps.heart_figures import HeartEvidence, HeartFigures, heart_figures
from monai_stcnnt.metrics import class_volumes, ventricular_function

AFFINE = np.diag([-1.5, -1.5, 8.0, 1.0])


def beat() -> np.ndarray:
    """(8, 7, 64, 64): a ring of 8 mm at diastole with a right ventricle; the first and the last slice are empty."""
    y, x = np.mgrid[-32:32, -32:32] * 1.5
    radius = np.hypot(y, x)
    out = np.zeros((8, 7, 64, 64), np.uint8)
    for t in range(8):
        inner = 18 + 4 * np.cos(2 * np.pi * t / 8)
        outer = np.sqrt(inner**2 + 30**2 - 22**2)
        ring = np.where(radius < inner, 3, np.where(radius < outer, 2, 0))
        ring[(ring == 0) & (x < -25) & (np.abs(y) < 15) & (radius < 44)] = 1
        out[t, 1:-1] = ring
    return out


def figures(
    heart_rate: float = 60.0, evidence: HeartEvidence | None = None, labels: np.ndarray | None = None
) -> HeartFigures:
    labels = beat() if labels is None else labels
    volumes = class_volumes(labels, AFFINE, [0, 1, 2, 3])
    functions = {"left ventricle": ventricular_function(volumes[:, 3])} if volumes[:, 3].any() else {}
    return heart_figures(labels, AFFINE, volumes, functions, heart_rate, evidence or HeartEvidence())


def test_a_clean_heart() -> None:
    found = figures()
    assert found.flags == ()
    np.testing.assert_allclose(found.thickness, 8, atol=0.8)
    stroke = np.pi * (2.2**2 - 1.4**2) * 0.8 * 5
    assert found.outputs["left ventricle"] == pytest.approx(stroke * 60 / 1000, rel=0.03)
    assert np.isnan(found.spread)
    assert any("cardiac output" in sentence for sentence in found.sentences)


def test_without_a_heart_rate_there_is_no_output() -> None:
    assert figures(np.nan).outputs == {}


def test_the_spread_is_that_of_contoured_slices() -> None:
    areas = np.zeros((2, 7, 4, 8))
    areas[:, 1:6, 3, :] = [100, 90, 80, 70, 60, 70, 80, 90]
    areas[1, 1:6, 3, 4] = 50
    areas[1, 0, 3, 0] = 1e6
    slices = np.array([[0, 0.6], *[[1, 0.9]] * 5, [0, 0.99]])
    found = figures(evidence=HeartEvidence(areas, slices))
    assert found.spread == pytest.approx(float(np.std([40, 50], ddof=1)))
    assert list(found.contoured[0]) == [0, 0.6]
    assert any("slice 1 shows the left ventricle is uncertain" in flag for flag in found.flags)
    assert any("below the apex: slices 1, 7" in sentence for sentence in found.sentences)


def test_figures_survive_json() -> None:
    found = figures(evidence=HeartEvidence(None, np.array([[1, 0.9]] * 7)))
    kept = json.loads(json.dumps(dataclasses.asdict(found)))
    assert HeartFigures.from_dict(kept).sentences == found.sentences
    assert HeartFigures.from_dict(kept).thickness == pytest.approx(found.thickness)


def test_faults_are_flagged() -> None:
    labels = beat()
    labels[3] = labels[0]
    assert any("jumps at frame 4" in flag for flag in figures(labels=labels).flags)
    labels[labels == 1] = 0
    assert figures(labels=labels).thickness == ()


def test_what_is_no_heart_is_flagged() -> None:
    assert any("No left ventricle was found" in flag for flag in figures(labels=np.zeros_like(beat())).flags)
    labels = beat()
    labels[:, :, :30], labels[:, :, 34:] = 0, 0
    assert any("ml is hardly possible" in flag for flag in figures(labels=labels).flags)


def test_one_volume_has_no_spread_of_an_ejection_fraction() -> None:
    labels = beat()[:1]
    found = heart_figures(
        labels, AFFINE, class_volumes(labels, AFFINE, [0, 1, 2, 3]), {}, np.nan, HeartEvidence(np.ones((2, 7, 4, 1)))
    )
    assert np.isnan(found.spread)
