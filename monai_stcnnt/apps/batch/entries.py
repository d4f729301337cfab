# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Which files and folders below a path are worked on: folders of one slice each as one, masks beside images not."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

from monai_stcnnt.data.formats.registry import format_of, list_images
from monai_stcnnt.errors import StcnntError

__all__ = ["join_slices", "leave_out"]

logger = logging.getLogger(__name__)

_FEWEST_SLICES = 3


def leave_out(entries: Sequence[Path], names: str) -> list[Path]:
    """Leave out files by their names, and say so.

    Args:
        entries: files and folders.
        names: regular expression that the end of a name without its ending matches.

    Returns:
        The others; all, where none would be left.
    """
    out = [entry for entry in entries if entry.is_file() and re.search(f"(?:{names})$", entry.name.split(".")[0])]
    if len(out) == len(entries):
        return list(entries)
    for entry in out:
        logger.info("%s is left out, since by its name it is a mask", entry)
    return [entry for entry in entries if entry not in out]


def join_slices(entries: Sequence[Path], known: Collection[Path]) -> list[Path]:
    """Take DICOM folders of one slice each, side by side, as one folder where their series make a stack.

    Args:
        entries: files and folders, in their order.
        known: folders that were taken as one before, which are not looked into again.

    Returns:
        Entries in their order, with a folder in place of those below it.
    """
    beside: dict[Path, list[Path]] = defaultdict(list)
    for entry in entries:
        if entry.is_dir() and (row := format_of(entry)) is not None and row.holds_several:
            beside[entry.parent].append(entry)
    joined = {
        entry: parent
        for parent, folders in beside.items()
        if len(folders) >= _FEWEST_SLICES and (parent in known or _makes_a_stack(parent))
        for entry in folders
    }
    return list(dict.fromkeys(joined.get(entry, entry) for entry in entries))


def _makes_a_stack(folder: Path) -> bool:
    try:
        return any(one.members for one in list_images(folder, check=False, stacks=True))
    except StcnntError:
        return False  # what is wrong with a folder is said when it is read by itself
