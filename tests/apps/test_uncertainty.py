# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The standard error of results, in a file beside them."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from monai_stcnnt.apps.bundles import bundle_folder, expected_remarks, open_inference
from monai_stcnnt.apps.cli.app import app
from monai_stcnnt.apps.denoising import denoise
from monai_stcnnt.data import read_series
from monai_stcnnt.errors import NotAnImageError, OptionError, ResultExistsError
from tests.apps.batches import run
from tests.apps.dicom_files import moving_disc, write_series

__all__: list[str] = []

SMALL = {"progress": False, "roi_size": (4, 16, 16)}


def scan(path: Path, factor: float = 1.0, *, is_complex: bool = False) -> Path:
    """A disc in noise of level 10 times the factor, (20, 24, 2, 5)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:24j, -1:1:20j]
    disc = (200.0 * (x**2 + y**2 < 0.5)).T[:, :, None, None] + np.zeros((20, 24, 2, 5))
    noisy = disc + 10 * rng.standard_normal(disc.shape) + 10j * rng.standard_normal(disc.shape)
    values = factor * (noisy if is_complex else np.abs(noisy))
    nib.save(nib.Nifti1Image(values.astype("c8" if is_complex else "f4"), np.diag([1.5, 1.5, 8, 1])), path)
    return path


def values_of(path: Path) -> np.ndarray:
    return np.asarray(nib.Nifti1Image.from_filename(path).dataobj)


@pytest.mark.parametrize("is_complex", [False, True])
def test_it_lies_beside_the_result_in_its_units(tmp_path: Path, is_complex: bool) -> None:
    found = []
    for factor in (1.0, 1000.0):
        [saved] = denoise(
            scan(tmp_path / "a.nii", factor, is_complex=is_complex), tmp_path / f"out{factor}", noise_sigma=10 * factor,
            save_uncertainty=True, **SMALL,
        )  # fmt: skip
        error = saved.with_name("a_denoised_uncertainty.nii")
        found.append(values_of(error))
        assert nib.Nifti1Image.from_filename(error).affine[0, 0] == 1.5
    assert found[0].dtype == np.float32
    assert found[0].shape == (20, 24, 2, 5)
    assert found[0].min() > 0
    assert found[0].max() < 30
    np.testing.assert_allclose(found[1], 1000 * found[0], rtol=0.02)
    facts = json.loads(saved.with_name("a_denoised_uncertainty.json").read_text())
    assert facts["Description"].endswith(": standard error of the result")
    assert facts["NoiseSigma"] == 10_000


def test_the_result_is_the_same_without_it_and_the_file_slab_by_slab(tmp_path: Path) -> None:
    path = scan(tmp_path / "a.nii.gz")
    files = {}
    for name, entries in (
        ("memory", {"save_uncertainty": True}), ("disk", {"save_uncertainty": True, "memory": 0}), ("plain", {}),
    ):  # fmt: skip
        with expected_remarks():
            workflow = open_inference(
                bundle_folder("mri_denoising"), input_file=str(path), output_dir=str(tmp_path / name), progress=False,
                roi_size=[4, 16, 16], noise_sigma=10.0, **entries,
            )  # fmt: skip
            workflow.run()
            workflow.finalize()
        files[name] = {file.name: file.read_bytes() for file in (tmp_path / name).glob("*.nii.gz")}
    assert files["memory"] == files["disk"]
    assert sorted(files["disk"]) == ["a_denoised.nii.gz", "a_denoised_uncertainty.nii.gz"]
    one, two = (read_series(tmp_path / name / "a_denoised.nii.gz", check=False).array for name in ("disk", "plain"))
    np.testing.assert_allclose(one, two, atol=1e-4)


def test_interpolated_images_have_one_of_their_own_size(tmp_path: Path) -> None:
    [saved] = denoise(
        scan(tmp_path / "a.nii", is_complex=True), tmp_path / "out", save_uncertainty=True, acquired_matrix=(16, 20),
        noise_sigma=10.0, **SMALL,
    )  # fmt: skip
    error = values_of(saved.with_name("a_denoised_uncertainty.nii"))
    assert error.shape == (20, 24, 2, 5)
    assert 0 < error.min() < error.max() < 30


def test_dicom_results_have_a_nifti_file(tmp_path: Path) -> None:
    write_series(tmp_path / "in", moving_disc(4, 2))
    [saved] = denoise(tmp_path / "in", tmp_path / "out", noise_sigma=20.0, save_uncertainty=True, **SMALL)
    assert saved.is_dir()
    error = values_of(saved.with_name(f"{saved.name}_uncertainty.nii.gz"))
    assert error.shape == (24, 24, 2, 4)
    assert error.min() > 0


def test_a_run_resumes_and_replaces_nothing_of_others(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "scans").mkdir(exist_ok=True)
        scan(tmp_path / "scans" / f"{name}.nii")
    options = {"save_uncertainty": True, "noise_sigma": 10.0, "roi_size": (4, 16, 16)}
    first = run(tmp_path / "scans", tmp_path / "scans" / "out", **options)
    assert len(first.done) == 2
    assert len(run(tmp_path / "scans", tmp_path / "scans" / "out", **options).skipped) == 2
    with pytest.raises(NotAnImageError, match="nothing but results"):
        run(tmp_path / "scans" / "out", tmp_path / "twice", **options)
    foreign = tmp_path / "other" / "a_denoised_uncertainty.nii"
    foreign.parent.mkdir()
    foreign.write_text("mine")
    with pytest.raises(ResultExistsError, match="would be replaced"):
        denoise(tmp_path / "scans" / "a.nii", foreign.parent, **options, progress=False)
    assert foreign.read_text() == "mine"
    with pytest.raises(ResultExistsError, match="another save_uncertainty"):
        denoise(tmp_path / "scans" / "a.nii", tmp_path / "scans" / "out", noise_sigma=10.0, roi_size=(4, 16, 16),
                progress=False)  # fmt: skip


def test_the_command_writes_it_and_a_bundle_without_says_so(tmp_path: Path) -> None:
    path = scan(tmp_path / "a.nii")
    words = ["denoise", str(path), str(tmp_path / "out"), "--noise-sigma", "10", "--roi-size", "4", "16", "16"]
    done = CliRunner().invoke(app, [*words, "--save-uncertainty", "--fast", "--quiet"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "a_denoised_uncertainty.nii").is_file()
    bundle = tmp_path / "bundle"
    for part in ("configs", "models"):
        (bundle / part).mkdir(parents=True)
        for file in (bundle_folder("mri_denoising") / part).iterdir():
            if file.name != "uncertainty.json":
                (bundle / part / file.name).write_bytes(file.read_bytes())
    with pytest.raises(OptionError, match="no calibration of errors for light_magnitude"):
        denoise(path, tmp_path / "none", bundle=bundle, save_uncertainty=True, progress=False)
