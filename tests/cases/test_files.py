# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Files as people have them: keys, values, geometry, times, or the reason of a refusal, case by case.

``pytest tests/cases --cases DIR``. A case without an expectation fails: write down what is right in ``expected.json``.
Values and places are those that dcm2niix reads, in the cases that it reads right, up to its order of rows.
"""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monai_stcnnt.data import SeriesSummary, list_images, list_series, read_series
from monai_stcnnt.errors import StcnntError
from tests.cases.conftest import EXPECTED

__all__: list[str] = []

BEFORE: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("read_before.json").read_text("utf-8"))
PACKAGED = {
    "nibabel": ("nibabel", "tests", "data"),
    "nicom": ("nibabel", "nicom", "tests", "data"),
    "pydicom": ("pydicom", "data", "test_files"),
}


def name_of(summary: SeriesSummary, root: Path) -> str:
    """Path below the case, and the key of one of several images."""
    path = Path(summary.path).relative_to(root)
    return ("" if path == Path() else path.as_posix()) + (f"#{summary.series}" if summary.series else "")


def times_of(times: np.ndarray) -> list[float | None]:
    return [None if np.isnan(time) else float(time) for time in times]


def checksum(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array, "<f4").tobytes()).hexdigest()[:16]


def test_a_case_is_read_as_it_is_right(case: Path) -> None:
    expected = EXPECTED.get(case.name)
    assert expected is not None, f"write down in expected.json what is right for {case.name}"
    root = case / "data"
    found = {name_of(summary, root): summary for entry in list_series(root) for summary in list_images(entry)}
    assert sorted(found) == sorted(image["image"] for image in expected)
    for image in expected:
        summary = found[image["image"]]
        assert summary.kind == image["kind"]
        if "refused" in image:
            assert image["refused"] in summary.refused
            with pytest.raises(StcnntError):
                read_series(summary.path, series=summary.series or None)
            continue
        assert summary.refused == ""
        record = read_series(summary.path, series=summary.series or None)
        assert record.array.shape[:0:-1] == summary.shape == tuple(image["shape"])
        np.testing.assert_allclose(record.spacing, image["spacing"], atol=2e-3)
        np.testing.assert_allclose(record.affine[:3, 3], image["origin"], atol=2e-2)
        assert times_of(record.frame_times) == pytest.approx(image["times"], abs=0.1)
        assert checksum(record.array) == image["sha256"]
        assert image.get("remark", "") == " ".join(summary.remarks)


@pytest.mark.parametrize("name", sorted(BEFORE))
def test_what_was_read_right_is_read_the_same(name: str, request: pytest.FixtureRequest) -> None:
    root, _, rest = name.partition("/")
    path, _, series = rest.partition("#")
    if root in PACKAGED:
        package, *folders = PACKAGED[root]
        folder = Path(str(files(package))).joinpath(*folders)
        if not (folder / path).exists():
            pytest.skip(f"this version of {package} comes without {path}")
    else:
        folder = request.getfixturevalue("shared_data")
    record, before = read_series(folder / path, series=series or None), BEFORE[name]
    assert list(record.array.shape) == before["shape"]
    assert checksum(record.array) == before["sha256"]
    np.testing.assert_allclose(record.affine[:3].ravel(), before["affine"], atol=2e-5)
    assert times_of(record.frame_times) == pytest.approx(before["times"], abs=1e-3)
