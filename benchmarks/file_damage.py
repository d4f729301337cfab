# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Ways to damage a DICOM or NIfTI file, each drawn from a random generator and so repeatable."""

from __future__ import annotations

import bz2
import gzip
import io
import re
import struct
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from monai_stcnnt.data.formats.dicom.headers import DECODE_FAILURES, quiet_pydicom

__all__ = ["KINDS", "damage", "prepare"]

_Way = Callable[[bytearray, np.random.Generator], bytes]

_SIZES = ("Rows", "Columns", "NumberOfFrames", "BitsAllocated", "BitsStored", "SamplesPerPixel", "InstanceNumber")
_FLOATS = (
    "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SliceThickness", "SpacingBetweenSlices",
    "RescaleSlope", "RescaleIntercept", "TriggerTime", "EchoTime", "RepetitionTime",
)  # fmt: skip
_SIZE_VALUES = (0, 1, 7, 255, 4096, 32767, 65535)
_NOT_NUMBERS = ("nan", "inf", "-inf", "1e38")
# Offset, and size of an entry, of fields of a NIfTI-1 header.
_NIFTI_DIM, _NIFTI_TYPES = (40, "h"), (70, "h")
_NIFTI_FLOATS = (*range(76, 124, 4), 136, *range(256, 328, 4))  # pixdim to scl_inter, toffset, quaternion to srow_z
_CUT_VALUES = (ValueError, TypeError, AttributeError, OverflowError)


def damage(content: bytes, name: str, generator: np.random.Generator) -> tuple[bytes, str]:
    """Damage the content of a file.

    Args:
        content: the file.
        name: its name, which tells the format; without a known ending it is DICOM.
        generator: draws what is done, and where. A compressed file is mostly damaged inside, so that it can still be
            unpacked.

    Returns:
        The damaged content, and a name for what was done.
    """
    ending = Path(name).suffix.lower()
    if ending in _PLAIN:
        return _one_of(_ANY + _PLAIN[ending], content, generator)
    if ending in (".mgz", ".bz2"):
        pack, unpack = (gzip.compress, gzip.decompress) if ending == ".mgz" else (bz2.compress, bz2.decompress)
        if generator.random() < 0.2:
            return _one_of(_ANY, content, generator)
        inner, kind = _one_of(_ANY + (_MGH if ending == ".mgz" else _NIFTI), unpack(content), generator)
        return pack(inner), kind
    if ".nii" not in name:
        return _one_of(_ANY + _DICOM, content, generator)
    if not name.endswith(".gz"):
        return _one_of(_ANY + _NIFTI, content, generator)
    if generator.random() < 0.2:
        return _one_of((*_ANY, _gz_bomb, _gz_bomb), content, generator)
    inner, kind = _one_of(_ANY + _NIFTI, gzip.decompress(content), generator)
    return gzip.compress(inner, 1, mtime=0), kind


def prepare() -> None:
    """Make what takes long once, for all processes to come."""
    _packed_zeros()
    _deflated_zeros()


def _one_of(ways: tuple[_Way, ...], content: bytes, generator: np.random.Generator) -> tuple[bytes, str]:
    chosen = ways[int(generator.integers(len(ways)))]
    return chosen(bytearray(content), generator), chosen.__name__.strip("_")


def _pick(choices: Any, generator: np.random.Generator) -> Any:  # noqa: ANN401 - of whatever is in there
    return choices[int(generator.integers(len(choices)))]


# Any file


def _place(data: bytearray, generator: np.random.Generator) -> int:
    """A position, mostly in the header."""
    header = min(len(data), 4096 if data[128:132] == b"DICM" or data[1:4] == b"HDF" else 352)
    end = header if generator.random() < 0.7 else len(data)
    return int(generator.integers(end))


def _flip_bits(data: bytearray, generator: np.random.Generator) -> bytes:
    for _ in range(int(generator.integers(1, 9))):
        data[_place(data, generator)] ^= 1 << int(generator.integers(8))
    return bytes(data)


def _truncate(data: bytearray, generator: np.random.Generator) -> bytes:
    return bytes(data[: _place(data, generator)])


