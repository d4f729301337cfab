# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Limits for files that unpack to far more than they are, so that a small file cannot fill the memory.

An image of more than 64 million voxels that is packed more than a hundredfold is refused: no scan is, for its noise
does not pack. A mask may be; it is read once it is stored without compression.
"""

from __future__ import annotations

import zlib
from pathlib import Path

from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

from monai_stcnnt.errors import UnreadableFileError

__all__ = ["check_deflated", "check_packing"]

_MOST_VOXELS = 1 << 26
_MOST_PACKED = 100
_MOST_POSSIBLE = 1100  # deflate does not shrink more than about 1030 times
_MOST_DEFLATED = 1 << 27  # bytes of a deflated DICOM file
_BLOCK = 1 << 20


def check_packing(path: Path, voxels: int, itemsize: int, *, is_packed: bool) -> None:
    """Refuse an image that its file is too short for, before memory is taken for it.

    Args:
        path: the file.
        voxels: how many its header says.
        itemsize: bytes of a voxel.
        is_packed: whether the voxels are compressed.

    Raises:
        UnreadableFileError: if the file is too short for them, or packed beyond what a scan can be.
    """
    size, needed = path.stat().st_size, voxels * itemsize
    if needed > size * (_MOST_POSSIBLE if is_packed else 1):
        raise UnreadableFileError(
            f"{path} is too short for {voxels} voxels of {itemsize} bytes, which its header says. It is damaged or "
            "incomplete; copy it again."
        )
    if is_packed and voxels > _MOST_VOXELS and needed > size * _MOST_PACKED:
        raise _bomb(path, needed / size)


def check_deflated(path: Path) -> None:
    """Refuse a deflated DICOM file that inflates to far more than it is; others are left alone.

    Args:
        path: a DICOM file.

    Raises:
        UnreadableFileError: if it is packed beyond what a scan can be.
        zlib.error: if the compression is damaged.
        InvalidDicomError: if it is not DICOM, or another of the errors that pydicom raises on damaged files.
    """
    meta = read_file_meta_info(path)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    most = max(_MOST_DEFLATED, path.stat().st_size * _MOST_PACKED)
    inflate, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    with path.open("rb") as file:
        file.seek(132 + 12 + int(meta.FileMetaInformationGroupLength))
        while not inflate.eof and (block := inflate.unconsumed_tail or file.read(1 << 16)):
            size += len(inflate.decompress(block, _BLOCK))
            if size > most:
                raise _bomb(path, size / path.stat().st_size)


def _bomb(path: Path, times: float) -> UnreadableFileError:
    return UnreadableFileError(
        f"{path} unpacks to {times:.0f} times its size, as no scan does. If it is right, store it without compression."
    )
