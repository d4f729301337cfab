# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks write between the marks of a document, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.page_parts import write_part

__all__: list[str] = []


def test_a_part_is_written_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- structures -->\nold\n<!-- /structures -->\nafter\n")
    write_part(page, "structures", "new")
    assert page.read_text() == "before\n<!-- structures -->\nnew\n<!-- /structures -->\nafter\n"


def test_a_document_without_marks_stays_as_it_is(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("text <!-- /noise -->")
    with pytest.raises(ValueError, match="once each"):
        write_part(page, "noise", "new")
    assert page.read_text() == "text <!-- /noise -->"
