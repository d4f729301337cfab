# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What a run has to do: every series once, in a place of its own, and errors that tell nothing of the patient."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ismrmrd
import nibabel as nib
import numpy as np
import pytest

from monai_stcnnt.apps.batch.manifest import SeriesRow, error_text
from monai_stcnnt.apps.batch.tasks import SeriesTask, list_tasks
from monai_stcnnt.apps.denoising import DenoiseOptions
from monai_stcnnt.errors import GFactorMapError, OptionError, OutputNotWritableError, UnreadableFileError
from tests.apps.dicom_files import moving_disc, write_series
from tests.services.mrd.clients import cine

__all__: list[str] = []


def write_nifti(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.ones((4, 4, 2), np.float32), np.eye(4)), path)
    return path


def tasks_in(
    source: Path,
    output: Path,
    manifest: Mapping[str, SeriesRow] | None = None,
    **options: Any,  # noqa: ANN401
) -> list[SeriesTask]:
    return list_tasks(DenoiseOptions(input=source, output=output, **options), manifest or {})


def test_every_series_is_a_task_with_a_place_of_its_own(tmp_path: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    write_nifti(source / "a" / "scan.nii.gz")
    write_nifti(source / "b" / "scan.nii.gz")
    for number in (8, 9):
        write_series(source / "dicom", moving_disc(2, 1), number)
    write_series(source / "dicom", moving_disc(2, 1), 10, "P", (2, -4096))
    (source / "broken.nii").write_bytes(b"")
    tasks = tasks_in(source, output)
    assert {task.name: task.target for task in tasks if task.status == "writing"} == {
        "a/scan.nii.gz": "a/scan_denoised.nii.gz",
        "b/scan.nii.gz": "b/scan_denoised.nii.gz",
        "broken.nii": "broken_denoised.nii",
        "dicom, series 8": "dicom_8_denoised",
        "dicom, series 9": "dicom_9_denoised",
    }
    [refused] = [task for task in tasks if task.status != "writing"]
    assert (refused.name, refused.status) == ("dicom, series 10", "refused")
    assert "phase" in refused.error


def test_every_series_of_an_mrd_file_is_a_task(tmp_path: Path) -> None:
    with ismrmrd.Dataset(str(tmp_path / "scan.h5"), "dataset") as file:
        file.write_xml_header(b"<ismrmrdHeader/>")
        for number in range(2):
            [image] = cine(1, 1, image_series_index=number, contrast=number)
            file.append_image(f"image_{number}", image)
    tasks = tasks_in(tmp_path / "scan.h5", tmp_path / "out")
    assert [(task.series, task.target) for task in tasks] == [
        ("1", "scan_1_denoised.nii.gz"), ("2", "scan_2_denoised.nii.gz"),
    ]  # fmt: skip


def test_a_file_is_a_batch_of_one(tmp_path: Path) -> None:
    [task] = tasks_in(write_nifti(tmp_path / "in" / "scan.nii"), tmp_path / "out")
    assert (task.input, task.target) == ("scan.nii", "scan_denoised.nii")


def test_two_series_never_go_to_one_place(tmp_path: Path) -> None:
    source = tmp_path / "in"
    for number in (8, 9):
        write_series(source / "a", moving_disc(2, 1), number)
    write_series(source / "a_8", moving_disc(2, 1), 8)
    tasks = tasks_in(source, tmp_path / "out")
    assert [task.name for task in tasks if task.status == "failed"] == ["a_8"]
    [failed] = [task for task in tasks if task.status == "failed"]
    assert "a, series 8 becomes a_8_denoised as well" in failed.error


def test_results_below_the_images_are_no_images(tmp_path: Path) -> None:
    write_nifti(tmp_path / "scan.nii")
    write_nifti(tmp_path / "out" / "scan_denoised.nii")
    assert [task.name for task in tasks_in(tmp_path, tmp_path / "out")] == ["scan.nii"]
    with pytest.raises(OutputNotWritableError, match="input itself"):
        tasks_in(tmp_path, tmp_path)


def test_a_result_with_a_name_is_one(tmp_path: Path) -> None:
    source = write_nifti(tmp_path / "in" / "scan.nii")
    [task] = tasks_in(source, tmp_path / "out" / "result.nii.gz", report=tmp_path / "r.html")
    assert (task.target, task.report) == ("result.nii.gz", tmp_path / "r.html")
    write_nifti(tmp_path / "in" / "other.nii")
    with pytest.raises(OutputNotWritableError, match="2 series"):
        tasks_in(source.parent, tmp_path / "out" / "result.nii.gz")


def test_every_result_has_a_report_of_its_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_nifti(tmp_path / "in" / name / "scan.nii")
    tasks = tasks_in(tmp_path / "in", tmp_path / "out", report=tmp_path / "r.html")
    names = [task.report.name for task in tasks if task.report is not None]
    assert names == ["r_a_scan_denoised.html", "r_b_scan_denoised.html"]


@pytest.mark.parametrize(
    "options",
    [
        {"output_format": "jpeg"}, {"workers": -1}, {"workers": 2, "scheduler": "tcp://localhost:1"},
        {"noise_sigma": 0.0}, {"strength": float("nan")}, {"overlap": 1.0}, {"roi_size": (8, 8)}, {"sw_batch_size": 0},
    ],
)  # fmt: skip
def test_an_option_that_cannot_be_is_refused_before_any_file_is_looked_at(options: dict[str, Any]) -> None:
    [name] = set(options) - {"scheduler"}
    with pytest.raises(OptionError, match=name):
        DenoiseOptions(input=Path("none"), output=Path("out"), **options)


def test_a_missing_map_is_one_series_failure(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_nifti(tmp_path / "in" / f"{name}.nii")
    write_nifti(tmp_path / "maps" / "a.nii")
    tasks = tasks_in(tmp_path / "in", tmp_path / "out", gmap=tmp_path / "maps")
    assert [task.status for task in tasks] == ["writing", "failed"]
    assert tasks[0].files == [tmp_path / "in" / "a.nii", tmp_path / "maps" / "a.nii"]
    assert "GFactorMapError" in tasks[1].error
    with pytest.raises(GFactorMapError, match="g-factor map"):
        tasks_in(tmp_path / "in" / "b.nii", tmp_path / "out", gmap=tmp_path / "maps")


def test_a_folder_that_did_not_change_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    for number in (8, 9):
        write_series(source / "dicom", moving_disc(2, 1), number)
    first = tasks_in(source, output)
    rows = {t.target: SeriesRow(t.target, t.input, t.series, "done", input_stamp=t.stamp) for t in first}

    def never(path: Path, **_: object) -> None:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr("monai_stcnnt.apps.batch.tasks.list_images", never)
    again = tasks_in(source, output, rows)
    assert [(t.name, t.target, t.status) for t in again] == [(t.name, t.target, t.status) for t in first]


def test_errors_show_no_folder_above_and_no_foreign_text() -> None:
    root = Path("/archive/hospital")
    ours = UnreadableFileError(f"{root}/a/scan.nii is damaged.\nCopy it again.")
    assert error_text(ours, root) == "UnreadableFileError: a/scan.nii is damaged. Copy it again."
    try:
        try:
            raise ValueError("PatientName is Secret^Name")
        except ValueError as error:
            raise RuntimeError("applying a transform to Secret^Name failed") from error
    except RuntimeError as error:
        text = error_text(error, root)
    assert text.startswith("ValueError in test_tasks.py, line ")
    assert "Secret" not in text
    assert error_text(OSError(28, "No space left on device", "/archive/x"), root) == "OSError: No space left on device"
