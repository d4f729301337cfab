# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The MRD server over the loopback address: what comes back, and what bad clients cannot do to it."""

from __future__ import annotations

import logging
import socket
import struct
import time
from collections.abc import Callable
from typing import Any, NoReturn

import ismrmrd
import numpy as np
import pytest

from monai_stcnnt.errors import OptionError, ProtocolError, ServiceAddressError
from monai_stcnnt.services.engine import DenoiserOptions
from monai_stcnnt.services.mrd.messages import Limits
from monai_stcnnt.services.mrd.results import add_attributes
from monai_stcnnt.services.mrd.server import MrdServer
from monai_stcnnt.services.mrd.session import StreamOptions, options_from_text
from tests.services.mrd.clients import META, Halver, cine, exchange, mrd_image, serving

__all__: list[str] = []


def head(image: ismrmrd.Image) -> bytes:
    """Bytes of a header, but for the length of the attributes behind it."""
    return bytes(image.getHead())[:-4]


def images_of(received: list[Any]) -> list[Any]:
    return [item for item in received if isinstance(item, ismrmrd.Image)]


def collecting(networks: list[Halver]) -> Callable[[DenoiserOptions], Halver]:
    """A maker of networks that can be looked at afterwards."""

    def make(options: DenoiserOptions) -> Halver:
        networks.append(Halver(options))
        return networks[-1]

    return make


@pytest.mark.parametrize("mode", ["series", "realtime"])
@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint32", "float32", "float64"])
def test_every_image_comes_back_in_order_under_its_header(mode: str, dtype: str) -> None:
    sent = cine(dtype=dtype)
    with serving(mode=mode) as server:
        received = images_of(exchange(server.port, sent))
    assert [head(image) for image in received] == [head(image) for image in sent]
    for before, after in zip(sent, received, strict=True):
        np.testing.assert_allclose(after.data, before.data / 2, atol=0 if dtype.startswith("float") else 0.5)
        assert after.data.dtype == before.data.dtype


def test_attributes_stay_and_say_what_was_done() -> None:
    with serving() as server:
        [received] = exchange(server.port, [mrd_image(np.eye(8, dtype=np.float32))])
    meta = ismrmrd.Meta.deserialize(received.attribute_string)
    assert meta["WindowCenter"] == "120"
    assert meta["Keep_image_geometry"] == "1"
    assert meta["ImageComments"] == "stcnnt: denoised, sigma 3"
    assert received.getHead().attribute_string_len == len(received.attribute_string.encode())


@pytest.mark.parametrize("text", [META, META.replace("\n", "<!-- é -->"), META + "\n"])
def test_attributes_that_were_there_stay_to_the_letter(text: str) -> None:
    start, end = text.split("</ismrmrdMeta>")
    found = add_attributes(text, ImageComments="a < b")
    assert found.startswith(start)
    assert found.endswith("</ismrmrdMeta>" + end)
    assert ismrmrd.Meta.deserialize(found)["ImageComments"] == "a < b"


@pytest.mark.parametrize(("text", "is_kept"), [("", False), ("<ismrmrdMeta/>", False), ("no XML", True)])
def test_attributes_are_added_where_there_are_none(text: str, is_kept: bool) -> None:
    found = add_attributes(text, A="1")
    assert (found == text) == is_kept
    assert is_kept or ismrmrd.Meta.deserialize(found)["A"] == "1"


def test_a_series_is_denoised_as_slices_over_time() -> None:
    networks: list[Halver] = []
    sent = cine(frames=3, slices=2)
    order = [5, 0, 3, 1, 4, 2]
    with serving(collecting(networks)) as server:
        received = images_of(exchange(server.port, [sent[n] for n in order]))
    [record] = networks[0].records
    assert record.array.shape == (1, 3, 2, 8, 8)
    np.testing.assert_array_equal(record.array[0, 2, 1], sent[5].data[0, 0])
    np.testing.assert_allclose(record.spacing, [1.5, 1.5, 10.0])
    np.testing.assert_array_equal(record.frame_times, [0, 40, 80])
    for n, image in zip(order, received, strict=True):
        assert head(image) == head(sent[n])


