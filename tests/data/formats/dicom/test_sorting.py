# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Order and times of frames where clocks jump, contradict each other or are absent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from monai_stcnnt.data import read_series
from tests.data.formats.dicom.test_listing import VALUES, MakeFiles, set_by

__all__: list[str] = []

CLOCKS = ("101010", "101012", "101014", "101016")


@pytest.mark.parametrize(
    ("triggers", "others", "ordered_by", "times"),
    [
        # phases of a heart beat in another order than the numbers of the images: nothing contradicts the clock
        ((120, 80, 40, 0), {}, "trigger", (0, 40, 80, 120)),
        # trigger times of one image a beat jitter; acquisition times agree with the numbers
        ((312, 310, 315, 311), {"AcquisitionTime": CLOCKS}, "acquisition", (0, 2000, 4000, 6000)),
        ((312, 310, 315, 311), {"ContentTime": CLOCKS}, "content", (0, 2000, 4000, 6000)),
        ((312, 310, 315, 311), {}, "instance", (np.nan,) * 4),
        # both clocks contradict the numbers, and each other
        ((80, 0, 120, 40), {"AcquisitionTime": CLOCKS[::-1]}, "instance", (np.nan,) * 4),
        # temporal positions count more than the numbers of images
        ((80, 0, 120, 40), {"AcquisitionTime": CLOCKS[::-1], "TemporalPositionIdentifier": (4, 3, 2, 1)},
         "acquisition", (0, 2000, 4000, 6000)),
        ((0, 40, 80, 120), {"AcquisitionTime": CLOCKS[::-1]}, "trigger", (0, 40, 80, 120)),
        ((0, 40, 80, 120), {"ContentTime": CLOCKS[::-1]}, "trigger", (0, 40, 80, 120)),
    ],
)  # fmt: skip
def test_numbers_count_where_times_contradict_themselves(
    make_dicom: MakeFiles, triggers: tuple[float, ...], others: dict[str, Any], ordered_by: str, times: tuple[float]
) -> None:
    def choose(time: int, _: int) -> dict[str, Any]:
        return {"TriggerTime": triggers[time], **{name: values[time] for name, values in others.items()}}

    record = read_series(make_dicom("in", VALUES, change=set_by(choose)))
    assert record.metadata["ordered_by"] == ordered_by
    np.testing.assert_allclose(record.frame_times, times)
    keys = {"instance": range(4), "trigger": triggers, "content": range(4)}
    keys["acquisition"] = others.get("TemporalPositionIdentifier", range(4))
    np.testing.assert_array_equal(record.array[0], VALUES[np.argsort(keys[ordered_by])])


@pytest.mark.filterwarnings("ignore:Invalid value for VR DA")
@pytest.mark.parametrize(
    "dates", [{}, {"AcquisitionDate": "20200101"}, {"AcquisitionDate": "20120000"}, {"AcquisitionDate": "2020.01.01"}]
)
@pytest.mark.parametrize("name", ["AcquisitionTime", "ContentTime"])
def test_midnight_with_and_without_dates(make_dicom: MakeFiles, dates: dict[str, str], name: str) -> None:
    clocks = ("235955.5", "235957.5", "235959.5", "000001.5")
    change = set_by(lambda time, _: {name: clocks[time], "TriggerTime": None, **dates})
    record = read_series(make_dicom("in", VALUES, change=change))
    np.testing.assert_array_equal(record.array[0], VALUES)
    np.testing.assert_allclose(record.frame_times, [0, 2000, 4000, 6000])


def test_midnight_in_an_enhanced_file(make_enhanced: MakeFiles) -> None:
    stamps = ("20200101235957.5", "20200101235959.5", "20200102000001.5", "20200102000003.5")

    def change(time: int, _: int, groups: Dataset) -> None:
        del groups.CardiacSynchronizationSequence
        groups.FrameContentSequence = [Dataset()]
        groups.FrameContentSequence[0].FrameAcquisitionDateTime = stamps[time]

    record = read_series(make_enhanced("in.dcm", VALUES, change=change))
    np.testing.assert_allclose(record.frame_times, [0, 2000, 4000, 6000])
    assert record.metadata["ordered_by"] == "acquisition"


@pytest.mark.parametrize(
    ("vendor", "private", "attributes", "step"),
    [
        ("Philips", (0x2001, "Philips Imaging DD 001", 0x13, "SL", 39), {"MRAcquisitionType": "2D"}, 2000),
        ("Philips", (0x2001, "Philips Imaging DD 001", 0x13, "SL", 1), {"MRAcquisitionType": "2D"}, None),
        ("Philips", (0x2001, "Philips Imaging DD 001", 0x13, "SL", 7), {"MRAcquisitionType": "3D"}, None),
        ("GE MEDICAL SYSTEMS", (0x0019, "GEMS_ACQU_01", 0x9C, "LO", "epi2"), {"ScanningSequence": "SE"}, 2000),
        ("GE MEDICAL SYSTEMS", (0x0019, "GEMS_ACQU_01", 0x9C, "LO", "fgre"), {"ScanningSequence": "GR"}, None),
        ("GE MEDICAL SYSTEMS", (0x0043, "GEMS_PARM_01", 0x7C, "FL", 3.0), {"ScanningSequence": ["EP", "GR"]}, 5000),
        ("SIEMENS", (0x0019, "SIEMENS MR HEADER", 0x0C, "IS", 0), {"EchoPlanarPulseSequence": "YES"}, 2000),
    ],
)
def test_planar_imaging_as_vendors_call_it(
    make_dicom: MakeFiles, vendor: str, private: tuple[int, str, int, str, object], attributes: dict[str, Any],
    step: float | None,
) -> None:  # fmt: skip
    group, creator, element, representation, value = private

    def change(_: int, __: int, dataset: Dataset) -> None:
        dataset.Manufacturer, dataset.TriggerTime, dataset.RepetitionTime = vendor, None, 2000
        dataset.private_block(group, creator, create=True).add_new(element, representation, value)
        for name, given in attributes.items():
            setattr(dataset, name, given)

    times = read_series(make_dicom("in", VALUES, change=change)).frame_times
    np.testing.assert_allclose(times, np.full(4, np.nan) if step is None else step * np.arange(4))


def test_dynamics_of_philips_tell_their_begin(make_dicom: MakeFiles) -> None:
    def change(time: int, _: int, dataset: Dataset) -> None:
        dataset.Manufacturer, dataset.TriggerTime, dataset.RepetitionTime = "Philips", 0, 4.2
        dataset.AcquisitionTime, dataset.TemporalPositionIdentifier = "101010", time + 1
        dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0xA0, "FL", 16.9 * time)

    record = read_series(make_dicom("in", VALUES, change=change))
    np.testing.assert_allclose(record.frame_times, 16900 * np.arange(4), atol=0.01)
