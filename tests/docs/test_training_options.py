# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The documentation of the training tells the defaults that the config has."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

__all__: list[str] = []

REPOSITORY = Path(__file__).parents[2]
CONFIG = json.loads((REPOSITORY / "bundles" / "mri_denoising" / "configs" / "train.json").read_text(encoding="utf-8"))
ROWS = re.findall(
    r"^\| (`[^|]+`) \| (`[^|]+`) \|", (REPOSITORY / "docs" / "training.md").read_text(encoding="utf-8"), re.MULTILINE
)


def test_there_are_tables_of_options() -> None:
    assert len(ROWS) > 15


@pytest.mark.parametrize(("names", "defaults"), ROWS)
def test_defaults_are_those_of_the_config(names: str, defaults: str) -> None:
    told = [json.loads(text) for text in re.findall("`([^`]+)`", defaults)]
    assert told == [CONFIG[name] for name in re.findall("`([^`]+)`", names)]
