# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The table of what is read and written tells what happened."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom.data import get_testdata_file

from benchmarks import file_support
from benchmarks.file_support import Row, measure, table
from monai_stcnnt.data import read_series

__all__: list[str] = []


def test_files_that_come_with_packages(tmp_path: Path) -> None:
    found = dict(file_support.sources(None, None, tmp_path))
    rows = {name: measure(name, path, tmp_path) for name, path in found.items() if "small" in name or "color" in name}
    plain, packed, color = (rows[f"pydicom: {name}.dcm"] for name in ("MR_small", "MR_small_RLE", "examples_rgb_color"))
    assert plain == Row(
        "TOSHIBA_MEC", "DICOM classic", "`pydicom: MR_small.dcm`", "magnitude, 64 x 64 x 1 x 1",
        written="derived series, 0.50 steps",
    )  # fmt: skip
    assert packed.kind == "DICOM classic, RLE Lossless"
    assert color.refused.startswith("examples_rgb_color.dcm is not an MR image")
    assert color.written == ""


@pytest.mark.parametrize("lost", ["geometry", "times", "values"])
def test_what_does_not_come_back_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lost: str) -> None:
    image = nib.Nifti1Image(np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2), np.diag([2.0, 2, 2, 1]))
    nib.save(image, tmp_path / "in.nii")
    read = read_series
    calls: list[Path] = []

    def read_otherwise(path: Path, **options: object) -> object:
        record = read(path, **options)  # type: ignore[arg-type]
        calls.append(path)
        if len(calls) == 1:
            return record
        if lost == "values":
            return record.with_array(record.array + np.float32(0.5))
        affine = record.affine * (1.1 if lost == "geometry" else 1)
        affine[3, 3] = 1
        times = record.frame_times + (5 if lost == "times" else 0)
        return type(record)(record.array, affine, times, record.metadata)

    monkeypatch.setattr(file_support, "read_series", read_otherwise)
    row = measure("in.nii", tmp_path / "in.nii", tmp_path)
    expected = "NIfTI, differences up to 0.5" if lost == "values" else f"NIfTI, exact; {lost} differ"
    assert row.written == expected


def test_odd_files_are_told_apart(tmp_path: Path) -> None:
    data = tmp_path / "cases" / "01_two" / "data"
    shutil.copytree(Path(str(get_testdata_file("MR_small.dcm"))).parent / "dicomdirtests" / "98892003" / "MR1", data)
    (data / "notes.txt").write_text("text")
    found = dict(file_support.sources(None, tmp_path / "cases", tmp_path))
    row = measure("case 01_two", found["case 01_two"], tmp_path)
    assert row.skipped == "1 files"
    assert row.split.count(",") + 1 == sum(
        int(part.split(":")[0]) if ":" in part else 1 for part in row.read.split("; ")
    )


def test_exact_nifti_files_share_a_line() -> None:
    exact = [Row("-", "NIfTI", f"`{n}`", "magnitude", written="NIfTI, exact") for n in range(3)]
    other = Row("-", "NIfTI", "`x`", "magnitude", written="NIfTI, exact; times differ")
    lines = table([*exact, other, Row("Z", "DICOM classic", "`d`", refused="no")]).splitlines()
    assert len(lines) == 2 + 3
    assert lines[2] == "| Z | DICOM classic | `d` |  |  |  | no |  |"
    assert "3 files" in "".join(lines)
