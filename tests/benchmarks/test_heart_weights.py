# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights of classes are chosen that make walls as thick as they were drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from benchmarks.heart_weights import choose_weights


def rings(inner: float, outer: float) -> np.ndarray:
    """Labels (2, 1, 40, 40) of a ring."""
    y, x = np.mgrid[-20:20, -20:20]
    radius = np.hypot(y, x)
    return np.where(radius < inner, 3, np.where(radius < outer, 2, 0))[None, None].repeat(2, 0)


def test_thick_walls_get_a_lower_weight() -> None:
    truth = rings(9, 12)
    drawn = {0: {"cavity": [0, 1], "wall": [0, 1], "nothing": []}}
    patient: dict[str, Any] = {"truth": truth, "drawn": drawn, "spacing": (1.0, 1.0)}
    sure = torch.nn.functional.one_hot(torch.from_numpy(truth), 4).movedim(-1, 1).float()
    unsure = torch.nn.functional.one_hot(torch.from_numpy(rings(8, 13)), 4).movedim(-1, 1).float()
    found = choose_weights([0.4 * sure + 0.6 * unsure], [patient])
    best = next(iter(found))
    assert found[best] == 1
    assert found[1.0, 1.0] < 0.95
    assert best[0] < 2 / 3 * best[1], "the wall was two thirds where the cavity was drawn"
