# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Masks become a table with a value a row, and no number that the images cannot give."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from monai_stcnnt.apps.review.volume_plot import class_colors, volume_plot
from monai_stcnnt.apps.volumes import MaskMeasures, check_table_path, kind_of_structure, measure_masks, write_table
from monai_stcnnt.data import SeriesRecord, read_series
from monai_stcnnt.errors import OutputNotWritableError
from tests.apps.fake_segmenter import beating_heart

__all__: list[str] = []

NAMES = {1: "right ventricle", 2: "myocardium", 3: "left ventricle"}


def measured(frames: int = 6, slices: int = 3, **metadata: str) -> MaskMeasures:
    labels = beating_heart(frames, slices)
    record = SeriesRecord(labels[None], np.diag([1.5, 1.5, 9, 1]), np.arange(frames) * 40.0, dict(metadata))
    return measure_masks(record, NAMES, "heart")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_table_of_a_stack(tmp_path: Path) -> None:
    measures = measured()
    rows = rows_of(write_table([measures], tmp_path / "new" / "volumes.csv"))
    labels, voxel = beating_heart(), 1.5 * 1.5 * 9 / 1000
    for value, name in NAMES.items():
        found = [row for row in rows if row["structure"] == name and row["quantity"] == "volume"]
        assert [int(row["frame"]) for row in found] == [1, 2, 3, 4, 5, 6]
        assert [float(row["time_ms"]) for row in found] == [0, 40, 80, 120, 160, 200]
        expected = (labels == value).sum(axis=(1, 2, 3)) * voxel
        np.testing.assert_allclose([float(row["value"]) for row in found], expected, atol=6e-4)
        assert {row["unit"] for row in found} == {"ml"}
    left = {
        row["quantity"]: row for row in rows if row["structure"] == "left ventricle" and row["quantity"] != "volume"
    }
    largest, smallest = (labels[0] == 3).sum() * voxel, (labels[3] == 3).sum() * voxel
    assert float(left["stroke_volume"]["value"]) == pytest.approx(largest - smallest, abs=1e-3)
    assert float(left["ejection_fraction"]["value"]) == pytest.approx(100 * (1 - smallest / largest), abs=1e-3)
    assert left["end_systolic_volume"]["frame"] == "4"
    [distance] = [row["value"] for row in rows if row["quantity"] == "slice_distance"]
    assert float(distance) == 9
    assert measures.mass == pytest.approx((labels[0] == 2).sum() * voxel * 1.05)


def test_distance_of_the_slices_counts_not_their_thickness() -> None:
    labels = beating_heart()[None]
    near, far = (
        measure_masks(SeriesRecord(labels, np.diag([1.5, 1.5, z, 1]), np.arange(6.0), {"thickness": 6.0}), NAMES)
        for z in (6.0, 17.7)
    )
    np.testing.assert_allclose(far.volumes, near.volumes * 17.7 / 6)


def test_one_slice_gives_areas_and_says_why(tmp_path: Path) -> None:
    measures = measured(slices=1)
    assert not measures.functions
    assert measures.mass is None
    [sentence] = measures.sentences
    assert sentence.startswith("One slice gives no ejection fraction")
    rows = rows_of(write_table([measures], tmp_path / "areas.csv"))
    assert {row["quantity"] for row in rows} == {"slice_distance", "area"}
    assert rows[0]["note"] == sentence
    assert rows[0]["value"] == ""
    areas = [float(row["value"]) for row in rows if row["structure"] == "left ventricle"]
    np.testing.assert_allclose(areas, (beating_heart(6, 1) == 3).sum(axis=(1, 2, 3)) * 2.25 / 100, atol=6e-4)


def test_one_frame_gives_volumes_and_says_why() -> None:
    measures = measured(frames=1)
    assert not measures.functions
    assert measures.curves.shape == (1, 3)
    assert measures.sentences[0].startswith("One frame gives no ejection fraction")


def test_two_frames_give_volumes_and_no_ejection_fraction() -> None:
    measures = measured(frames=2)
    assert measures.functions == {}
    assert "nothing tells that they are end diastole and end systole" in measures.notes[0]
    assert measures.volumes.shape == (2, 3)


def test_missing_slices_give_no_ejection_fraction() -> None:
    labels = beating_heart(6, 5)
    labels[:, 2] = 0
    record = SeriesRecord(labels[None], np.diag([1.5, 1.5, 9, 1]), np.arange(6) * 40.0, {"heart_rate": 60.0})
    measures = measure_masks(record, NAMES)
    assert measures.functions == {}
    assert measures.notes == ("No ejection fraction is given, because slices of the left ventricle are missing.",)
    assert measures.heart is not None
    assert measures.heart.outputs == {}
    assert "Slice 3 between others shows no left ventricle." in measures.heart.flags


