# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Small files to read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage

__all__ = ["make_dicom", "make_enhanced", "make_nifti"]

AFFINE = np.array([[0, -1.5, 0, 20], [1.4, 0, 0.1, -30], [0.05, 0, 8, 12], [0, 0, 0, 1.0]])


@pytest.fixture
def make_nifti(tmp_path: Path) -> Callable[..., Path]:
    """Give a function that writes NIfTI files with an oblique affine, a frame time and units."""

    def make(
        name: str,
        values: np.ndarray,
        *,
        frame_time: float = 0.04,
        units: tuple[str, str] = ("mm", "sec"),
        codes: tuple[int, int] = (1, 1),
        slope: tuple[float, float] | None = None,
        version: int = 1,
        **fields: Any,  # noqa: ANN401 - header fields
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image_class = nib.Nifti1Image if version == 1 else nib.Nifti2Image
        header = image_class.header_class()
        header.set_data_dtype(values.dtype)
        header.set_data_shape(values.shape)
        header.set_qform(AFFINE, codes[0])
        header.set_sform(AFFINE, codes[1])
        header.set_xyzt_units(*units)
        header["pixdim"][4] = frame_time
        for field, value in fields.items():
            header[field] = value
        image = image_class(values, None, header)
        if slope is not None:
            image.header.set_slope_inter(*slope)
        nib.save(image, path)
        return path

    return make


PATIENT_NAME, PATIENT_ID = "Secret^Name", "SECRET-ID-42"


def _common(rows: int, columns: int) -> FileDataset:
    """Header of an MR image with a patient."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.PatientName, dataset.PatientID, dataset.Modality = PATIENT_NAME, PATIENT_ID, "MR"
    dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = "1.2.3.1", "1.2.3.2"
    dataset.SeriesInstanceUID, dataset.SeriesNumber, dataset.SeriesDescription = "1.2.3.8", 8, "cine"
    dataset.Manufacturer = "Test"
    dataset.Rows, dataset.Columns = rows, columns
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    return dataset


def _save(dataset: FileDataset, pixels: np.ndarray, path: Path) -> None:
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    if "PixelData" not in dataset:
        dataset.add_new("PixelData", "OW", pixels.astype("<u2").tobytes())
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


ORIENTATION = [0.6, 0.8, 0.0, 0.0, 0.0, -1.0]
NORMAL = np.cross(ORIENTATION[:3], ORIENTATION[3:])
ORIGIN = np.array([-50.0, 20.0, 10.0])


@pytest.fixture
def make_dicom(tmp_path: Path) -> Callable[..., Path]:
    """Give a function that writes a classic series ``(T, Z, rows, columns)`` under names that mislead.

    ``change(time, slice, dataset)`` may change a header before it is written, or return False to leave the file out.
    """

    def make(
        name: str,
        values: np.ndarray,
        *,
        spacing: float = 8.0,
        frame_time: float = 40.0,
        change: Callable[[int, int, FileDataset], object] | None = None,
    ) -> Path:
        times, slices, rows, columns = values.shape
        order = np.random.default_rng(0).permutation(times * slices)
        for time, place in np.ndindex(times, slices):
            dataset = _common(rows, columns)
            index = time * slices + place
            dataset.SOPClassUID, dataset.SOPInstanceUID = MRImageStorage, f"1.2.3.8.{index + 1}"
            dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
            dataset.ImageOrientationPatient = ORIENTATION
            dataset.ImagePositionPatient = list(np.round(ORIGIN + place * spacing * NORMAL, 6))
            dataset.PixelSpacing, dataset.SliceThickness = [1.5, 1.25], 6
            dataset.InstanceNumber = index + 1
            dataset.TriggerTime = time * frame_time
            dataset.RepetitionTime, dataset.EchoTime = frame_time, 1.5
            keep = change(time, place, dataset) if change else None
            if keep is not False:
                _save(dataset, values[time, place], tmp_path / name / f"{order[index]:03d}.dcm")
        return tmp_path / name

    return make


@pytest.fixture
def make_enhanced(tmp_path: Path) -> Callable[..., Path]:
    """Give a function that writes one enhanced file ``(T, Z, rows, columns)``, its frames slice by slice.

    ``change(time, slice, groups)`` may change the functional groups of a frame.
    """

    def make(
        name: str, values: np.ndarray, *, spacing: float = 8.0, frame_time: float = 40.0,
        change: Callable[[int, int, Dataset], object] | None = None,
    ) -> Path:  # fmt: skip
        times, slices, rows, columns = values.shape
        dataset = _common(rows, columns)
        dataset.SOPClassUID, dataset.SOPInstanceUID = EnhancedMRImageStorage, "1.2.3.8.1"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "NONE"]
        dataset.InstanceNumber, dataset.NumberOfFrames = 1, times * slices
        shared = Dataset()
        shared.PlaneOrientationSequence = [Dataset()]
        shared.PlaneOrientationSequence[0].ImageOrientationPatient = ORIENTATION
        shared.PixelMeasuresSequence = [Dataset()]
        shared.PixelMeasuresSequence[0].PixelSpacing = [1.5, 1.25]
        shared.PixelMeasuresSequence[0].SliceThickness = 6
        dataset.SharedFunctionalGroupsSequence = [shared]
        frames = []
        for place, time in np.ndindex(slices, times):
            groups = Dataset()
            groups.PlanePositionSequence = [Dataset()]
            position = np.round(ORIGIN + place * spacing * NORMAL, 6)
            groups.PlanePositionSequence[0].ImagePositionPatient = list(position)
            groups.CardiacSynchronizationSequence = [Dataset()]
            groups.CardiacSynchronizationSequence[0].NominalCardiacTriggerDelayTime = time * frame_time
            groups.PixelValueTransformationSequence = [Dataset()]
            groups.PixelValueTransformationSequence[0].RescaleSlope = 2
            groups.PixelValueTransformationSequence[0].RescaleIntercept = time
            if change:
                change(time, place, groups)
            frames.append(groups)
        dataset.PerFrameFunctionalGroupsSequence = frames
        path = tmp_path / name
        _save(dataset, values.swapaxes(0, 1), path)
        return path

    return make