def test_the_center_of_the_image_is_at_its_position() -> None:
    networks: list[Halver] = []
    with serving(collecting(networks)) as server:
        exchange(server.port, [mrd_image(np.eye(8, dtype=np.float32), position=(5.0, -3.0, 10.0))])
    center = networks[0].records[0].affine @ [4, 4, 0, 1]
    np.testing.assert_allclose(center[:3], [-5.0, 3.0, 10.0])


def test_realtime_looks_back_only() -> None:
    networks: list[Halver] = []
    sent = cine(frames=5, slices=1)
    with serving(collecting(networks), mode="realtime", context=3) as server:
        exchange(server.port, sent)
    assert [record.array.shape[1] for record in networks[0].records] == [1, 2, 3, 3, 3]
    for last, record in enumerate(networks[0].records):
        np.testing.assert_array_equal(record.array[0, -1, 0], sent[last].data[0, 0])


def test_realtime_answers_before_the_next_frame_is_sent() -> None:
    first, second = cine(frames=2, slices=1)
    with serving(mode="realtime") as server, socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        stream = connection.makefile("rwb")
        for image in (first, second):
            serializer = ismrmrd.ProtocolSerializer(stream)
            serializer.serialize(image)
            stream.flush()
            received = next(ismrmrd.ProtocolDeserializer(stream).deserialize())
            assert head(received) == head(image)


def test_magnitude_and_phase_go_through_as_one_complex_image() -> None:
    networks: list[Halver] = []
    draw = np.random.default_rng(0)
    magnitude = draw.uniform(1, 2, (8, 8)).astype(np.float32)
    angle = draw.uniform(-3, 3, (8, 8))
    coded = np.rint(angle * 2048 / np.pi + 2048).astype(np.uint16)
    sent = [mrd_image(magnitude), mrd_image(coded, image_type=ismrmrd.IMTYPE_PHASE, image_series_index=1)]
    with serving(collecting(networks)) as server:
        first, second = exchange(server.port, sent)
    [record] = networks[0].records
    assert record.kind == "complex"
    expected = magnitude * np.exp(1j * coded * np.pi / 2048)  # a phase from 0 on: half a turn more everywhere
    np.testing.assert_allclose(record.array[:, 0, 0], [expected.real, expected.imag], atol=2e-3)
    np.testing.assert_allclose(first.data[0, 0], magnitude / 2, rtol=1e-5)
    np.testing.assert_array_equal(second.data[0, 0], coded)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_images_keep_both_parts(dtype: str) -> None:
    values = (np.arange(64).reshape(8, 8) * (1 + 2j)).astype(dtype)
    with serving() as server:
        [received] = exchange(server.port, [mrd_image(values, image_type=ismrmrd.IMTYPE_COMPLEX)])
    np.testing.assert_allclose(received.data[0, 0], values / 2)


def test_real_and_imaginary_images_are_joined() -> None:
    real, imaginary = np.arange(64, dtype=np.float32).reshape(8, 8), -np.ones((8, 8), np.float32)
    networks: list[Halver] = []
    sent = [mrd_image(real, image_type=ismrmrd.IMTYPE_REAL), mrd_image(imaginary, image_type=ismrmrd.IMTYPE_IMAG)]
    with serving(collecting(networks)) as server:
        received = exchange(server.port, sent)
    np.testing.assert_array_equal(networks[0].records[0].array[:, 0, 0], [real, imaginary])
    np.testing.assert_array_equal(received[1].data[0, 0], imaginary / 2)


