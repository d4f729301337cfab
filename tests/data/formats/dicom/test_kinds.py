# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What is a magnitude, a part of a complex image, a velocity or a map, as vendors say it, classic and enhanced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from monai_stcnnt.data import list_images, read_series
from tests.data.formats.dicom.test_listing import VALUES, MakeFiles, set_by

__all__: list[str] = []


def kind_of(make_dicom: MakeFiles, **attributes: Any) -> str:  # noqa: ANN401 - values of attributes
    """Kind of a series of which all files have these attributes."""
    [summary] = list_images(make_dicom("in", VALUES[:2], change=set_by(lambda *_: attributes)))
    return summary.kind


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("ORIGINAL\\PRIMARY\\M\\RETRO", "magnitude"),
        ("DERIVED\\PRIMARY\\DIFFUSION\\TRACEW\\NORM", "magnitude"),
        ("DERIVED\\PRIMARY\\DIFFUSION\\ADC\\NORM\\DIS2D", "derived"),
        ("DERIVED\\PRIMARY\\DIFFUSION\\FA\\ND", "derived"),
        ("DERIVED\\PRIMARY\\ASL\\SUBTRACTION", "derived"),
        ("DERIVED\\PRIMARY\\PERFUSION\\RELCBF", "derived"),
        ("DERIVED\\PRIMARY\\T2_STAR\\T2_STAR", "derived"),
        ("ORIGINAL\\PRIMARY\\T2_STAR\\NONE", "magnitude"),
        ("DERIVED\\PRIMARY\\T1\\NONE", "magnitude"),
        ("DERIVED\\SECONDARY\\T1_MPR\\T1", "magnitude"),
        ("ORIGINAL\\PRIMARY\\DIFFUSION\\B0", "magnitude"),
        ("ORIGINAL\\PRIMARY\\B0 MAP\\B0\\UNSPECIFIED", "derived"),
        ("DERIVED\\PRIMARY\\T1 MAP\\T1\\UNSPECIFIED", "derived"),
        ("ORIGINAL\\PRIMARY\\FF\\IP", "derived"),
        ("ORIGINAL\\PRIMARY\\SW_M\\SW_M", "magnitude"),
        ("DERIVED\\SECONDARY\\SCREEN SAVE", "derived"),
        ("ORIGINAL\\PRIMARY\\PHASE MAP\\P\\FFE", "phase"),
        ("ORIGINAL\\PRIMARY\\R_FFE\\R\\FFE", "real"),
        ("ORIGINAL\\PRIMARY\\VELOCITY MAP\\P\\PCA", "velocity"),
        ("ORIGINAL\\PRIMARY\\M_PCA\\M\\PCA", "magnitude"),
    ],
)
def test_the_image_type_tells(make_dicom: MakeFiles, words: str, kind: str) -> None:
    assert kind_of(make_dicom, ImageType=words.split("\\")) == kind


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"], "SequenceName": "fl3d1_v150fh"}, "velocity"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"], "SequenceName": "fl3d1_v150fh"}, "magnitude"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "VELOCITY", "NONE"], "ComplexImageComponent": "MAGNITUDE"}, "magnitude"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "VELOCITY", "NONE"], "ComplexImageComponent": "PHASE"}, "velocity"),
        ({"ComplexImageComponent": "REAL"}, "real"),
        ({"RescaleType": "HU"}, "derived"),
        ({"Modality": "PT"}, "derived"),
        ({"Modality": ""}, "magnitude"),
    ],
)
def test_other_attributes_tell(make_dicom: MakeFiles, attributes: dict[str, Any], kind: str) -> None:
    assert kind_of(make_dicom, **attributes) == kind


def test_units_of_a_mapping_to_real_world_values_tell(make_dicom: MakeFiles) -> None:
    mapping = Dataset()
    mapping.MeasurementUnitsCodeSequence = [Dataset()]
    mapping.MeasurementUnitsCodeSequence[0].CodeValue = "ms"
    assert kind_of(make_dicom, RealWorldValueMappingSequence=[mapping]) == "derived"


def signed(values: np.ndarray, **attributes: Any) -> Callable[[int, int, Dataset], None]:  # noqa: ANN401
    """Change that stores values with a sign, without a word about their range."""

    def change(time: int, place: int, dataset: Dataset) -> None:
        dataset.PixelRepresentation = 1
        dataset.add_new("PixelData", "OW", values[time, place].astype("<i2").tobytes())
        for name, value in attributes.items():
            setattr(dataset, name, value)

    return change


