# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM in, DICOM out: derived series on the grid of their sources, with the values that NIfTI files get."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest

from monai_stcnnt.apps import denoise
from monai_stcnnt.data import list_dicom_series, read_series, write_nifti
from monai_stcnnt.errors import OutputNotWritableError, SeriesSelectionError
from tests.apps.dicom_files import moving_disc, write_series

__all__: list[str] = []

PHASE = (2.0, -4096.0)


def write_cine(folder: Path, number: int = 8, component: str = "M", frames: int = 3, slices: int = 2) -> Path:
    """Write a cine of a moving disc, or a phase series."""
    scale = PHASE if component == "P" else (1.0, 0.0)
    return write_series(folder, moving_disc(frames, slices, seed=number), number, component, scale)


def largest_step(folder: Path) -> float:
    """Quantization step of a derived series."""
    return max(float(pydicom.dcmread(file).RescaleSlope) for file in folder.iterdir())


def test_a_cine_becomes_a_derived_series_on_its_grid(tmp_path: Path) -> None:
    source = write_cine(tmp_path / "scan")
    [saved] = denoise(source, tmp_path / "out", noise_sigma=20.0, progress=False)
    assert saved == tmp_path / "out" / "scan_denoised"
    before, after = read_series(source), read_series(saved)
    np.testing.assert_allclose(after.affine, before.affine, atol=1e-5)
    np.testing.assert_array_equal(after.frame_times, before.frame_times)
    assert after.array.shape == before.array.shape
    corner = (..., slice(0, 5), slice(0, 5))
    assert after.array[corner].std() < 0.7 * before.array[corner].std()
    for file in saved.iterdir():
        assert pydicom.dcmread(file).ImageType[0] == "DERIVED"


def test_values_are_those_of_the_nifti_route_to_half_a_step(tmp_path: Path) -> None:
    source = write_cine(tmp_path / "scan")
    nifti = write_nifti(read_series(source), tmp_path / "scan.nii.gz")
    [series] = denoise(source, tmp_path / "out", progress=False)
    [file] = denoise(nifti, tmp_path / "other", progress=False)
    [direct] = denoise(source, tmp_path / "direct.nii", progress=False)
    truth = read_series(file).array
    half = largest_step(series) / 2
    rounding = 2e-7 * np.abs(truth).max()  # of single precision
    assert np.abs(read_series(series).array - truth).max() <= half + rounding
    np.testing.assert_allclose(read_series(direct).array, truth, atol=half / 100)
    np.testing.assert_allclose(read_series(direct).affine, read_series(file).affine, atol=1e-5)


def test_uids_are_new_and_a_function_of_image_and_options(tmp_path: Path) -> None:
    source = write_cine(tmp_path / "scan", frames=2, slices=1)
    known = {pydicom.dcmread(file).SOPInstanceUID for file in source.iterdir()}
    uids: list[set[str]] = []
    for name, strength in (("first", 1.0), ("second", 1.0), ("third", 0.5)):
        [saved] = denoise(source, tmp_path / name, noise_sigma=20.0, strength=strength, progress=False)
        headers = [pydicom.dcmread(file) for file in saved.iterdir()]
        uids.append({header.SOPInstanceUID for header in headers} | {header.SeriesInstanceUID for header in headers})
    assert uids[0] == uids[1]
    assert [len(one) for one in uids] == [3, 3, 3]
    assert not uids[0] & uids[2] | (uids[0] | uids[2]) & known


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
def test_checkers_find_no_error_that_the_source_did_not_have(tmp_path: Path) -> None:
    def errors(folder: Path) -> set[str]:
        found = [subprocess.run(["dciodvfy", "-new", str(f)], capture_output=True) for f in folder.iterdir()]
        lines = [line for one in found for line in one.stderr.decode(errors="replace").splitlines()]
        assert any("MRImage" in line for line in lines)
        return {line for line in lines if line.startswith("Error")}

    source = write_cine(tmp_path / "scan", frames=2)
    [saved] = denoise(source, tmp_path / "out", noise_sigma=20.0, progress=False)
    assert errors(saved) - errors(source) == set()


def test_several_series_of_a_folder_get_a_folder_each(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = tmp_path / "study" / "dicom"
    for number, component in ((8, "M"), (9, "M"), (10, "P")):
        write_cine(source, number, component, frames=2, slices=1)
    with caplog.at_level("INFO", "monai_stcnnt"):
        saved = denoise(source.parent, tmp_path / "out", noise_sigma=20.0, progress=False)
    assert [path.relative_to(tmp_path / "out").as_posix() for path in saved] == [
        "dicom_8_denoised", "dicom_9_denoised"
    ]  # fmt: skip
    assert "series 10: a phase image alone" in caplog.text
    for path, number in zip(saved, (8, 9), strict=True):
        [derived] = list_dicom_series(path)
        assert derived.frames[0].series_number == 1000 + number
    with pytest.raises(OutputNotWritableError, match="one file"):
        denoise(source, tmp_path / "one.nii", progress=False)
    with pytest.raises(SeriesSelectionError):
        denoise(source, tmp_path / "none", series="11", progress=False)


def test_series_that_is_asked_for(tmp_path: Path) -> None:
    source = tmp_path / "study"
    for number, component in ((8, "M"), (9, "M"), (10, "P")):
        write_cine(source / str(number), number, component, frames=2, slices=1)
    [saved] = denoise(source, tmp_path / "out", series="9", noise_sigma=20.0, progress=False)
    assert saved == tmp_path / "out" / "study_9_denoised"
    [saved] = denoise(
        source, tmp_path / "out", series="8+10", noise_sigma=20.0, progress=False, report=tmp_path / "a.png"
    )
    assert saved == tmp_path / "out" / "study_8+10_denoised.nii.gz"
    assert read_series(saved).kind == "complex"
    assert (tmp_path / "a.png").is_file()
    [saved] = denoise(source, tmp_path / "one.nii", series="9", noise_sigma=20.0, progress=False)
    assert read_series(saved).array.shape == (1, 2, 1, 24, 24)
