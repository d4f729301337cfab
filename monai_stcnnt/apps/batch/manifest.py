# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The manifest of a batch: what was done with which series, in JSON lines that are only ever added to.

The folder ``manifest`` below the results holds one file for each process of each run, so that no two processes ever
write to one file, on whatever file system. A record is one line, written at once and flushed to the disk. The last
record of a series counts. Nothing about the patient is in it: paths relative to the input, numbers, checksums, and the
errors of this package.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from monai_stcnnt.data import files_of
from monai_stcnnt.data.paths import files_below
from monai_stcnnt.errors import OutputNotWritableError, UnreadableFileError

__all__ = [
    "FileStamp",
    "Journal",
    "Manifest",
    "OutputEntry",
    "SeriesRow",
    "Status",
    "checksum_of",
    "read_manifest",
    "results_exist",
    "stamp_of",
    "sync_folder",
]

Status = Literal["writing", "done", "failed", "refused"]
"""``writing``: a result is complete and about to get its name; ``refused``: not an image to work on, such as a phase
without its magnitude."""

FOLDER = "manifest"
FORMAT = 1

logger = logging.getLogger(__name__)

FileStamp = str
"""SHA-256 of names, sizes and times of change of files: cheap to make, and another one when a file was touched."""


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
class SeriesRow:
    """One line of the manifest.

    Attributes:
        input: path relative to the input folder.
        series: which series of a DICOM folder, empty where there is one.
        status: how it went.
        outputs: the results, empty where there is none.
        input_stamp: of the input's files, to tell at a glance that nothing changed.
        input_sha256: of their content, as in :class:`OutputEntry`.
        version: of this package.
        weights: SHA-256 of all tensors of the network.
        options: those of the bundle that change a result.
        seconds: from reading to the checksums of the results.
        device: the processor that it ran on.
        rank: number of the process.
        finished: when the result was made, or the series given up, UTC.
        qc: what the run says about the quality of the result, such as the noise level that was used.
        error: the class of the error and its message, empty where all went well.
    """

    input: str
    series: str = ""
    status: Status = "failed"
    outputs: tuple[OutputEntry, ...] = ()
    input_stamp: FileStamp = ""
    input_sha256: str = ""
    version: str = ""
    weights: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    device: str = ""
    rank: int = 0
    finished: str = ""
    qc: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""

    @property
    def name(self) -> str:
        """The series by a name that is its own in the manifest."""
        return f"{self.input}, series {self.series}" if self.series else self.input

    @property
    def recipe(self) -> tuple[str, str, str]:
        """Everything but the input that a result depends on."""
        return self.version, self.weights, json.dumps(self.options, sort_keys=True)

    def to_json(self) -> str:
        """One line of JSON, without the line's end."""
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> SeriesRow:
        """Read a line that :meth:`to_json` wrote.

        Args:
            text: the line.

        Returns:
            The record.

        Raises:
            ValueError: if it is no such line.
        """
        values = json.loads(text)
        if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
            raise ValueError(f"not a record of format {FORMAT}")
        try:
            values["outputs"] = tuple(OutputEntry(**entry) for entry in values.get("outputs", ()))
            row = cls(**values)
        except TypeError as error:
            raise ValueError(str(error)) from error
        if row.status not in get_args(Status):
            raise ValueError(f"unknown status {row.status!r}")
        return row


@dataclass(frozen=True)
class Manifest:
    """All that the files of a manifest say.

    Attributes:
        rows: the last record of every series, by :attr:`SeriesRow.name`.
        owned: every path that a run has written or was about to write, relative to the output folder.
        runs: number of the last run, 0 where there was none.
    """

    rows: Mapping[str, SeriesRow]
    owned: frozenset[str]
    runs: int


def results_exist(row: SeriesRow, output: Path) -> bool:
    """Tell whether a record is of a result, and all files of it are there with the sizes that they had.

    Args:
        row: the record.
        output: the folder of the results.
    """
    if row.status != "done" or not row.outputs:
        return False
    for entry in row.outputs:
        files = files_below(output / entry.path)
        if len(files) != entry.files or sum(file.stat().st_size for file in files) != entry.size:
            return False
    return True


