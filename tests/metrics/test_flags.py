# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""A clean heart has no flags; each fault has its own."""

from __future__ import annotations

import numpy as np
import pytest

from monai_stcnnt.errors import LayoutError
from monai_stcnnt.metrics.flags import heart_flags, missing_slices


def beat(frames: int = 8, slices: int = 5) -> np.ndarray:
    """Rings whose wall keeps its area; the first and the last slice are empty."""
    y, x = np.mgrid[-32:32, -32:32]
    radius = np.hypot(y, x)
    out = np.zeros((frames, slices, 64, 64), np.uint8)
    for t in range(frames):
        inner = 14 + 4 * np.cos(2 * np.pi * t / frames)
        outer = np.sqrt(inner**2 + 300)
        out[t, 1:-1] = np.where(radius < inner, 3, np.where(radius < outer, 2, 0))
    return out


def flags(labels: np.ndarray) -> list[str]:
    return heart_flags(labels, np.stack([(labels == c).sum((1, 2, 3)) for c in range(4)], 1).astype(float))


def test_a_clean_heart_has_none() -> None:
    assert flags(beat()) == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("part", "slice 2 the left ventricle is in several parts"),
        ("hole", "slice 3 the left ventricle has holes"),
        ("open", "slice 2 the wall is open"),
        ("jump", "jumps at frame 4"),
        ("still", "ejection fraction of 0 %"),
        ("gap", "Slice 3 between others"),
        ("specks", "Slice 3 between others"),
        ("cut", "last slice still shows a large cavity"),
        ("wall", "wall's volume changes"),
    ],
)
def test_each_fault_is_told(fault: str, said: str) -> None:
    labels = beat()
    if fault == "part":
        labels[0, 1, 2:5, 2:5] = 3
    elif fault == "hole":
        labels[0, 2, 31:33, 46:48] = 0
        labels[0, 2, 30:34, 48:54] = 2
        labels[0, 2, 31:33, 49:51] = 0
    elif fault == "open":
        labels[0, 1, 40:][labels[0, 1, 40:] == 2] = 0
    elif fault == "specks":
        labels[:, 2] = 0
        labels[[1, 5], 2, 30:33, 30:33] = 3
    elif fault == "jump":
        labels[3] = labels[0]
    elif fault == "still":
        labels[:] = labels[0]
    elif fault == "gap":
        labels[:, 2] = 0
    elif fault == "cut":
        labels[:, 4] = labels[:, 3]
    else:
        labels[4][labels[4] == 2] = 0
        labels[4, 1] = beat()[4, 1]
    assert any(said in sentence for sentence in flags(labels)), flags(labels)


def test_slices_are_not_missed_where_there_are_none() -> None:
    assert missing_slices(np.zeros((3, 4, 8, 8), np.uint8)) == []
    with pytest.raises(LayoutError, match="T, Z, Y, X"):
        heart_flags(np.zeros((4, 8, 8)), np.zeros((4, 4)))
