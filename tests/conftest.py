# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures and options of all tests: optional data folders, seeds, threads, and no network."""

from __future__ import annotations

import ipaddress
import os
import random
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

__all__ = ["optional_folder", "pytest_addoption", "pytest_configure"]

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--golden DIR``, reference values of the parity tests, and ``--cases DIR``, inputs of ``tests/cases``."""
    parser.addoption("--golden", metavar="DIR", default=None, help="folder of reference values for the parity tests")
    parser.addoption("--cases", metavar="DIR", default=None, help="folder of the inputs of tests/cases")


def pytest_configure(config: pytest.Config) -> None:
    """Complete the option ``--golden``, and give each of several test processes one thread.

    From here on ``config.getoption("--golden")`` is the folder's path as text, or None where there is none, also while
    tests are generated from its content. Threads of several processes would slow each other down.
    """
    folder = optional_folder(config.getoption("--golden"), "MONAI_STCNNT_GOLDEN", "../shared/golden")
    config.option.golden = None if folder is None else str(folder)
    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)


def optional_folder(option: str | None, variable: str, beside: str) -> Path | None:
    """Find a folder that tests may use where it exists.

    Args:
        option: what the command line says, which wins and must exist.
        variable: environment variable that may name the folder, which then must exist as well.
        beside: the place to look otherwise, relative to the repository.

    Returns:
        The folder, or None where nothing was named and nothing is beside the repository.

    Raises:
        pytest.UsageError: if the option or the variable names something that is not a folder.
    """
    named = option or os.environ.get(variable)
    folder = Path(named).expanduser().resolve() if named else (REPOSITORY / beside).resolve()
    if folder.is_dir():
        return folder
    if named:
        raise pytest.UsageError(f"{named} is not a folder; it was named by {'an option' if option else variable}.")
    return None


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real sample scans: ``MONAI_STCNNT_DATA``, or beside the repository; skips the test where absent."""
    folder = optional_folder(None, "MONAI_STCNNT_DATA", "../shared/data")
    if folder is None:
        pytest.skip("no folder of sample scans: set MONAI_STCNNT_DATA")
    return folder


@pytest.fixture(scope="session")
def shared_golden(request: pytest.FixtureRequest) -> Path:
    """Folder of reference values: ``--golden``, ``MONAI_STCNNT_GOLDEN``, or beside the repository; skips if absent."""
    folder = request.config.getoption("--golden")
    if folder is None:
        pytest.skip("no folder of reference values: give --golden DIR or set MONAI_STCNNT_GOLDEN")
    return Path(folder)


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    """Start every test from the same global random state, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections that leave this machine, so that no test comes to need the network."""
    connect = socket.socket.connect

    def connect_locally(self: socket.socket, address: Any) -> None:  # noqa: ANN401 - as wide as socket.connect
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(str(address[0])):
            raise ConnectionRefusedError(f"tests do not use the network, but one connects to {address[0]}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_locally)


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
