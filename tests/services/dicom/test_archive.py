# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The DICOM node as a program of its own, with Orthanc, dcmtk and dcm2niix where they are installed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from tests.services.dicom.peers import archiving, eventually, scan

__all__: list[str] = []

pytestmark = pytest.mark.slow

RULES = "rules:\n  - {match: {ImageType: 'DERIVED*'}, do: ignore}\n  - {do: denoise, options: {noise_sigma: 20.0}}\n"


def program(name: str) -> str:
    """Path of a program; skips the test where it is not installed."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def is_open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class Node:
    """A node in a process of its own, which can be killed."""

    def __init__(self, folder: Path, forward: str, *options: str) -> None:
        self.port = free_port()
        (folder / "rules.yaml").write_text(RULES)
        self.command = [
            sys.executable, "-m", "monai_stcnnt.apps.cli.app", "serve", "dicom", "--port", str(self.port),
            "--forward", forward, "--folder", str(folder / "queue"), "--rules", str(folder / "rules.yaml"),
            "--silence", "4", "--settle", "0.5", *options,
        ]  # fmt: skip
        self.log = open(folder / "node.log", "ab")  # noqa: SIM115 - as long as the node lives
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=self.log, env=environment)
        assert eventually(lambda: is_open(self.port), 120)

    def end(self, number: int) -> int:
        """Send a signal, and wait for the end."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)


@contextlib.contextmanager
def serving(folder: Path, forward: str, *options: str) -> Iterator[Node]:
    """A node for a while."""
    node = Node(folder, forward, *options)
    node.start()
    try:
        yield node
    finally:
        if node.process is not None and node.process.poll() is None:
            node.end(signal.SIGKILL)
        node.log.close()


