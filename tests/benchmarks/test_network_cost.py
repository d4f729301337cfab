# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Cost of cells: those whose tokens are many take no more than twice the memory of the others."""

from __future__ import annotations

import pytest
import torch

from benchmarks.network_cost import measure
from monai_stcnnt.networks.block_string import CELL_CODES
from monai_stcnnt.networks.cells import AttentionCell

__all__: list[str] = []

CLIP, CHANNELS = (16, 64, 64), 32  # smaller ones are not computed in pieces


def peaks(code: str, window: tuple[int, int, int]) -> tuple[float, float]:
    """Megabytes at the peak of inference and of a training step of one cell."""
    cell = AttentionCell(CELL_CODES[code], CHANNELS, CHANNELS, CLIP, norm="instance2d", window_size=window)
    return measure(cell, torch.randn(1, CLIP[0], CHANNELS, *CLIP[1:]))[2:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "window"),
    [("S2", (1, 8, 8)), ("s2", (1, 8, 8)), ("S3", (4, 8, 8)), ("Sh", (4, 8, 8)), ("Sh", (2, 4, 4)), ("V3", (2, 8, 8))],
)
def test_windows_of_voxels_take_twice_a_temporal_cell_at_most(code: str, window: tuple[int, int, int]) -> None:
    found, temporal = peaks(code, window), peaks("T1", window)
    assert found[0] < 2 * temporal[0]
    assert found[1] < 2 * temporal[1]
