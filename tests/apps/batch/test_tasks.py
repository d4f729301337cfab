# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What a batch has to do: every series once, shared out evenly, and errors that tell nothing of the patient."""

from __future__ import annotations

import random
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_stcnnt.apps.batch.manifest import Manifest, SeriesRow
from monai_stcnnt.apps.batch.tasks import BatchFolders, SeriesTask, error_text, list_tasks, share_out
from monai_stcnnt.engines.ranks import Ranks
from monai_stcnnt.errors import OutputNotWritableError, UnreadableFileError
from tests.apps.dicom_files import moving_disc, write_series

__all__: list[str] = []

NOTHING = Manifest({}, frozenset(), 0)


def write_nifti(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.ones((4, 4, 2), np.float32), np.eye(4)), path)
    return path


def tasks_in(source: Path, output: Path, **options: object) -> list[SeriesTask]:
    return list_tasks(BatchFolders(source, output, **options), NOTHING, Ranks())  # type: ignore[arg-type]


@pytest.mark.parametrize("ranks", [1, 2, 4, 7])
def test_shares_hold_every_task_once_and_are_even(ranks: int) -> None:
    tasks = [SeriesTask(f"{n}.nii", size=random.randint(0, 100)) for n in range(24)]
    shares = share_out(tasks, ranks)
    assert sorted(task.name for share in shares for task in share) == sorted(task.name for task in tasks)
    loads = [sum(max(task.size, 1) for task in share) for share in shares]
    best = max(sum(max(task.size, 1) for task in tasks) / ranks, *(task.size for task in tasks))
    assert max(loads) <= (4 / 3 - 1 / (3 * ranks)) * best + max(task.size for task in tasks) / 3
    for share in shares:
        assert [task.size for task in share] == sorted((task.size for task in share), reverse=True)


def test_shares_do_not_depend_on_the_order() -> None:
    tasks = [SeriesTask(f"{n}.nii", size=n // 3) for n in range(20)]
    assert share_out(tasks, 3) == share_out(random.sample(tasks, len(tasks)), 3)


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
    with pytest.raises(OutputNotWritableError, match="folder of the images"):
        tasks_in(tmp_path, tmp_path)


def test_a_missing_map_is_one_series_failure(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_nifti(tmp_path / "in" / f"{name}.nii")
    write_nifti(tmp_path / "maps" / "a.nii")
    tasks = tasks_in(tmp_path / "in", tmp_path / "out", gmap=tmp_path / "maps")
    assert [task.status for task in tasks] == ["writing", "failed"]
    assert tasks[0].files == [str(tmp_path / "in" / "a.nii"), str(tmp_path / "maps" / "a.nii")]
    assert "GFactorMapError" in tasks[1].error


def test_a_folder_that_did_not_change_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    for number in (8, 9):
        write_series(source / "dicom", moving_disc(2, 1), number)
    first = tasks_in(source, output)
    rows = {t.name: SeriesRow(t.input, t.series, "done", input_stamp=t.stamp) for t in first}

    def never(path: Path) -> None:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr("monai_stcnnt.apps.batch.tasks.list_images", never)
    again = list_tasks(BatchFolders(source, output), Manifest(rows, frozenset(), 1), Ranks())
    assert [(t.name, t.target, t.status) for t in again] == [(t.name, t.target, t.status) for t in first]


def test_errors_show_no_folder_above_and_no_foreign_text() -> None:
    root = Path("/archive/hospital")
    ours = UnreadableFileError(f"{root}/a/scan.nii is damaged.\nCopy it anew.")
    assert error_text(ours, root) == "UnreadableFileError: a/scan.nii is damaged. Copy it anew."
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
