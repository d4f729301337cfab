# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Pixels of DICOM files, compressed ones included.

pydicom itself reads uncompressed and run-length encoded pixels, pillow lossy JPEG and JPEG 2000. The extra ``dicom``
(python-gdcm) adds lossless JPEG, in which many archives store, and JPEG-LS.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import as_pixel_options
from pydicom.uid import HTJ2K, UID, DeflatedExplicitVRLittleEndian, HTJ2KLossless, HTJ2KLosslessRPCL

from monai_stcnnt.data.formats.dicom.frames import DECODE_FAILURES, quiet_pydicom
from monai_stcnnt.data.unpacking import check_deflated, check_packing
from monai_stcnnt.errors import NotAnImageError, StcnntError, UnreadableFileError

__all__ = ["FramePixels", "missing_decoder", "read_pixels"]

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_LARGE = 1 << 16
_HTJ2K = (HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL)


def missing_decoder(syntax: str) -> str:
    """Tell what to do where no decoder is installed.

    Args:
        syntax: UID of the transfer syntax.

    Returns:
        What is missing and a way out; empty where pixels of this syntax can be decoded.
    """
    with quiet_pydicom():
        uid = UID(syntax)
        try:
            is_available = get_decoder(uid).is_available
        except NotImplementedError:
            return f"is stored as {uid.name}, which is not read. Convert it, for example with gdcmconv --raw."
    if is_available:
        return ""
    packages = "pylibjpeg pylibjpeg-openjpeg" if uid in _HTJ2K else '"monai-stcnnt[dicom]"'
    return f"is compressed as {uid.name}, for which no decoder is installed: pip install {packages}."


def read_pixels(file: Path) -> np.ndarray:
    """Decode a DICOM file.

    Args:
        file: the file.

    Returns:
        Stored values ``(frames, rows, columns)``, before the rescale slope.

    Raises:
        NotAnImageError: if it has no pixels.
        UnreadableFileError: if it is damaged, or there is no decoder for its compression.
    """
    try:
        with quiet_pydicom():
            check_deflated(file)
            dataset = pydicom.dcmread(file)
            syntax = UID(dataset.file_meta.TransferSyntaxUID)
            voxels = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("NumberOfFrames") or 1)
            itemsize = max(int(dataset.BitsAllocated) // 8, 1)
    except StcnntError:
        raise
    except DECODE_FAILURES as error:
        raise UnreadableFileError(f"{file} cannot be read ({type(error).__name__}). Copy it anew.") from None
    if not any(name in dataset for name in _PIXELS):
        raise NotAnImageError(f"{file} is DICOM without pixels. Give a folder of images.")
    missing = missing_decoder(syntax)
    if missing:
        raise UnreadableFileError(f"{file} {missing}")
    check_packing(file, voxels, itemsize, is_packed=syntax.is_compressed or syntax.is_deflated)
    try:
        with quiet_pydicom():
            pixels = dataset.pixel_array
    except DECODE_FAILURES as error:
        raise UnreadableFileError(
            f"{file} cannot be decoded ({type(error).__name__}, {syntax.name}). It is damaged; copy it anew."
        ) from None
    pixels = pixels if pixels.ndim == 3 else pixels[None]
    _check_amount(pixels, dataset, file)
    return pixels


class FramePixels:
    """The pixels of a file of many frames, decoded a frame at a time; its header is read once.

    Args:
        file: the file.

    Raises:
        NotAnImageError: if it has no pixels.
        UnreadableFileError: if it is damaged, or there is no decoder for its compression.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._inflated: np.ndarray | None = None
        try:
            with quiet_pydicom():
                check_deflated(file)
                dataset = pydicom.dcmread(file, defer_size=_LARGE)
                self.syntax = UID(dataset.file_meta.TransferSyntaxUID)
                names = [name for name in _PIXELS if name in dataset]
                self.options = as_pixel_options(dataset)
        except StcnntError:
            raise
        except DECODE_FAILURES as error:
            raise UnreadableFileError(f"{file} cannot be read ({type(error).__name__}). Copy it anew.") from None
        missing = missing_decoder(self.syntax)
        if missing:
            raise UnreadableFileError(f"{file} {missing}")
        if not names or self.syntax == DeflatedExplicitVRLittleEndian:  # there are no places in a deflated file
            self._inflated = read_pixels(file)
            return
        element: Any = dataset.get_item(names[0], keep_deferred=True)  # the place of the pixels, not they themselves
        self.options.update(transfer_syntax_uid=self.syntax, pixel_keyword=names[0], pixel_vr=str(element.VR))
        self.offset, self.length = int(element.value_tell), int(element.length)
        self._check_length()

    def __getitem__(self, number: int) -> np.ndarray:
        """Decode one frame.

        Args:
            number: which one, from 0.

        Returns:
            Stored values ``(1, rows, columns)``.

        Raises:
            UnreadableFileError: if it cannot be decoded.
        """
        if self._inflated is not None:
            return self._inflated[number : number + 1]
        try:
            with quiet_pydicom(), open(self.file, "rb") as content:
                content.seek(self.offset)
                pixels, _ = get_decoder(self.syntax).as_array(content, index=number, **self.options)
        except DECODE_FAILURES as error:
            raise UnreadableFileError(
                f"{self.file} cannot be decoded ({type(error).__name__}, {self.syntax.name}). It is damaged; copy it "
                "anew."
            ) from None
        return np.asarray(pixels)[None]

    def _check_length(self) -> None:
        """Refuse a file with more or fewer pixels than its header says."""
        opts = self.options
        row = int(opts["columns"]) * int(opts["bits_allocated"]) // 8
        planes = int(opts["rows"]) * int(opts["number_of_frames"])
        surplus = self.length - row * planes
        voxels, itemsize = planes * int(opts["columns"]), max(int(opts["bits_allocated"]) // 8, 1)
        check_packing(self.file, voxels, itemsize, is_packed=self.syntax.is_compressed)
        if not self.syntax.is_compressed and not 0 <= surplus < max(row, 2):
            raise UnreadableFileError(
                f"{self.file} holds {surplus} bytes of pixels more than its header says. It is damaged; copy it anew."
            )


def _check_amount(pixels: np.ndarray, dataset: pydicom.Dataset, file: Path) -> None:
    """Refuse a file with more pixels than its header says: sizes in the header are damaged."""
    frames = int(dataset.get("NumberOfFrames") or 1)
    is_packed = dataset.file_meta.TransferSyntaxUID.is_compressed
    surplus = 0 if is_packed else len(dataset.get("PixelData") or b"") - pixels.nbytes
    if len(pixels) != frames or surplus >= pixels.shape[-1] * pixels.itemsize:
        raise UnreadableFileError(
            f"{file} holds more pixels than {frames} x {pixels.shape[1]} x {pixels.shape[2]}, the frames, rows and "
            "columns that its header says. It is damaged; copy it anew."
        )
