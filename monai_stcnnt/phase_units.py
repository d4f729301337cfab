# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The unit of a phase image, for everything that reads or joins magnitudes and phases; needs no torch."""

from __future__ import annotations

import math

from monai_stcnnt.errors import PhaseRangeError

__all__ = ["radians_per_unit"]

# What stands for half a turn: degrees, thousandths of a radian (GE, Philips), and integers of 12 to 16 bits (Siemens).
_HALF_TURNS = (180.0, 1000 * math.pi, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0)
_SMALLEST_RADIANS = 0.1


def radians_per_unit(low: float, high: float) -> float:
    r"""Scale of a phase image, from the range of its values or the one that its header declares.

    Values within :math:`\pm 2\pi` are radians. Others fill a range that stands for a turn, from minus half a turn or
    from zero on: 360 degrees, 6283 thousandths of a radian, or a power of two from 4096 to 65536. They reach at least
    nine tenths of it: noise has every phase.

    Args:
        low: the smallest value.
        high: the largest value.

    Returns:
        Radians for one unit.

    Raises:
        PhaseRangeError: when it is no such range, or so small that radians are not plausible.
    """
    extreme = max(abs(low), abs(high))
    if extreme == 0 or _SMALLEST_RADIANS <= extreme <= 2.02 * math.pi:
        return 1.0
    for half_turn in _HALF_TURNS:
        end = half_turn if low < 0 else 2 * half_turn
        if 0.9 * end < extreme <= 1.01 * end:
            return math.pi / half_turn
    raise PhaseRangeError(
        f"The phase goes from {low:g} to {high:g}, which is no range that is understood: radians, or a whole turn "
        "of -180 to 180 degrees, -3142 to 3142 thousandths of a radian, or -2048 to 2047 up to -32768 to 32767; or as "
        "wide a range from 0 on. Convert it to radians."
    )
