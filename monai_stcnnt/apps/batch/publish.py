# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""From a hidden folder to a final name: results that are whole whenever they can be seen."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monai_stcnnt.apps.batch.manifest import sync_folder
from monai_stcnnt.data.paths import files_below
from monai_stcnnt.errors import OutputNotWritableError, StcnntError

__all__ = ["UNFINISHED", "check_free", "give_name", "is_lack_of_room", "sync_files", "unfinished"]

UNFINISHED = ".unfinished"
"""Hidden folder below the results for what is not complete; removed when a run starts and ends."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@contextmanager
def unfinished(output: Path) -> Iterator[Path]:
    """Make a hidden folder on the disk of the results, and remove it with all that is left in it.

    Args:
        output: folder of the results.

    Yields:
        The folder.

    Raises:
        OutputNotWritableError: if it cannot be made, or anything in it cannot be written.
    """
    parent = output / UNFINISHED
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent, ignore_cleanup_errors=True) as name:
            yield Path(name)
    except StcnntError:
        raise
    except OSError as error:
        raise OutputNotWritableError(f"{output} cannot be written to: {error.strerror or error}.") from error


def check_free(output: Path, name: str, owned: frozenset[str]) -> None:
    """Refuse to replace a folder that no run has written.

    Args:
        output: folder of the results.
        name: path of a result relative to it.
        owned: such paths that the manifest knows.

    Raises:
        OutputNotWritableError: if the name is a folder's that the manifest does not know.
    """
    if (output / name).is_dir() and name not in owned:
        raise OutputNotWritableError(f"{output / name} exists already. Choose another folder, or remove it.")


def sync_files(path: Path) -> None:
    """Flush a file, or all files of a folder, to the disk, so that a name never outlives its content.

    Args:
        path: file or folder.
    """
    for file in files_below(path):
        with file.open("rb") as content:
            os.fsync(content.fileno())
    if path.is_dir():
        sync_folder(path)


def give_name(made: Path, target: Path) -> None:
    """Rename a whole file or folder to its place; an earlier folder makes room and is removed with what is left.

    Args:
        made: the file or folder.
        target: its place on the same disk.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        os.rename(target, made.with_name(f".{made.name}.before"))
    os.replace(made, target)
    sync_folder(target.parent)


def is_lack_of_room(error: BaseException) -> bool:
    """Tell whether an error comes from a disk that is full or cannot be written to.

    Args:
        error: the error, or one that it caused.
    """
    seen: set[int] = set()  # an error that was taken from under another one leads back to it
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, OSError) and cause.errno in _NO_ROOM:
            return True
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__
    return False
