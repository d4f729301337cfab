# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What a DICOM file, or a folder with its sub folders, holds: images with the keys to ask for them.

A folder may hold several series, and a series several images that are no frames of each other: parts of complex
images, contrasts such as water and fat, echoes, planes of a localizer. Each is listed under a key such as ``"8"``,
``"8-e2"``, ``"8-phase"``, ``"8-w"`` or ``"8-sag"``. Magnitude and phase (or real and imaginary part) that are alone in
a folder make one complex image; so do two keys joined by ``+``.

Files that are no images are skipped and counted. A file that cannot be used refuses the series that it belongs to, and
no other.
"""

from __future__ import annotations

import filecmp
import logging
import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from monai_stcnnt.data.formats.dicom.frames import DicomFrame, frames_of
from monai_stcnnt.data.formats.dicom.headers import (
    Alike,
    Header,
    has_dicom_start,
    has_pixels,
    number_in,
    quiet_pydicom,
    read_header,
    start_of,
    value_of,
)
from monai_stcnnt.data.formats.dicom.kinds import OWN_KIND, other_kind, stated_class
from monai_stcnnt.data.formats.dicom.series import DicomSeries, images_of, with_signs
from monai_stcnnt.data.paths import check_exists, files_below
from monai_stcnnt.errors import EmptyImageError, NotAnImageError, SeriesMismatchError, StcnntError, UnreadableFileError

__all__ = ["known_dicom_series", "list_dicom_series"]

logger = logging.getLogger(__name__)

_SUFFIXES = (".dcm", ".ima", ".dicom")


@dataclass
class _Found:
    """What the files of a path are.

    Attributes:
        frames: of every series, by its UID.
        errors: why a series cannot be used.
        numbers: series number of every series, -1 where absent.
        folders: where the files of every series lie.
        damaged: files of no known series, and what is wrong with each.
        skipped: number of files that are no images.
        alike: what was found in headers.
        other_kind: what a skipped DICOM file is.
    """

    frames: dict[str, list[DicomFrame]] = field(default_factory=lambda: defaultdict(list))
    errors: dict[str, StcnntError] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    folders: dict[str, set[Path]] = field(default_factory=lambda: defaultdict(set))
    damaged: dict[Path, UnreadableFileError] = field(default_factory=dict)
    skipped: int = 0
    alike: Alike = field(default_factory=Alike)
    other_kind: str = ""


def list_dicom_series(path: str | Path, *, progress: bool = False) -> list[DicomSeries]:
    """List what a DICOM file, or a folder with its sub folders, holds.

    Args:
        path: file or folder.
        progress: show a bar where it takes more than two seconds.

    Returns:
        The images in the order of their series numbers; one that cannot be used carries its ``error``.

    Raises:
        MissingFileError: if there is no such file or folder.
        EmptyImageError: if the folder holds no image.
        NotAnImageError: if the file is no image.
        GeometryError: if a frame of the file has no position in space.
        UnreadableFileError: if the file, or a file beside all images, is damaged.
    """
    _listed.cache_clear()
    return known_dicom_series(path, progress=progress)


def known_dicom_series(path: str | Path, *, progress: bool = False) -> list[DicomSeries]:
    """List what a file or folder holds; of a folder that was listed last it is known while its files stay the same.

    Args:
        path: file or folder.
        progress: show a bar where it takes more than two seconds.

    Returns:
        The images.

    Raises:
        StcnntError: as :func:`list_dicom_series`.
    """
    path = check_exists(path)
    if path.is_file():
        found = _Found()
        for frame in _frames_of_file(path):
            found.frames[frame.series_uid].append(frame)
            found.numbers[frame.series_uid] = frame.series_number
        return _grouped(path, found)
    files = tuple(files_below(path))
    return list(_listed(path, files, tuple(map(_state_of, files)), progress))


def _state_of(file: Path) -> tuple[int, int, int] | None:
    try:
        state = file.stat()
    except OSError:
        return None  # what is wrong with it is said when it is read
    return state.st_ino, state.st_size, state.st_mtime_ns


@lru_cache(1)
def _listed(
    path: Path, files: tuple[Path, ...], _: tuple[tuple[int, int, int] | None, ...], progress: bool
) -> tuple[DicomSeries, ...]:
    """What a folder holds; kept while its files are as they were, since every series of it is opened by itself."""
    found = _Found()
    shown = None if progress else True  # None: on a terminal
    with quiet_pydicom():
        for file in tqdm(files, desc="Headers", unit="file", delay=2, disable=shown, leave=False):
            if file.name != "DICOMDIR":
                _look_into(file, found)
    _settle(path, found)
    return tuple(replace(series, skipped=found.skipped) for series in _grouped(path, found))


def _frames_of_file(path: Path) -> list[DicomFrame]:
    header = Header(read_header(path))
    kind = other_kind(header, path)
    if kind:
        raise NotAnImageError(f"{path} is not an MR image but {kind}. Give an MR image.")
    return frames_of(header, path)


def _look_into(file: Path, found: _Found) -> None:
    """Sort one file of a folder in."""
    start = start_of(file)
    if not has_dicom_start(start):
        if _was_dicom(file):
            found.damaged[file] = UnreadableFileError(
                f"{file} is damaged at its beginning, or incomplete; copy it again."
            )
        else:
            found.skipped += 1
        return
    try:
        header = Header(read_header(file, start))
        kind = other_kind(header, file)
    except UnreadableFileError as error:
        found.damaged[file] = error
        return
    if kind:
        found.skipped += 1
        found.other_kind = kind
        return
    uid = str(value_of(header, "SeriesInstanceUID") or "")
    try:
        if not has_pixels(header):
            raise UnreadableFileError(
                f"{file} should be an image, but has no rows and columns. It is incomplete; copy it again."
            )
        frames = frames_of(header, file, found.alike)
        if file.stat().st_size < frames[0].least_bytes:
            if stated_class(header)[1]:
                found.skipped += 1
                found.other_kind = OWN_KIND
                return
            raise UnreadableFileError(f"{file} ends before its pixels do. It is incomplete; copy it again.")
    except StcnntError as error:
        if not uid and isinstance(error, UnreadableFileError):
            found.damaged[file] = error
            return
        found.errors.setdefault(uid, error)
        found.numbers.setdefault(uid, _series_number(header))
        found.folders[uid].add(file.parent)
        return
    found.frames[uid] += frames
    found.folders[uid].add(file.parent)
    found.numbers[uid] = frames[0].series_number


def _settle(path: Path, found: _Found) -> None:
    """Let damaged files refuse the series beside them, and see that something is left."""
    if found.skipped:
        logger.info("%s: %d files are not images and are skipped", path, found.skipped)
    for file, error in found.damaged.items():
        beside = [uid for uid, folders in found.folders.items() if file.parent in folders]
        for uid in beside or list(found.frames):
            found.errors.setdefault(uid, error)
    if not found.frames:
        for refusal in (*found.errors.values(), *found.damaged.values()):
            raise refusal
        if found.other_kind:
            raise NotAnImageError(f"{path} holds no image but {found.other_kind}. Give a folder of images.")
        raise EmptyImageError(f"{path} holds no DICOM image. Check the folder.")


def _was_dicom(file: Path) -> bool:
    """Whether a file should be DICOM: by its name, or without an ending, by what all DICOM files hold."""
    if file.suffix.lower() in _SUFFIXES:
        return True
    if re.search(r"\.[A-Za-z]\w*$", file.name):
        return False
    try:
        with open(file, "rb") as content:
            start = content.read(1024)
    except OSError as error:
        raise UnreadableFileError(f"{file} cannot be opened: {error.strerror}. Check its permissions.") from error
    is_blank = len(start) > 0 and not any(start[:128])
    return is_blank or (b"1.2.840.10008." in start and b"\0" in start)


def _series_number(header: Header) -> int:
    number = number_in([header], "SeriesNumber", -1)
    return int(number) if math.isfinite(number) else -1


def _grouped(path: Path, found: _Found) -> list[DicomSeries]:
    """Split series into images, with a key for each."""
    uids = sorted({*found.frames, *found.errors}, key=lambda uid: (found.numbers[uid], uid))
    numbers = [found.numbers[uid] for uid in uids]
    result: list[DicomSeries] = []
    for position, (uid, number) in enumerate(zip(uids, numbers, strict=True)):
        name = str(number) if number >= 0 else "none"
        if numbers.count(number) > 1:
            name += _letters(numbers[:position].count(number))
        error = found.errors.get(uid)
        if error is not None:
            result.append(DicomSeries(path, name, tuple(found.frames.get(uid, ())), number, uid, error))
            continue
        try:
            frames = _without_copies(found.frames[uid], f"{path}, series {name}")
            _check_modality(frames, f"{path}, series {name}")
        except StcnntError as refusal:
            result.append(DicomSeries(path, name, tuple(found.frames[uid]), number, uid, refusal))
            continue
        result += [
            DicomSeries(path, name + mark, tuple(image), number, uid) for mark, image in images_of(with_signs(frames))
        ]
    return _with_own_keys(result)


def _with_own_keys(found: list[DicomSeries]) -> list[DicomSeries]:
    """Number what would have the key of another, such as contrasts whose words differ by a sign."""
    taken: set[str] = set()
    result = []
    for series in found:
        candidates = (series.key, *(f"{series.key}-{number}" for number in range(2, len(found) + 2)))
        key = next(candidate for candidate in candidates if candidate not in taken)
        taken.add(key)
        result.append(replace(series, key=key))
    return result


def _letters(number: int) -> str:
    """A to z, aa, ab, ..."""
    letters = ""
    while number >= 0:
        letters = chr(ord("a") + number % 26) + letters
        number = number // 26 - 1
    return letters


def _check_modality(frames: Sequence[DicomFrame], name: str) -> None:
    """Refuse a series with several modalities, since a series has one: a header is damaged."""
    modalities = {frame.nature.modality: frame.path for frame in frames}
    if len(modalities) > 1:
        said = ", ".join(f"{modality} ({file.name})" for modality, file in sorted(modalities.items()))
        raise SeriesMismatchError(f"{name}: its files say different modalities: {said}. Copy them again.")


def _without_copies(frames: Sequence[DicomFrame], name: str) -> list[DicomFrame]:
    """Take files that are byte for byte the same once; frames of one UID at other places are frames of their own."""
    seen: dict[tuple[object, ...], DicomFrame] = {}
    copies = 0
    for frame in frames:
        place = tuple(np.round(frame.position, 3)), tuple(sorted(frame.times.items()))
        other = seen.setdefault((frame.instance_uid, frame.number, frame.instance, *place), frame)
        if other is frame:
            continue
        if not filecmp.cmp(frame.path, other.path, shallow=False):
            raise SeriesMismatchError(
                f"{name}: {frame.path} and {other.path} say that they are the same image, but differ. Move the one "
                "that does not belong here to another folder."
            )
        copies += 1
    if copies:
        logger.info("%s: %d images are there twice, and are taken once", name, copies)
    return list(seen.values())
