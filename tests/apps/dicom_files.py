# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Classic DICOM series of a patient whose name must not be seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.uid import UID

__all__ = ["PATIENT", "moving_disc", "template_file", "write_series"]

PATIENT = ("Secret^Name", "SECRET-ID-42", "19010203")


def template_file() -> Path:
    """A small MR file that comes with pydicom."""
    file = get_testdata_file("MR_small.dcm", download=False)
    assert isinstance(file, str)
    return Path(file)


def moving_disc(frames: int, slices: int, size: int = 24, seed: int = 0) -> np.ndarray:
    """Magnitudes ``(T, Z, size, size)`` of a disc of 1000 that moves, with noise of 20 per component."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    shift = np.arange(frames).reshape(-1, 1, 1, 1) / 10
    disc = np.broadcast_to(1000.0 * (x**2 + (y - shift) ** 2 < 0.4), (frames, slices, size, size))
    noise = np.random.default_rng(seed).normal(size=(2, *disc.shape)) * 20
    return np.asarray(np.hypot(disc + noise[0], noise[1]))


def write_series(
    folder: Path, values: np.ndarray, number: int = 8, component: str = "M", scale: tuple[float, float] = (1, 0)
) -> Path:
    """Write ``(T, Z, rows, columns)`` of whole numbers as an oblique stack, 40 ms from frame to frame."""
    folder.mkdir(parents=True, exist_ok=True)
    for n, (time, place) in enumerate(np.ndindex(*values.shape[:2])):
        dataset = pydicom.dcmread(template_file())
        dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = PATIENT
        dataset.SeriesInstanceUID, dataset.SeriesNumber = f"1.2.3.{number}", number
        dataset.SOPInstanceUID = UID(f"1.2.3.{number}.{n + 1}")
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.ImageType = ["ORIGINAL", "PRIMARY", component]
        dataset.ImageOrientationPatient, dataset.PixelSpacing = [1, 0, 0, 0, 0.6, 0.8], [1.5, 1.25]
        dataset.ImagePositionPatient = [0, -0.8 * 8 * place, 0.6 * 8 * place]
        dataset.InstanceNumber, dataset.TriggerTime = n + 1, time * 40
        dataset.RescaleSlope, dataset.RescaleIntercept = scale
        dataset.Rows, dataset.Columns = values.shape[2:]
        dataset.PixelRepresentation = 0
        dataset.PixelData = values[time, place].astype("<u2").tobytes()
        dataset.save_as(folder / f"{number}_{n}.dcm")
    return folder