def test_a_sign_is_seen_in_the_pixels_where_the_header_is_silent(make_dicom: MakeFiles) -> None:
    folder = make_dicom("all", VALUES, change=signed(VALUES - 2000))
    assert [(s.kind, bool(s.refused)) for s in list_images(folder)] == [("derived", True)]
    some = VALUES.copy()
    some[2] -= 2000
    folder = make_dicom("some", VALUES, change=signed(some))
    assert {s.series: s.kind for s in list_images(folder)} == {"8-derived": "derived", "8-magnitude": "magnitude"}
    np.testing.assert_array_equal(read_series(folder, series="8-magnitude").array[0], VALUES[[0, 1, 3]])
    none = VALUES.copy()
    none[:, :, 0, 0] = -20  # as a filter makes of zeros
    folder = make_dicom("none", VALUES, change=signed(none))
    np.testing.assert_array_equal(read_series(folder).array[0], none)


def test_an_intercept_below_zero_makes_a_sign(make_dicom: MakeFiles) -> None:
    change = set_by(lambda *_: {"RescaleSlope": 2, "RescaleIntercept": -4096})
    [summary] = list_images(make_dicom("in", VALUES, change=change))
    assert (summary.kind, "reach from" in summary.refused) == ("derived", True)


@pytest.mark.parametrize("vendor", ["Siemens", "Philips", "standard"])
def test_velocities_of_several_directions_are_images_of_their_own(make_dicom: MakeFiles, vendor: str) -> None:
    names = {"Siemens": ("rl", "ap", "fh"), "Philips": ("dir1", "dir2", "dir3"), "standard": ("rl", "ap", "fh")}[vendor]

    def change(time: int, _: int, dataset: Dataset) -> None:
        dataset.TriggerTime = 0
        if time == 0:
            dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
            return
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "P", "PCA"]
        vector = [float(time == axis + 1) for axis in range(3)]
        if vendor == "Siemens":
            dataset.SequenceName = f"fl3d1_v150{names[time - 1]}"
        elif vendor == "Philips":
            dataset.private_block(0x2001, "Philips Imaging DD 001", create=True).add_new(0x1A, "FL", vector)
        else:
            dataset.VelocityEncodingDirection = vector

    folder = make_dicom("in", VALUES, change=change)
    keys = {"8-magnitude", *(f"8-velocity-{name}" for name in names)}
    assert {summary.series for summary in list_images(folder)} == keys
    np.testing.assert_array_equal(read_series(folder).array[0, 0], VALUES[0])


def test_a_mean_of_diffusion_directions_is_no_direction(make_dicom: MakeFiles) -> None:
    kinds = ("NONE", "DIRECTIONAL", "DIRECTIONAL", "ISOTROPIC")

    def choose(time: int, _: int) -> dict[str, Any]:
        return {"DiffusionDirectionality": kinds[time], "DiffusionBValue": 1000.0 * (time > 0), "TriggerTime": None}

    folder = make_dicom("in", VALUES, change=set_by(choose))
    images = {summary.series: summary for summary in list_images(folder)}
    assert {key: image.shape[3] for key, image in images.items()} == {"8-1": 3, "8-iso": 1}
    assert images["8-1"].b_values == (0.0, 1000.0)


@pytest.mark.parametrize(
    ("vendor", "group", "creator", "element", "representation", "value"),
    [
        ("SIEMENS", 0x0019, "SIEMENS MR HEADER", 0x0C, "IS", 1000),
        ("GE MEDICAL SYSTEMS", 0x0043, "GEMS_PARM_01", 0x39, "IS", [1000001000, 8, 0, 0]),
        ("Philips Medical Systems", 0x2001, "Philips Imaging DD 001", 0x03, "FL", 1000.0),
        ("UIH", 0x0065, "Image Private Header", 0x09, "FD", 1000.0),
    ],
)
def test_b_values_of_vendors(
    make_dicom: MakeFiles, vendor: str, group: int, creator: str, element: int, representation: str, value: object
) -> None:  # fmt: skip
    def change(time: int, _: int, dataset: Dataset) -> None:
        dataset.Manufacturer, dataset.TriggerTime = vendor, None
        if time:
            dataset.private_block(group, creator, create=True).add_new(element, representation, value)

    record = read_series(make_dicom("in", VALUES, change=change))
    np.testing.assert_array_equal(record.metadata["b_values"], [np.nan, 1000, 1000, 1000])


def test_contrasts_of_an_enhanced_file(make_enhanced: MakeFiles) -> None:
    words = ("WATER", "FAT", "IN_PHASE", "OPP_PHASE")

    def change(time: int, _: int, groups: Dataset) -> None:
        groups.MRImageFrameTypeSequence = [Dataset()]
        groups.MRImageFrameTypeSequence[0].FrameType = ["ORIGINAL", "PRIMARY", "DIXON", words[time]]

    path: Path = make_enhanced("in.dcm", VALUES, change=change)
    keys = [summary.series for summary in list_images(path)]
    assert sorted(keys) == ["8-fat", "8-in_phase", "8-opp_phase", "8-water"]
    np.testing.assert_array_equal(read_series(path, series="8-fat").array[0, 0], 2 * VALUES[1] + 1)
