# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""An MRD client of ``ismrmrd``'s own library, phantoms for it, and a network that halves every value."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ismrmrd
import numpy as np
from ismrmrd.serialization import ConfigFile, ProtocolDeserializer, ProtocolSerializer

from monai_stcnnt.data.record import SeriesRecord
from monai_stcnnt.services.engine import DenoiserOptions
from monai_stcnnt.services.mrd.messages import Limits
from monai_stcnnt.services.mrd.server import MrdServer
from monai_stcnnt.services.mrd.session import StreamOptions

__all__ = ["Halver", "cine", "exchange", "mrd_image", "serving"]

META = '<?xml version="1.0"?>\n<ismrmrdMeta><meta><name>WindowCenter</name><value>120</value></meta></ismrmrdMeta>'


class Halver:
    """Stands in for the network: values halved, and the calls noted."""

    def __init__(self, options: DenoiserOptions) -> None:
        self.options = options
        self.records: list[SeriesRecord] = []
        self.gmaps: list[SeriesRecord | None] = []
        self.levels: list[float | None] = []

    def noise_level(self, *_: object) -> float:
        return 3.0

    def __call__(
        self, record: SeriesRecord, gmap: SeriesRecord | None = None, noise_sigma: float | None = None
    ) -> tuple[SeriesRecord, float]:
        self.records.append(record)
        self.gmaps.append(gmap)
        self.levels.append(noise_sigma)
        return record.with_array(record.array / 2), noise_sigma or 3.0

    def with_errors(self, record: SeriesRecord) -> tuple[SeriesRecord, SeriesRecord | None, float]:
        result, level = self(record)
        metadata = {**record.metadata, "kind": "magnitude"}
        errors = SeriesRecord(np.full_like(record.array[:1], 0.5), record.affine, record.frame_times, metadata)
        return result, errors if self.options.save_uncertainty else None, level


def mrd_image(pixels: np.ndarray, meta: str = META, **fields: object) -> Any:  # noqa: ANN401 - untyped
    """Make an image ``(y, x)`` or ``(z, y, x)`` with a geometry."""
    image = ismrmrd.Image.from_array(pixels)
    depth, rows, columns = image.data.shape[1:]
    geometry: dict[str, object] = {
        "field_of_view": (columns * 1.5, rows * 1.5, depth * 8.0), "read_dir": (1, 0, 0), "phase_dir": (0, 1, 0),
        "slice_dir": (0, 0, 1), "image_type": ismrmrd.IMTYPE_MAGNITUDE, "measurement_uid": 7, "user_int": range(8),
    }  # fmt: skip
    for name, value in {**geometry, **fields}.items():
        setattr(image, name, tuple(value) if isinstance(value, range) else value)
    image.attribute_string = meta
    return image


def cine(
    frames: int = 3,
    slices: int = 2,
    size: int = 8,
    dtype: str = "uint16",
    **fields: Any,  # noqa: ANN401 - of a header
) -> list[Any]:
    """Frames of slices of random values, slice by slice."""
    draw = np.random.default_rng(3)
    return [
        mrd_image(
            draw.integers(100, 4000, (size, size)).astype(dtype), slice=z, phase=t, position=(5.0, -3.0, 10.0 * z),
            physiology_time_stamp=(t * 16, 0, 0), image_index=1 + t + frames * z, **fields,
        )
        for z in range(slices)
        for t in range(frames)
    ]  # fmt: skip


@contextlib.contextmanager
def serving(
    network: Callable[[DenoiserOptions], Any] = Halver,
    limits: Limits | None = None,
    mode: str = "series",
    context: int = 8,
) -> Iterator[MrdServer]:
    """A server on the loopback address, with a stand-in for the network."""
    options = StreamOptions(mode=mode, context=context)
    with MrdServer(options, port=0, limits=limits or Limits(timeout=20), open_denoiser=network) as server:
        yield server


def exchange(port: int, items: Sequence[Any], *, config: str = "stcnnt", patience: float = 60) -> list[Any]:
    """Send items and a close message; everything that comes back, up to the server's close message."""
    with socket.create_connection(("127.0.0.1", port), patience) as connection, connection.makefile("rwb") as stream:
        received: list[Any] = []

        def receive() -> None:
            try:
                received.extend(ProtocolDeserializer(stream).deserialize())
            except ConnectionResetError:  # refused while there was more to send
                received.append("The connection was reset.")

        reader = threading.Thread(target=receive)
        reader.start()
        serializer = ProtocolSerializer(stream)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # what came back says why
            serializer.serialize(ConfigFile(config))
            for item in items:
                serializer.serialize(item)
            serializer.close()
        reader.join(patience)
        assert not reader.is_alive(), "the server hangs"
        return received