def read_manifest(output: str | Path) -> Manifest:
    """Read the manifest below a folder of results.

    A line that a process could not finish, since it was killed or the disk was full, is passed over: its series counts
    as not done.

    Args:
        output: folder of the results; it need not exist.

    Returns:
        The last record of every series.

    Raises:
        UnreadableFileError: if a file of the manifest cannot be read.
    """
    numbered: list[tuple[int, str, SeriesRow]] = []
    owned: set[str] = set()
    runs = 0
    folder = Path(output) / FOLDER
    for file in sorted(folder.glob("run-*.jsonl")) if folder.is_dir() else []:
        number = file.name.split("-")[1]
        runs = max(runs, int(number) if number.isdigit() else 0)
        for row in _rows_of(file):
            numbered.append((int(number) if number.isdigit() else 0, row.finished, row))
            owned.update(entry.path for entry in row.outputs)
    numbered.sort(key=lambda entry: entry[:2])
    return Manifest({row.name: row for _, _, row in numbered}, frozenset(owned), runs)


def _rows_of(file: Path) -> Iterable[SeriesRow]:
    try:
        lines = file.read_bytes().split(b"\n")
    except OSError as error:
        raise UnreadableFileError(f"{file} cannot be read: {error.strerror}. Check its permissions.") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield SeriesRow.from_json(line)
        except ValueError:
            logger.warning("%s: line %d is incomplete and is passed over; its series is done again", file, number)


class Journal:
    """The file that one process of one run adds its records to.

    Args:
        output: folder of the results.
        run: number of the run, from 1.
        rank: number of the process.

    Raises:
        OutputNotWritableError: if the file cannot be made.
    """

    def __init__(self, output: str | Path, run: int, rank: int) -> None:
        folder = Path(output) / FOLDER
        self.path = folder / f"run-{run:05d}-rank-{rank:05d}-{uuid.uuid4().hex[:8]}.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o644)
            sync_folder(folder)
        except OSError as error:
            raise self._failure(error) from error

    def append(self, row: SeriesRow) -> None:
        """Add a record; it is on the disk when this returns.

        Args:
            row: the record.

        Raises:
            OutputNotWritableError: if the disk is full or gone.
        """
        line = row.to_json().encode() + b"\n"
        try:
            written = os.write(self._file, line)
            if written != len(line):
                raise OSError("the record was written in part")
            os.fsync(self._file)
        except OSError as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Close the file; one without a record is removed."""
        os.close(self._file)
        if self.path.stat().st_size == 0:
            self.path.unlink()

    def _failure(self, error: OSError) -> OutputNotWritableError:
        return OutputNotWritableError(
            f"{self.path} cannot be written: {error.strerror or error}. Make room, and rerun."
        )


def sync_folder(folder: Path) -> None:
    """Flush a folder's list of names to the disk, where the system can.

    Args:
        folder: the folder.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def stamp_of(paths: Sequence[str | Path]) -> FileStamp:
    """Make a stamp of images.

    Args:
        paths: files and folders; every file that belongs to an image counts, such as the data of a header.

    Returns:
        SHA-256 of the names, sizes and times of change.

    Raises:
        UnreadableFileError: if a file is gone.
    """
    digest = hashlib.sha256()
    for path in map(Path, paths):
        for file in files_of(path):
            try:
                state = file.stat()
            except OSError as error:
                raise UnreadableFileError(f"{file} cannot be read: {error.strerror}. Was it removed?") from error
            digest.update(
                f"{_name_in(file, path)}\0{state.st_size}\0{state.st_mtime_ns}\n".encode(errors="surrogateescape")
            )
    return digest.hexdigest()


def checksum_of(path: str | Path) -> OutputEntry:
    """Make the checksum of an image or of a result.

    Args:
        path: file or folder; every file that belongs to it counts.

    Returns:
        Its name, number of files, size and SHA-256.

    Raises:
        UnreadableFileError: if a file is gone or cannot be read.
    """
    path = Path(path)
    lines, size = [], 0
    for file in files_of(path):
        try:
            with file.open("rb") as content:
                lines.append((hashlib.file_digest(content, "sha256").hexdigest(), file))
                size += content.tell()
        except OSError as error:
            raise UnreadableFileError(f"{file} cannot be read: {error.strerror}. Check its permissions.") from error
    if [file for _, file in lines] == [path]:
        return OutputEntry(path.name, 1, size, lines[0][0])
    listing = "".join(f"{digest}  {_name_in(file, path)}\n" for digest, file in lines)
    return OutputEntry(
        path.name, len(lines), size, hashlib.sha256(listing.encode(errors="surrogateescape")).hexdigest()
    )


def _name_in(file: Path, path: Path) -> str:
    """Name of a file that belongs to an image, relative to the folder that is the image or holds it."""
    return Path(os.path.relpath(file, path if path.is_dir() else path.parent)).as_posix()