@pytest.mark.parametrize(
    "lone",
    [
        mrd_image(np.full((8, 8), 9, np.uint16), image_type=ismrmrd.IMTYPE_PHASE),
        mrd_image(np.arange(192, dtype=np.uint16).reshape(3, 1, 8, 8), image_type=ismrmrd.IMTYPE_RGB),
        mrd_image(np.ones((8, 8), np.float32), META.replace("WindowCenter", "DataRole").replace("120", "Gfactor")),
    ],
    ids=["phase", "colors", "g-factors"],
)
def test_what_is_no_image_to_denoise_keeps_its_pixels(lone: ismrmrd.Image) -> None:
    with serving() as server:
        [received] = exchange(server.port, [lone])
    assert head(received) == head(lone)
    np.testing.assert_array_equal(received.data, lone.data)


def test_a_velocity_is_not_taken_for_the_phase_of_its_magnitude() -> None:
    networks: list[Halver] = []
    velocity = META.replace("WindowCenter", "FlowVelocity")
    pixels = np.arange(64, dtype=np.uint16).reshape(8, 8)
    sent = [mrd_image(pixels), mrd_image(pixels, velocity, image_type=ismrmrd.IMTYPE_PHASE)]
    with serving(collecting(networks)) as server:
        received = exchange(server.port, sent)
    assert [record.kind for record in networks[0].records] == ["magnitude"]
    np.testing.assert_array_equal(received[1].data[0, 0], pixels)


def test_maps_and_noise_images_of_the_stream_are_used() -> None:
    networks: list[Halver] = []
    role = "<ismrmrdMeta><meta><name>DataRole</name><value>{}</value></meta>{}</ismrmrdMeta>"
    ratio = "<meta><name>Image_scale_ratio</name><value>100</value></meta>"
    noise = (np.random.default_rng(0).normal(0, 5, (64, 64, 2)) @ [1, 1j]).astype(np.complex64)
    sent = [
        mrd_image(noise, role.format("Noise", ""), image_type=ismrmrd.IMTYPE_COMPLEX),
        mrd_image(np.full((8, 8), 150, np.uint16), role.format("GFACTOR", ratio), position=(5, -3, 0)),
        *cine(frames=2, slices=1),
    ]
    with serving(collecting(networks)) as server:
        received = images_of(exchange(server.port, sent))
    assert len(received) == 4
    assert networks[0].levels[0] == pytest.approx(5, rel=0.05)
    gmap = networks[0].gmaps[0]
    assert gmap is not None
    np.testing.assert_allclose(gmap.array, 1.5)


def test_raw_data_and_waveforms_are_passed_on_to_the_letter() -> None:
    acquisition = ismrmrd.Acquisition.from_array(np.ones((2, 16), np.complex64), scan_counter=5)
    waveform = ismrmrd.Waveform.from_array(np.ones((1, 20), np.uint32))
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    with serving() as server:
        received = exchange(server.port, [acquisition, waveform, array])
    assert received[0].to_bytes() == acquisition.to_bytes()
    assert received[1].to_bytes() == waveform.to_bytes()
    np.testing.assert_array_equal(received[2], array)


def test_images_of_changing_size_make_series_of_their_own() -> None:
    networks: list[Halver] = []
    sent = [*cine(2, 1, 8), *cine(2, 1, 12), *cine(1, 1, 8, contrast=1)]
    with serving(collecting(networks)) as server:
        received = images_of(exchange(server.port, sent))
    assert sorted(record.array.shape for record in networks[0].records) == [
        (1, 1, 1, 8, 8), (1, 2, 1, 8, 8), (1, 2, 1, 12, 12),
    ]  # fmt: skip
    assert [head(image) for image in received] == [head(image) for image in sent]


def test_a_client_may_choose_the_mode_and_the_strength() -> None:
    networks: list[Halver] = []
    with serving(collecting(networks)) as server:
        exchange(
            server.port, ['{"parameters": {"mode": "realtime", "strength": 1.5, "selfensemble": "True"}}', *cine(2, 1)]
        )
    assert networks[-1].options.strength == 1.5
    assert networks[-1].options.self_ensemble
    assert len(networks[-1].records) == 2


