# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The examples in the docstrings of the networks, and in their page of the documentation, run."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import torch

__all__: list[str] = []

OUT_CHANNELS = {"STCNNTSegmenter": 4, "STCNNTDenoiser": 2}
PAGE = Path(__file__).parents[2] / "docs" / "networks.md"


@pytest.mark.parametrize("name", ["nets.classifier", "nets.denoiser", "hrnetv2.net", "nets.segmenter"])
def test_docstring(name: str) -> None:
    module = importlib.import_module(f"monai_stcnnt.networks.{name}")
    failed, attempted = doctest.testmod(module, extraglobs={"torch": torch})
    assert failed == 0
    assert attempted > 0


def test_page() -> None:
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert examples
    for example in examples:
        with torch.device("meta"):
            names: dict[str, Any] = {}
            exec(example, names)
            assert names["net"].out_channels == OUT_CHANNELS[type(names["net"]).__name__]


def test_pictures_are_there() -> None:
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", PAGE.read_text(encoding="utf-8")):
        assert (PAGE.parent / picture).is_file()
