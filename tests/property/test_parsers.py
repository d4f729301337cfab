# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Parsers take what they should and refuse all else by name: block strings, NIfTI and DICOM files."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from monai_stcnnt.data import SeriesRecord, read_series
from monai_stcnnt.errors import BlockStringError, StcnntError
from monai_stcnnt.networks.block_string import CELL_CODES, parse_block_string

__all__: list[str] = []

CODES = st.lists(st.sampled_from(sorted(CELL_CODES)), min_size=1, max_size=12)


@given(CODES)
def test_block_strings_are_read_cell_by_cell(codes: list[str]) -> None:
    assert parse_block_string("".join(codes)) == tuple(CELL_CODES[code] for code in codes)


@given(CODES, CODES)
def test_block_strings_can_be_joined(first: list[str], second: list[str]) -> None:
    one, other = "".join(first), "".join(second)
    assert parse_block_string(one + other) == parse_block_string(one) + parse_block_string(other)


@given(st.text(max_size=12))
@example("")
@example("T")
@example("T1 L1")
@example("t1")
def test_other_texts_are_refused_and_told_what_there_is(text: str) -> None:
    pairs = [text[i : i + 2] for i in range(0, len(text), 2)]
    assume(not text or any(pair not in CELL_CODES for pair in pairs))
    with pytest.raises(BlockStringError, match="T1"):
        parse_block_string(text)


@cache
def tiny_nifti(name: str) -> bytes:
    header = nib.Nifti1Header()
    header.set_xyzt_units("mm", "sec")
    values = np.arange(2 * 3 * 2 * 2, dtype=np.int16).reshape(2, 3, 2, 2)
    image = nib.Nifti1Image(values, np.diag([1.0, 2, 3, 1]), header)
    with tempfile.TemporaryDirectory() as folder:
        nib.save(image, Path(folder) / name)
        return (Path(folder) / name).read_bytes()


@cache
def tiny_dicom(name: str) -> bytes:
    return Path(str(get_testdata_file(name, download=False))).read_bytes()


EDITS = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6)
SHARES = st.one_of(st.just(1.0), st.floats(0, 1))


def read_edited(content: bytes, name: str, edits: list[tuple[float, int]], share: float, head: int) -> None:
    """Change bytes among the first ``head`` ones, cut the file, and read it."""
    data = bytearray(content)
    for place, value in edits:
        data[int(place * min(head, len(data)))] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data[: round(share * len(data))])
        try:
            record = read_series(path)
        except StcnntError:  # by name; any other error fails the test
            return
    assert isinstance(record, SeriesRecord)
    assert np.isfinite(record.array).all()
    assert np.isfinite(record.affine).all()


@pytest.mark.parametrize(("name", "head"), [("a.nii", 352), ("a.nii.gz", 200)])
@given(edits=EDITS, share=SHARES)
def test_changed_nifti_files(name: str, head: int, edits: list[tuple[float, int]], share: float) -> None:
    read_edited(tiny_nifti(name), name, edits, share, head)


@pytest.mark.parametrize("name", ["MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm"])
@given(edits=EDITS, share=SHARES)
def test_changed_dicom_files(name: str, edits: list[tuple[float, int]], share: float) -> None:
    read_edited(tiny_dicom(name), name, edits, share, 2000)
