# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Another reader finds in derived series and segmentations the geometry, times and masks that it should."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_stcnnt.data import list_images, list_series, read_series, write_dicom_seg, write_dicom_series
from tests.conftest import optional_folder

__all__: list[str] = []

FOLDERS = (
    "brain_t1_siemens_xa30_enhanced", "cine_sax_bivme", "complex_siemens_xa30_fieldmap", "dicom_ge_fmri_repeats",
    "dicom_philips_classic_phantom", "dicom_siemens_mosaic_fmri", "dicom_siemens_xa30_fmri_enhanced",
    "dicom_sunnybrook_empty_functional_groups", "dwi_canon_classic", "fmri_studyforrest",
)  # fmt: skip
# Of case 33, a mosaic of 256 pixels in 7 x 7 tiles of 36, dcm2niix takes tiles of 256 / 7 pixels: 0.5 mm off.
CASES = (
    "01_silent_ge_fieldmap_stacked", "20_refused_philips_rawdata", "21_refused_text_file", "26_refused_localizer",
    "31_refused_aborted_last_volume", "32_refused_uih_mosaic",
)  # fmt: skip


def converted(folder: Path, output: Path) -> list[tuple[tuple[int, ...], np.ndarray, float]]:
    """Shape, affine and frame time of every image that dcm2niix makes of a folder."""
    output.mkdir()
    subprocess.run(["dcm2niix", "-z", "n", "-o", str(output), str(folder)], check=True, capture_output=True)
    images = [nib.Nifti1Image.from_filename(file) for file in sorted(output.glob("*.nii"))]
    times = [float(image.header.get_zooms()[3]) if len(image.shape) > 3 else 0.0 for image in images]
    return [(image.shape, np.asarray(image.affine), time) for image, time in zip(images, times, strict=True)]


def check_derived(root: Path, place: Path, *, times: bool = True) -> int:
    """Write every image below a folder as a derived series, and compare what dcm2niix makes of both."""
    done = 0
    for entry in list_series(root):
        for summary in list_images(entry, check=False) if entry.is_dir() else []:
            if summary.refused:
                continue
            source, derived = place / f"{done}_in", place / f"{done}_derived"
            record = read_series(entry, series=summary.series or None)
            source.mkdir(parents=True)
            for number, file in enumerate(record.metadata["dicom_files"]):
                shutil.copy(file, source / f"{number:05d}.dcm")
            write_dicom_series(record, derived)
            before, after = converted(source, place / f"{done}_before"), converted(derived, place / f"{done}_after")
            assert [one[0] for one in before] == [one[0] for one in after], summary
            for (_, affine, time), (_, again, time_again) in zip(before, after, strict=True):
                np.testing.assert_allclose(again, affine, atol=2e-3, err_msg=str(summary))
                assert not times or time_again == pytest.approx(time, rel=1e-3), summary
            done += 1
    return done


def check_masks(root: Path, place: Path) -> int:
    """Write a mask of every image below a folder as a segmentation, and look for it where dcm2niix puts it."""
    done = 0
    for entry in list_series(root):
        for summary in list_images(entry, check=False) if entry.is_dir() else []:
            if summary.refused:
                continue
            record = read_series(entry, series=summary.series or None)
            if len(record.frame_times) > 1:  # older versions of dcm2niix take frames for slices
                continue
            mask = record.array > np.median(record.array, axis=(-2, -1), keepdims=True)
            written = write_dicom_seg(record.with_array(mask), place / f"{done}_masks", class_names={1: "a"})
            converted(written, place / f"{done}_found")
            [file] = (place / f"{done}_found").glob("*.nii")
            spatial = mask[0, 0].transpose(2, 1, 0)
            expected = nib.as_closest_canonical(nib.Nifti1Image(spatial.astype(np.uint8), record.affine))
            found = nib.as_closest_canonical(nib.Nifti1Image.from_filename(file))
            np.testing.assert_allclose(found.affine, expected.affine, atol=2e-3, err_msg=str(summary))
            np.testing.assert_array_equal(np.asarray(found.dataobj) > 0, np.asarray(expected.dataobj) > 0)
            done += 1
    return done


@pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix is not installed")
@pytest.mark.parametrize("name", ["brain_t1_siemens_xa30_enhanced", "complex_siemens_xa30_fieldmap"])
def test_masks_are_where_their_images_are(shared_data: Path, tmp_path: Path, name: str) -> None:
    assert check_masks(shared_data / name, tmp_path)


@pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix is not installed")
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize("name", [name for name in CASES if "mosaic" not in name and "text" not in name])
def test_masks_of_files_as_people_have_them(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    cases = optional_folder(request.config.getoption("--cases"), "MONAI_STCNNT_CASES", "../shared/cases/files")
    if cases is None:
        pytest.skip("no folder of cases: give --cases DIR or set MONAI_STCNNT_CASES")
    assert check_masks(cases / name / "data", tmp_path)


@pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix is not installed")
@pytest.mark.parametrize("name", FOLDERS)
def test_derived_series_have_the_geometry_of_their_source(shared_data: Path, tmp_path: Path, name: str) -> None:
    assert check_derived(shared_data / name, tmp_path)


@pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix is not installed")
def test_a_derived_series_of_an_enhanced_file(shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number, file in enumerate((shared_data / "asl_philips_enhanced").glob("*.dcm.gz")):
        (tmp_path / "in" / f"{number}.dcm").write_bytes(gzip.decompress(file.read_bytes()))
    assert check_derived(tmp_path / "in", tmp_path / "out") == 1


@pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix is not installed")
@pytest.mark.parametrize("name", CASES)
def test_derived_series_of_files_as_people_have_them(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    cases = optional_folder(request.config.getoption("--cases"), "MONAI_STCNNT_CASES", "../shared/cases/files")
    if cases is None:
        pytest.skip("no folder of cases: give --cases DIR or set MONAI_STCNNT_CASES")
    # Case 32 has two files of seventeen, with a gap. With the time of each slice, dcm2niix estimates from that gap.
    assert check_derived(cases / name / "data", tmp_path, times=name != "32_refused_uih_mosaic")
