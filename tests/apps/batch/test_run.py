# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Batches: every series once, only what is missing is done again, bad series are skipped, results are whole."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest

from monai_stcnnt import __version__
from monai_stcnnt.apps import denoise, describe
from monai_stcnnt.apps.batch import publish as publishing
from monai_stcnnt.apps.batch.manifest import Journal, SeriesRow, read_manifest, stamp_of
from monai_stcnnt.apps.batch.run import RunResult
from monai_stcnnt.apps.bundles import bundle_checksum
from monai_stcnnt.apps.denoising import DenoiseOptions, Denoiser
from monai_stcnnt.data import SaveSeries, read_series
from monai_stcnnt.errors import (
    EmptyImageError,
    FailedSeriesError,
    OptionError,
    OutputNotWritableError,
    ResultExistsError,
)
from tests.apps.batches import files_of, run, write_nifti
from tests.apps.dicom_files import PATIENT, moving_disc, write_series

__all__: list[str] = []


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Two NIfTI files, one below the other folder, and a DICOM folder of one series."""
    folder = tmp_path / "scans"
    write_nifti(folder / "a.nii.gz", 1)
    write_nifti(folder / "sub" / "b.nii", 2, frames=3)
    write_series(folder / "dicom", moving_disc(2, 1, 16))
    return folder


def counts(result: RunResult) -> tuple[int, int]:
    """Number of series that were done now, and before."""
    return len(result.done) - len(result.skipped), len(result.skipped)


def test_everything_is_done_once_and_again_only_where_something_changed(scans: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    first = run(scans, output)
    assert counts(first) == (3, 0)
    assert first.check() is first
    assert sorted(files_of(output)) == [
        "a_denoised.json", "a_denoised.nii.gz", "dicom_denoised/IM00001.dcm", "dicom_denoised/IM00002.dcm",
        "sub/b_denoised.json", "sub/b_denoised.nii",
    ]  # fmt: skip
    assert all(path.exists() for path in first.saved)
    before = files_of(output)
    assert counts(run(scans, output)) == (0, 3)

    (output / "a_denoised.nii.gz").unlink()
    (output / "dicom_denoised" / "IM00002.dcm").unlink()
    assert counts(run(scans, output)) == (2, 1)
    assert files_of(output) == before

    os.utime(scans / "a.nii.gz", (1, 1))  # as a copy of the archive would
    assert counts(run(scans, output)) == (0, 3)
    assert counts(run(scans, output)) == (0, 3)

    write_nifti(scans / "a.nii.gz", 7)
    assert counts(run(scans, output)) == (1, 2)
    assert {name for name, digest in files_of(output).items() if digest != before[name]} <= {
        "a_denoised.nii.gz",
        "a_denoised.json",
    }

    assert counts(run(scans, output, redo=True)) == (3, 0)
    assert not [path for path in output.rglob(".*")]


def test_a_result_of_another_recipe_is_replaced_only_when_that_is_asked_for(scans: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(scans, output)
    before = files_of(output)
    result = run(scans, output, strength=0.5)
    assert len(result.failed) == 3
    assert all("was made with another strength" in row.error and "--redo" in row.error for row in result.failed)
    assert files_of(output) == before
    assert counts(run(scans, output)) == (0, 3)
    assert counts(run(scans, output, strength=0.5, redo=True)) == (3, 0)
    assert not set(files_of(output).values()) & set(before.values())


def test_a_file_of_somebody_else_is_replaced_only_when_that_is_asked_for(tmp_path: Path) -> None:
    scan = write_nifti(tmp_path / "scan.nii")
    target = tmp_path / "out" / "mine.nii"
    target.parent.mkdir()
    target.write_text("mine")
    with pytest.raises(OutputNotWritableError, match="--redo"):
        denoise(scan, target, noise_sigma=20.0, progress=False)
    assert target.read_text() == "mine"
    assert denoise(scan, target, noise_sigma=20.0, redo=True, progress=False) == [target]
    assert read_series(target).array.shape == read_series(scan).array.shape


def test_one_file_is_skipped_and_redone_as_a_folder_is(tmp_path: Path) -> None:
    scan, target = write_nifti(tmp_path / "scan.nii"), tmp_path / "out" / "a.nii.gz"
    assert counts(run(scan, target)) == (1, 0)
    assert counts(run(scan, target)) == (0, 1)
    write_nifti(scan, 7)
    assert counts(run(scan, target)) == (1, 0)
    assert counts(run(scan, target, redo=True)) == (1, 0)
    assert counts(run(write_nifti(tmp_path / "other.nii", 3), target.with_name("b.nii.gz"))) == (1, 0)
    assert counts(run(scan, target)) == (0, 1)


def test_a_raw_file_behind_its_header_is_part_of_the_input(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    values = moving_disc(1, 2, 16)[0].astype(np.float32)
    (tmp_path / "scans").mkdir()
    header = tmp_path / "scans" / "scan.mhd"
    sitk.WriteImage(sitk.GetImageFromArray(values), str(header))
    assert counts(run(tmp_path / "scans", tmp_path / "out", output_format="nifti")) == (1, 0)
    before = files_of(tmp_path / "out")
    raw = header.with_suffix(".raw")
    raw.write_bytes((3 * np.fromfile(raw, np.float32)).tobytes())
    assert counts(run(tmp_path / "scans", tmp_path / "out", output_format="nifti")) == (1, 0)
    assert files_of(tmp_path / "out") != before


def test_the_manifest_says_what_was_done_and_nothing_of_the_patient(scans: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    result = run(scans, output, roi_size=(2, 16, 16))
    row = read_manifest(output)["sub/b_denoised.nii"]
    facts, entry = row.outputs
    assert (facts.path, entry.path) == ("sub/b_denoised.json", "sub/b_denoised.nii")
    assert entry.sha256 == hashlib.sha256((output / entry.path).read_bytes()).hexdigest()
    digest = hashlib.sha256((scans / "sub" / "b.nii").read_bytes()).hexdigest()
    assert row.input_sha256 == hashlib.sha256(digest.encode()).hexdigest()
    assert row.recipe.options["roi_size"] == [2, 16, 16]
    assert row.figures["sigma"] == 20
    assert row.figures["flags"] == [] or {"name", "message"} == set(row.figures["flags"][0])
    assert 0 < row.figures["residual_std"] < 2
    assert row.seconds > 0
    assert (row.status, row.device, row.recipe.version) == ("done", "cpu", __version__)
    text = result.manifest.read_text()
    assert not any(secret in text for secret in (*PATIENT, str(tmp_path)))


def test_results_are_the_same_files_every_time_and_other_objects_with_other_options(
    scans: Path, tmp_path: Path
) -> None:
    run(scans, tmp_path / "first")
    run(scans, tmp_path / "second")
    run(scans, tmp_path / "third", strength=0.5)
    first, second, third = (files_of(tmp_path / name) for name in ("first", "second", "third"))
    assert first == second
    packed = (tmp_path / "first" / "a_denoised.nii.gz").read_bytes()
    assert packed[3:8] == bytes(5)  # no name of a file, no time
    uids = [
        {pydicom.dcmread(tmp_path / name / "dicom_denoised" / file).SOPInstanceUID for file in
         ("IM00001.dcm", "IM00002.dcm")} for name in ("first", "third")
    ]  # fmt: skip
    assert len(uids[0] | uids[1]) == 4
    assert not set(first.values()) & set(third.values())


def test_bad_series_are_recorded_and_the_others_go_on(scans: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    (scans / "bad.nii.gz").write_bytes(b"no gzip")
    write_series(scans / "study", moving_disc(2, 1, 16), 8)
    write_series(scans / "study", moving_disc(2, 1, 16), 10, "P", (2, -4096))
    write_series(scans / "study", moving_disc(2, 1, 16), 11)
    result = run(scans, output)
    assert counts(result) == (5, 0)
    assert [row.name for row in result.failed] == ["bad.nii.gz"]
    assert [row.name for row in result.refused] == ["study, series 10"]
    assert "7 series: 5 done, 0 skipped, 1 refused, 1 failed" in result.summary
    with pytest.raises(FailedSeriesError, match=r"failed: bad\.nii\.gz: UnreadableFileError"):
        denoise(scans, output, noise_sigma=20.0, progress=False)
    assert counts(run(scans, output)) == (0, 5)
    (scans / "bad.nii.gz").unlink()
    write_nifti(scans / "bad.nii.gz", 4)
    assert counts(run(scans, output)) == (1, 5)


def test_a_folder_of_somebody_else_is_not_replaced(scans: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    (output / "dicom_denoised").mkdir(parents=True)
    (output / "dicom_denoised" / "note.txt").write_text("mine")
    result = run(scans, output)
    assert [row.name for row in result.failed] == ["dicom"]
    assert "exists already" in result.failed[0].error
    assert [file.name for file in (output / "dicom_denoised").iterdir()] == ["note.txt"]


class KilledError(BaseException):
    """Stands for the end of the process."""


def _die(*_: object, **__: object) -> None:
    raise KilledError


@pytest.mark.parametrize("place", ["sync_files", "_give_name", "checksum_of", "after"])
def test_a_run_that_ends_anywhere_is_completed_by_the_next(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    run(scans, tmp_path / "whole")
    output = tmp_path / "out"
    with monkeypatch.context() as patch:
        if place == "after":
            patch.setattr(Journal, "append", _dying_after_the_first(Journal.append))
        else:
            patch.setattr(publishing, place, _die)
        with pytest.raises(KilledError):
            run(scans, output)
    assert files_of(output).items() <= files_of(tmp_path / "whole").items()
    result = run(scans, output)
    assert counts(result) == ((2, 1) if place == "after" else (3, 0))  # what has its name is not done again
    assert files_of(output) == files_of(tmp_path / "whole")
    assert counts(run(scans, output)) == (0, 3)


def _dying_after_the_first(append: Callable[[Journal, SeriesRow], None]) -> Callable[[Journal, SeriesRow], None]:
    def wrapped(journal: Journal, row: SeriesRow) -> None:
        if row.status == "done":
            raise KilledError
        append(journal, row)

    return wrapped


@pytest.mark.parametrize(("options", "is_same"), [({}, True), ({"strength": 1.2}, False)])
def test_two_runs_at_once_replace_nothing_of_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, float], is_same: bool
) -> None:
    scan, output, denoising = write_nifti(tmp_path / "a.nii"), tmp_path / "out", Denoiser.run

    def slowly(self: Denoiser, *arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - passed on
        monkeypatch.setattr(Denoiser, "run", denoising)
        run(scan, output, **options).check()
        first.update(files_of(output))
        return denoising(self, *arguments)

    first: dict[str, str] = {}
    monkeypatch.setattr(Denoiser, "run", slowly)
    result = run(scan, output)
    if is_same:
        assert counts(result.check()) == (0, 1)
    else:
        with pytest.raises(ResultExistsError, match="made by another run meanwhile"):
            result.check()
    assert {name: text for name, text in files_of(output).items() if "unfinished" not in name} == {
        name: text for name, text in first.items() if "unfinished" not in name
    }
    assert counts(run(scan, output, **options)) == (0, 1)


def test_a_full_disk_stops_the_run_and_the_next_resumes(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(SaveSeries, "open", full)
        result = run(scans, tmp_path / "out")
    assert len(result.failed) == 1
    assert "No space left" in result.failed[0].error
    assert len(result.missing) == 2
    assert "2 not reached" in result.summary
    with pytest.raises(FailedSeriesError):
        result.check()
    assert counts(run(scans, tmp_path / "out")) == (3, 0)


def test_a_file_that_changes_while_it_is_read_gives_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_nifti(tmp_path / "scans" / "a.nii")

    def changed(paths: list[Path]) -> str:
        stamp = stamp_of(paths)
        os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))
        return stamp

    monkeypatch.setattr(publishing, "stamp_of", changed)
    result = run(tmp_path / "scans", tmp_path / "out")
    assert "ChangedFileError" in result.failed[0].error
    assert files_of(tmp_path / "out") == {}


def test_a_g_factor_map_is_part_of_the_input(tmp_path: Path) -> None:
    write_nifti(tmp_path / "scans" / "a.nii")
    gmap = tmp_path / "gmap.nii"
    for value in (1.0, 2.0):
        nib.save(nib.Nifti1Image(np.full((16, 16, 1, 1), value, np.float32), np.eye(4)), gmap)
        assert counts(run(tmp_path / "scans", tmp_path / "out", gmap=gmap)) == (1, 0)
    assert counts(run(tmp_path / "scans", tmp_path / "out", gmap=gmap)) == (0, 1)


def test_what_concerns_all_series_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(EmptyImageError):
        run(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(OptionError):
        run(tmp_path / "empty", tmp_path / "out", noise_sigma=-1.0)


def test_the_checksum_of_a_bundle_follows_configs_and_weights(tmp_path: Path) -> None:
    for name in ("configs/inference.json", "models/model.pt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(name)
    seen = {bundle_checksum(tmp_path)}
    for name in ("configs/inference.json", "models/model.pt"):
        (tmp_path / name).write_text("other")
        seen.add(bundle_checksum(tmp_path))
    assert len(seen) == 3
    (tmp_path / "eval").mkdir()
    assert bundle_checksum(tmp_path) in seen


def test_results_say_how_they_came_about_and_are_known_again(scans: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(scans, output, strength=1.2)
    facts = json.loads((output / "sub" / "b_denoised.json").read_text())
    assert facts["Description"] == f"Denoised by monai_stcnnt {__version__}"
    assert facts["Sources"] == ["b.nii"]
    assert facts["Options"] == {"noise_sigma": 20, "strength": 1.2}
    assert facts["NoiseSigma"] == 20
    [maker] = facts["GeneratedBy"]
    assert (maker["Name"], maker["Bundle"]) == ("monai_stcnnt", "mri_denoising")
    assert len(maker["BundleSHA256"]) == 64
    dataset = pydicom.dcmread(output / "dicom_denoised" / "IM00001.dcm")
    assert dataset.DerivationDescription.startswith(f"Denoised by monai_stcnnt {__version__}, with the bundle")
    made = [summary.made for path in (output / "sub", output / "dicom_denoised") for summary in describe(path)]
    assert made == ["denoised", "denoised"]
    assert [summary.made for summary in describe(scans)] == ["", "", ""]


def test_a_file_of_somebody_else_is_not_replaced_by_the_facts(scans: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    (output / "sub").mkdir(parents=True)
    (output / "sub" / "b_denoised.json").write_text("mine")
    result = run(scans, output)
    assert [row.target for row in result.failed] == ["sub/b_denoised.nii"]
    assert "b_denoised.json exists already" in result.failed[0].error
    assert (output / "sub" / "b_denoised.json").read_text() == "mine"
    with pytest.raises(OptionError, match="facts"):
        DenoiseOptions(input=scans / "a.nii.gz", output=tmp_path / "x.nii.gz", qc=tmp_path / "x.json")


def test_the_reports_of_a_folder_have_an_index_and_only_what_is_new_is_made(scans: Path, tmp_path: Path) -> None:
    output, report = tmp_path / "out", tmp_path / "pages" / "report.html"
    run(scans, output, report=report)
    pages = sorted(path for path in report.parent.iterdir() if path != report)
    assert [page.name for page in pages] == [
        "report_a_denoised.html", "report_b_denoised.html", "report_dicom_denoised.html"
    ]  # fmt: skip
    text = report.read_text()
    assert all(f'href="{page.name}"' in text for page in pages)
    assert text.count("<img") == 3
    assert "<dt>Bundle</dt><dd>mri_denoising" in pages[0].read_text()

    times = {page: page.stat().st_mtime_ns for page in pages}
    write_nifti(scans / "a.nii.gz", 7)
    pages[1].unlink()
    assert counts(run(scans, output, report=report)) == (1, 2)
    changed = {page.name for page in pages if page.stat().st_mtime_ns != times[page]}
    assert changed == {"report_a_denoised.html", "report_b_denoised.html"}


def test_what_a_worker_made_after_the_end_of_its_run_is_removed(scans: Path, tmp_path: Path) -> None:
    stray = tmp_path / "out" / ".unfinished" / "run" / "result"
    stray.mkdir(parents=True)
    run(scans, tmp_path / "out")
    assert not (tmp_path / "out" / ".unfinished").exists()
