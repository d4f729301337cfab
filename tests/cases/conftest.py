# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the cases are: inputs as people have them, each a folder with the folder ``data``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import optional_folder

__all__: list[str] = []

EXPECTED: dict[str, list[dict[str, Any]]] = json.loads(Path(__file__).with_name("expected.json").read_text("utf-8"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every case of the folder to a test that asks for one, and those of the table where there is no folder."""
    if "case" not in metafunc.fixturenames:
        return
    folder = optional_folder(metafunc.config.getoption("--cases"), "MONAI_STCNNT_CASES", "../shared/cases/files")
    found = [] if folder is None else sorted(path for path in folder.iterdir() if path.is_dir())
    skip = pytest.mark.skip(reason="no folder of cases: give --cases DIR or set MONAI_STCNNT_CASES")
    missing = [pytest.param(None, marks=skip, id="none")] if not found else []
    metafunc.parametrize("case", [*(pytest.param(path, id=path.name) for path in found), *missing])