def test_ends_of_the_cycle_are_found_in_whatever_frame() -> None:
    labels = np.roll(beating_heart(), 2, axis=0)
    record = SeriesRecord(labels[None], np.diag([1.5, 1.5, 9, 1]), np.arange(6) * 40.0, {"heart_rate": 60.0})
    measures = measure_masks(record, NAMES)
    function = measures.functions["left ventricle"]
    assert (function.end_diastole, function.end_systole) == (2, 5)
    assert measures.heart is not None
    assert measures.heart.outputs["left ventricle"] == pytest.approx(function.stroke_volume * 60 / 1000)


def test_frames_without_a_ventricle_are_said() -> None:
    labels = beating_heart()
    labels[2][labels[2] == 3] = 0
    labels[labels == 1] = 0
    measures = measure_masks(SeriesRecord(labels[None], np.eye(4), np.arange(6.0), {"file_format": "numpy"}), NAMES)
    assert "The left ventricle was not found in 1 of 6 frames." in measures.notes[1]
    assert "The right ventricle was not found in all frames." in measures.notes[0]
    assert set(measures.functions) == {"left ventricle"}
    assert "voxels of 1 mm" in measures.notes[-1]


def test_other_classes_have_volumes_only(tmp_path: Path) -> None:
    labels = beating_heart(1)
    measures = measure_masks(SeriesRecord(labels[None], np.eye(4), np.zeros(1)), {1: "gray", 2: "white", 3: "liquor"})
    assert measures.sentences == []
    rows = rows_of(write_table([measures], tmp_path / "tissue.csv"))
    assert {row["structure"] for row in rows[1:]} == {"gray", "white", "liquor"}
    assert len(set(class_colors(measures.names))) == 3


def test_plots_of_all_shapes(tmp_path: Path) -> None:
    unknown = SeriesRecord(beating_heart()[None], np.eye(4), np.full(6, np.nan))
    for n, measures in enumerate((measured(), measured(slices=1), measured(frames=1), measure_masks(unknown, NAMES))):
        path = volume_plot(measures, tmp_path / f"{n}.png")
        assert path.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("LV", "LV"), ("left ventricle", "LV"), ("RV blood-pool", "RV"), ("LV myocardium", "MYO"), ("Myocardium", "MYO"),
     ("left atrium", ""), ("liver", "")],
)  # fmt: skip
def test_names_of_structures(name: str, kind: str) -> None:
    assert kind_of_structure(name) == kind


def test_names_of_tables(tmp_path: Path) -> None:
    for name in ("a.txt", "a", ".csv"):
        with pytest.raises(OutputNotWritableError, match=r"ends in \.csv"):
            check_table_path(tmp_path / name)
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(OutputNotWritableError):
        check_table_path(tmp_path / "a.csv")


def test_reference_labels_of_the_sample_cine(shared_data: Path) -> None:
    labels = read_series(shared_data / "cine_sax_bivme" / "cine_sax_label.nii.gz", check=False)
    measures = measure_masks(labels, NAMES)
    left = measures.functions["left ventricle"]
    assert measures.distance == pytest.approx(17.7, abs=0.01)
    assert (left.end_diastolic_volume, left.end_systolic_volume) == pytest.approx((162.8, 50.4), abs=0.1)


@pytest.mark.parametrize(
    ("distance", "slices", "has_volumes"),
    [(1.0, 6, False), (17.7, 6, True), (9.0, 3, True), (40.0, 6, False), (1.5, 60, True)],
)
def test_no_milliliters_come_of_slices_at_distances_that_cannot_be(
    tmp_path: Path, distance: float, slices: int, has_volumes: bool
) -> None:
    labels = beating_heart(6, slices)
    record = SeriesRecord(labels[None], np.diag([1.5, 1.5, distance, 1]), np.arange(6) * 40.0, {"source": "a.nii"})
    measures = measure_masks(record, NAMES)
    assert measures.has_volumes is bool(measures.functions) is has_volumes
    assert ("Repair the header" in " ".join(measures.sentences)) is not has_volumes
    units = {row["unit"] for row in rows_of(write_table([measures], tmp_path / "volumes.csv"))}
    assert ("ml" in units) is has_volumes
    assert MaskMeasures.from_dict(measures.as_dict()).has_volumes is has_volumes
