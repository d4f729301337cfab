# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""A small file cannot fill the memory."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import DeflatedExplicitVRLittleEndian

from monai_stcnnt.data import read_series
from monai_stcnnt.data.unpacking import check_packing
from monai_stcnnt.errors import UnreadableFileError

__all__: list[str] = []

MOST = 100 << 20


def refused(path: Path, match: str) -> None:
    """Make sure that a file is refused before much memory is taken for it."""
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableFileError, match=match):
            read_series(path)
        assert tracemalloc.get_traced_memory()[1] < MOST
    finally:
        tracemalloc.stop()


def zeros(mebibytes: int) -> bytes:
    return mebibytes * gzip.compress(bytes(1 << 20), 9, mtime=0)


def test_zeros_after_an_image(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4)), path)
    assert read_series(path).array.shape == (1, 1, 4, 3, 2)
    path.write_bytes(path.read_bytes() + zeros(4096))
    refused(path, "bytes more than the shape")


def test_an_image_of_zeros_alone(tmp_path: Path) -> None:
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((1024, 1024, 256))
    header["pixdim"][1:4], header["vox_offset"] = 1, 352
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(header.binaryblock + bytes(4), mtime=0) + zeros(512))
    refused(path, "unpacks to [0-9]+ times")


def test_a_deflated_file_of_zeros(tmp_path: Path) -> None:
    source = pydicom.dcmread(str(get_testdata_file("MR_small.dcm", download=False)))
    source.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    plain = tmp_path / "plain.dcm"
    source.save_as(plain, enforce_file_format=True)
    assert read_series(plain).array.shape == (1, 1, 1, 64, 64)
    del source.PixelData
    out = io.BytesIO()
    source.save_as(out, enforce_file_format=True)
    content = out.getvalue()
    start = 144 + int.from_bytes(content[140:144], "little")
    size = 1 << 29
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    inner = packer.compress(zlib.decompress(content[start:], -zlib.MAX_WBITS))
    inner += packer.compress(bytes.fromhex("e07f1000") + b"OW\0\0" + size.to_bytes(4, "little"))
    block = bytes(1 << 20)
    inner += b"".join(packer.compress(block) for _ in range(size >> 20)) + packer.flush()
    bomb = tmp_path / "bomb.dcm"
    bomb.write_bytes(content[:start] + inner)
    refused(bomb, "unpacks to [0-9]+ times")


@pytest.mark.parametrize("name", ["MR_small.dcm", "MR_small_RLE.dcm"])
def test_sizes_of_many_gigabytes(tmp_path: Path, name: str) -> None:
    source = pydicom.dcmread(str(get_testdata_file(name, download=False)))
    source.Rows = source.Columns = 65535
    source.save_as(tmp_path / name)
    refused(tmp_path / name, "is too short for 4294836225 voxels")


@pytest.mark.parametrize(
    ("voxels", "is_packed", "match"),
    [(1001, False, "too short"), (1100 * 1001, True, "too short"), (1 << 20, True, None), (1000, False, None)],
)
def test_voxels_are_compared_with_the_file(tmp_path: Path, voxels: int, is_packed: bool, match: str | None) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1000))
    if match is None:
        check_packing(path, voxels, 1, is_packed=is_packed)
        return
    with pytest.raises(UnreadableFileError, match=match):
        check_packing(path, voxels, 1, is_packed=is_packed)


def test_what_packs_well_but_is_small_is_read(make_nifti: Callable[..., Path]) -> None:
    mask = np.zeros((128, 128, 32), np.uint8)
    mask[40:60, 40:60] = 1
    path = make_nifti("mask.nii.gz", mask)
    assert path.stat().st_size * 100 < mask.nbytes
    assert read_series(path).array.sum() == mask.sum()
