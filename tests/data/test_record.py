# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The record holds what its contract says, and its axes go back and forth exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from monai_stcnnt.data.record import SeriesRecord, record_from_channel_first, regular_frame_times
from monai_stcnnt.errors import GeometryError, LayoutError

__all__: list[str] = []

AFFINE = np.diag([1.5, 2, 8, 1])


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("file_ndim", "sizes"), [(2, (5, 4, 1, 1)), (3, (5, 4, 3, 1)), (3, (5, 4, 1, 1)), (4, (5, 4, 3, 7)), (4, (5, 4, 1, 1))])  # fmt: skip  # noqa: E501
def test_spatial_axes_and_back(channels: int, file_ndim: int, sizes: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).normal(size=(channels, *sizes[::-1])).astype(np.float32)
    record = SeriesRecord(array, AFFINE, np.arange(sizes[3]) * 33.0, {"file_ndim": file_ndim})
    spatial = record.to_spatial()
    assert spatial.shape == sizes[:file_ndim]
    assert spatial.dtype == (np.complex64 if channels == 2 else np.float32)
    again = record_from_channel_first(spatial[None], AFFINE, record.frame_times, record.metadata)
    np.testing.assert_array_equal(again.array, array)


def test_axes_that_are_needed_stay() -> None:
    record = SeriesRecord(np.zeros((1, 7, 1, 4, 5), np.float32), AFFINE, np.zeros(7), {"file_ndim": 2})
    assert record.to_spatial().shape == (5, 4, 1, 7)


def test_properties() -> None:
    record = SeriesRecord(np.zeros((2, 3, 1, 4, 5), np.float32), AFFINE, np.array([0, 30.0, 66.0]))
    assert record.kind == "complex"
    assert record.frame_time == 33.0
    np.testing.assert_allclose(record.spacing, [1.5, 2, 8])
    changed = record.with_array(record.array[:1] + 1)
    assert changed.kind == "magnitude"
    assert changed.metadata == record.metadata
    assert np.isnan(SeriesRecord(np.zeros((1, 1, 1, 4, 5), np.float32), AFFINE, np.zeros(1)).frame_time)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"array": np.zeros((1, 4, 5))}, LayoutError, "axes"),
        ({"array": np.zeros((3, 7, 1, 4, 5))}, LayoutError, "C = 1 or 2"),
        ({"frame_times": np.zeros(6)}, LayoutError, "7 frames"),
        ({"affine": np.eye(3)}, GeometryError, "4x4"),
        ({"affine": np.diag([1, 1, 0, 1.0])}, GeometryError, "affine"),
        ({"affine": np.full((4, 4), np.nan)}, GeometryError, "affine"),
    ],
)
def test_other_shapes_are_refused(change: dict[str, Any], error: type[Exception], message: str) -> None:
    good: dict[str, Any] = {"array": np.zeros((1, 7, 1, 4, 5)), "affine": AFFINE, "frame_times": np.zeros(7)}
    SeriesRecord(**good)
    with pytest.raises(error, match=message):
        SeriesRecord(**{**good, **change})


@pytest.mark.parametrize("shape", [(4, 5), (1, 2, 3, 4, 5, 6)])
def test_arrays_without_channel_axis_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(LayoutError, match="axes"):
        record_from_channel_first(np.zeros(shape), AFFINE, None, {})


def test_complex_array_has_one_channel() -> None:
    with pytest.raises(LayoutError, match="one channel"):
        record_from_channel_first(np.zeros((2, 5, 4), complex), AFFINE, None, {})


def test_frame_times() -> None:
    np.testing.assert_allclose(regular_frame_times(3, 40, 10), [10, 50, 90])
    np.testing.assert_allclose(regular_frame_times(1, float("nan")), [0])
    assert np.isnan(regular_frame_times(3, 0)).all()
    assert np.isnan(record_from_channel_first(np.zeros((1, 5, 4, 3, 2)), AFFINE, None, {}).frame_times).all()