@pytest.mark.parametrize("text", ["", "no json", "[1]", '{"parameters": 3}', '{"parameters": {"config": "other"}}'])
def test_text_for_others_changes_nothing(text: str) -> None:
    assert options_from_text(text, StreamOptions()) == StreamOptions()


@pytest.mark.parametrize("asked", ['"strength": "much"', '"mode": "backwards"', '"context": 0'])
def test_parameters_that_are_none_are_refused(asked: str) -> None:
    with pytest.raises(ProtocolError, match="parameters"):
        options_from_text(f'{{"parameters": {{{asked}}}}}', StreamOptions())


@pytest.mark.parametrize("options", [{"mode": "backwards"}, {"mode": "realtime", "context": 0}])
def test_wrong_options_are_refused_before_a_client_comes(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="realtime"):
        StreamOptions(**options)


def test_a_server_that_ends_lets_its_clients_go_and_its_port_be_taken() -> None:
    with serving() as server, socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(image_bytes()[:100])
        time.sleep(0.1)
        server.stop()
        while connection.recv(65536):
            pass
    with MrdServer(port=server.port, limits=Limits(timeout=20), open_denoiser=Halver) as again:  # type: ignore[arg-type]
        assert len(exchange(again.port, cine(1, 1))) == 1


def test_an_image_that_cannot_be_denoised_comes_back_and_says_so() -> None:
    class Failing(Halver):
        def __call__(self, *_: object) -> NoReturn:
            raise ProtocolError("no")

    image = mrd_image(np.eye(8, dtype=np.float32))
    with serving(Failing) as server:
        [received] = exchange(server.port, [image])
    np.testing.assert_array_equal(received.data, image.data)
    assert "not denoised (ProtocolError)" in received.attribute_string


def test_a_fault_costs_no_images() -> None:
    class Broken(Halver):
        def __call__(self, *_: object) -> NoReturn:
            raise RuntimeError("Doe^Jane")

    sent = cine(3, 2)
    with serving(Broken) as server:
        received = exchange(server.port, sent)
    assert [head(image) for image in received] == [head(image) for image in sent]
    assert "fault of the server" in received[0].attribute_string
    assert "Doe" not in received[0].attribute_string


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
@pytest.mark.parametrize("name", ["position", "read_dir", "field_of_view"])
def test_headers_without_geometry_are_denoised_all_the_same(name: str, value: float) -> None:
    fields: dict[str, Any] = {name: (value,) * 3}
    sent = [mrd_image(np.full((8, 8), n + 1, np.float32), **fields, phase=n) for n in range(3)]
    with serving() as server:
        received = exchange(server.port, sent)
    assert [float(image.data.max()) for image in received] == [0.5, 1.0, 1.5]


@pytest.mark.parametrize("ratio", ["many", "0", "-3", "nan"])
def test_a_map_with_a_ratio_that_is_none_is_taken_as_it_is(ratio: str) -> None:
    networks: list[Halver] = []
    meta = (
        "<ismrmrdMeta><meta><name>DataRole</name><value>Gfactor</value></meta>"
        f"<meta><name>Image_scale_ratio</name><value>{ratio}</value></meta></ismrmrdMeta>"
    )
    with serving(collecting(networks)) as server:
        exchange(server.port, [mrd_image(np.full((8, 8), 2, np.float32), meta), mrd_image(np.eye(8, dtype=np.float32))])
    gmap = networks[0].gmaps[0]
    assert gmap is not None
    np.testing.assert_array_equal(gmap.array, 2)


