# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The DICOM node over the loopback address: every series arrives once, whoever fails in between."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import numpy as np
import pydicom
import pynetdicom
import pytest

from monai_stcnnt.data import read_series
from monai_stcnnt.errors import ImageSizeError, OptionError, OutputNotWritableError, ServiceAddressError
from monai_stcnnt.services.dicom.jobs import work_on
from monai_stcnnt.services.dicom.node import DicomNode, NodeOptions
from monai_stcnnt.services.dicom.rules import Rule
from monai_stcnnt.services.dicom.spool import Spool
from monai_stcnnt.services.dicom.targets import DicomTarget
from tests.apps.dicom_files import PATIENT
from tests.services.dicom.peers import Archive, archiving, copy_work, eventually, running, scan, send

__all__: list[str] = []


def left(folder: Path) -> list[str]:
    """Files of series that are still in the queue."""
    return [
        name for path, _, names in os.walk(folder) for name in names if name != "lock" and Path(path).name != "done"
    ]


def once(archive: Archive, count: int) -> bool:
    return len(archive.images) == count and all(len(images) == 1 for images in archive.images.values())


def test_a_series_arrives_once_and_the_queue_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = scan(tmp_path / "scan", frames=3)
    with archiving() as archive, running(tmp_path / "queue", archive.port, monkeypatch) as node:
        assert send(node.port, files) == [0, 0, 0]
        assert eventually(lambda: len(archive.images) == 3)
        assert eventually(lambda: not left(tmp_path / "queue"))
        assert once(archive, 3)
        assert len(archive.series) == 1


def test_series_are_denoised_into_derived_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = scan(tmp_path / "scan")
    rules = (Rule("all", "denoise", options={"noise_sigma": 20.0}),)

    def work(folder: str, _: Sequence[Rule]) -> bool:
        return work_on(folder, rules)

    with archiving() as archive, running(tmp_path / "queue", archive.port, monkeypatch, work) as node:
        send(node.port, files)
        assert eventually(lambda: len(archive.images) == 2, 120)
    before = [pydicom.dcmread(file) for file in files]
    for [after] in archive.images.values():
        assert after.ImageType[0] == "DERIVED"
        assert after.StudyInstanceUID == before[0].StudyInstanceUID
        assert after.SeriesInstanceUID != before[0].SeriesInstanceUID
        source = next(one for one in before if one.InstanceNumber == after.InstanceNumber)
        np.testing.assert_allclose(after.ImagePositionPatient, source.ImagePositionPatient)
        assert (after.pixel_array != source.pixel_array).any()


def test_the_same_work_makes_the_same_instances(tmp_path: Path) -> None:
    uids = []
    for name in ("first", "second"):
        for number, file in enumerate(scan(tmp_path / name / "scan")):
            (tmp_path / name / "in").mkdir(exist_ok=True)
            file.rename(tmp_path / name / "in" / f"{number}.dcm")
        assert work_on(str(tmp_path / name), (Rule("all", "denoise", options={"noise_sigma": 20.0}),))
        uids.append(sorted(pydicom.dcmread(f).SOPInstanceUID for f in (tmp_path / name / "out").iterdir()))
    assert uids[0] == uids[1]
    assert read_series(tmp_path / "first" / "out").array.shape[1] == 2


