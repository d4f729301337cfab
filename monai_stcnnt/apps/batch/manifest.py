# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The manifest of a folder of results: what was made of which series, in JSON lines that are only ever added to.

There is one file below the results, and the process that was started by the user is the only one that writes to it.
A record is one line, written at once and flushed to the disk; the last record of a result counts. Nothing about the
patient is in it: paths relative to the input, numbers, checksums, and the errors of this package.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import re
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from monai_stcnnt.data.paths import files_below, sync
from monai_stcnnt.errors import OutputNotWritableError, StcnntError, UnreadableFileError

__all__ = [
    "MANIFEST",
    "Journal",
    "OutputEntry",
    "Recipe",
    "SeriesRow",
    "Status",
    "checksum_of",
    "error_text",
    "read_manifest",
    "results_exist",
    "stamp_of",
    "without_root",
]

Status = Literal["writing", "done", "failed", "refused"]
"""``writing``: a result is whole and about to get its name; ``refused``: not an image to work on, such as a phase
without its magnitude."""

MANIFEST = "manifest.jsonl"
"""Name of the manifest below the results."""

FORMAT = 2

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OutputEntry:
    """One file or folder among the results.

    Attributes:
        path: relative to the output folder.
        files: number of files in it, 1 for a file.
        size: bytes in all of them.
        sha256: of the file; for a folder, of the lines that ``sha256sum`` prints for its files in the order of names.
    """

    path: str
    files: int
    size: int
    sha256: str


@dataclass(frozen=True)
class Recipe:
    """Everything but the input that a result depends on.

    Attributes:
        version: of this package.
        bundle: SHA-256 of the bundle's configs and weights.
        options: what was asked for and changes a result.
    """

    version: str = ""
    bundle: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """One text for one recipe."""
        return json.dumps(dataclasses.astuple(self), sort_keys=True)

    def differences(self, other: Recipe) -> list[str]:
        """Name what is not the same in another recipe."""
        parts = [name for name in ("version", "bundle") if getattr(self, name) != getattr(other, name)]
        names = sorted({*self.options, *other.options})
        return parts + [name for name in names if self.options.get(name) != other.options.get(name)]


@dataclass(frozen=True)
class SeriesRow:
    """One line of the manifest.

    Attributes:
        target: where the result goes, relative to the output folder; what tells one record from another.
        input: path relative to the input folder.
        series: which series of a DICOM folder, empty where there is one.
        status: how it went.
        outputs: the results, empty where there is none.
        input_stamp: of the input's files, to tell at a glance that nothing changed.
        input_sha256: of their content.
        recipe: what else the result depends on.
        seconds: from reading to the checksums of the results.
        device: the processor that it ran on.
        finished: when the result was made, or the series given up, UTC.
        figures: what the run found out, such as the noise level, quality control, or volumes.
        error: the class of the error and its message, empty where all went well.
    """

    target: str
    input: str = ""
    series: str = ""
    status: Status = "failed"
    outputs: tuple[OutputEntry, ...] = ()
    input_stamp: str = ""
    input_sha256: str = ""
    recipe: Recipe = field(default_factory=Recipe)
    seconds: float = 0.0
    device: str = ""
    finished: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""

    @property
    def name(self) -> str:
        """What to call the series."""
        return f"{self.input}, series {self.series}" if self.series else self.input

    def to_json(self) -> str:
        """One line of JSON, without the line's end."""
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)})

    @classmethod
    def from_json(cls, text: str | bytes) -> SeriesRow:
        """Read a line that :meth:`to_json` wrote.

        Raises:
            ValueError: if it is no such line.
        """
        values = json.loads(text)
        if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
            raise ValueError(f"not a record of format {FORMAT}")
        try:
            values["outputs"] = tuple(OutputEntry(**entry) for entry in values.get("outputs", ()))
            values["recipe"] = Recipe(**values.get("recipe", {}))
            row = cls(**values)
        except TypeError as error:
            raise ValueError(str(error)) from error
        if row.status not in get_args(Status):
            raise ValueError(f"unknown status {row.status!r}")
        return row


def results_exist(row: SeriesRow | None, folder: Path) -> bool:
    """Tell whether a record is of a result, and all of its files are there.

    Sizes are compared, and the content too where a run ended before it could record that the result has its name.

    Args:
        row: the record.
        folder: the folder of the results.
    """
    if row is None or row.status not in ("done", "writing") or not row.outputs:
        return False
    for entry in row.outputs:
        if entry.path.endswith(".json") and entry.path != row.target:  # what a result says of itself is no part of it
            continue
        files = files_below(folder / entry.path)
        if len(files) != entry.files or sum(file.stat().st_size for file in files) != entry.size:
            return False
        if row.status == "writing" and checksum_of(folder / entry.path).sha256 != entry.sha256:
            return False
    return True


