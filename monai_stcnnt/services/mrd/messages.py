# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Messages of the MRD streaming protocol: a number of two bytes, and what its kind says.

The kinds are those of ``ismrmrd.serialization`` and of the servers that scanners speak to (python-ismrmrd-server, FIRE,
OpenRecon). A message has no length of its own: what is not known cannot be skipped.
"""

from __future__ import annotations

import ctypes
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from monai_stcnnt.data.formats.mrd.images import PIXEL_TYPES, MrdImage, header_type, pixels_of
from monai_stcnnt.errors import ProtocolError
from monai_stcnnt.services.extras import needed

__all__ = ["Limits", "Message", "MessageId", "close_message", "image_message", "read_message", "text_message"]

Read = Callable[[int], bytes]

_CONFIG_NAME = 1024
_ARRAY_AXES = 7


class MessageId(IntEnum):
    """Kinds of messages."""

    CONFIG_FILE = 1
    CONFIG_TEXT = 2
    HEADER = 3
    CLOSE = 4
    TEXT = 5
    ACQUISITION = 1008
    IMAGE = 1022
    WAVEFORM = 1026
    ARRAY = 1030


@dataclass(frozen=True)
class Limits:
    """What a connection may ask for.

    Attributes:
        message: bytes of one message.
        text: bytes of a text, a header or an image's attributes.
        connection: bytes of images that wait for the end of their series, and of what waits to be sent.
        connections: how many at once.
        timeout: seconds without a byte after which a connection is closed.
    """

    message: int = 512 << 20
    text: int = 16 << 20
    connection: int = 4 << 30
    connections: int = 4
    timeout: float = 600.0


@dataclass(frozen=True, eq=False)
class Message:
    """One message.

    Attributes:
        kind: its number.
        body: the bytes behind the number, as they came.
        image: of an image.
    """

    kind: MessageId
    body: bytes
    image: MrdImage | None = None

    @property
    def text(self) -> str:
        """Text of a configuration, header or text message, without zero bytes at its end."""
        raw = self.body if self.kind == MessageId.CONFIG_FILE else self.body[4:]
        return raw.split(b"\0", 1)[0].decode("utf-8", "replace")

    def to_bytes(self) -> bytes:
        """The message as it is sent."""
        return struct.pack("<H", self.kind) + self.body


def read_message(read: Read, limits: Limits) -> Message | None:
    """Read one message.

    Args:
        read: reads a number of bytes, fewer only at the end of the stream.
        limits: what is allowed; nothing is made room for before it is checked.

    Returns:
        The message, or None at the end of the stream.

    Raises:
        ProtocolError: if the kind is unknown, a size is too large, or the stream ends within the message.
    """
    first = read(2)
    if not first:
        return None
    number = struct.unpack("<H", _all(first, 2))[0]
    try:
        kind = MessageId(number)
    except ValueError as error:
        raise ProtocolError(f"A message has the unknown number {number}; what follows cannot be told apart.") from error
    if kind == MessageId.IMAGE:
        return _read_image(read, limits)
    return Message(kind, _BODIES[kind](read, limits))


def _all(data: bytes, count: int) -> bytes:
    if len(data) != count:
        raise ProtocolError(f"The stream ends within a message: {len(data)} of {count} bytes came.")
    return data


def _take(read: Read, count: int, most: int, what: str) -> bytes:
    if count > most:
        raise ProtocolError(f"{what} of {count} bytes is larger than the limit of {most}.")
    return _all(read(count), count) if count else b""


def _read_name(read: Read, limits: Limits) -> bytes:  # noqa: ARG001 - as all readers of bodies
    return _all(read(_CONFIG_NAME), _CONFIG_NAME)


def _read_text(read: Read, limits: Limits) -> bytes:
    length = _all(read(4), 4)
    return length + _take(read, struct.unpack("<I", length)[0], limits.text, "A text")


def _read_nothing(read: Read, limits: Limits) -> bytes:  # noqa: ARG001 - as all readers of bodies
    return b""


def _read_acquisition(read: Read, limits: Limits) -> bytes:
    head, fields = _header(read, needed("ismrmrd", "mrd").AcquisitionHeader)
    count = 4 * fields.number_of_samples * (fields.trajectory_dimensions + 2 * fields.active_channels)
    return head + _take(read, count, limits.message, "An acquisition")


def _read_waveform(read: Read, limits: Limits) -> bytes:
    head, fields = _header(read, needed("ismrmrd.waveform", "mrd").WaveformHeader)
    return head + _take(read, 4 * fields.channels * fields.number_of_samples, limits.message, "A waveform")


def _header(read: Read, structure: Any) -> tuple[bytes, Any]:  # noqa: ANN401 - a structure of ctypes
    head = _all(read(ctypes.sizeof(structure)), ctypes.sizeof(structure))
    return head, structure.from_buffer_copy(head)


def _read_array(read: Read, limits: Limits) -> bytes:
    head = _all(read(6), 6)
    data_type, _, axes = struct.unpack("<HHH", head)
    if data_type not in PIXEL_TYPES or not 0 < axes <= _ARRAY_AXES:
        raise ProtocolError(f"An array of type {data_type} with {axes} axes is not in the standard.")
    sizes = _all(read(8 * axes), 8 * axes)
    count = math.prod(struct.unpack(f"<{axes}Q", sizes)) * np.dtype(PIXEL_TYPES[data_type]).itemsize
    return head + sizes + _take(read, count, limits.message, "An array")


_BODIES: dict[MessageId, Callable[[Read, Limits], bytes]] = {
    MessageId.CONFIG_FILE: _read_name,
    MessageId.CONFIG_TEXT: _read_text,
    MessageId.HEADER: _read_text,
    MessageId.CLOSE: _read_nothing,
    MessageId.TEXT: _read_text,
    MessageId.ACQUISITION: _read_acquisition,
    MessageId.WAVEFORM: _read_waveform,
    MessageId.ARRAY: _read_array,
}


def _read_image(read: Read, limits: Limits) -> Message:
    kind = header_type()
    head = _all(read(kind.itemsize), kind.itemsize)
    header = np.frombuffer(head, kind)[0]
    if int(header["data_type"]) not in PIXEL_TYPES:
        raise ProtocolError(f"An image of type {int(header['data_type'])} is not in the standard (1 to 8).")
    item = np.dtype(PIXEL_TYPES[int(header["data_type"])]).itemsize
    count = math.prod(int(n) for n in header["matrix_size"]) * int(header["channels"]) * item
    if count > limits.message:
        raise ProtocolError(f"An image of {count} bytes is larger than the limit of {limits.message}.")
    length = _all(read(8), 8)
    attributes = _take(read, struct.unpack("<Q", length)[0], limits.text, "An image's attributes")
    data = _take(read, count, limits.message, "An image")
    text = attributes.rstrip(b"\0").decode("utf-8", "replace")
    return Message(MessageId.IMAGE, head + length + attributes + data, MrdImage(header, text, pixels_of(header, data)))


def image_message(image: MrdImage) -> Message:
    """Make the message of an image.

    Args:
        image: the image; its header says the type and size of its pixels.

    Returns:
        The message.
    """
    attributes = image.attributes.encode("utf-8")
    parts = (image.header.tobytes(), struct.pack("<Q", len(attributes)), attributes, image.pixels.tobytes())
    return Message(MessageId.IMAGE, b"".join(parts), image)


def text_message(text: str) -> Message:
    """Make the message of a text for the other side's log."""
    raw = text.encode("utf-8") + b"\0"
    return Message(MessageId.TEXT, struct.pack("<I", len(raw)) + raw)


def close_message() -> Message:
    """Make the message that ends a stream."""
    return Message(MessageId.CLOSE, b"")
