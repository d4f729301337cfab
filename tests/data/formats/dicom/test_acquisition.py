# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What headers say of the acquisition, classic and enhanced, and what they say wrongly."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

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
