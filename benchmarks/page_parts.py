# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Parts of documents that benchmarks write: what stands between two marks."""

from __future__ import annotations

from pathlib import Path

__all__ = ["write_part"]


def write_part(page: Path, mark: str, text: str) -> None:
    """Put a text between ``<!-- mark -->`` and ``<!-- /mark -->``, in the place of what stands there.

    Args:
        page: the document.
        mark: name of the marks.
        text: what is to stand there, without a line break at its end.

    Raises:
        ValueError: if the document does not have both marks once.
    """
    begin, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
    content = page.read_text(encoding="utf-8")
    if content.count(begin) != 1 or content.count(end) != 1:
        raise ValueError(f"{page} does not have the marks {begin.strip()} and {end} once each.")
    before, rest = content.split(begin)
    page.write_text(f"{before}{begin}{text}\n{end}{rest.split(end)[1]}", encoding="utf-8")
