# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The bull's eye: every segment at its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Wedge

from monai_stcnnt.apps.review.bulls_eye import bulls_eye_plot, draw_bulls_eye
from monai_stcnnt.errors import LayoutError, StcnntError
from monai_stcnnt.metrics.wall_thickness import AHA_SEGMENTS


def test_segments_lie_where_their_names_say() -> None:
    axes = Figure().add_subplot()
    draw_bulls_eye(axes, np.arange(16.0), (0, 16))
    wedges = [patch for patch in axes.patches if isinstance(patch, Wedge)]
    assert len(wedges) == 16
    middles = [np.radians((w.theta1 + w.theta2) / 2) for w in wedges]
    for name, wedge, middle in zip(AHA_SEGMENTS, wedges, middles, strict=True):
        level, place = name.split(" ")
        assert (wedge.r > 0.9) == (level == "basal")
        assert (np.sin(middle) > 0.1) == place.startswith("antero") or place in ("anterior", "septal", "lateral")
        assert (np.cos(middle) < -0.1) == ("sept" in place)
        assert (np.cos(middle) > 0.1) == ("lateral" in place)


def test_unknown_segments_are_white_and_the_picture_is_written(tmp_path: Path) -> None:
    values = np.full(16, 9.0)
    values[3] = np.nan
    axes = Figure().add_subplot()
    draw_bulls_eye(axes, values, (4, 16))
    faces: list[Any] = [tuple(patch.get_facecolor())[:3] for patch in axes.patches]
    assert faces[3] == (1, 1, 1)
    assert faces[2] != (1, 1, 1)
    assert bulls_eye_plot(values, "scan", tmp_path / "eye.png").stat().st_size > 1000
    with pytest.raises(StcnntError):
        bulls_eye_plot(values, "scan", tmp_path / "eye.jpg")
    with pytest.raises(LayoutError, match="16 segments"):
        draw_bulls_eye(axes, np.ones(17), (0, 1))
