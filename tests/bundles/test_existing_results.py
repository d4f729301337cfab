# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The rule about results that exist, where MONAI runs the bundles."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest

from monai_stcnnt.apps.batch.manifest import MANIFEST
from monai_stcnnt.apps.bundles import bundle_folder
from monai_stcnnt.errors import OutputNotWritableError, ResultExistsError
from tests.apps.batches import files_of
from tests.apps.dicom_files import moving_disc, write_series
from tests.bundles.causes import cause_of, run

__all__: list[str] = []

pytestmark = pytest.mark.filterwarnings("ignore:parsing config_file:UserWarning")

ENGINES = [("mri_denoising", "streamed"), ("mri_denoising", "evaluator"), ("cine_segmentation", "evaluator")]


def start(name: str, engine: str, images: Path, output: Path, **options: Any) -> None:  # noqa: ANN401
    """Run a bundle on a file or folder."""
    small: dict[str, Any] = {"roi_size": [4, 16, 16], "noise_sigma": 10.0} if name == "mri_denoising" else {}
    place = {"input_file": str(images)} if images.is_file() else {"dataset_dir": str(images)}
    run(
        bundle_folder(name), output_dir=str(output), run=[f"$@{engine}.run() if @datalist else None"],
        **{**small, **place, **options},
    )  # fmt: skip


def refused(kind: type[Exception], *arguments: Any, **options: Any) -> str:  # noqa: ANN401
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the cause below it is compared
        start(*arguments, **options)
    assert isinstance(cause_of(caught.value), kind)
    return str(cause_of(caught.value))


def scan_at(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(exist_ok=True)
    values = 100 + np.random.default_rng(seed).normal(0, 10, (24, 20, 1, 4)).astype(np.float32)
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)
    return path


@pytest.mark.parametrize(("name", "engine"), ENGINES)
def test_a_bundle_skips_what_is_done_and_refuses_what_is_in_the_way(
    name: str, engine: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images, output = tmp_path / "images", tmp_path / "out"
    scan_at(images / "a.nii", 1)
    start(name, engine, images, output)
    scan_at(images / "b.nii", 2)
    before = files_of(output)
    times = {path.name: path.stat().st_mtime_ns for path in output.glob("a_*")}
    with caplog.at_level("INFO", "monai_stcnnt"):
        start(name, engine, images, output)
    assert "a.nii is skipped" in caplog.text
    assert {path.name: path.stat().st_mtime_ns for path in output.glob("a_*")} == times
    assert before.items() < files_of(output).items()
    assert "config, force" in refused(ResultExistsError, name, engine, images, output, force=True)
    [mine] = (output / path for path in before if path.endswith(".nii"))
    mine.write_text("mine")
    (output / MANIFEST).unlink()
    assert "does not know it" in refused(ResultExistsError, name, engine, images / "a.nii", output)
    assert mine.read_text() == "mine"
    start(name, engine, images / "a.nii", output, redo=True)
    assert files_of(output)[mine.name] == before[mine.name]
    assert sorted(path.name for path in output.iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize(("name", "engine"), ENGINES)
def test_results_in_dicom_follow_the_same_rule(name: str, engine: str, tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    write_series(tmp_path / "images" / "cine", moving_disc(3, 1, 24))
    output = tmp_path / "out"
    start(name, engine, tmp_path / "images", output)
    before = files_of(output)
    start(name, engine, tmp_path / "images", output)
    assert files_of(output) == before
    refused(ResultExistsError, name, engine, tmp_path / "images", output, force=True)
    start(name, engine, tmp_path / "images", output, redo=True)
    assert files_of(output).keys() == before.keys()
    [folder] = (path for path in output.iterdir() if path.is_dir())
    assert pydicom.dcmread(next(folder.iterdir())).SOPInstanceUID
    (output / MANIFEST).unlink()
    refused(ResultExistsError, name, engine, tmp_path / "images", output, redo=True)
    assert folder.is_dir()


@pytest.mark.parametrize("name", ["the name", "a link", "a hard link"])
def test_a_bundle_never_overwrites_its_input(name: str, tmp_path: Path) -> None:
    scan = scan_at(tmp_path / "images" / "scan.nii")
    target = scan if name == "the name" else tmp_path / "other.nii"
    if name == "a link":
        target.symlink_to(scan)
    if name == "a hard link":
        os.link(scan, target)
    before = scan.read_bytes()
    said = refused(
        OutputNotWritableError, "mri_denoising", "streamed", scan, tmp_path, output_file=str(target), redo=True
    )
    assert "input itself" in said
    assert scan.read_bytes() == target.read_bytes() == before


def test_a_full_disk_leaves_nothing_of_a_bundles_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    scan = scan_at(tmp_path / "images" / "scan.nii")
    monkeypatch.setattr("monai_stcnnt.data.formats.nifti_writer.claim", full)
    said = refused(OutputNotWritableError, "mri_denoising", "streamed", scan, tmp_path / "out")
    assert said.startswith(f"{tmp_path / 'out' / 'scan_denoised.nii'} cannot be written: No space left on device.")
    assert files_of(tmp_path / "out") == {}


def test_another_option_or_other_weights_make_another_recipe(tmp_path: Path) -> None:
    scan, output = scan_at(tmp_path / "images" / "scan.nii"), tmp_path / "out"
    start("mri_denoising", "streamed", scan, output)
    for option in ({"overlap": [0.5, 0.5, 0.5]}, {"suffix": "denoised", "dtype": "float64"}, {"strength": 1.2}):
        said = refused(ResultExistsError, "mri_denoising", "streamed", scan, output, **option)
        assert "was made with another" in said
    scan_at(scan, 3)  # the image has changed: the result is made again
    before = files_of(output)
    start("mri_denoising", "streamed", scan, output)
    assert files_of(output)["scan_denoised.nii"] != before["scan_denoised.nii"]
