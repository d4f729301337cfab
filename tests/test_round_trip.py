# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""File to frame layout and back to a file: the same values, geometry and times, for every sample scan."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms.compose import Compose
from monai.transforms.io.dictionary import LoadImaged
from monai.transforms.post.dictionary import Invertd
from monai.transforms.utility.dictionary import EnsureChannelFirstd

from monai_stcnnt.apps import describe
from monai_stcnnt.data import SaveImageSeriesd, SeriesReader, read_series
from monai_stcnnt.transforms.frames import FileToFramesd
from monai_stcnnt.transforms.layout import Layout

__all__: list[str] = []

# MONAI tells of a decoder that is not installed whenever a loader is made.
pytestmark = pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader")

FOLDERS = (
    "abdomen_mr_totalseg", "asl_pcasl2d_siemens", "asl_philips_enhanced", "bold7t_phantom_siemens_xa60",
    "brain_flair_torchio", "brain_t1_siemens_xa30_enhanced",
    "brain_t1_studyforrest", "brain_t1_voxelmorph_aseg", "cine_sax_bivme", "complex_siemens_xa30_fieldmap",
    "dicom_ge_fmri_repeats", "dicom_philips_classic_phantom", "dicom_siemens_mosaic_fmri",
    "dicom_siemens_xa30_fmri_enhanced", "dwi_canon_classic", "fmri_studyforrest", "phantom_philips_cs",
    "pyradiomics_brain1", "spine_sct", "ulf_0p055T_brain",
)  # fmt: skip
# Kept for other tests: refused files, label maps, k-space, and large or many files of a kind that is in the list.
LEFT_OUT = (
    "LICENSES", "cine_sunnybrook_train", "dicom_enhanced_small", "dicom_sunnybrook_empty_functional_groups",
    "gre_3echo_romeo", "kspace_brain_sigpy", "ms_lesions_train", "synthseg_labels_train",
    "ulf_0p055T_volunteers_phantom",
)  # fmt: skip


def there_and_back(path: Path, series: str | None, out: Path, layout: Layout) -> tuple[torch.Tensor, Path]:
    """Load into the frame layout, invert, save as NIfTI; the frames, and the file."""
    pre = Compose(
        [
            LoadImaged("image", reader=SeriesReader, series=series, dtype=None),
            EnsureChannelFirstd("image", channel_dim="no_channel"),
            FileToFramesd("image", layout=layout),
        ]
    )
    items: Any = pre({"image": str(path)})
    frames = items["image"]
    post = Compose([Invertd("image", transform=pre), SaveImageSeriesd("image", out, suffix="x", output_format="nifti")])
    saved: Any = post(items)
    return frames, Path(saved["image"].meta["saved_to"])


def check(path: Path, series: str | None, out: Path) -> None:
    record = read_series(path, series=series)
    for layout in ("BCTHW", "BTCHW"):
        frames, saved = there_and_back(path, series, out, layout)
        channels, times, slices, rows, columns = record.array.shape
        batch, length = (slices, times) if times > 1 else (1, slices)
        middle = (channels, length) if layout == "BCTHW" else (length, channels)
        assert tuple(frames.shape) == (batch, *middle, rows, columns)
        again = read_series(saved)
        np.testing.assert_array_equal(again.array, record.array)
        np.testing.assert_allclose(again.affine, record.affine, rtol=1e-6, atol=1e-4)
        np.testing.assert_allclose(again.frame_times, _regular(record.frame_times), rtol=1e-6, atol=1e-3)
        saved.unlink()


def _regular(times: np.ndarray) -> np.ndarray:
    """NIfTI holds one start and one step: the median."""
    step = np.median(np.diff(times)) if len(times) > 1 else 0.0
    return np.asarray(times[0] + np.arange(len(times)) * step)


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS)
def test_every_sample_scan(shared_data: Path, tmp_path: Path, folder: str) -> None:
    found = [summary for summary in describe(shared_data / folder) if not summary.refused]
    assert found
    for summary in found:
        check(Path(summary.path), summary.series or None, tmp_path / "out")


def test_packed_enhanced_file(shared_data: Path, tmp_path: Path) -> None:
    packed = shared_data / "asl_philips_enhanced" / "pcasl_source_enhanced.dcm.gz"
    (tmp_path / "in.dcm").write_bytes(gzip.decompress(packed.read_bytes()))
    check(tmp_path / "in.dcm", None, tmp_path / "out")


def test_k_space_as_a_complex_array(shared_data: Path, tmp_path: Path) -> None:
    check(shared_data / "kspace_brain_sigpy" / "cartesian_ksp.npy", None, tmp_path / "out")


def test_no_sample_is_left_out(shared_data: Path) -> None:
    assert sorted(p.name for p in shared_data.iterdir() if p.is_dir()) == sorted((*FOLDERS, *LEFT_OUT))
