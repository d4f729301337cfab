# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Pixels of DICOM files, compressed ones included.

pydicom itself reads uncompressed and run-length encoded pixels, pillow lossy JPEG and JPEG 2000. The extra ``dicom``
(python-gdcm) adds lossless JPEG, in which many archives store, JPEG-LS, and lossy JPEG of 12 bits. For the latter,
which pydicom does not ask of gdcm, gdcm itself is called here; it writes a harmless line about the precision to the
terminal.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import as_pixel_options
from pydicom.uid import HTJ2K, UID, DeflatedExplicitVRLittleEndian, HTJ2KLossless, HTJ2KLosslessRPCL, JPEGExtended12Bit

from monai_stcnnt.data.formats.dicom.frames import DicomFrame
from monai_stcnnt.data.formats.dicom.headers import DECODE_FAILURES, quiet_pydicom, read_header, syntax_of
from monai_stcnnt.data.unpacking import check_packing
from monai_stcnnt.errors import NotAnImageError, StcnntError, UnreadableFileError

__all__ = ["DicomPixels", "missing_decoder", "plane_of"]

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_LARGE = 1 << 16
_LIBJPEG = "pylibjpeg"
_HTJ2K = (HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL)


def missing_decoder(syntax: str, bits: int = 8) -> str:
    """Tell what to do where no decoder is installed.

    Args:
        syntax: UID of the transfer syntax.
        bits: stored for each pixel.

    Returns:
        What is missing and a way out; empty where pixels of this syntax can be decoded.
    """
    with quiet_pydicom():
        uid = UID(syntax)
        try:
            decoder = get_decoder(uid)
            is_available = decoder.is_available
            if _is_jpeg12(uid, bits):
                is_available = find_spec("gdcm") is not None or _LIBJPEG in decoder.available_plugins
        except NotImplementedError:
            return f"is stored as {uid.name}, which is not read. Convert it, for example with gdcmconv --raw."
    if is_available:
        return ""
    packages = "pylibjpeg pylibjpeg-openjpeg" if uid in _HTJ2K else '"monai-stcnnt[dicom]"'
    return f"is compressed as {uid.name}, for which no decoder is installed: pip install {packages}."


def _is_jpeg12(syntax: UID, bits: int) -> bool:
    return syntax == JPEGExtended12Bit and bits > 8


def _jpeg12_frame(content: BinaryIO, index: int, options: Mapping[str, Any]) -> np.ndarray:
    """Decode a frame of lossy JPEG with 12 bits by gdcm.

    Args:
        content: the file at the beginning of its pixels.
        index: which frame, from 0.
        options: of the pixels, as pydicom has them.

    Returns:
        Stored values ``(rows, columns)``.

    Raises:
        ValueError: if it cannot be decoded.
    """
    gdcm: Any = importlib.import_module("gdcm")
    fragment, fragments = gdcm.Fragment(), gdcm.SequenceOfFragments.New()
    fragment.SetByteStringValue(get_frame(content, index, number_of_frames=int(options["number_of_frames"])))
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    rows, columns, stored = int(options["rows"]), int(options["columns"]), int(options["bits_stored"])
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    sign = int(options["pixel_representation"])
    image.SetPixelFormat(gdcm.PixelFormat(1, int(options["bits_allocated"]), stored, stored - 1, sign))
    text = image.GetBuffer()
    if text is None:
        raise ValueError("no pixels")
    values = np.frombuffer(text.encode("utf-8", "surrogateescape"), np.int16 if sign else np.uint16)
    return values.reshape(rows, columns)


