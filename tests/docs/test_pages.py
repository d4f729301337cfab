# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What the pages say agrees with the code."""

from __future__ import annotations

from pathlib import Path

from monai_stcnnt.apps.review.figures import figure_table

__all__: list[str] = []

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_table_of_figures_is_the_one_of_the_code() -> None:
    """Print ``figure_table()`` to renew the table of the page."""
    assert figure_table() in (DOCS / "command-line.md").read_text(encoding="utf-8")