def read_manifest(folder: Path) -> dict[str, SeriesRow]:
    """Read the manifest below a folder of results.

    A line that could not be finished, because the process was killed or the disk was full, is skipped with a warning.

    Args:
        folder: folder of the results; it need not exist.

    Returns:
        The last record of every result, by its target.

    Raises:
        UnreadableFileError: if the manifest cannot be read.
    """
    file = folder / MANIFEST
    try:
        lines = file.read_bytes().split(b"\n") if file.is_file() else []
    except OSError as error:
        raise UnreadableFileError(f"{file} cannot be read: {error.strerror}. Check its permissions.") from error
    rows: dict[str, SeriesRow] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = SeriesRow.from_json(line)
        except ValueError:
            logger.warning("%s: line %d is incomplete and is skipped; its series is done again.", file, number)
        else:
            rows[row.target] = row
    return rows


class Journal:
    """The manifest to add records to, made with the first of them; a context manager.

    Args:
        folder: folder of the results.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / MANIFEST
        self._file: int | None = None

    def __enter__(self) -> Journal:
        """The journal itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)

    def append(self, row: SeriesRow) -> None:
        """Add a record; it is on the disk when this returns.

        Raises:
            OutputNotWritableError: if the file cannot be made, or the disk is full or gone.
        """
        line = row.to_json().encode() + b"\n"
        try:
            if self._file is None:
                self._file = self._open()
            if os.write(self._file, line) != len(line):
                raise OSError("the record was written in part")
            os.fsync(self._file)
        except OSError as error:
            raise OutputNotWritableError(
                f"{self.path} cannot be written: {error.strerror or error}. Make room, and run the same command again."
            ) from error

    def _open(self) -> int:
        file = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o644)
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":  # a killed process left part of a line
            os.write(file, b"\n")
        sync(self.path.parent)
        return file


def stamp_of(files: Iterable[Path]) -> str:
    """Make a stamp of files: SHA-256 of their names, sizes and times of change, cheap to make.

    Raises:
        UnreadableFileError: if a file is gone.
    """
    digest = hashlib.sha256()
    for file in files:
        try:
            state = file.stat()
        except OSError as error:
            raise UnreadableFileError(f"{file} cannot be read: {error.strerror}. Was it removed?") from error
        digest.update(f"{file.name}\0{state.st_size}\0{state.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def sha256_of(file: Path) -> str:
    """SHA-256 of the content of a file.

    Raises:
        UnreadableFileError: if it is gone or cannot be read.
    """
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise UnreadableFileError(f"{file} cannot be read: {error.strerror}. Check its permissions.") from error


def checksum_of(path: Path) -> OutputEntry:
    """Make the checksum of a file or folder, see :class:`OutputEntry`; the path is its name alone.

    Raises:
        UnreadableFileError: if a file is gone or cannot be read.
    """
    if path.is_file():
        return OutputEntry(path.name, 1, path.stat().st_size, sha256_of(path))
    files = files_below(path)
    size = sum(file.stat().st_size for file in files)
    listing = "".join(f"{sha256_of(file)}  {file.relative_to(path).as_posix()}\n" for file in files)
    digest = hashlib.sha256(listing.encode(errors="surrogateescape")).hexdigest()
    return OutputEntry(path.name, len(files), size, digest)


def error_text(error: BaseException, root: Path) -> str:
    """Say what went wrong, for a manifest: no values of files, and no folder above the images.

    Args:
        error: what was raised. The message of an error of this package is taken; of any other, only its class and the
            place in the code, since its message may quote from the file.
        root: folder of the images.

    Returns:
        One line.
    """
    while error.__cause__ is not None and not isinstance(error, StcnntError):
        error = error.__cause__
    name = type(error).__name__
    if isinstance(error, StcnntError):
        return f"{name}: {without_root(' '.join(str(error).split()), root)}"
    if isinstance(error, OSError) and error.strerror:
        return f"{name}: {error.strerror}"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{name}{place}"


def without_root(text: str, root: Path) -> str:
    """A text without the path of a folder, and so without what its name may tell."""
    return re.sub(rf"(?<![\w.{re.escape(os.sep)}-]){re.escape(f'{root}{os.sep}')}", "", text)
