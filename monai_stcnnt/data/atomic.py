# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Output that is complete or absent: written aside in the same folder, then renamed."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monai_stcnnt.errors import OutputNotWritableError, StcnntError

__all__ = ["write_aside"]


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
            raise OutputNotWritableError(f"{path} exists already. Choose another folder, or remove it.")
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
