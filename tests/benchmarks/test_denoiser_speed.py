# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Times and quality of the bundle beside another filter: what is measured is what was given."""

from __future__ import annotations

import time

import numpy as np
import pytest

from benchmarks.denoiser_speed import bundle_filter, measure
from benchmarks.quality_cases import make_case
from monai_stcnnt.data import SeriesRecord

__all__: list[str] = []


def case() -> object:
    """A bright square over six frames, as noisy magnitudes."""
    array = np.zeros((1, 6, 1, 24, 28), np.float32)
    array[..., 6:18, 8:20] = 100
    record = SeriesRecord(array, np.eye(4), np.arange(6.0), {"file_ndim": 4, "units": ("mm", "sec")})
    return make_case("square", record, 5.0, 0, "magnitude")


def test_filters_are_told_apart_by_time_and_quality() -> None:
    """A slow filter that changes nothing, and one that knows the truth at once."""
    square = case()
    truth = square.truth.array.transpose(2, 0, 1, 3, 4)  # type: ignore[attr-defined]

    def slow(stacks: np.ndarray) -> np.ndarray:
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass
        return stacks

    found = measure(square, {"slow": slow, "truth": lambda _: truth + 1e-3}, 1)  # type: ignore[arg-type]
    assert found["slow"][0] > 0.05 > found["truth"][0]
    assert found["truth"][1] > 50 > found["slow"][1]


@pytest.mark.parametrize("fast", [False, True])
def test_the_networks_of_the_bundle_denoise(fast: bool) -> None:
    """By several dB over the noisy image."""
    found = measure(case(), {"noisy": lambda s: s, "bundle": bundle_filter(fast=fast)}, 1)  # type: ignore[arg-type]
    assert found["bundle"][1] > found["noisy"][1] + 5
