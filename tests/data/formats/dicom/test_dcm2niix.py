# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Another reader finds in a derived series the geometry and the times that it finds in its source."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_stcnnt.data import list_images, list_series, read_series, write_dicom_series

__all__: list[str] = []

FOLDERS = (
    "brain_t1_siemens_xa30_enhanced", "cine_sax_bivme", "complex_siemens_xa30_fieldmap", "dicom_ge_fmri_repeats",
    "dicom_philips_classic_phantom", "dicom_siemens_mosaic_fmri", "dicom_siemens_xa30_fmri_enhanced",
    "dicom_sunnybrook_empty_functional_groups", "dwi_canon_classic", "fmri_studyforrest",
)  # fmt: skip


def converted(folder: Path, output: Path) -> list[tuple[tuple[int, ...], np.ndarray, float]]:
    """Shape, affine and frame time of every image that dcm2niix makes of a folder."""
    output.mkdir()
    subprocess.run(["dcm2niix", "-z", "n", "-o", str(output), str(folder)], check=True, capture_output=True)
    images = [nib.load(file) for file in sorted(output.glob("*.nii"))]
    times = [image.header.get_zooms()[3] if len(image.shape) > 3 else 0.0 for image in images]  # type: ignore[attr-defined]
    return [(image.shape, image.affine, time) for image, time in zip(images, times, strict=True)]  # type: ignore[attr-defined]


@pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix is not installed")
@pytest.mark.parametrize("name", FOLDERS)
def test_derived_series_have_the_geometry_of_their_source(shared_data: Path, tmp_path: Path, name: str) -> None:
    entries = [entry for entry in list_series(shared_data / name) if entry.is_dir()]
    assert entries
    for number, entry in enumerate(entries):
        found = list_images(entry)
        for summary in found:
            if summary.refused or len(found) > 1:
                continue
            derived = write_dicom_series(read_series(entry), tmp_path / f"{number}")
            before, after = converted(entry, tmp_path / f"{number}_in"), converted(derived, tmp_path / f"{number}_out")
            assert len(before) == len(after) == 1
            assert before[0][0] == after[0][0]
            np.testing.assert_allclose(after[0][1], before[0][1], atol=2e-3)
            assert after[0][2] == pytest.approx(before[0][2], rel=1e-3)