def test_a_rule_may_ignore_a_series(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    scan(tmp_path / "scan")[0].rename(tmp_path / "in" / "0.dcm")
    assert not work_on(str(tmp_path), (Rule("none", "ignore"),))
    assert not work_on(str(tmp_path), (Rule("others", "denoise", {"Modality": ("CT",)}),))
    assert not (tmp_path / "out").exists()


def test_it_answers_an_echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with archiving() as archive, running(tmp_path, archive.port, monkeypatch) as node:
        ae = pynetdicom.AE()
        ae.add_requested_context("1.2.840.10008.1.1")
        association = ae.associate("127.0.0.1", node.port, ae_title="STCNNT")
        assert association.send_c_echo().Status == 0
        association.release()


def test_a_wrong_title_is_refused_unless_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = scan(tmp_path / "scan", frames=1)
    with archiving() as archive:
        with running(tmp_path / "queue", archive.port, monkeypatch, allowed=("SCANNER",)) as node:
            assert send(node.port, files, called="OTHER") == []
            assert send(node.port, files, calling="STRANGER") == []
            assert send(node.port, files) == [0]
        with running(tmp_path / "queue", archive.port, monkeypatch, any_called=True) as node:
            assert send(node.port, files, called="OTHER", calling="STRANGER") == [0]


def test_a_flood_of_associations_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = scan(tmp_path / "scan", frames=1)
    ae = pynetdicom.AE(ae_title="SCANNER")
    ae.add_requested_context("1.2.840.10008.1.1")
    with archiving() as archive, running(tmp_path / "queue", archive.port, monkeypatch, associations=2) as node:
        held = [ae.associate("127.0.0.1", node.port, ae_title="STCNNT") for _ in range(2)]
        assert send(node.port, files) == []
        held[0].release()
        assert eventually(lambda: send(node.port, files) == [0])
        held[1].release()


def test_a_sender_that_breaks_off_loses_nothing_it_was_told_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = scan(tmp_path / "scan", frames=3)
    ae = pynetdicom.AE(ae_title="SCANNER")
    ae.add_requested_context("1.2.840.10008.5.1.4.1.1.4")
    with archiving() as archive, running(tmp_path / "queue", archive.port, monkeypatch, silence=2.0) as node:
        association = ae.associate("127.0.0.1", node.port, ae_title="STCNNT")
        assert association.send_c_store(files[0]).Status == 0
        association.abort()
        assert send(node.port, files[1:]) == [0, 0]
        assert eventually(lambda: len(archive.images) == 3)
        assert len(archive.series) == 1


@pytest.mark.parametrize("bytes_", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x01\x00\xff\xff\xff\xff", b"\xff" * 100])
def test_what_is_no_dicom_leaves_the_node_alone(bytes_: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = scan(tmp_path / "scan", frames=1)
    with archiving() as archive, running(tmp_path / "queue", archive.port, monkeypatch) as node:
        with socket.create_connection(("127.0.0.1", node.port)) as connection:
            connection.sendall(bytes_)
        assert send(node.port, files) == [0]


# pynetdicom leaves the socket of a connection that fails to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_dead_receiver_does_not_stop_receiving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    first, second = scan(tmp_path / "first", 8), scan(tmp_path / "second", 9)
    with running(tmp_path / "queue", port, monkeypatch) as node:
        assert send(node.port, first) == [0, 0]
        assert eventually(lambda: list((tmp_path / "queue" / "outgoing").iterdir()))
        assert send(node.port, second) == [0, 0]
        assert eventually(lambda: len(list((tmp_path / "queue" / "outgoing").iterdir())) == 2)
        with archiving(port=port) as archive:
            assert eventually(lambda: len(archive.images) == 4)
            assert eventually(lambda: not left(tmp_path / "queue"))
            assert once(archive, 4)


def test_an_image_that_is_not_taken_is_sent_again_and_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = scan(tmp_path / "scan", frames=3)
    refusals = [0, 0xA700, 0x0122]
    with archiving(refusals) as archive, running(tmp_path / "queue", archive.port, monkeypatch) as node:
        send(node.port, files)
        assert eventually(lambda: len(archive.images) == 3)
        assert eventually(lambda: not left(tmp_path / "queue"))
        assert once(archive, 3)


def test_a_series_that_comes_again_is_not_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = scan(tmp_path / "scan")
    with archiving() as archive, running(tmp_path / "queue", archive.port, monkeypatch) as node:
        for _ in range(2):
            send(node.port, files)
            assert eventually(lambda: archive.images and not left(tmp_path / "queue"))
        assert once(archive, 2)


def test_a_series_that_cannot_be_done_is_set_aside_and_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(folder: str, rules: Sequence[Rule]) -> bool:
        if next(iter(sorted((Path(folder) / "in").iterdir()))).stat().st_size == sizes[0]:
            raise ImageSizeError("too small")
        return copy_work(folder, rules)

    bad, good = scan(tmp_path / "bad", 8), scan(tmp_path / "good", 9)
    first = pydicom.dcmread(bad[0])
    first.ImageComments = "longer"
    for file in bad:
        first = pydicom.dcmread(file)
        first.ImageComments = "longer than the others"
        first.save_as(file)
    sizes: list[int] = []
    with archiving() as archive, running(tmp_path / "queue", archive.port, monkeypatch, work) as node:
        sizes.append(0)
        send(node.port, bad[:1])
        waiting = tmp_path / "queue" / "incoming"
        sizes[0] = next(waiting.rglob("*.dcm")).stat().st_size
        assert eventually(lambda: list((tmp_path / "queue" / "failed").iterdir()))
        send(node.port, good)
        assert eventually(lambda: len(archive.images) == 2)
    [reason] = (tmp_path / "queue" / "failed").rglob("reason.txt")
    assert reason.read_text() == "ImageSizeError: too small\n"


def test_a_full_queue_refuses_images_and_keeps_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = scan(tmp_path / "scan", frames=4)
    limit = int(2.5 * files[0].stat().st_size)
    with (
        archiving() as archive,
        running(tmp_path / "queue", archive.port, monkeypatch, limit=limit, silence=3.0) as node,
    ):
        assert send(node.port, files) == [0, 0, 0xA700, 0xA700]
        assert eventually(lambda: len(archive.images) == 2)
        assert eventually(lambda: send(node.port, files[2:]) == [0, 0])


def test_a_full_disk_is_an_answer_and_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> NoReturn:
        raise OSError(28, "No space left on device")

    files = scan(tmp_path / "scan", frames=1)
    with archiving() as archive, running(tmp_path / "queue", archive.port, monkeypatch) as node:
        with monkeypatch.context() as patch:
            patch.setattr("monai_stcnnt.services.dicom.spool.os.fsync", full)
            assert send(node.port, files) == [0xA700]
        assert not left(tmp_path / "queue")
        assert send(node.port, files) == [0]
        assert eventually(lambda: len(archive.images) == 1)


def test_work_that_finds_the_disk_full_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []

    def work(folder: str, rules: Sequence[Rule]) -> bool:
        tries.append(folder)
        if len(tries) == 1:
            room["is_left"] = False
            raise OutputNotWritableError("no room")
        return copy_work(folder, rules)

    room = {"is_left": True}
    files = scan(tmp_path / "scan", frames=1)
    with archiving() as archive, running(tmp_path / "queue", archive.port, monkeypatch, work) as node:
        monkeypatch.setattr(Spool, "has_room", lambda *_: room["is_left"])
        send(node.port, files)
        assert eventually(lambda: tries)
        assert not archive.images
        room["is_left"] = True
        assert eventually(lambda: len(archive.images) == 1)


@pytest.mark.parametrize("state", ["incoming", "work", "outgoing"])
def test_what_an_earlier_process_left_is_taken_up(state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path / "queue")
    for file in scan(tmp_path / "scan"):
        spool.take("key", file.stem, file.read_bytes())
    if state != "incoming":
        [place] = spool.complete(0.0, frozenset())
        if state == "outgoing":
            copy_work(str(place), ())
            spool.move(place, "outgoing")
    (tmp_path / "queue" / "work" / "cut-short").mkdir()
    (tmp_path / "queue" / "aside" / "half").write_bytes(b"DICM")
    spool.close()
    with archiving() as archive, running(tmp_path / "queue", archive.port, monkeypatch):
        assert eventually(lambda: len(archive.images) == 2)
        assert eventually(lambda: not left(tmp_path / "queue"))


def test_one_process_at_a_time_has_a_queue(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    with pytest.raises(OutputNotWritableError, match="queue of a node"):
        Spool(tmp_path)
    spool.close()
    Spool(tmp_path).close()


def test_logs_hold_nothing_of_a_patient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "monai_stcnnt")
    files = scan(tmp_path / "scan")
    with archiving([0xC000]) as archive, running(tmp_path / "queue", archive.port, monkeypatch) as node:
        send(node.port, files)
        names = {path.name for path in (tmp_path / "queue").rglob("*")}
        assert eventually(lambda: len(archive.images) == 2)
    image = pydicom.dcmread(files[0])
    texts = [*PATIENT, image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID]
    assert caplog.text
    assert [text for text in texts if text in caplog.text or any(text in name for name in names)] == []


def test_an_address_in_use_or_a_bad_title_is_one_sentence(tmp_path: Path) -> None:
    spool, target = Spool(tmp_path), DicomTarget("127.0.0.1", 1, "A")
    with socket.create_server(("127.0.0.1", 0)) as taken, ThreadPoolExecutor(1) as executor:
        port = taken.getsockname()[1]
        with pytest.raises(ServiceAddressError, match=str(port)):
            DicomNode(spool, [target], executor, NodeOptions(port=port))
        with pytest.raises(OptionError, match="title"):
            DicomNode(spool, [target], executor, NodeOptions(title="much too long for a title", port=0))
    spool.close()
