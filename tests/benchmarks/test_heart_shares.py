# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""A share is chosen that makes walls as thick as they were drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from benchmarks.heart_shares import dice_by_share


def rings(inner: float, outer: float) -> np.ndarray:
    """Labels (2, 1, 40, 40) of a ring."""
    y, x = np.mgrid[-20:20, -20:20]
    radius = np.hypot(y, x)
    return np.where(radius < inner, 3, np.where(radius < outer, 2, 0))[None, None].repeat(2, 0)


def test_walls_that_are_too_thick_give_a_share() -> None:
    truth = rings(9, 12)
    drawn = {0: {"cavity": [0, 1], "wall": [0, 1], "nothing": []}}
    patient: dict[str, Any] = {"truth": truth, "drawn": drawn, "spacing": (1.0, 1.0)}
    sure, unsure = (
        torch.nn.functional.one_hot(torch.from_numpy(labels), 4).movedim(-1, 1).float()
        for labels in (truth, rings(9, 13))
    )
    found = dice_by_share([0.4 * sure + 0.6 * unsure], [patient])
    best = max(found, key=lambda share: found[share])
    assert found[best] == 1
    assert best >= 0.2, "the wall was three fifths where the background was drawn"
    assert found[0.0] < 0.99
