# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Nothing is written twice: ten equal lines stand in no two places of the package and of the bundles' configs.

Imports do not count: two modules may need the same names.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

__all__: list[str] = []

REPOSITORY = Path(__file__).parents[1]
RUN = 10
SUFFIXES = {".py", ".html", ".css", ".js", ".json", ".conf"}
OWN_COPIES = {"logging.conf", "metadata.json"}
"""MONAI reads these from the folder of a bundle, which has to run alone; they cannot refer to another file."""


def without_imports(name: str, text: str) -> str:
    """A module with empty lines in the place of its imports; another file as it is."""
    if not name.endswith(".py"):
        return text
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    left_out = {number for node in imports for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    return "\n".join("" if n in left_out else line for n, line in enumerate(text.splitlines(), 1))


def repeats(files: Iterable[tuple[str, str]]) -> list[str]:
    """Places of ten equal lines that stand elsewhere before, in files of a name and a text, without empty lines."""
    seen: dict[tuple[str, ...], tuple[str, int]] = {}
    found = []
    for name, text in files:
        lines = [
            (number, line.strip())
            for number, line in enumerate(without_imports(name, text).splitlines(), 1)
            if line.strip()
        ]
        for start in range(len(lines) - RUN + 1):
            run = tuple(line for _, line in lines[start : start + RUN])
            place = (name, lines[start][0])
            first = seen.setdefault(run, place)
            if first != place:
                found.append(f"{name}:{place[1]} is {first[0]}:{first[1]}")
    return found


def test_ten_equal_lines_stand_in_one_place() -> None:
    package = REPOSITORY / "monai_stcnnt"
    files = [file for file in package.rglob("*") if "bundles" not in file.relative_to(package).parts]
    files += (REPOSITORY / "bundles").glob("*/configs/*")
    chosen = [file for file in sorted(files) if file.suffix in SUFFIXES and file.name not in OWN_COPIES]
    assert len(chosen) > 100
    assert repeats((str(file.relative_to(REPOSITORY)), file.read_text(encoding="utf-8")) for file in chosen) == []


def test_a_repeat_is_found() -> None:
    text = "\n".join(f"line {number}" for number in range(RUN))
    assert repeats([("a", text), ("b", f"\n{text}\nmore")]) == ["b:2 is a:1"]
    assert repeats([("a", text), ("b", text.replace("line 4", "line four"))]) == []
