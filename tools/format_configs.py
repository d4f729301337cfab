# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Lay out the configs of bundles so that they can be read: what fits in a line stands in one.

``python tools/format_configs.py`` rewrites every JSON file in ``bundles/*/configs``; their content stays.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["config_files", "laid_out"]

WIDTH = 120
INDENT = 4


def laid_out(value: Any, depth: int = 0, used: int = 0) -> str:  # noqa: ANN401 - whatever JSON holds
    """Write JSON with as few lines as a width of 120 characters takes.

    Args:
        value: what to write.
        depth: how many levels it lies below the outermost one, which always has a line for each entry.
        used: characters of its first line that are taken.

    Returns:
        The text, without a line's end.
    """
    line = json.dumps(value)
    if not isinstance(value, dict | list) or not value or (depth and used + len(line) < WIDTH):
        return line
    margin = " " * INDENT * (depth + 1)
    names = [f"{json.dumps(name)}: " for name in value] if isinstance(value, dict) else [""] * len(value)
    values = value.values() if isinstance(value, dict) else value
    entries = [
        f"{margin}{name}{laid_out(entry, depth + 1, len(margin + name))}"
        for name, entry in zip(names, values, strict=True)
    ]
    left, right = "{}" if isinstance(value, dict) else "[]"
    return "\n".join([left, ",\n".join(entries), " " * INDENT * depth + right])


def config_files() -> list[Path]:
    """The JSON files of all bundles of this repository."""
    return sorted((Path(__file__).parents[1] / "bundles").glob("*/configs/*.json"))


def main() -> None:
    """Rewrite them."""
    for file in config_files():
        file.write_text(laid_out(json.loads(file.read_text(encoding="utf-8"))) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
