# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What headers say of the acquisition, classic and enhanced, and what they say wrongly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from monai_stcnnt.data import list_images, read_series
from monai_stcnnt.data.formats.dicom.acquisition import acquisition_facts

__all__: list[str] = []


def header(**entries: object) -> Dataset:
    dataset = Dataset()
    dataset.Rows, dataset.Columns = 256, 320
    for name, value in entries.items():
        setattr(dataset, name, value)
    return dataset


@pytest.mark.parametrize(
    ("matrix", "rows", "columns"),
    [([0, 192, 144, 0], 144, 192), ([160, 0, 0, 120], 160, 120), ([0, 0, 0, 0], None, None)],
)
def test_a_classic_matrix(matrix: list[int], rows: int | None, columns: int | None) -> None:
    found = acquisition_facts(header(AcquisitionMatrix=matrix, PercentSampling="75", NumberOfAverages="2"))
    assert (found.get("acquired_rows"), found.get("acquired_columns")) == (rows, columns)
    assert (found["percent_sampling"], found["averages"]) == (75, 2)


@pytest.mark.parametrize("group", ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"])
@pytest.mark.parametrize(("direction", "expected"), [("COLUMN", (128, 240)), ("ROW", (240, 128))])
def test_an_enhanced_matrix(group: str, direction: str, expected: tuple[int, int]) -> None:
    view, modifier, items = Dataset(), Dataset(), Dataset()
    view.MRAcquisitionFrequencyEncodingSteps, view.MRAcquisitionPhaseEncodingStepsInPlane = 240, 128
    view.InPlanePhaseEncodingDirection = direction
    modifier.ParallelReductionFactorInPlane = 2.5
    items.MRFOVGeometrySequence, items.MRModifierSequence = Sequence([view]), Sequence([modifier])
    found = acquisition_facts(header(**{group: Sequence([items])}))
    assert (found["acquired_rows"], found["acquired_columns"]) == expected
    assert (found["parallel_in_plane"], found["phase_direction"]) == (2.5, direction[:3])


def test_what_cannot_be_is_left_out() -> None:
    found = acquisition_facts(header(AcquisitionMatrix=[0, 512, 144, 0], NumberOfAverages=None))
    assert found == {"acquired_rows": 144}
    assert acquisition_facts(header()) == {}
    assert acquisition_facts(header(PerFrameFunctionalGroupsSequence=Sequence([Dataset()]))) == {}


def test_a_damaged_header_gives_no_hints(make_dicom: Callable[..., Path]) -> None:
    def change(_: int, __: int, dataset: Dataset) -> None:
        dataset.InPlanePhaseEncodingDirection, dataset.AcquisitionMatrix = "ROW", [0, 8, 8, 0]

    values = np.arange(1, 61).reshape(1, 2, 5, 6)
    folder = make_dicom("in", values, change=change)
    for file in folder.iterdir():
        content = file.read_bytes()
        assert b"\x18\x00\x12\x13CS" in content
        file.write_bytes(content.replace(b"\x18\x00\x12\x13CS", b"\x18\x00\x12\x13ZZ"))
    [summary] = list_images(folder)
    assert summary.refused == ""
    np.testing.assert_array_equal(read_series(folder).array[0], values)


def test_a_damaged_description_is_told_when_a_folder_is_listed(make_dicom: Callable[..., Path]) -> None:
    folder = make_dicom("in", np.arange(1, 61).reshape(1, 2, 5, 6))
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes().replace(b"\x08\x00\x3e\x10LO", b"\x08\x00\x3e\x10ZZ"))
    [summary] = list_images(folder)
    assert "damaged header" in summary.refused