def _set_huge(data: bytearray, generator: np.random.Generator) -> bytes:
    place = _place(data, generator) // 2 * 2
    value = _pick((b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\xff\x7f", b"\0\0\0\0"), generator)
    data[place : place + len(value)] = value
    return bytes(data)


def _lose_block(data: bytearray, generator: np.random.Generator) -> bytes:
    place = _place(data, generator)
    del data[place : place + int(generator.integers(1, 200))]
    return bytes(data)


def _double_block(data: bytearray, generator: np.random.Generator) -> bytes:
    place, size = _place(data, generator), int(generator.integers(1, 200))
    data[place:place] = data[place : place + size]
    return bytes(data)


def _fill_block(data: bytearray, generator: np.random.Generator) -> bytes:
    place, size = _place(data, generator), int(generator.integers(1, 64))
    end = min(place + size, len(data))
    data[place:end] = generator.integers(0, 256, end - place, dtype=np.uint8).tobytes()
    return bytes(data)


_ANY: tuple[_Way, ...] = (_flip_bits, _truncate, _set_huge, _lose_block, _double_block, _fill_block)


# NIfTI


def _header_order(data: bytearray) -> str:
    """The order of the bytes; NIfTI-2 headers are damaged as if they were NIfTI-1, which is damage as well."""
    return ">" if bytes(data[:4]) in (b"\0\0\1\x5c", b"\0\0\2\x1c") else "<"


def _put(data: bytearray, place: int, kind: str, value: float) -> None:
    packed = struct.pack(_header_order(data) + kind, value)
    data[place : place + len(packed)] = packed


def _wrong_dims(data: bytearray, generator: np.random.Generator) -> bytes:
    start, kind = _NIFTI_DIM
    for _ in range(int(generator.integers(1, 4))):
        _put(data, start + 2 * int(generator.integers(8)), kind, _pick((-1, 0, 1, 2, 5, 9, 255, 32767), generator))
    return bytes(data)


def _wrong_type(data: bytearray, generator: np.random.Generator) -> bytes:
    start, kind = _NIFTI_TYPES
    _put(data, start, kind, _pick((0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1536, 1792, 2048), generator))
    if generator.random() < 0.5:
        _put(data, start + 2, kind, _pick((0, 1, 8, 16, 32, 64, 128, -8), generator))
    return bytes(data)


def _nan_in_header(data: bytearray, generator: np.random.Generator) -> bytes:
    for _ in range(int(generator.integers(1, 4))):
        _put(data, _pick(_NIFTI_FLOATS, generator), "f", float(_pick(_NOT_NUMBERS, generator)))
    return bytes(data)


def _nan_voxels(data: bytearray, generator: np.random.Generator) -> bytes:
    start, kind = _NIFTI_TYPES
    _put(data, start, kind, 16)
    _put(data, start + 2, kind, 32)
    end = len(data) // 4 * 4
    first = int(generator.integers(352 // 4, max(end // 4, 89))) * 4
    for place in range(first, min(first + 4 * int(generator.integers(1, 100)), end), 4):
        _put(data, place, "f", float(_pick(_NOT_NUMBERS, generator)))
    return bytes(data)


@cache
def _packed_zeros() -> bytes:
    """64 MiB of zeros as a member of a gzip file, about 64 KiB."""
    return gzip.compress(bytes(64 << 20), 9, mtime=0)


def _gz_bomb(data: bytearray, generator: np.random.Generator) -> bytes:
    """An image that unpacks to up to 8 GiB, as its header says or not."""
    image = bytearray(gzip.decompress(data))
    members = int(generator.integers(1, 129))
    if generator.random() < 0.5:
        start, kind = _NIFTI_DIM
        for axis, size in enumerate((4, 512, 512, 128, members)):
            _put(image, start + 2 * axis, kind, size)
        image = image[:352]
    return gzip.compress(bytes(image), 1, mtime=0) + members * _packed_zeros()


_NIFTI: tuple[_Way, ...] = (_wrong_dims, _wrong_type, _nan_in_header, _nan_voxels)
_NIFTI_HEADER: tuple[_Way, ...] = (_wrong_dims, _wrong_type, _nan_in_header)


# DICOM


def _parsed(data: bytearray) -> Dataset:
    with quiet_pydicom():
        return pydicom.dcmread(io.BytesIO(data))


def _written(dataset: Dataset, data: bytearray) -> bytes:
    """Content of a changed data set; what cannot be written stays as it was."""
    out = io.BytesIO()
    with quiet_pydicom():
        try:
            dataset.save_as(out)
        except DECODE_FAILURES:
            return bytes(data)
    return out.getvalue()


def _some_dataset(dataset: Dataset, generator: np.random.Generator) -> Dataset:
    """The data set itself, or an item somewhere in its sequences."""
    while generator.random() < 0.6:
        sequences = [element for element in dataset if element.VR == "SQ" and element.value]
        if not sequences:
            break
        dataset = _pick(_pick(sequences, generator).value, generator)
    return dataset


def _delete_attribute(data: bytearray, generator: np.random.Generator) -> bytes:
    whole = _parsed(data)
    part = _some_dataset(whole, generator)
    tags = [tag for tag in part.keys() if not tag.is_private] or list(part.keys())  # noqa: SIM118 - not a dict
    if tags:
        del part[_pick(tags, generator)]
    return _written(whole, data)


def _swap_attributes(data: bytearray, generator: np.random.Generator) -> bytes:
    """Exchange the values of two attributes, each of which keeps its representation."""
    whole = _parsed(data)
    part = _some_dataset(whole, generator)
    elements = [element for element in part if element.VR not in ("SQ", "OW", "OB")]
    if len(elements) > 1:
        first, second = (elements[int(i)] for i in generator.choice(len(elements), 2, replace=False))
        with quiet_pydicom():
            try:
                first.value, second.value = second.value, first.value
            except _CUT_VALUES:
                return bytes(data)
    return _written(whole, data)


def _representations(data: bytearray) -> list[re.Match[bytes]]:
    """Places where a tag and a representation seem to stand."""
    return list(re.finditer(rb"([\x08\x10\x18\x20\x28]\x00..)([A-Z]{2})", data[:8192], re.DOTALL))


def _swap_tags(data: bytearray, generator: np.random.Generator) -> bytes:
    """Exchange the tags of two attributes; representations, lengths and values stay where they are."""
    found = _representations(data)
    if len(found) > 1:
        first, second = (found[int(i)] for i in generator.choice(len(found), 2, replace=False))
        data[first.start(1) : first.end(1)], data[second.start(1) : second.end(1)] = second[1], first[1]
    return bytes(data)


def _break_representation(data: bytearray, generator: np.random.Generator) -> bytes:
    found = _representations(data)
    if found:
        place = _pick(found, generator).start(2)
        known = (b"ZZ", b"SQ", b"OB", b"US", b"FD", b"UN", b"\0\0", b"DS")
        data[place : place + 2] = _pick(known, generator)
    return bytes(data)


def _set_size(data: bytearray, generator: np.random.Generator) -> bytes:
    whole = _parsed(data)
    names = [name for name in _SIZES if name in whole]
    setattr(whole, _pick(names, generator), _pick(_SIZE_VALUES, generator))
    return _written(whole, data)


def _huge_image(data: bytearray, generator: np.random.Generator) -> bytes:
    """Rows and columns, often also frames, of many gigabytes."""
    whole = _parsed(data)
    whole.Rows, whole.Columns = _pick((65535, 30000), generator), _pick((65535, 30000), generator)
    if generator.random() < 0.5:
        whole.NumberOfFrames = _pick((1, 1000, 2**31 - 1), generator)
    return _written(whole, data)


def _nonsense_value(data: bytearray, generator: np.random.Generator) -> bytes:
    whole = _parsed(data)
    part = _some_dataset(whole, generator)
    elements = [element for element in part if element.VR in ("DS", "IS", "FD", "FL", "TM", "CS", "UI")]
    if elements:
        element = _pick(elements, generator)
        value: Any = _pick(("", "nan", "-1", "1e30", "\\\\", "99999999999"), generator)
        with quiet_pydicom():
            try:
                element.value = float(value) if element.VR in ("FD", "FL") else value
            except _CUT_VALUES:
                return bytes(data)
    return _written(whole, data)


def _nan_value(data: bytearray, generator: np.random.Generator) -> bytes:
    """No number in a position, a spacing, a slope or a time."""
    whole = _parsed(data)
    elements = [element for element in whole.iterall() if element.keyword in _FLOATS and element.value is not None]
    if elements:
        element = _pick(elements, generator)
        value: Any = _pick(_NOT_NUMBERS, generator)
        with quiet_pydicom():
            new = float(value) if element.VR in ("FD", "FL") else value
            element.value = [new, *list(element.value)[1:]] if element.VM > 1 else new
    return _written(whole, data)


def _nest_deeply(data: bytearray, generator: np.random.Generator) -> bytes:
    """A sequence within a sequence, and so on, up to 5000 times, at the head of the data set."""
    depth = int(generator.integers(2, 5001))
    opening = bytes.fromhex("08004011") + b"SQ\0\0\xff\xff\xff\xff" + bytes.fromhex("feff00e0ffffffff")
    closing = bytes.fromhex("feff0de000000000feffdde000000000")
    return _inserted(data, depth * opening + depth * closing * int(generator.integers(2)))


def _many_items(data: bytearray, generator: np.random.Generator) -> bytes:
    """A sequence of up to 5,000 empty items at the head of the data set."""
    items = int(generator.integers(1, 5001)) * bytes.fromhex("feff00e000000000")
    return _inserted(
        data, bytes.fromhex("08004011") + b"SQ\0\0\xff\xff\xff\xff" + items + bytes.fromhex("feffdde000000000")
    )


def _inserted(data: bytearray, block: bytes) -> bytes:
    """Put a block between the file meta information and the data set."""
    place = 144 + int.from_bytes(data[140:144], "little") if data[132:136] == b"\2\0\0\0" else 132
    data[place:place] = block
    return bytes(data)


def _deflate_bomb(data: bytearray, generator: np.random.Generator) -> bytes:
    """A deflated data set with up to 4 GiB of zeros as pixels, more than its header says or not."""
    whole = _parsed(data)
    size = int(generator.integers(1, 65)) * (64 << 20)
    if generator.random() < 0.5:
        whole.Rows = whole.Columns = 4096
        whole.NumberOfFrames, whole.BitsAllocated = size // (4096 * 4096 * 2), 16
    for name in ("PixelData", "FloatPixelData"):
        if name in whole:
            del whole[name]
    whole.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    out = io.BytesIO()
    with quiet_pydicom():
        try:
            whole.save_as(out, enforce_file_format=True)
        except DECODE_FAILURES:
            return bytes(data)
    content = out.getvalue()
    place = 144 + int.from_bytes(content[140:144], "little")
    head = bytes.fromhex("e07f1000") + b"OW\0\0" + (size & 0xFFFFFFFE).to_bytes(5, "little")[:4]
    packer = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    inner = packer.compress(zlib.decompress(content[place:], -zlib.MAX_WBITS) + head) + packer.flush(zlib.Z_FULL_FLUSH)
    return content[:place] + inner + size // (64 << 20) * _deflated_zeros() + zlib.compressobj(1, wbits=-15).flush()


@cache
def _deflated_zeros() -> bytes:
    """64 MiB of zeros as blocks of a deflated stream that can stand after any other."""
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return packer.compress(bytes(64 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)


_DICOM: tuple[_Way, ...] = (
    _delete_attribute, _swap_attributes, _swap_tags, _break_representation, _set_size, _huge_image, _nonsense_value,
    _nan_value, _nest_deeply, _many_items, _deflate_bomb,
)  # fmt: skip

# Text of PAR files, and headers of MGH files


def _other_number(data: bytearray, generator: np.random.Generator) -> bytes:
    """Another number, or none, in the place of one in a text."""
    found = list(re.finditer(rb"(?<=\s)-?\d[\d.e+-]*(?=\s)", data))
    place = _pick(found, generator)
    data[place.start() : place.end()] = _pick((b"0", b"-1", b"nan", b"1e30", b"99999999", b"x", b"2"), generator)
    return bytes(data)


def _other_lines(data: bytearray, generator: np.random.Generator) -> bytes:
    """Lines of a text that are lost, there twice, or in another order."""
    lines = bytes(data).split(b"\n")
    first, second = sorted(int(i) for i in generator.integers(0, len(lines), 2))
    lines = _pick((lines[:first] + lines[second:], lines[:second] + lines[first:],
                   [*lines[:first], *lines[first:second][::-1], *lines[second:]]), generator)  # fmt: skip
    return b"\n".join(lines)


def _wrong_mgh_header(data: bytearray, generator: np.random.Generator) -> bytes:
    """Another version, size, type, or direction in the header of an MGH file."""
    if generator.random() < 0.5:
        place, packed = 4 * int(generator.integers(0, 7)), struct.pack(">i", _pick(_MGH_VALUES, generator))
    else:
        value = _pick((float("nan"), float("inf"), 0.0, 1e30, -2.0), generator)
        place, packed = 30 + 4 * int(generator.integers(0, 15)), struct.pack(">f", value)
    data[place : place + 4] = packed
    return bytes(data)


_MGH_VALUES = (-1, 0, 1, 2, 7, 4096, 2**31 - 1)
_MGH: tuple[_Way, ...] = (_wrong_mgh_header,)
_PAR: tuple[_Way, ...] = (_other_number, _other_lines)
_PLAIN: dict[str, tuple[_Way, ...]] = {
    ".par": _PAR, ".rec": (), ".img": (), ".hdr": _NIFTI_HEADER, ".mgh": _MGH, ".nrrd": _PAR, ".h5": (),
}  # fmt: skip

KINDS = tuple(way.__name__.strip("_") for way in (*_ANY, *_NIFTI, _gz_bomb, *_DICOM, *_PAR, *_MGH))
"""Names of all kinds of damage."""
