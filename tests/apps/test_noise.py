# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The noise of files, told and written without denoising, and taken up again by denoising."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from monai_stcnnt.apps.cli.app import app
from monai_stcnnt.apps.denoising import DenoiseOptions, denoise
from monai_stcnnt.apps.noise import find_noise
from monai_stcnnt.errors import NoiseModelError, OptionError, StcnntError
from monai_stcnnt.mri import AxisSpectrum, cine_phantom, complex_noise, from_acquired

__all__: list[str] = []


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A beating heart, half of whose rows were acquired, with noise of level 5."""
    import torch

    axes = (AxisSpectrum.of_matrix(64, 32), AxisSpectrum(48))
    noise = from_acquired(complex_noise((6, 32, 48), torch.Generator().manual_seed(0)), axes)
    image = (40 * cine_phantom((6, 64, 48)).image + 5 * noise).numpy()
    path = tmp_path / "heart.nii"
    values = image.transpose(2, 1, 0)[:, :, None].astype(np.complex64)
    nib.save(nib.Nifti1Image(values, np.diag([1.5, 1.5, 8, 1])), path)
    return path


def test_the_noise_of_a_file_is_written(scan: Path, tmp_path: Path) -> None:
    [found] = find_noise(scan, tmp_path / "out")
    assert found.model.level == pytest.approx(5, rel=0.15)
    assert abs(found.model.matrix[1] - 32) <= 2
    levels = nib.load(found.map).get_fdata()  # type: ignore[attr-defined, arg-type]  # any spatial image; written
    assert levels.shape[:2] == (48, 64)
    assert np.median(levels) == pytest.approx(5, rel=0.2)
    model = json.loads((tmp_path / "out" / "heart_noise.json").read_text(encoding="utf-8"))
    assert model == found.model.as_dict()


def test_the_command_tells_and_writes(scan: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["noise", str(scan), "--json", "--acquired-matrix", "32", "48"])
    assert done.exit_code == 0, done.output
    [entry] = json.loads(done.stdout)["series"]
    assert entry["origins"]["spectrum"]["source"] == "told"
    done = CliRunner().invoke(app, ["noise", str(scan), str(tmp_path / "maps"), "--noise-sigma", "4"])
    assert "sigma = 4 (told" in done.stdout
    assert (tmp_path / "maps" / "heart_noise.nii.gz").is_file()


def test_what_was_written_is_taken_by_denoising(scan: Path, tmp_path: Path) -> None:
    options = {"progress": False, "roi_size": (4, 32, 32)}
    [first] = denoise(scan, tmp_path / "first", save_noise_map=True, **options)
    model, levels = (tmp_path / "first" / f"heart_denoised_noise.{end}" for end in ("json", "nii.gz"))
    assert model.is_file()
    assert levels.is_file()
    [second] = denoise(scan, tmp_path / "second", noise_map=levels, noise_spectrum=str(model), **options)
    one, two = (np.asarray(nib.load(path).dataobj) for path in (first, second))  # type: ignore[attr-defined]
    assert np.abs(one - two).mean() < 0.5
    noisy = np.asarray(nib.load(scan).dataobj)  # type: ignore[attr-defined]
    change = np.fft.fftshift(np.fft.fft2((one - noisy)[:, :, 0, 0]))
    assert np.abs(change[:, :10]).max() < 1e-3 * np.abs(change).max()


def test_options_that_contradict_each_other_are_refused(scan: Path, tmp_path: Path) -> None:
    for wrong in (
        {"noise_map": scan, "noise_sigma": 1.0},
        {"noise_spectrum": "white", "acquired_matrix": (3, 3)},
        {"acquired_matrix": (0, 3)},
    ):
        with pytest.raises(OptionError):
            DenoiseOptions(input=scan, output=tmp_path, **wrong)
    with pytest.raises(NoiseModelError, match="300 samples"):
        denoise(scan, tmp_path / "out", acquired_matrix=(300, 48), progress=False)


SMALL = {"progress": False, "roi_size": (4, 32, 32)}


def write(path: Path, values: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(values.astype(np.float32), np.diag([1.5, 1.5, 8, 1])), path)
    return path


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (33, 47, 1), (31, 29, 3), (24, 25, 1, 5)])
def test_pure_noise_of_any_size_gives_a_finite_result(tmp_path: Path, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    noisy = np.hypot(*rng.normal(size=(2, *shape)))
    scan = write(tmp_path / "noise.nii", noisy)
    [saved] = denoise(scan, tmp_path / "out", **SMALL)
    values = nib.load(saved).get_fdata()  # type: ignore[attr-defined]  # any spatial image
    assert values.shape == shape
    assert np.isfinite(values).all()
    assert values.std() < (1.0 if max(shape[:2]) == 8 else 0.7) * noisy.std()


def test_a_binary_mask_is_an_image_or_a_named_error_and_a_constant_an_error(tmp_path: Path) -> None:
    mask = np.zeros((32, 32, 3))
    mask[8:24, 8:24] = 1
    [saved] = denoise(write(tmp_path / "mask.nii", mask), tmp_path / "out", force=True, **SMALL)
    values = nib.load(saved).get_fdata()  # type: ignore[attr-defined]  # any spatial image
    assert np.abs(values - mask).max() < 0.2
    with pytest.raises(StcnntError, match="everywhere"):
        denoise(write(tmp_path / "flat.nii", np.ones((32, 32, 3))), tmp_path / "out", force=True, **SMALL)


@pytest.mark.parametrize(("wrong", "shape"), [(0.0, (48, 64)), (float("nan"), (48, 64)), (1.0, (47, 64))])
@pytest.mark.parametrize("option", ["gmap", "noise_map"])
def test_maps_with_zeros_nan_or_another_grid_are_refused(
    scan: Path, tmp_path: Path, option: str, wrong: float, shape: tuple[int, int]
) -> None:
    values = np.ones(shape)
    values[3, 4] = wrong
    told = write(tmp_path / "map.nii", values)
    with pytest.raises(StcnntError, match="map"):
        denoise(scan, tmp_path / "out", **{option: told}, **SMALL)
    assert not (tmp_path / "out" / "heart_denoised.nii").exists()


def test_a_spectrum_of_another_image_is_refused(scan: Path, tmp_path: Path) -> None:
    axes = {name: {"size": n, "start": 0, "stop": n} for name, n in (("frames", 6), ("rows", 128), ("columns", 48))}
    told = tmp_path / "model.json"
    told.write_text(json.dumps({"spectrum": axes}), encoding="utf-8")
    with pytest.raises(NoiseModelError, match="128"):
        denoise(scan, tmp_path / "out", noise_spectrum=str(told), **SMALL)
