# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What a file or folder holds is told, with what would be done with it, and nothing about the patient."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import MPEG2MPML

from monai_stcnnt.apps import describe
from monai_stcnnt.apps.cli.app import main
from monai_stcnnt.apps.info import as_json, as_text, outcome
from monai_stcnnt.data import read_series
from monai_stcnnt.errors import EmptyImageError, MissingFileError, StcnntError
from tests.apps.batches import write_nifti
from tests.apps.dicom_files import PATIENT, template_file, write_series

__all__: list[str] = []

PHASE = (2.0, -4096.0)


def write_cine(folder: Path, number: int = 8, component: str = "M", frames: int = 4, slices: int = 1) -> Path:
    """Write a cine of 12 x 10 voxels, or a phase series."""
    values = np.random.default_rng(number).integers(0, 4096, (frames, slices, 10, 12))
    return write_series(folder, values, number, component, PHASE if component == "P" else (1.0, 0.0))


def test_a_cine_is_described(tmp_path: Path) -> None:
    [summary] = describe(write_cine(tmp_path / "in", frames=4, slices=3))
    assert summary.kind == summary.network == "magnitude"
    assert summary.shape == (12, 10, 3, 4)
    assert summary.spacing == pytest.approx((1.25, 1.5, 8))
    assert list(summary.frame_times) == [0, 40, 80, 120]
    assert summary.frame_time == 40
    assert (summary.ordered_by, summary.modality, summary.files) == ("trigger", "MR", 12)
    assert (summary.vendor, summary.transfer_syntax) == ("TOSHIBA_MEC", "Explicit VR Little Endian")
    assert outcome(summary) == "denoised by the magnitude network, as 4 frames in time"


def test_a_nifti_file_is_known_by_the_file_beside_it(tmp_path: Path) -> None:
    """As dcm2niix and BIDS write it: times in seconds; dates and what is no text or number are not shown."""
    scan = write_nifti(tmp_path / "scan.nii.gz")
    beside = {
        "SeriesDescription": "cine\x1b[2J sax", "ProtocolName": "trufi", "EchoTime": 0.00155, "RepetitionTime": 0.0033,
        "FlipAngle": 50, "MagneticFieldStrength": 1.5, "Manufacturer": "Siemens", "Modality": "MR",
        "AcquisitionTime": "11:12:13", "PatientName": "Secret",
    }  # fmt: skip
    scan.with_name("scan.json").write_text(json.dumps(beside))
    said = as_text(describe(scan))
    assert "cine[2J sax, protocol trufi, TE 1.55 ms, TR 3.3 ms, flip angle 50, 1.5 T\n" in said
    assert "NIfTI, MR, Siemens" in said
    assert not [word for word in ("11:12", "Secret", "\x1b") if word in said]
    for odd in ("[1, 2]", "{", '{"EchoTime": "x", "FlipAngle": true, "SeriesDescription": null}'):
        scan.with_name("scan.json").write_text(odd)
        [summary] = describe(scan)
        assert (summary.description, summary.facts) == ("", ())


def test_summary_agrees_with_what_is_read(tmp_path: Path) -> None:
    nifti = nib.Nifti1Image(np.random.default_rng(0).random((6, 5, 2, 3)).astype(np.float32), np.diag([2, 3, 4, 1]))
    nib.save(nifti, tmp_path / "a.nii.gz")
    np.save(tmp_path / "b_real.npy", np.eye(5))
    np.save(tmp_path / "b_imag.npy", np.eye(5))
    write_cine(tmp_path / "c", slices=2)
    write_cine(tmp_path / "d", frames=1)
    found = describe(tmp_path)
    assert [s.file_format for s in found] == ["numpy", "nifti", "dicom", "dicom"]
    for summary in found:
        record = read_series(summary.path)
        assert summary.shape == record.array.shape[:0:-1]
        assert summary.kind == record.kind
        np.testing.assert_allclose(summary.spacing, record.spacing)
        expected = [None if math.isnan(t) else t for t in record.frame_times]
        assert list(summary.frame_times) == expected
    assert [outcome(s).split(", as ")[1] for s in found] == [
        "a single frame", "3 frames in time", "4 frames in time", "a single frame"
    ]  # fmt: skip


