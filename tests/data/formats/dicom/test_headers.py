# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What was found in one header holds for another only where it holds the same."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag

from monai_stcnnt.data.formats.dicom.frames import DicomFrame, frames_of
from monai_stcnnt.data.formats.dicom.headers import Alike, Header, first_value, number_in, read_header, value_of
from tests.data.formats.dicom.test_listing import VALUES, MakeFiles

__all__: list[str] = []


def as_plain(frame: DicomFrame) -> dict[str, object]:
    """Fields of a frame, to be compared."""
    values = {field.name: getattr(frame, field.name) for field in dataclasses.fields(frame)}
    return {name: str(value.tolist() if isinstance(value, np.ndarray) else value) for name, value in values.items()}


def test_files_of_a_series_are_read_the_same_with_and_without_memory(make_dicom: MakeFiles) -> None:
    def change(time: int, place: int, dataset: Dataset) -> None:
        dataset.EchoTime, dataset.RescaleSlope = 1.5 + (place == 1), 1 + time
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M" if time else "P", "ND"]
        if place == 2:
            del dataset.SliceThickness
        if time == 3:
            dataset.Manufacturer = "Other"

    files = sorted(make_dicom("in", VALUES, change=change).iterdir())
    alike = Alike()
    for file in files:
        [alone] = frames_of(Header(read_header(file)), file)
        [remembered] = frames_of(Header(read_header(file)), file, alike)
        assert as_plain(remembered) == as_plain(alone)
    assert alike.find(Header(read_header(files[0]))) is not None


def test_the_same_bytes_in_another_order_are_another_value() -> None:
    headers = []
    for is_little in (True, False):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset[0x00280010] = RawDataElement(Tag("Rows"), "US", 2, b"\0\1", 0, False, is_little)
        dataset.set_original_encoding(False, is_little)
        headers.append(Header(dataset))
    assert [value_of(header, "Rows") for header in headers] == [256, 1]
    alike = Alike()
    headers[0].asked = {0x00280010}
    alike.add(headers[0], "found")
    assert [alike.find(header) for header in headers] == ["found", None]


@pytest.mark.parametrize("as_header", [False, True])
def test_values_are_those_of_pydicom(make_dicom: MakeFiles, as_header: bool) -> None:
    [file] = make_dicom("in", VALUES[:1, :1]).iterdir()
    dataset, again = read_header(file), read_header(file)
    place = Header(again) if as_header else again
    for element in dataset:
        if element.value not in (None, ""):
            assert value_of(place, element.keyword) == element.value
    assert value_of(place, "TemporalPositionIndex") is None
    assert math.isnan(number_in([place], "TemporalPositionIndex"))
    assert number_in([place], "PatientName", 3.0) == 3.0
    other = Dataset()
    other.Rows = 7
    assert first_value([other, place], "Rows") == 7
