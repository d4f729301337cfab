# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Headers of DICOM files: what is one, how it is stored, and the values in it."""

from __future__ import annotations

import logging
import math
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Any

import pydicom
from PIL.Image import DecompressionBombError
from pydicom import config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from monai_stcnnt.data.unpacking import check_deflated
from monai_stcnnt.errors import StcnntError, UnreadableFileError

__all__ = [
    "DECODE_FAILURES",
    "Alike",
    "Header",
    "first_value",
    "has_dicom_start",
    "has_pixels",
    "is_dicom",
    "number_in",
    "number_of",
    "quiet_pydicom",
    "read_header",
    "start_of",
    "syntax_of",
    "value_of",
]

# What pydicom and its decoders raise on damaged files.
DECODE_FAILURES = (
    OSError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, NotImplementedError,
    OverflowError, ArithmeticError, MemoryError, AssertionError, struct.error, zlib.error, InvalidDicomError,
    BytesLengthException, DecompressionBombError,
)  # fmt: skip

_START = 2048  # bytes
# Representations of values whose meaning depends on nothing else in the file, while they are in ASCII.
_PLAIN = frozenset(
    ("AE", "AS", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "SH", "SL", "SS", "TM", "UI", "UL", "US")
)
_BINARY = frozenset(("FD", "FL", "SL", "SS", "UL", "US"))
_DISTINCT = 8192  # values that are kept
_SYNTAX = Tag("TransferSyntaxUID")
_MOST_PLACES = 16  # sets of tags that are looked at for what was found before
_NOT_PLAIN = object()
_is_quiet: ContextVar[bool] = ContextVar("is_quiet", default=False)


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep pydicom from warning and logging: of odd values it tells the value, which may be a name.

    Yields:
        Nothing.
    """
    if _is_quiet.get():
        yield
        return
    token = _is_quiet.set(True)
    pydicom_logger = logging.getLogger("pydicom")

    def drop(_: logging.LogRecord) -> bool:
        return False

    pydicom_logger.addFilter(drop)
    try:
        with warnings.catch_warnings(), config.disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    finally:
        pydicom_logger.removeFilter(drop)
        _is_quiet.reset(token)


def is_dicom(path: str | Path) -> bool:
    """Tell by its content whether a file is DICOM.

    Args:
        path: the file.

    Returns:
        Whether ``DICM`` follows the 128 bytes of preamble, or the file begins with DICOM's first elements instead.
    """
    return has_dicom_start(start_of(path))


def has_dicom_start(start: bytes) -> bool:
    """Tell whether a file that starts with these bytes is DICOM, see :func:`is_dicom`."""
    return start[128:132] == b"DICM" or _is_headless(start)


def start_of(path: str | Path) -> bytes:
    """Read enough of a file to tell what it is and how it is stored; nothing of one that cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(_START)
    except OSError:
        return b""


def _is_headless(start: bytes) -> bool:
    """Whether a file without preamble begins with an element of group 2 or 8, as written by some exports."""
    if len(start) < 132 or start[:2] not in (b"\x02\x00", b"\x08\x00") or start[3:4] != b"\x00":
        return False
    if start[4:6] in (b"UL", b"UI", b"CS", b"OB", b"SH", b"LO", b"DA", b"TM"):
        return start[6:7] < b"\x80"
    length = int.from_bytes(start[4:8], "little")
    return length <= 64 and start[8 + length : 10 + length] in (b"\x02\x00", b"\x08\x00")


def read_header(path: Path, start: bytes | None = None, **options: Any) -> Dataset:  # noqa: ANN401 - as pydicom takes them
    """Read a DICOM file without its pixels.

    Args:
        path: the file.
        start: what :func:`start_of` gave, where it was asked before.
        options: of pydicom's ``dcmread``.

    Returns:
        The data set.

    Raises:
        UnreadableFileError: if it is damaged.
    """
    try:
        with quiet_pydicom():
            start = start_of(path) if start is None else start
            if DeflatedExplicitVRLittleEndian.encode() in start:
                check_deflated(path)
            force = start[128:132] != b"DICM" and _is_headless(start)
            return pydicom.dcmread(path, **{"stop_before_pixels": True, "force": force, **options})
    except StcnntError:
        raise
    except DECODE_FAILURES as error:
        raise UnreadableFileError(
            f"{path} cannot be read as DICOM: {type(error).__name__}. It is damaged; copy it again."
        ) from None  # the cause quotes values


def syntax_of(dataset: Dataset) -> UID:
    """Transfer syntax of a file; of one without file meta information that which it was read by."""
    stated = str(dataset.file_meta.get("TransferSyntaxUID") or "")
    if stated:
        return UID(stated)
    is_implicit, is_little = dataset.original_encoding
    return ImplicitVRLittleEndian if is_implicit else ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian


