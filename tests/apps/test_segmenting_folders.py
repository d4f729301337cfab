# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders as they come: of ACDC with its headers, and of a scanner that writes a series for every slice."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from monai_stcnnt.apps import segment
from monai_stcnnt.data import read_series
from tests.apps.dicom_files import write_series
from tests.apps.fake_segmenter import BRIGHTNESS, beating_heart, fake_bundle

__all__: list[str] = []

SIZE = np.array([1.25, 1.5, 9.0])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_bundle(tmp_path_factory.mktemp("bundle") / "cine_segmentation")


def volume(labels: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Milliliters of the left ventricle in every frame of (T, Z, Y, X)."""
    return np.asarray((labels == 3).sum((1, 2, 3)) * float(np.prod(spacing)) / 1000)


def acdc_patient(folder: Path, labels: np.ndarray) -> Path:
    """A patient in the layout of ACDC, with its headers: the sform without voxel sizes, qform and pixdim right."""
    folder.mkdir(parents=True)
    turn = np.array([[0.8, 0.6, 0], [-0.6, 0.8, 0], [0, 0, 1.0]])
    sform, qform = np.eye(4), np.eye(4)
    sform[:3, :3], qform[:3, :3] = turn, turn * SIZE

    def save(array: np.ndarray, name: str) -> None:
        image = nib.Nifti1Image(array, None)
        image.header.set_qform(qform, 1)
        image.header["sform_code"] = 2
        for row, values in zip("xyz", sform, strict=False):
            image.header[f"srow_{row}"] = values
        image.header["pixdim"][4] = 0.04
        image.header["xyzt_units"] = 10  # mm, s
        nib.save(image, folder / name)

    grainy = BRIGHTNESS[labels] + np.random.default_rng(0).integers(0, 9, labels.shape)
    save(grainy.transpose(3, 2, 1, 0).astype(np.int16), f"{folder.name}_4d.nii.gz")
    for t in (1, 4):
        save(grainy[t - 1].transpose(2, 1, 0).astype(np.int16), f"{folder.name}_frame{t:02d}.nii.gz")
        save(labels[t - 1].transpose(2, 1, 0).astype(np.uint8), f"{folder.name}_frame{t:02d}_gt.nii.gz")
    (folder / "Info.cfg").write_text("ED: 1\nES: 4\nGroup: DCM\nNbFrame: 6\n")
    return folder


def test_a_folder_of_acdc_with_its_headers(tmp_path: Path, bundle: Path) -> None:
    labels = np.roll(beating_heart(), 2, axis=0)  # end diastole is neither the first frame nor the last
    acdc_patient(tmp_path / "acdc" / "patient001", labels)
    done = segment(tmp_path / "acdc", tmp_path / "out", bundle=bundle, progress=False)
    names = ["patient001_4d_seg.nii.gz", "patient001_frame01_seg.nii.gz", "patient001_frame04_seg.nii.gz"]
    assert [one.saved.name for one in done] == names
    cine = done[0].measures
    np.testing.assert_allclose(cine.volumes[:, 2], volume(labels, SIZE))
    np.testing.assert_allclose(cine.times, np.arange(6) * 40.0, rtol=1e-5)
    assert cine.distance == pytest.approx(9)
    function = cine.functions["left ventricle"]
    assert (function.end_diastole, function.end_systole) == (2, 5)
    masks = read_series(done[0].saved, check=False)
    np.testing.assert_array_equal(masks.array[0], labels)
    np.testing.assert_allclose(masks.spacing, SIZE, rtol=1e-5)
    assert all(not one.measures.functions for one in done[1:]), "one frame has no ejection fraction"


@pytest.mark.parametrize("apart", [True, False])
def test_a_series_of_dicom_for_every_slice_is_one_stack(tmp_path: Path, bundle: Path, apart: bool) -> None:
    highdicom = pytest.importorskip("highdicom")
    labels = beating_heart(6, 4)
    grainy = BRIGHTNESS[labels] + np.random.default_rng(0).integers(0, 9, labels.shape)
    scan = tmp_path / "scan"
    for place in range(4):
        folder = write_series(scan / (str(place) if apart else ""), grainy[:, place, None], 30 + place)
        for file in folder.glob(f"{30 + place}_*"):
            dataset = pydicom.dcmread(file)
            dataset.ImagePositionPatient = [0, -0.8 * 8 * place, 0.6 * 8 * place]
            dataset.TriggerTime = float(dataset.TriggerTime) * (1 + place / 100)  # beats are not alike
            dataset.FrameOfReferenceUID = "1.2.3.2"
            dataset.save_as(file)
    [one] = segment(scan, tmp_path / "out", bundle=bundle, progress=False)
    assert one.series == "stack"
    expected = volume(labels, np.array([1.25, 1.5, 8]))
    np.testing.assert_allclose(one.measures.volumes[:, 2], expected, rtol=1e-4)
    record = read_series(scan, series="stack")
    np.testing.assert_allclose(record.metadata["slice_times"][2], [80, 80.8, 81.6, 82.4])
    [file] = one.saved.iterdir()
    item = highdicom.seg.segread(file)
    assert {series.SeriesInstanceUID for series in item.ReferencedSeriesSequence} == {
        f"1.2.3.{n}" for n in range(30, 34)
    }
    voxels = item.pixel_array[[g.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 3
                               for g in item.PerFrameFunctionalGroupsSequence]].sum()  # fmt: skip
    assert voxels == (labels == 3).sum()
    again = segment(scan, tmp_path / "out", bundle=bundle, progress=False)
    assert [other.saved for other in again] == [one.saved]
