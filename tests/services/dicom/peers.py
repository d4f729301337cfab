# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Who a DICOM node speaks to: a scanner that sends, an archive that receives, and work that takes no time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pydicom
import pynetdicom
import pytest
from pynetdicom import evt

from monai_stcnnt.services.dicom import node as node_module
from monai_stcnnt.services.dicom.node import DicomNode, NodeOptions
from monai_stcnnt.services.dicom.rules import DEFAULT_RULES, Rule
from monai_stcnnt.services.dicom.spool import IMAGES, RESULTS, Spool
from monai_stcnnt.services.dicom.targets import DicomTarget
from tests.apps.dicom_files import moving_disc, write_series

__all__ = ["Archive", "archiving", "copy_work", "eventually", "running", "scan", "send"]

MR = "1.2.840.10008.5.1.4.1.1.4"


def scan(folder: Path, number: int = 8, frames: int = 2) -> list[Path]:
    """Files of a cine of a moving disc."""
    return sorted(write_series(folder, moving_disc(frames, 1, 16, seed=number), number).rglob("*.dcm"))


def send(port: int, files: Sequence[Path], *, called: str = "STCNNT", calling: str = "SCANNER") -> list[int | None]:
    """Send files in one association; the answers, None where there is none, no list where it is refused."""
    ae = pynetdicom.AE(ae_title=calling)
    ae.add_requested_context(MR)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
    association = ae.associate("127.0.0.1", port, ae_title=called)
    if not association.is_established:
        return []
    answers = [association.send_c_store(file) for file in files]
    association.release()
    return [int(answer.Status) if "Status" in answer else None for answer in answers]


class Archive:
    """An archive that counts how often it got each instance.

    Args:
        status: answers to give, one for each image; success when they are used up.
    """

    def __init__(self, status: Sequence[int] = (), port: int = 0) -> None:
        self.images: dict[str, list[pydicom.Dataset]] = {}
        self._answers = list(status)
        ae = pynetdicom.AE(ae_title="ARCHIVE")
        for one in pynetdicom.AllStoragePresentationContexts:
            ae.add_supported_context(str(one.abstract_syntax), pynetdicom.ALL_TRANSFER_SYNTAXES)
        handlers: Any = [(evt.EVT_C_STORE, self._keep)]
        server: Any = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
        self._server = server
        self.port = int(server.socket.getsockname()[1])

    def _keep(self, event: Any) -> int:  # noqa: ANN401 - pynetdicom's event
        if self._answers:
            answer = self._answers.pop(0)
            if answer:
                return answer
        image = event.dataset
        image.file_meta = event.file_meta
        self.images.setdefault(str(image.SOPInstanceUID), []).append(image)
        return 0

    @property
    def series(self) -> set[str]:
        """UIDs of the series it has."""
        return {str(images[0].SeriesInstanceUID) for images in list(self.images.values())}

    def close(self) -> None:
        """Take no more."""
        self._server.shutdown()


@contextlib.contextmanager
def archiving(status: Sequence[int] = (), port: int = 0) -> Iterator[Archive]:
    """An archive for a while."""
    archive = Archive(status, port)
    try:
        yield archive
    finally:
        archive.close()


def copy_work(folder: str, rules: Sequence[Rule]) -> bool:
    """Stands in for the work: every image becomes one with a UID that is a function of its own."""
    del rules
    place = Path(folder)
    aside = place / "aside"
    aside.mkdir(exist_ok=True)
    for number, file in enumerate(sorted((place / IMAGES).iterdir())):
        image = pydicom.dcmread(file)
        for name in ("SOPInstanceUID", "SeriesInstanceUID"):
            setattr(image, name, pydicom.uid.generate_uid(entropy_srcs=[str(image[name].value)]))
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.save_as(aside / f"{number:06d}.dcm")
    aside.rename(place / RESULTS)
    return True


@contextlib.contextmanager
def running(
    folder: Path,
    archive: int,
    monkeypatch: pytest.MonkeyPatch,
    work: Callable[[str, Sequence[Rule]], bool] = copy_work,
    limit: int = 1 << 30,
    **options: Any,  # noqa: ANN401 - of the node
) -> Iterator[DicomNode]:
    """A node on the loopback address whose work takes no time."""
    monkeypatch.setattr(node_module, "work_on", work)
    wanted = {"port": 0, "silence": 0.5, "settle": 0.1, "pause": 0.1, "timeout": 10.0, **options}
    spool = Spool(folder, limit)
    targets = [DicomTarget("127.0.0.1", archive, "ARCHIVE", timeout=5)]
    with ThreadPoolExecutor(1) as executor:
        try:
            with DicomNode(spool, targets, executor, NodeOptions(**wanted), DEFAULT_RULES) as node:
                yield node
        finally:
            spool.close()


def eventually(condition: Callable[[], object], patience: float = 20.0) -> bool:
    """Whether a condition comes true in time."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
