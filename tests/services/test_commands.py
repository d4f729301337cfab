# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The commands of services: found late, listening on this machine alone unless told otherwise."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from monai_stcnnt.apps.cli.app import app
from monai_stcnnt.services.mrd import server

__all__: list[str] = []


def test_the_command_line_lists_services() -> None:
    shown = CliRunner().invoke(app, ["--help"])
    assert shown.exit_code == 0
    assert "serve" in shown.output


def test_services_listen_on_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    class Server:
        def __init__(self, _: object, address: str, port: int, *__: object) -> None:
            asked.append((address, port))

        def serve(self) -> None: ...

        def stop(self) -> None: ...

    monkeypatch.setattr(server, "MrdServer", Server)
    for options in ([], ["--address", "0.0.0.0", "--port", "9010"]):
        done = CliRunner().invoke(app, ["serve", "mrd", *options])
        assert done.exit_code == 0, done.output
    assert asked == [("127.0.0.1", 9002), ("0.0.0.0", 9010)]