def has_pixels(dataset: Header | Dataset) -> bool:
    """Tell whether a header describes an image.

    Args:
        dataset: the header.

    Returns:
        Whether it has rows and columns.
    """
    return "Rows" in dataset and "Columns" in dataset


class Header:
    """The elements of a data set by the numbers of their tags, for many questions: several times faster than it.

    Args:
        dataset: the data set.

    Attributes:
        asked: tags that were asked for since this was last set; None where nobody wants to know.
    """

    __slots__ = ("_elements", "asked", "dataset")

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.asked: set[int] | None = None
        self._elements: dict[int, Any] = dict(zip(map(int, dataset.keys()), dataset.values(), strict=True))

    def get_item(self, tag: int) -> Any:  # noqa: ANN401 - an element, converted or not
        """The element of a tag, None where there is none."""
        if self.asked is not None:
            self.asked.add(tag)
        return self._elements.get(tag)

    def __getitem__(self, tag: int) -> DataElement:
        """The converted element of a tag that there is."""
        return self.dataset[tag]

    def __contains__(self, name: str | int) -> bool:
        """Whether there is an attribute."""
        return self.get_item(_tag_of(name)) is not None

    def stored(self, tags: Iterable[int]) -> tuple[object, ...]:
        """How the file is encoded, and what it holds for some tags, None where there is nothing."""
        found = map(self._elements.get, tags)
        values = [None if element is None else element.value for element in found]
        syntax = self.dataset.file_meta.get_item(_SYNTAX)
        return ((self.dataset.original_encoding, None if syntax is None else syntax.value), *values)


class Alike:
    """What was found in headers, for those that hold the same where it was looked: files of a series mostly do."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, ...], dict[tuple[object, ...], Any]] = {}

    def find(self, header: Header) -> Any:  # noqa: ANN401 - whatever was added
        """What was added for a header that holds the same, None where there was none."""
        for tags, results in self._found.items():
            try:
                found = results.get(header.stored(tags))
            except TypeError:  # a sequence is among them
                continue
            if found is not None:
                return found
        return None

    def add(self, header: Header, result: Any) -> None:  # noqa: ANN401
        """Keep what was found where a header tells by ``asked`` that it was looked."""
        tags = tuple(sorted(header.asked or ()))
        results = self._found.setdefault(tags, {})
        stored = header.stored(tags)
        if len(self._found) <= _MOST_PLACES and all(value is None or isinstance(value, bytes) for value in stored[1:]):
            results[stored] = result


def first_value(places: Sequence[Header | Dataset], name: str | int) -> object:
    """First value of an attribute that is not empty.

    Args:
        places: where to look, one after the other.
        name: keyword of the attribute, or the number of its tag.

    Returns:
        The value, None where there is none.
    """
    tag = _tag_of(name)
    for place in places:
        element: Any = place.get_item(tag)
        if element is None:
            continue
        value = _plain_value(tag, element) if isinstance(element, RawDataElement) else element.value
        if value is _NOT_PLAIN:
            value = place[tag].value
        if value is not None and value != "":
            return value
    return None


def value_of(place: Header | Dataset, name: str | int) -> Any:  # noqa: ANN401 - whatever the attribute holds
    """Value of an attribute, None where it is absent or empty."""
    return first_value((place,), name)


@lru_cache(None)
def _tag_of(name: str | int) -> int:
    return int(Tag(name))


def _plain_value(tag: int, raw: RawDataElement) -> object:
    """Value of an element that was not converted yet, by what was converted before: files of a series are alike."""
    value, kind = raw.value, raw.VR or _representation_of(tag)
    if kind not in _PLAIN or not isinstance(value, bytes):
        return _NOT_PLAIN
    if kind not in _BINARY and (not value.isascii() or b"\x1b" in value):
        return _NOT_PLAIN
    return _converted(tag, kind, value, raw.is_implicit_VR, raw.is_little_endian)


@lru_cache(_DISTINCT)
def _converted(tag: int, kind: str, value: bytes, is_implicit: bool, is_little: bool) -> object:
    raw = RawDataElement(Tag(tag), kind, len(value), value, 0, is_implicit, is_little)
    return convert_raw_data_element(raw).value


@lru_cache(None)
def _representation_of(tag: int) -> str:
    """Representation of an attribute of the standard; empty for others, such as private ones."""
    try:
        return dictionary_VR(tag)
    except KeyError:
        return ""


def number_of(value: object) -> float | None:
    """A number, or the first of several; None where it is none."""
    if isinstance(value, (MultiValue, list)):
        value = value[0] if len(value) else None
    try:
        return None if value is None else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def number_in(places: Sequence[Header | Dataset], name: str | int, default: float = math.nan) -> float:
    """First value of an attribute as a number.

    Args:
        places: where to look, one after the other.
        name: keyword of the attribute, or the number of its tag.
        default: what to give where there is none.

    Returns:
        The number.
    """
    found = number_of(first_value(places, name))
    return default if found is None else found