def send(port: int, data: bytes) -> bytes:
    """Send bytes, and take what comes until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(data)
        received = b""
        while part := connection.recv(65536):
            received += part
        return received


def image_bytes(**fields: int) -> bytes:
    """An image message whose header says something else than what follows."""
    image = mrd_image(np.zeros((8, 8), np.float32))
    raw = bytearray(image.to_bytes())
    header = ismrmrd.ImageHeader.from_buffer(raw)
    for name, value in fields.items():
        setattr(header, name, value)
    return struct.pack("<H", 1022) + bytes(raw)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (struct.pack("<H", 999), b"unknown number 999"),
        (struct.pack("<H", 1015), b"unknown number 1015"),
        (struct.pack("<HI", 3, 4_000_000_000), b"larger than the limit"),
        (image_bytes(channels=60000), b"larger than the limit"),
        (image_bytes(data_type=77), b"type 77"),
        (
            struct.pack("<H", 1022) + mrd_image(np.zeros((8, 8), np.float32)).to_bytes()[:198] + b"\xff" * 8,
            b"attributes",
        ),
        (struct.pack("<HHHHQQ", 1030, 5, 0, 2, 1 << 40, 1 << 20), b"larger than the limit"),
        (struct.pack("<HHHH", 1030, 5, 0, 9), b"9 axes"),
    ],
)
def test_a_message_that_is_none_is_refused_and_the_next_client_served(data: bytes, message: bytes) -> None:
    with serving(limits=Limits(message=1 << 20, timeout=20)) as server:
        assert message in send(server.port, data)
        assert len(exchange(server.port, cine(1, 1))) == 1


def test_more_than_the_limit_is_not_kept() -> None:
    with serving(limits=Limits(connection=1000, timeout=20)) as server:
        received = exchange(server.port, cine(8, 1, 16))
        assert "More than 1000 bytes wait" in received[0]
        assert len(exchange(server.port, [mrd_image(np.eye(4, dtype=np.uint16))])) == 1


@pytest.mark.parametrize("count", [1, 100, 250, 500])
def test_a_client_that_dies_in_the_middle_leaves_nothing_behind(count: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "monai_stcnnt")
    with serving(limits=Limits(connections=1, timeout=20)) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(image_bytes()[:count])
        deadline = time.monotonic() + 20
        while (received := exchange(server.port, cine(1, 1))) and isinstance(received[0], str):
            assert time.monotonic() < deadline
        assert len(received) == 1
    assert "ended" in caplog.text or "left" in caplog.text or "lost" in caplog.text


def test_a_silent_client_is_closed() -> None:
    with serving(limits=Limits(timeout=0.2)) as server:
        assert send(server.port, b"") == b""


def test_a_flood_of_connections_is_refused() -> None:
    with serving(limits=Limits(connections=2, timeout=20)) as server:
        held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(2)]
        time.sleep(0.1)
        assert b"too many connections" in send(server.port, b"")
        for one in held:
            one.close()


def test_a_client_that_reads_last_does_not_block() -> None:
    acquisition = ismrmrd.Acquisition.from_array(np.ones((8, 512), np.complex64))
    data = struct.pack("<H", 1008) + acquisition.to_bytes()
    with serving() as server:
        assert len(send(server.port, data * 300 + struct.pack("<H", 4))) == len(data) * 300 + 2


def test_logs_hold_nothing_of_a_patient(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "monai_stcnnt")
    secret = META.replace("WindowCenter", "PatientName").replace("120", "Doe^Jane")
    header = ismrmrd.xsd.ismrmrdHeader(
        subjectInformation=ismrmrd.xsd.subjectInformationType(patientName="Doe^Jane"),
        experimentalConditions=ismrmrd.xsd.experimentalConditionsType(H1resonanceFrequency_Hz=1),
    )
    with serving() as server:
        exchange(server.port, [header, "Doe^Jane", mrd_image(np.eye(8, dtype=np.float32), secret)], config="Doe^Jane")
    assert caplog.text
    assert "Doe" not in caplog.text


def test_an_address_in_use_is_one_sentence() -> None:
    with serving() as server, pytest.raises(ServiceAddressError, match=str(server.port)):
        MrdServer(port=server.port, open_denoiser=Halver)  # type: ignore[arg-type]
