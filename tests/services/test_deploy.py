# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The application for MONAI Deploy, on stand-ins for its SDK, which needs CUDA's libraries."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pydicom
import pytest

from monai_stcnnt.errors import MissingPackageError, OptionError
from monai_stcnnt.services import deploy
from monai_stcnnt.services.deploy import make_application
from tests.services.dicom.peers import scan

__all__: list[str] = []


class Port:
    """What goes from one operator to the next, and the ports that were declared."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.declared: set[str] = set()

    def input(self, name: str) -> None:
        self.declared.add(name)

    output = input

    def emit(self, value: object, name: str) -> None:
        assert name in self.declared
        self.values[name] = value

    def receive(self, name: str) -> object:
        assert name in self.declared
        return self.values[name]


class Operator:
    """An operator of the SDK, as far as it is used."""

    def __init__(self, _: object, *conditions: object, name: str) -> None:
        self.name, self.conditions = name, conditions
        self.port = Port()
        self.setup(self.port)

    def setup(self, spec: Port) -> None:
        raise NotImplementedError

    def compute(self, op_input: Port, op_output: Port, context: object) -> None:
        raise NotImplementedError


class Application:
    """An application of the SDK, as far as it is used: runs each flow in order."""

    argv: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.flows: list[tuple[Operator, Operator, set[tuple[str, str]]]] = []

    @staticmethod
    def init_app_context(argv: tuple[str, ...]) -> SimpleNamespace:
        return SimpleNamespace(input_path=argv[0], output_path=argv[1])

    def add_flow(self, first: Operator, second: Operator, ports: set[tuple[str, str]]) -> None:
        self.flows.append((first, second, ports))

    def compose(self) -> None:
        raise NotImplementedError

    def run(self) -> None:
        self.compose()
        for first, second, ports in self.flows:
            assert first.conditions == ("once",), "a source without a condition never ends"
            first.compute(first.port, first.port, None)
            for here, there in ports:
                second.port.values[there] = first.port.values[here]
            second.compute(second.port, second.port, None)


SDK = SimpleNamespace(Application=Application, Operator=Operator, CountCondition=lambda *_: "once")


def test_a_dicom_folder_becomes_a_derived_series(tmp_path: Path) -> None:
    files = scan(tmp_path / "scan", frames=2)
    application = make_application(SDK)()
    application.argv = (str(tmp_path / "scan"), str(tmp_path / "out"))
    application.run()
    made = [pydicom.dcmread(file) for file in sorted((tmp_path / "out").rglob("*.dcm"))]
    assert [image.ImageType[0] for image in made] == ["DERIVED"] * len(files)
    assert all(path.suffix == ".dcm" for path in (tmp_path / "out").rglob("*") if path.is_file())


def test_the_task_is_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    called: list[tuple[Path, Path]] = []
    monkeypatch.setattr("monai_stcnnt.apps.segment", lambda folder, results, **_: called.append((folder, results)))
    application = make_application(SDK, "segment")()
    application.argv = (str(tmp_path / "a"), str(tmp_path / "b"))
    application.run()
    assert called == [(tmp_path / "a", tmp_path / "b")]
    with pytest.raises(OptionError, match="paint"):
        make_application(SDK, "paint")


def test_without_the_sdk_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("monai_stcnnt.services.deploy.importlib.import_module", missing)
    with pytest.raises(MissingPackageError, match="monai-deploy-app-sdk"):
        deploy.main()