def test_several_series_have_the_names_to_ask_for(tmp_path: Path) -> None:
    for number, component in ((8, "M"), (9, "M"), (10, "P")):
        write_cine(tmp_path / "in", number, component)
    found = describe(tmp_path)
    assert [(s.series, s.network) for s in found] == [("8", "magnitude"), ("9", "magnitude"), ("10", "")]
    assert found[2].kind == "phase"
    assert "Ask for it together with the magnitude" in found[2].refused
    assert read_series(tmp_path / "in", series="8+10").kind == "complex"


def test_magnitude_and_phase_are_one_complex_image(tmp_path: Path) -> None:
    write_cine(tmp_path, 8, "M")
    write_cine(tmp_path, 9, "P")
    [summary] = describe(tmp_path)
    assert (summary.kind, summary.network, summary.series, summary.files) == ("complex", "complex", "8+9", 8)
    assert "written as NIfTI" in outcome(summary)


def delete_position(dataset: Dataset) -> None:
    del dataset.ImagePositionPatient


def move(dataset: Dataset) -> None:
    dataset.ImagePositionPatient = [0, 0, 50]


def make_unknown_syntax(dataset: Dataset) -> None:
    dataset.file_meta.TransferSyntaxUID = MPEG2MPML
    dataset.PixelData = encapsulate([b"\0" * 8])
    dataset["PixelData"].is_undefined_length = True


@pytest.mark.parametrize(
    ("change", "sentence"),
    [(delete_position, "does not tell the position"), (move, "missing or surplus"), (make_unknown_syntax, "MPEG2")],
)
def test_what_would_be_refused_says_why(tmp_path: Path, change: Callable[[Dataset], None], sentence: str) -> None:
    folder = write_cine(tmp_path / "in", frames=3, slices=2)
    file = folder / "8_0.dcm"
    dataset = pydicom.dcmread(file)
    change(dataset)
    dataset.save_as(file)
    [summary] = describe(folder)
    assert sentence in summary.refused
    assert summary.network == ""
    with pytest.raises(StcnntError):
        read_series(folder)


def test_nothing_to_describe(tmp_path: Path) -> None:
    with pytest.raises(EmptyImageError):
        describe(tmp_path)
    with pytest.raises(MissingFileError):
        describe(tmp_path / "absent")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["stcnnt", "info", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


@pytest.mark.parametrize("option", ["--json", None])
def test_command_tells_nothing_about_the_patient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], option: str | None
) -> None:
    write_cine(tmp_path / "in", 8)
    write_cine(tmp_path / "in", 9, "P")
    damaged = write_cine(tmp_path / "in2", 9) / "9_0.dcm"
    damaged.write_bytes(damaged.read_bytes()[:700])
    assert run(monkeypatch, tmp_path, *filter(None, [option])) == 0
    said = "".join(capfd.readouterr())
    assert not [secret for secret in PATIENT if secret.lower() in said.lower()]
    if option:
        listed = json.loads(said)
        assert [entry["series"] for entry in listed] == ["8+9", ""]
        assert listed[0]["frame_time"] == 40
        assert listed[1]["refused"]
        assert listed[1]["kind"] == "magnitude"
    else:
        assert "12 x 10 x 1 x 4 (x, y, z, t), voxels 1.25 x 1.5" in said
        assert "frames 40 ms apart (by trigger)" in said


@pytest.mark.parametrize("case", ["absent", "nothing usable"])
def test_exit_code_where_nothing_can_be_denoised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    folder = tmp_path / "absent" if case == "absent" else write_cine(tmp_path / "in", component="P")
    assert run(monkeypatch, folder) == 2
    said = "".join(capsys.readouterr())
    assert "Traceback" not in said
    assert ("does not exist" if case == "absent" else "refused: a phase image alone") in said


def test_text_and_json_of_unknown_times() -> None:
    found = describe(template_file())
    assert json.loads(as_json(found))[0]["frame_time"] is None
    assert "apart" not in as_text(found)
