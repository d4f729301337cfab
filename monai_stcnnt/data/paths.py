# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Files and folders: what there is, what can be written, and output that is complete or absent."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monai_stcnnt.errors import MissingFileError, OutputNotWritableError, StcnntError

__all__ = [
    "check_exists",
    "check_output_folder",
    "files_below",
    "folders_below",
    "sync",
    "sync_files",
    "write_aside",
]


def check_exists(path: str | Path) -> Path:
    """Make sure that a file or folder exists.

    Args:
        path: file or folder; ``~`` is the home folder.

    Returns:
        The path.

    Raises:
        MissingFileError: if there is none.
    """
    found = Path(path).expanduser()
    if not found.exists():
        raise MissingFileError(f"{found} does not exist. Check the path.")
    return found


def check_output_folder(path: str | Path) -> Path:
    """Make sure, before the work starts, that its results can be written.

    Args:
        path: the folder; it is created where it does not exist.

    Returns:
        The path.

    Raises:
        OutputNotWritableError: if it is not a folder, cannot be created, or files cannot be written in it.
    """
    folder = Path(path).expanduser()
    if folder.exists() and not folder.is_dir():
        raise OutputNotWritableError(f"{folder} is a file; the output goes to a folder. Choose another name.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{uuid.uuid4().hex}"
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        probe.unlink()
    except OSError as error:
        raise OutputNotWritableError(
            f"{folder} cannot be written to: {error.strerror or error}. Choose a folder that you may write to."
        ) from error
    return folder


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


def sync_files(path: Path) -> None:
    """Flush a file, or all files of a folder, to the disk, so that a name never outlives its content.

    Raises:
        OutputNotWritableError: if the disk does not take them.
    """
    for file in files_below(path):
        sync(file)
    if path.is_dir():
        sync(path)


def sync(path: Path) -> None:
    """Flush a file, or a folder's list of names, to the disk, so that it survives a crash.

    Raises:
        OutputNotWritableError: if the disk does not take it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OutputNotWritableError(f"{path} cannot be flushed to the disk: {error.strerror}.") from error


@contextmanager
def write_aside(path: str | Path) -> Iterator[Path]:
    """Give a hidden name beside ``path`` to write a file or a folder to; it takes its real name when all went well.

    Args:
        path: the file or folder to be; an existing file is replaced, an existing folder is not.

    Yields:
        The hidden path to write to, with the same suffixes.

    Raises:
        OutputNotWritableError: if the folder cannot be made or the output cannot be written.
    """
    path = Path(path)
    aside = path.with_name(f".{uuid.uuid4().hex[:12]}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        if aside.is_dir() and path.exists():
            raise OutputNotWritableError(f"{path} exists already. Choose another folder.")
        os.replace(aside, path)
    except StcnntError:
        raise
    except OSError as error:
        reason = _cause_of(error).strerror or type(error).__name__
        raise OutputNotWritableError(
            f"{path} cannot be written: {reason}. Choose a folder with room that you may write to."
        ) from error
    finally:
        _remove(aside)


def _cause_of(error: OSError) -> OSError:
    """The system's own error; libraries wrap it in others whose text may hold a traceback."""
    cause: BaseException | None = error
    while cause is not None and not (isinstance(cause, OSError) and cause.strerror):
        cause = cause.__cause__ or cause.__context__
    return cause if isinstance(cause, OSError) else error


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()
