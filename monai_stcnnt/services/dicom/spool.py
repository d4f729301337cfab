# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The queue of a DICOM node, on disk: what was acknowledged is there, whenever the process was killed.

A series moves through four folders, each step one rename::

    incoming/KEY/   images as they come, each written aside and synced before it is acknowledged
    work/KEY/       complete: images in in/, results made in out/
    outgoing/KEY/   results to send, and for each target the names of those that it has
    failed/KEY/     what could not be done, with the reason

Names are checksums: nothing of a header is in them. ``done/`` holds an empty file for every set of images whose results
have arrived, so that the same set is not done again.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from monai_stcnnt.data.paths import check_output_folder, sync
from monai_stcnnt.errors import OutputNotWritableError

__all__ = ["IMAGES", "RESULTS", "Spool", "name_for"]

logger = logging.getLogger(__name__)

IMAGES, RESULTS = "in", "out"
_STATES = ("incoming", "work", "outgoing", "failed", "done", "aside")
_KEPT_FAILURES = 20
_KEPT_MARKS = 100_000


def name_for(*texts: str) -> str:
    """A name without any of the texts in it, the same for the same texts."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:32]


class Spool:
    """The queue of one node; one process at a time works in it.

    Args:
        folder: where it lies; it is made, and what an earlier process left there is taken up again.
        limit: bytes that it may hold; images beyond are not taken.

    Raises:
        OutputNotWritableError: if the folder cannot be written to.
    """

    def __init__(self, folder: str | Path, limit: int = 50 << 30) -> None:
        self.folder = check_output_folder(folder)
        self._lockfile = _locked(self.folder)
        self.limit = limit
        shutil.rmtree(self.folder / "aside", ignore_errors=True)
        for state in _STATES:
            (self.folder / state).mkdir(exist_ok=True)
        for place in self.waiting("work"):
            if not any(place.iterdir()):
                place.rmdir()  # a move that was cut short; its images are still among the incoming
        self._lock = threading.Lock()
        self._changed = {path.name: time.monotonic() for path in self.waiting("incoming")}
        self._held = sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())

    def close(self) -> None:
        """Let another process have the queue."""
        self._lockfile.close()

    def waiting(self, state: str) -> list[Path]:
        """Folders in a state, the oldest first."""
        found = [path for path in (self.folder / state).iterdir() if path.is_dir()]
        return sorted(found, key=lambda path: (_made_at(path), path.name))

    def has_room(self, size: int) -> bool:
        """Whether so many bytes more can be taken: below the limit, and on the disk with as many again to spare."""
        return self._held + size <= self.limit and shutil.disk_usage(self.folder).free > 2 * size + (64 << 20)

    def take(self, series: str, instance: str, data: bytes) -> None:
        """Keep an image; when this returns, it survives a crash.

        Args:
            series: key of its series.
            instance: its name; an image of the same name is replaced.
            data: the file.

        Raises:
            OSError: if it cannot be written; then nothing is left of it.
        """
        aside = self.folder / "aside" / uuid.uuid4().hex
        try:
            with open(aside, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            with self._lock:
                place = self.folder / "incoming" / series
                place.mkdir(exist_ok=True)
                target = place / f"{instance}.dcm"
                self._held -= target.stat().st_size if target.exists() else 0
                os.replace(aside, target)
                sync(place)
                self._changed[series] = time.monotonic()
                self._held += len(data)
        finally:
            aside.unlink(missing_ok=True)

    def released(self, series: Sequence[str], silence: float, settle: float) -> None:
        """Note that the association that sent some series has ended as it should: they wait ``settle`` seconds only."""
        with self._lock:
            for key in series:
                if key in self._changed:
                    self._changed[key] = min(self._changed[key], time.monotonic() - silence + settle)

    def complete(self, silence: float, busy: frozenset[str]) -> Iterator[Path]:
        """Move series that are complete to ``work``.

        Args:
            silence: seconds without a new image after which a series is complete.
            busy: series whose association is still open.

        Yields:
            The folder of each in ``work``. A set of images whose results have arrived before is dropped.
        """
        for place in self.waiting("incoming"):
            with self._lock:
                since = self._changed.setdefault(place.name, time.monotonic())
                if place.name in busy or time.monotonic() - since < silence:
                    continue
                images = sorted(file.name for file in place.iterdir())
                target = self.folder / "work" / name_for(place.name, *images)
                del self._changed[place.name]
                if (self.folder / "done" / target.name).exists() or any(
                    (self.folder / state / target.name).exists() for state in ("work", "outgoing")
                ):
                    logger.info("series %s has come again and is dropped", place.name[:8])
                    self.drop(place)
                    continue
                target.mkdir()
                os.replace(place, target / IMAGES)
                sync(target)
            yield target

    def move(self, place: Path, state: str) -> Path:
        """Move a series to another state.

        Returns:
            Its new folder.
        """
        target = self.folder / state / place.name
        if target.exists():
            self.drop(target)
        os.replace(place, target)
        sync(target.parent)
        return target

    def finish(self, place: Path) -> None:
        """Note that all results of a series have arrived, and remove it."""
        mark = self.folder / "done" / place.name
        mark.touch()
        sync(mark.parent)
        self.drop(place)
        marks = sorted((self.folder / "done").iterdir(), key=lambda path: path.stat().st_mtime)
        for old in marks[:-_KEPT_MARKS]:
            old.unlink(missing_ok=True)

    def fail(self, place: Path, reason: str) -> None:
        """Set a series aside; only the last few failures are kept."""
        target = self.move(place, "failed")
        try:
            (target / "reason.txt").write_text(f"{reason}\n", encoding="utf-8")
        except OSError:
            logger.warning("no room to note why series %s failed", place.name[:8])
        for old in self.waiting("failed")[:-_KEPT_FAILURES]:
            self.drop(old)

    def drop(self, place: Path) -> None:
        """Remove a folder, and count its bytes off."""
        size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
        shutil.rmtree(place, ignore_errors=True)
        self._held = max(0, self._held - size)

    def made(self, place: Path) -> None:
        """Count the bytes of results, and let go of the images, which are not needed any more."""
        self._held += sum(file.stat().st_size for file in (place / RESULTS).rglob("*") if file.is_file())
        self.drop(place / IMAGES)


def _locked(folder: Path) -> IO[bytes]:
    """Lock the queue for this process; the lock ends with the process, however it ends."""
    file = open(folder / "lock", "ab")  # noqa: SIM115 - open as long as the lock is held
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise OutputNotWritableError(f"{folder} is the queue of a node that runs. Choose another folder.") from error
    return file


def _made_at(path: Path) -> float:
    """When a folder was changed last; 0 where it is gone by now."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