class DicomPixels:
    """The pixels of a file, decoded a frame at a time; its header is read once.

    Args:
        file: the file.

    Raises:
        NotAnImageError: if it has no pixels.
        UnreadableFileError: if it is damaged, or there is no decoder for its compression.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._last: tuple[int, np.ndarray] | None = None
        self._inflated: np.ndarray | None = None
        with self._failures():
            dataset = read_header(file, stop_before_pixels=False, defer_size=_LARGE)
            self.syntax = syntax_of(dataset)
            name = next((name for name in _PIXELS if name in dataset), None)
        if name is None:
            raise NotAnImageError(f"{file} is DICOM without pixels. Give a folder of images.")
        with self._failures():
            bits = int(dataset.get("BitsStored") or 8)
        missing = missing_decoder(self.syntax, bits)
        if missing:
            raise UnreadableFileError(f"{file} {missing}")
        with self._failures():
            options = as_pixel_options(dataset)
            self.shape = (int(options["number_of_frames"]), int(options["rows"]), int(options["columns"]))
            itemsize = max(int(options["bits_allocated"]) // 8, 1)
            is_packed = self.syntax.is_compressed or self.syntax.is_deflated
            check_packing(file, math.prod(self.shape), itemsize, is_packed=is_packed)
            if self.syntax == DeflatedExplicitVRLittleEndian:  # there are no places in a deflated file
                self._inflated = dataset.pixel_array.reshape(self.shape)
                length = len(dataset[name].value)
            else:
                element: Any = dataset.get_item(
                    name, keep_deferred=True
                )  # the place of the pixels, not they themselves
                options.update(transfer_syntax_uid=self.syntax, pixel_keyword=name, pixel_vr=str(element.VR))
                self.options, self.offset, length = options, int(element.value_tell), int(element.length)
        if not self.syntax.is_compressed:
            self._check_length(length, itemsize)

    def __getitem__(self, number: int) -> np.ndarray:
        """Decode one frame.

        Args:
            number: which one, from 0.

        Returns:
            Stored values ``(rows, columns)``, before the rescale slope.

        Raises:
            UnreadableFileError: if it cannot be decoded.
        """
        if self._inflated is not None:
            return self._inflated[number]
        if self._last is None or self._last[0] != number:
            with self._failures(f" ({self.syntax.name})"), open(self.file, "rb") as content:
                content.seek(self.offset)
                self._last = number, self._decode(content, number)
        return self._last[1]

    def _decode(self, content: BinaryIO, number: int) -> np.ndarray:
        decoder = get_decoder(self.syntax)
        is_own = _is_jpeg12(self.syntax, int(self.options["bits_stored"])) and find_spec("gdcm") is not None
        if is_own and _LIBJPEG not in decoder.available_plugins:
            return _jpeg12_frame(content, number, self.options)
        return np.asarray(decoder.as_array(content, index=number, **self.options)[0])

    @contextmanager
    def _failures(self, stored: str = "") -> Iterator[None]:
        """Turn what pydicom raises on a damaged file into an error of the file, without the cause, which quotes it."""
        try:
            with quiet_pydicom():
                yield
        except StcnntError:
            raise
        except DECODE_FAILURES as error:
            raise UnreadableFileError(
                f"{self.file} cannot be decoded: {type(error).__name__}{stored}. It is damaged; copy it again."
            ) from None

    def _check_length(self, length: int, itemsize: int) -> None:
        """Refuse a file with more or fewer pixels than its header says: sizes in the header are damaged."""
        frames, rows, columns = self.shape
        surplus = length - frames * rows * columns * itemsize
        if not 0 <= surplus < max(columns * itemsize, 2) and not self._is_padding(length, surplus):
            raise UnreadableFileError(
                f"{self.file} holds {length} bytes of pixels, not those of {frames} x {rows} x {columns}, the frames, "
                "rows and columns that its header says. It is damaged; copy it again."
            )

    def _is_padding(self, length: int, surplus: int) -> bool:
        """Whether what follows the pixels is zeros, which some exports fill blocks with."""
        if surplus < 0 or self._inflated is not None:
            return False
        with open(self.file, "rb") as content:
            content.seek(self.offset + length - surplus)
            return not any(content.read(surplus))


def plane_of(pixels: DicomPixels, frame: DicomFrame) -> np.ndarray:
    """Take one plane out of the pixels of a file.

    Args:
        pixels: the file's.
        frame: what its header says; of a mosaic it is a tile.

    Returns:
        Stored values ``(Y, X)``; that of a zero where the plane is padded.

    Raises:
        UnreadableFileError: if the file has no such plane.
    """
    plane = pixels[0 if frame.tile is not None else frame.number]
    if frame.tile is not None:
        (row_start, column_start), (rows, columns) = frame.tile, frame.shape
        plane = plane[row_start : row_start + rows, column_start : column_start + columns]
    if plane.shape != frame.shape:
        raise UnreadableFileError(
            f"{frame.path} has fewer pixels than its header says. It is incomplete; copy it again."
        )
    if frame.padding is not None:
        is_padding = (plane >= frame.padding[0]) & (plane <= frame.padding[1])
        plane = np.where(is_padding, plane.dtype.type(round(-frame.intercept / frame.slope)), plane)
    return plane
