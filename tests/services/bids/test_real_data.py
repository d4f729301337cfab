# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The BIDS app with its own networks on a small dataset of real scans."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_stcnnt.services.bids.app import run
from tests.services.bids.test_app import broken, rows_of, validated

__all__: list[str] = []

pytestmark = pytest.mark.slow


def cropped(source: Path, target: Path, size: tuple[int, ...], scale: float = 1.0) -> None:
    """Copy the middle of an image."""
    image = nib.Nifti1Image.from_filename(source)
    places = tuple(slice((n - want) // 2, (n - want) // 2 + want) for n, want in zip(image.shape, size, strict=True))
    target.parent.mkdir(parents=True, exist_ok=True)
    values = np.asarray(image.dataobj[places]) * scale if scale != 1 else np.asarray(image.dataobj[places])
    nib.save(nib.Nifti1Image(values, image.affine, image.header), target)


def dataset(root: Path, data: Path) -> Path:
    """A dataset with functional, diffusion, anatomical and complex images, and one that is broken."""
    cropped(
        data / "fmri_studyforrest/bold_vol1-16.nii.gz",
        root / "sub-01/func/sub-01_task-film_bold.nii.gz",
        (40, 40, 3, 6),
    )
    cropped(data / "brain_t1_studyforrest/t1_crop_0p67mm.nii.gz", root / "sub-01/anat/sub-01_T1w.nii.gz", (48, 48, 8))
    cropped(data / "dwi_canon_classic/own_conversion.nii.gz", root / "sub-02/dwi/sub-02_dwi.nii.gz", (40, 40, 3, 2))
    for part, name, scale in (("mag", "mag", 1e6), ("phase", "phase", np.pi / 0.003674)):
        target = root / f"sub-02/anat/sub-02_part-{part}_T2starw.nii.gz"
        cropped(data / f"gre_3echo_romeo/{name}.nii.gz", target, (40, 40, 4, 3), scale)
    cropped(data / "brain_t1_studyforrest/t1_crop_0p67mm.nii.gz", root / "sub-03/anat/sub-03_T1w.nii.gz", (32, 32, 4))
    broken(root / "sub-03/anat/sub-03_T1w.nii.gz")
    texts = {
        "dataset_description.json": '{"Name": "real scans", "BIDSVersion": "1.9.0"}',
        "README": "Crops of public scans, for a test.\n",
        "task-film_bold.json": '{"TaskName": "film", "RepetitionTime": 2.0}',
        "sub-02/dwi/sub-02_dwi.bval": "0 1500\n",
        "sub-02/dwi/sub-02_dwi.bvec": "0 1\n0 0\n0 0\n",
    }
    for name, text in texts.items():
        (root / name).write_text(text)
    return root


def test_real_scans_become_valid_derivatives(shared_data: Path, tmp_path: Path) -> None:
    root, out = dataset(tmp_path / "raw", shared_data), tmp_path / "out"
    assert run([str(root), str(out), "participant"]) == 3
    assert run([str(root), str(out), "group"]) == 0
    rows = {row["file"]: row for row in rows_of(out)}
    assert [row["status"] for row in rows.values()] == ["done"] * 4 + ["failed"]
    assert "sub-03/anat/sub-03_T1w.nii.gz" in rows
    assert [issue for issue in validated(out)["issues"]["issues"] if issue["severity"] == "error"] == []
    for name in ("sub-01/func/sub-01_task-film_{}bold", "sub-02/anat/sub-02_part-mag_{}T2starw"):
        before = nib.Nifti1Image.from_filename(root / f"{name.format('')}.nii.gz")
        after = nib.Nifti1Image.from_filename(out / f"{name.format('desc-denoised_')}.nii.gz")
        np.testing.assert_allclose(after.affine, before.affine)
        assert after.shape == before.shape
        change = after.get_fdata() - before.get_fdata()
        assert 0 < np.abs(change).mean() < 0.2 * before.get_fdata().mean()
    said = json.loads((out / "sub-02/anat/sub-02_part-mag_desc-denoised_T2starw.json").read_text())
    assert said["Sources"][1] == "bids:raw:sub-02/anat/sub-02_part-phase_T2starw.nii.gz"
    made = {path: path.stat().st_mtime_ns for path in out.rglob("*.nii.gz")}
    run([str(root), str(out), "participant"])
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.nii.gz")} == made
