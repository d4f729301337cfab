# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Configs are laid out by the tool, which changes nothing but lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.format_configs import WIDTH, config_files, laid_out

__all__: list[str] = []


@pytest.mark.parametrize("file", config_files(), ids=lambda file: f"{file.parts[-3]}-{file.stem}")
def test_configs_are_laid_out(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert laid_out(json.loads(text)) + "\n" == text, "run python tools/format_configs.py"


def test_the_content_stays_and_lines_break_where_they_must() -> None:
    value = {"short": [1, 2], "empty": {}, "long": [{"name": "x" * 30, "more": [1, 2]}] * 4}
    text = laid_out(value)
    assert json.loads(text) == value
    assert '    "short": [1, 2],' in text.splitlines()
    assert max(map(len, text.splitlines())) <= WIDTH
