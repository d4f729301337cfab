# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Who the patient is stands in no message, log, metadata or name of a file, whatever becomes of a DICOM file.

Only a derived DICOM series carries it on, for that is what ties it to its study.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset

from monai_stcnnt.data import read_series, write_nifti, write_series
from monai_stcnnt.errors import StcnntError

__all__: list[str] = []

NAME, NUMBER, BIRTH = "Zzfamily^Qqgiven", "QQID-7731", "19470213"
DESCRIPTION = "../../<script>alert(1)</script>"
MARKS = ("Zzfamily", "Qqgiven", NUMBER, BIRTH, "<script", "alert(1)")
Change = Callable[[FileDataset], object]


def mark(dataset: FileDataset) -> None:
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = NAME, NUMBER, BIRTH
    dataset.OtherPatientIDs, dataset.PatientComments, dataset.AccessionNumber = NUMBER, NAME, NUMBER
    dataset.StudyDescription = dataset.SeriesDescription = dataset.ProtocolName = DESCRIPTION


def assert_unmarked(text: str) -> None:
    assert [mark for mark in MARKS if mark in text] == []


def raw(dataset: FileDataset, **values: str) -> None:
    """Set values that pydicom would not take, as a broken exporter writes them."""
    with pydicom.config.disable_value_validation():
        for keyword, value in values.items():
            tag = pydicom.datadict.tag_for_keyword(keyword)
            assert tag is not None
            dataset[tag] = pydicom.DataElement(tag, "LO", value)


DAMAGE: dict[str, Change] = {
    "sizes that are a name": lambda d: raw(d, InstanceNumber=NAME),
    "a position that is a name": lambda d: raw(d, ImagePositionPatient=NAME),
    "a spacing that is a name": lambda d: raw(d, PixelSpacing=NAME),
    "a slope that is a name": lambda d: raw(d, RescaleSlope=NAME, RescaleIntercept=NAME),
    "a color that is a name": lambda d: raw(d, PhotometricInterpretation=NAME),
    "an image type that is a name": lambda d: raw(d, ImageType=NAME),
    "a time that is a birth date": lambda d: raw(d, TriggerTime=NAME, AcquisitionTime=BIRTH),
    "a series number that is a name": lambda d: raw(d, SeriesNumber=NAME),
    "frames that are a name": lambda d: raw(d, NumberOfFrames=NAME),
    "bits that are a name": lambda d: raw(d, BitsAllocated=NAME),
    "no position": lambda d: d.__delattr__("ImagePositionPatient"),
    "no pixels": lambda d: d.__delattr__("PixelData") if "PixelData" in d else None,
    "no size": lambda d: d.__delattr__("Rows"),
    "color": lambda d: setattr(d, "SamplesPerPixel", 3),
    "one file of another size": lambda d: setattr(d, "Rows", 3) if d.InstanceNumber == 2 else None,
    "another series": lambda d: setattr(d, "SeriesInstanceUID", f"1.2.3.{d.InstanceNumber}"),
    "a file twice": lambda d: setattr(d, "SOPInstanceUID", "1.2.3.4"),
    "slices that are missing": lambda d: d.InstanceNumber != 2,
    "a phase alone": lambda d: setattr(d, "ImageType", ["ORIGINAL", "PRIMARY", "P", "ND"]),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_errors_do_not_tell_the_patient(
    make_dicom: Callable[..., Path],
    damage: Change,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
) -> None:
    caplog.set_level(logging.DEBUG)

    def change(_time: int, _slice: int, dataset: FileDataset) -> object:
        mark(dataset)
        return damage(dataset)

    folder = make_dicom("scan", np.arange(2 * 3 * 5 * 4).reshape(2, 3, 5, 4), change=change)
    recwarn.clear()  # of writing
    caplog.clear()
    told = ""
    for path in (folder, *sorted(folder.iterdir())[:2]):
        try:
            told += str(read_series(path).metadata)
        except StcnntError as error:
            told += "".join(traceback.format_exception(error))
    out, err = capfd.readouterr()
    assert told
    assert_unmarked(told + caplog.text + out + err + "".join(str(w.message) for w in recwarn))


@pytest.mark.parametrize("size", [0, 131, 200, 600, 900])
def test_damaged_files_do_not_tell_the_patient(make_dicom: Callable[..., Path], size: int) -> None:
    folder = make_dicom("scan", np.arange(20).reshape(1, 1, 5, 4), change=lambda _t, _z, dataset: mark(dataset))
    [file] = folder.iterdir()
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(StcnntError) as caught:
        read_series(file)
    assert_unmarked("".join(traceback.format_exception(caught.value)))


def test_results_do_not_tell_the_patient_but_for_the_derived_series(
    make_dicom: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    folder = make_dicom("scan", np.arange(40).reshape(1, 2, 5, 4), change=lambda _t, _z, dataset: mark(dataset))
    record = read_series(folder)
    out = tmp_path / "out"
    nifti = write_nifti(record, out / "scan.nii")
    derived = write_series(record, out / "scan")
    assert_unmarked(str(record.metadata))
    assert_unmarked(nifti.read_bytes().decode("latin-1"))
    for path in (tmp_path, out):
        assert_unmarked(" ".join(str(p.relative_to(tmp_path)) for p in path.rglob("*")))
    assert_unmarked(caplog.text + "".join(capfd.readouterr()))
    written = [pydicom.dcmread(file) for file in sorted(derived.iterdir())]
    assert {(str(d.PatientName), d.PatientID, d.PatientBirthDate) for d in written} == {(NAME, NUMBER, BIRTH)}
