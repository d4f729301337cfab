# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The measurement of small things: they lie where they are said to, and a filter's share of contrast is its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import small_structures as benchmark
from monai_stcnnt.data import SeriesRecord, write_nifti

__all__: list[str] = []


def disc(frames: int = 6, size: int = 64) -> SeriesRecord:
    """A bright disc in air, (1, 1, frames, size, size)."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    array = np.broadcast_to(100.0 * (x**2 + y**2 < 0.9), (1, 1, frames, size, size)).astype(np.float32)
    return SeriesRecord(array, np.eye(4), np.zeros(1), {"kind": "magnitude", "file_ndim": 3})


def test_structures_lie_inside_of_the_object_and_apart() -> None:
    clean = disc().array[0, 0]
    added, found = benchmark.insert(clean, 7.0, over_frames=False)
    assert set(found) == {f"{shape}, {size}" for shape in ("point", "line") for size in (1, 2, 3)}
    assert max(map(len, found.values())) - min(map(len, found.values())) <= 1
    sizes = {kind: {clean[part].size for part in parts} for kind, parts in found.items()}
    assert sizes == {f"{s}, {n}": {n * (9 if s == "line" else n)} for s in ("point", "line") for n in (1, 2, 3)}
    assert added.sum() == 7 * sum(clean[part].size for parts in found.values() for part in parts)  # none on another
    assert (clean[added > 0] > 0).all()
    over, _ = benchmark.insert(clean, 7.0, over_frames=True)
    assert (over == over[:1]).all()


def test_what_a_filter_keeps_is_counted() -> None:
    filters = {"half": lambda stacks: stacks / 2, "nothing": lambda stacks: 0 * stacks, "all": lambda stacks: stacks}
    lesion = np.zeros((6, 64, 64), bool)
    lesion[2:4, 30:34, 30:34] = True
    series = disc()
    series = series.with_array(series.array * np.where(lesion, 1.5, 1.0).astype(np.float32))
    rows = list(benchmark.measure("disc", series, lesion, 50.0, filters))
    shares = {method: [row.share for row in rows if row.method == method] for method in filters}
    assert len(shares["all"]) == 7
    assert shares["all"] == pytest.approx([1] * 7, abs=0.1)
    assert shares["half"] == pytest.approx([0.5 * share for share in shares["all"]])
    assert shares["nothing"] == pytest.approx([0] * 7)


def test_the_part_around_lesions_holds_them(tmp_path: Path) -> None:
    series = disc(20)
    outlines = np.zeros_like(series.array)
    outlines[0, 0, 14:16, 50:54, 8:12] = 1
    path = write_nifti(series.with_array(outlines), tmp_path / "mask.nii")
    part, found = benchmark.part_with_lesion(series, path, (6, 24, 24))
    assert part.array.shape == (1, 1, 6, 24, 24)
    assert found.sum() == outlines.sum()


def test_the_table_weighs_scans_by_their_structures() -> None:
    rows = [benchmark.Kept("a", 5.0, "point, 1", "some", 0.2, 3), benchmark.Kept("b", 5.0, "point, 1", "some", 0.6, 1)]
    assert benchmark.table(rows).splitlines()[-1] == "| 5 | point, 1 | 4 | 30 |"
