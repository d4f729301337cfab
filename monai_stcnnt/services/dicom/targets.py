# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Where results go: an archive's DICOM port (C-STORE), or its web address (STOW-RS)."""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pydicom

from monai_stcnnt.errors import OptionError
from monai_stcnnt.services.dicom.spool import name_for
from monai_stcnnt.services.extras import needed

__all__ = ["DicomTarget", "Target", "WebTarget", "target_from"]

logger = logging.getLogger(__name__)

Arrived = Callable[[Path], None]

_WARNINGS = range(0xB000, 0xC000)  # stored, with a remark
_AT_ONCE = 16  # instances of one web request


class Target(ABC):
    """A place that takes results.

    Attributes:
        name: for logs.
    """

    name: str

    @property
    def key(self) -> str:
        """Name of the folder of what this target has."""
        return name_for(self.name)

    @abstractmethod
    def send(self, files: Sequence[Path], arrived: Arrived) -> None:
        """Send files; ``arrived`` is called for each one that the other side has confirmed.

        Raises:
            OSError: if the other side is not there, or does not take one of them.
        """


class DicomTarget(Target):
    """An archive's DICOM port.

    Args:
        host: its address.
        port: its port.
        title: its application entity title.
        own_title: ours.
        timeout: seconds to wait for an answer.
    """

    def __init__(self, host: str, port: int, title: str, own_title: str = "STCNNT", timeout: float = 30.0) -> None:
        self.host, self.port, self.title, self.own_title, self.timeout = host, port, title, own_title, timeout
        self.name = f"{host}:{port}:{title}"

    def send(self, files: Sequence[Path], arrived: Arrived) -> None:
        """Send files in one association; see :meth:`Target.send`."""
        ae = needed("pynetdicom", "dicom-node").AE(ae_title=self.own_title)
        for timeout in ("acse_timeout", "dimse_timeout", "network_timeout", "connection_timeout"):
            setattr(ae, timeout, self.timeout)
        for sop_class, syntax in sorted(_contexts(files)):
            ae.add_requested_context(sop_class, syntax)
        association = ae.associate(self.host, self.port, ae_title=self.title)
        if not association.is_established:
            raise ConnectionError("it does not take associations")
        try:
            for file in files:
                status = association.send_c_store(file)
                code = int(status.Status) if "Status" in status else None
                if code is None:
                    raise ConnectionError("it left before it had confirmed an image")
                if code != 0 and code not in _WARNINGS:
                    raise ConnectionError(f"it answers {code:#06x}")
                arrived(file)
        finally:
            if association.is_established:
                association.release()


def _contexts(files: Iterable[Path]) -> set[tuple[str, str]]:
    metas = [pydicom.filereader.read_file_meta_info(file) for file in files]
    return {(str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)) for meta in metas}


class WebTarget(Target):
    """An archive's DICOMweb address.

    Args:
        url: of the service, such as ``https://archive.example/dicom-web``.
        client: makes the client of an address; that of the package ``dicomweb-client`` by default.
    """

    def __init__(self, url: str, client: Callable[[str], Any] | None = None) -> None:
        self.url = url
        self.name = url
        self._client = client or (lambda address: needed("dicomweb_client.api", "dicom-node").DICOMwebClient(address))

    def send(self, files: Sequence[Path], arrived: Arrived) -> None:
        """Send files, some in each request; see :meth:`Target.send`."""
        client = self._client(self.url)
        for start in range(0, len(files), _AT_ONCE):
            some = files[start : start + _AT_ONCE]
            try:
                answer = client.store_instances([pydicom.dcmread(file) for file in some])
            except OSError:
                raise
            except Exception as error:
                raise ConnectionError(f"the request failed ({type(error).__name__})") from error
            if answer.get("FailedSOPSequence"):
                raise ConnectionError(f"it did not take {len(answer.FailedSOPSequence)} images")
            for file in some:
                arrived(file)


def target_from(text: str, own_title: str = "STCNNT") -> Target:
    """Make a target of what the user writes.

    Args:
        text: ``host:port:TITLE``, or a web address.
        own_title: the application entity title to call with.

    Returns:
        The target.

    Raises:
        OptionError: if it is neither.
    """
    if re.match(r"https?://[^/@]+", text):
        return WebTarget(text.rstrip("/"))
    host, _, rest = text.partition(":") if not text.startswith("[") else text[1:].partition("]:")
    port, _, title = rest.partition(":")
    if not (host and port.isdigit() and 0 < int(port) < 65536 and 0 < len(title.strip()) <= 16):
        raise OptionError(f"{text!r} is not a target. Write host:port:TITLE, or the address of a DICOMweb service.")
    return DicomTarget(host, int(port), title, own_title)
