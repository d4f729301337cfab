# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures of published numbers: every case is built from the metadata in its own file.

``pytest tests/parity --golden DIR`` runs on any folder of ``*.safetensors`` files of the known kinds and
prints a tally.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors import safe_open

HERE = Path(__file__).parent
CHECKERS = {
    "attention": "networks",
    "cell": "networks",
    "block": "networks",
    "updown": "networks",
    "backbone": "networks",
    "denoise": "networks",
    "hrnet": "hrnet",
    "snr": "snr",
    "loss": "loss",
}


@dataclass(frozen=True)
class Case:
    """One fixture: its kind, its metadata, its tensors (floating ones in float32)."""

    name: str
    kind: str
    config: dict[str, Any]
    tensors: dict[str, torch.Tensor]


def read_case(path: Path) -> Case:
    with safe_open(path, framework="pt") as file:
        config = json.loads(file.metadata()["config"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    tensors = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    return Case(path.stem, config.get("area", path.parent.name), config, tensors)


def checker(kind: str) -> ModuleType:
    if kind not in CHECKERS:
        pytest.fail(f"fixture of unknown kind {kind!r}; known: {sorted(CHECKERS)}")
    name = f"parity_{CHECKERS[kind]}"
    spec = importlib.util.spec_from_file_location(name, HERE / f"{CHECKERS[kind]}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "fixture_path" not in metafunc.fixturenames:
        return
    folder = metafunc.config.getoption("--golden") or HERE.parent / "golden"
    paths = sorted(Path(folder).rglob("*.safetensors"))
    missing = pytest.param(None, marks=pytest.mark.skip(reason=f"no fixtures under {folder}"))
    metafunc.parametrize("fixture_path", paths or [missing], ids=lambda p: f"{p.parent.name}/{p.stem}" if p else "none")


def test_published_numbers(fixture_path: Path, record_property: Callable[[str, object], None]) -> None:
    case = read_case(fixture_path)
    status, detail = checker(case.kind).check(case)
    assert status in {"match", "departure", "skip"}, status
    record_property("parity", f"{case.kind} {status}")
    if status == "skip":
        pytest.skip(detail)
