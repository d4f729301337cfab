# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What the user can turn: strength, mirror images, window and overlap."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_stcnnt.apps import denoise
from monai_stcnnt.apps.bundles import bundle_folder
from monai_stcnnt.errors import OptionError

__all__: list[str] = []


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:40j, -1:1:36j]
    disc = 100.0 * (x**2 + y**2 < 0.5)[..., None] + np.zeros(2)
    image = np.hypot(disc + 10 * rng.standard_normal(disc.shape), 10 * rng.standard_normal(disc.shape))
    path = tmp_path / "scan.nii"
    nib.save(nib.Nifti1Image(image.astype(np.float32), np.eye(4)), path)
    return path


def result(scan: Path, **options: Any) -> np.ndarray:  # noqa: ANN401 - of denoise
    [saved] = denoise(scan, scan.with_name("out.nii"), noise_sigma=10.0, progress=False, redo=True, **options)
    return nib.Nifti1Image.from_filename(saved).get_fdata(dtype=np.float32)


def test_more_strength_removes_more(scan: Path) -> None:
    before = nib.Nifti1Image.from_filename(scan).get_fdata()
    removed = [(before - result(scan, strength=strength)).std() for strength in (0.3, 0.6, 1.0)]
    assert removed[0] < 0.8 * removed[1] < 0.8 * removed[2]


def test_strength_is_the_noise_level_that_the_network_is_told(scan: Path) -> None:
    """With white noise: where its color is estimated, a level that is told decides about that as well."""
    [told] = denoise(scan, scan.with_name("told.nii"), noise_sigma=20.0, noise_spectrum="white", progress=False)
    expected = nib.Nifti1Image.from_filename(told).get_fdata(dtype=np.float32)
    np.testing.assert_allclose(result(scan, strength=2.0, noise_spectrum="white"), expected, atol=1e-3)


def lopsided_bundle(folder: Path) -> Path:
    """A copy of the bundle whose weights know no symmetry."""
    shutil.copytree(bundle_folder("mri_denoising"), folder)
    weights = folder / "models" / "model.pt"
    state = torch.load(weights, weights_only=True)
    torch.save({name: value + 0.05 * torch.randn_like(value) for name, value in state.items()}, weights)
    return folder


def test_mirror_images_make_the_result_equivariant_to_flips(scan: Path) -> None:
    image = nib.Nifti1Image.from_filename(scan)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[::-1], image.affine), scan.with_name("mirrored.nii"))
    bundle = lopsided_bundle(scan.parent / "bundle")
    plain, ensemble = (result(scan, bundle=bundle, self_ensemble=chosen) for chosen in (False, True))
    other, mirrored = (
        result(scan.with_name("mirrored.nii"), bundle=bundle, self_ensemble=chosen)[::-1] for chosen in (False, True)
    )
    np.testing.assert_allclose(mirrored, ensemble, atol=1e-4 * np.abs(ensemble).max())
    assert np.abs(other - plain).max() > 1e-2 * np.abs(plain).max()


def test_window_and_overlap_are_chosen(scan: Path) -> None:
    whole = result(scan, roi_size=(-1, -1, -1))
    np.testing.assert_allclose(result(scan), whole, atol=1e-3)  # smaller than the bundle's window
    parts = result(scan, roi_size=(2, 24, 24), overlap=0.5)
    assert np.abs(parts - whole).max() > 1e-3
    assert np.abs(parts - whole).std() < 5
    assert np.abs(parts - result(scan, roi_size=(2, 24, 24), overlap=0.0)).max() > 1e-3


@pytest.mark.parametrize("strength", [0.0, -1.0, float("nan"), float("inf")])
def test_strength_that_is_none_is_refused(scan: Path, strength: float) -> None:
    with pytest.raises(OptionError, match="strength"):
        denoise(scan, scan.with_name("out"), strength=strength)


@pytest.mark.parametrize(
    "options", [{"roi_size": (8, 8)}, {"roi_size": (8, 0, 8)}, {"overlap": 1.0}, {"overlap": -0.1}]
)
def test_window_that_is_none_is_refused(scan: Path, options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="Give"):
        denoise(scan, scan.with_name("out"), **options)
    assert not scan.with_name("out").exists()
