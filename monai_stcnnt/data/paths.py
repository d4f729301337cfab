# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The files below a folder, the same on every machine."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["files_below", "folders_below"]


def folders_below(path: Path) -> list[tuple[Path, list[str]]]:
    """List a folder and its sub folders, without hidden names.

    Args:
        path: the folder.

    Returns:
        Each folder with the names of its files, both in alphabetical order.
    """
    found = []
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found.append((Path(folder), sorted(name for name in names if not name.startswith("."))))
    return found


def files_below(path: str | Path) -> list[Path]:
    """List the files of a folder and its sub folders, without hidden names.

    Args:
        path: a folder, or a file, which is its own list.

    Returns:
        Files in the order of their relative names; none where nothing is there.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    found = [folder / name for folder, names in folders_below(path) for name in names]
    return sorted(found, key=lambda file: file.relative_to(path).parts)