class Orthanc:
    """A real archive on the loopback address, that knows one node."""

    def __init__(self, folder: Path) -> None:
        self.http, self.dicom = free_port(), free_port()
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, node: int) -> None:
        """Start it."""
        self.folder.mkdir()
        (self.folder / "orthanc.json").write_text(
            json.dumps(
                {
                    "StorageDirectory": str(self.folder),
                    "IndexDirectory": str(self.folder),
                    "HttpPort": self.http,
                    "DicomPort": self.dicom,
                    "RemoteAccessAllowed": False,
                    "AuthenticationEnabled": False,
                    "DicomAlwaysAllowStore": True,
                    "DicomCheckCalledAet": False,
                    "OverwriteInstances": False,
                    "DicomModalities": {"node": ["STCNNT", "127.0.0.1", node]},
                    "StableAge": 1,
                }
            )
        )
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                [program("Orthanc"), str(self.folder / "orthanc.json")], stdout=log, stderr=log
            )
        assert eventually(lambda: is_open(self.http) and is_open(self.dicom), 60)

    def stop(self) -> None:
        """Stop it."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(30)

    def ask(self, path: str, data: object = None) -> Any:  # noqa: ANN401 - JSON
        """Ask for, or with data for an action."""
        body = None if data is None else data if isinstance(data, bytes) else json.dumps(data).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", body)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def series(self, kind: str) -> dict[str, list[str]]:
        """Instances by series, of those whose image type begins with a word."""
        found = {}
        for one in self.ask("/series?expand"):
            tags = self.ask(f"/instances/{one['Instances'][0]}/simplified-tags")
            if tags["ImageType"].startswith(kind):
                found[one["ID"]] = one["Instances"]
        return found


def sent(archive: Orthanc, series: str) -> bool:
    """Whether the archive could send a series to the node."""
    try:
        return int(archive.ask("/modalities/node/store", [series])["FailedInstancesCount"]) == 0
    except urllib.error.HTTPError:
        return False


def uploaded(archive: Orthanc, folder: Path, number: int) -> str:
    """Put a series into the archive; its name there."""
    parents = {archive.ask("/instances", file.read_bytes())["ParentSeries"] for file in scan(folder, number)}
    [series] = parents
    return str(series)


def test_an_archive_gets_back_what_dcm2niix_reads_with_the_same_geometry(tmp_path: Path) -> None:
    convert = program("dcm2niix")
    archive_port = free_port()
    with serving(tmp_path, f"127.0.0.1:{archive_port}:ORTHANC") as node:
        archive = Orthanc(tmp_path / "orthanc")
        archive.dicom = archive_port
        archive.start(node.port)
        try:
            assert sent(archive, uploaded(archive, tmp_path / "scan", 8))
            assert eventually(lambda: sum(map(len, archive.series("DERIVED").values())) == 2, 120)
            images = []
            for kind in ("ORIGINAL", "DERIVED"):
                [instances] = archive.series(kind).values()
                folder = tmp_path / kind
                folder.mkdir()
                for one in instances:
                    url = f"http://127.0.0.1:{archive.http}/instances/{one}/file"
                    with urllib.request.urlopen(url, timeout=60) as answer:
                        (folder / f"{one}.dcm").write_bytes(answer.read())
                subprocess.run(
                    [convert, "-f", "image", "-o", str(folder), str(folder)], check=True, capture_output=True
                )
                images.append(nib.Nifti1Image.from_filename(sorted(folder.glob("*.nii*"))[0]))
            np.testing.assert_allclose(images[1].affine, images[0].affine, atol=1e-4)
            assert images[1].shape == images[0].shape
        finally:
            archive.stop()
        assert node.end(signal.SIGTERM) == 0


def test_every_series_arrives_once_whenever_the_node_is_killed(tmp_path: Path) -> None:
    kills, draw = int(os.environ.get("STCNNT_KILLS", "5")), random.Random(21)
    archive = Orthanc(tmp_path / "orthanc")
    node = Node(tmp_path, f"127.0.0.1:{archive.dicom}:ORTHANC")
    archive.start(node.port)
    try:
        waiting = [uploaded(archive, tmp_path / str(number), number) for number in range(10, 10 + kills)]
        for left in reversed(range(kills)):
            node.start()
            begin, wait = time.monotonic(), draw.uniform(0, 10)
            while time.monotonic() - begin < wait:
                if len(waiting) > left and sent(archive, waiting[0]):
                    waiting.pop(0)
                time.sleep(draw.uniform(0, 0.5))
            node.end(signal.SIGKILL)
        node.start()
        for series in waiting:
            assert sent(archive, series)
        assert eventually(lambda: len(archive.series("DERIVED")) == kills, 300), (tmp_path / "node.log").read_text()
        time.sleep(5)
        derived = archive.series("DERIVED")
        assert sorted(map(len, derived.values())) == [2] * kills
        tags = [archive.ask(f"/instances/{one}/tags") for instances in derived.values() for one in instances]
        references = {tag["0008,2112"]["Value"][0]["0008,1155"]["Value"] for tag in tags}
        assert len(references) == 2 * kills
        assert not [path for path in (tmp_path / "queue" / "failed").iterdir()]
    finally:
        if node.process is not None and node.process.poll() is None:
            node.end(signal.SIGKILL)
        node.log.close()
        archive.stop()


def test_dcmtk_sends_and_receives(tmp_path: Path) -> None:
    send_program, receive_program = program("storescu"), program("storescp")
    port, received = free_port(), tmp_path / "received"
    received.mkdir()
    with subprocess.Popen([receive_program, "-od", str(received), str(port)]) as receiver:
        try:
            assert eventually(lambda: is_open(port))
            with serving(tmp_path, f"127.0.0.1:{port}:ANY") as node:
                files = [str(file) for file in scan(tmp_path / "scan")]
                command = [send_program, "-aec", "STCNNT", "127.0.0.1", str(node.port), *files]
                subprocess.run(command, check=True, timeout=60)
                assert eventually(lambda: len(list(received.iterdir())) == 2, 120)
        finally:
            receiver.terminate()


def test_two_workers_share_the_series(tmp_path: Path) -> None:
    with archiving() as archive, serving(tmp_path, f"127.0.0.1:{archive.port}:ARCHIVE", "--workers", "2") as node:
        for number in (8, 9, 10):
            files = [str(file) for file in scan(tmp_path / str(number), number)]
            command = [program("storescu"), "-aec", "STCNNT", "127.0.0.1", str(node.port), *files]
            subprocess.run(command, check=True, timeout=60)
        assert eventually(lambda: len(archive.images) == 6, 240), (tmp_path / "node.log").read_text()
        assert len(archive.series) == 3
        assert all(len(images) == 1 for images in archive.images.values())
