# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Who the patient is, and what else a DICOM header says in words, stands in nothing that a program tells or draws."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pydicom
import pytest

from monai_stcnnt.apps.cli.app import main
from monai_stcnnt.apps.review.html import html_page
from monai_stcnnt.apps.review.review import review_series
from monai_stcnnt.data import read_series
from tests.apps.dicom_files import PATIENT, moving_disc, write_series

__all__: list[str] = []

WORDS = "<script>alert('w')</script>"
MARKS = (*PATIENT, "Secret", "alert(", "&lt;script")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A series whose header has a patient, and a script for a description."""
    path = write_series(tmp_path / "scan", moving_disc(2, 2).round())
    for file in path.iterdir():
        dataset = pydicom.dcmread(file)
        dataset.SeriesDescription = dataset.ProtocolName = WORDS
        dataset.StudyDescription = dataset.PatientComments = dataset.ImageComments = f"Secret {WORDS}"
        dataset.save_as(file)
    return path


def test_the_page_of_a_report_has_none_of_a_header_s_words(folder: Path) -> None:
    record = read_series(folder)
    page = html_page(review_series(record, record.with_array(record.array * 0.9), title=folder.name, sigma=2.0))
    assert "scan" in page
    assert [mark for mark in MARKS if mark in page] == []


@pytest.mark.parametrize("change", ["none", "no position", "another size", "cut"])
def test_what_the_command_line_says_has_none_of_them(
    folder: Path, change: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = sorted(folder.iterdir())[1]
    dataset = pydicom.dcmread(file)
    if change == "no position":
        del dataset.ImagePositionPatient
    if change == "another size":
        dataset.Rows = 12
    dataset.save_as(file)
    if change == "cut":
        file.write_bytes(file.read_bytes()[:700])
    for options in ([], ["--json"]):
        monkeypatch.setattr(sys, "argv", ["stcnnt", "info", str(folder), *options])
        with pytest.raises(SystemExit) as stop:
            main()
        assert (stop.value.code or 0) == (0 if change == "none" else 2)
    told = "".join(capsys.readouterr())
    assert folder.name in told
    assert [mark for mark in (*PATIENT, "Secret") if mark in told + json.dumps(told)] == []  # a series has its name
