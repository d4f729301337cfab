# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The one rule about results that exist: skip what is done by the same recipe, replace what is stale, refuse the rest.

It goes by the manifest beside the results, for files and folders alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from monai_stcnnt.apps.batch.manifest import SeriesRow, results_exist
from monai_stcnnt.data.provenance import sidecar_path
from monai_stcnnt.errors import ResultExistsError

__all__ = ["check_beside", "check_place", "earlier_holds", "state_of"]


def earlier_holds(row: SeriesRow, before: SeriesRow, folder: Path, *, redo: bool) -> bool:
    """Tell whether an earlier result is that of the same files and recipe, and still there.

    Args:
        row: the record of the result to make, with the checksum of its input.
        before: the last record of the result.
        folder: of the results.
        redo: make it again anyway.
    """
    if redo or not results_exist(before, folder):
        return False
    return before.input_sha256 == row.input_sha256 and before.recipe == row.recipe


def check_place(row: SeriesRow, before: SeriesRow | None, folder: Path, *, redo: bool) -> None:
    """Refuse to replace what is in the place of a result, unless it is the result of files that have changed.

    Args:
        row: the record of the result to make.
        before: its last record, None where there is none.
        folder: of the results.
        redo: replace files, and what the manifest knows; a folder that it does not know never goes.

    Raises:
        ResultExistsError: if something is in the way.
    """
    path = folder / row.target
    is_ours = before is not None and bool(before.outputs)
    why = ""
    if before is not None and results_exist(before, folder):
        if before.recipe != row.recipe:
            why = f"was made with another {', '.join(before.recipe.differences(row.recipe))}"
    elif path.exists() and not is_ours:
        why = "exists already, and the manifest does not know it"
    if why and path.is_dir() and not is_ours:
        raise ResultExistsError(f"{path} {why}. Choose another folder, or remove it.")
    if why and not redo:
        raise ResultExistsError(f"{path} {why}. Choose another name or folder, or replace it with --redo.")
    if path.suffix:
        check_beside([sidecar_path(Path(row.target))], before, folder, redo=redo)


def check_beside(names: Iterable[Path], before: SeriesRow | None, folder: Path, *, redo: bool) -> None:
    """Refuse to replace files of somebody else by those that come beside a result.

    Args:
        names: the files, relative to the folder.
        before: the last record of the result.
        folder: of the results.
        redo: replace them.

    Raises:
        ResultExistsError: if one would be replaced.
    """
    ours = set() if before is None else {entry.path for entry in before.outputs}
    for name in names:
        path = folder / name
        if path.exists() and not (redo or name.as_posix() in ours):
            raise ResultExistsError(
                f"{path} exists already, and would be replaced by a file beside the result. Choose another name or "
                "folder, or replace it with --redo."
            )


def state_of(path: Path) -> tuple[int, int] | None:
    """What tells a file or folder from one that replaced it; None where there is nothing.

    Args:
        path: the file or folder.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns
