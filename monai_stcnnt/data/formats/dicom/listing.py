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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID
from tqdm import tqdm

from monai_stcnnt.data.formats.dicom.frames import (
    DicomFrame,
    frames_of,
    has_pixels,
    is_dicom,
    quiet_pydicom,
    read_header,
)
from monai_stcnnt.data.formats.dicom.kinds import value_of
from monai_stcnnt.data.formats.dicom.series import DicomSeries
from monai_stcnnt.data.paths import check_exists, files_below
from monai_stcnnt.errors import EmptyImageError, NotAnImageError, SeriesMismatchError, StcnntError, UnreadableFileError

__all__ = ["STACK", "list_dicom_series", "stacks_of"]

logger = logging.getLogger(__name__)

_SUFFIXES = (".dcm", ".ima", ".dicom")
# Storage classes of images of a patient; other classes of the standard, such as reports and captures, are skipped.
_IMAGES = re.compile(
    r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.(1|1\..*|2|2\..*|3\.1|4|4\.[134]|12\..*|13\..*|20|128|128\..*|130)$"
)
_ECHO_JITTER = 0.05  # milliseconds
_TILT = 0.05  # of a unit vector; motion correction turns planes by less, another plane is turned by more
_PLANES = ("sag", "cor", "tra")
STACK = "stack"
"""Key of a stack that series of one slice each make; with a number from the second on."""
_FEWEST_SLICES = 3
_REGULAR = 0.1  # of the distance of slices


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
        other_kind: what a skipped DICOM file is.
    """

    frames: dict[str, list[DicomFrame]] = field(default_factory=lambda: defaultdict(list))
    errors: dict[str, StcnntError] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    folders: dict[str, set[Path]] = field(default_factory=lambda: defaultdict(set))
    damaged: dict[Path, UnreadableFileError] = field(default_factory=dict)
    skipped: int = 0
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
    path = check_exists(path)
    found = _Found()
    if path.is_file():
        for frame in frames_of(read_header(path), path):
            found.frames[frame.series_uid].append(frame)
            found.numbers[frame.series_uid] = frame.series_number
        return _grouped(path, found)
    shown = None if progress else True  # None: on a terminal
    files = tqdm(files_below(path), desc="Headers", unit="file", delay=2, disable=shown, leave=False)
    with quiet_pydicom():
        for file in files:
            if file.name != "DICOMDIR":
                _look_into(file, found)
    _settle(path, found)
    return _grouped(path, found)


def _look_into(file: Path, found: _Found) -> None:
    """Sort one file of a folder in."""
    if not is_dicom(file):
        if _was_dicom(file):
            found.damaged[file] = UnreadableFileError(
                f"{file} is damaged at its beginning, or incomplete; copy it anew."
            )
        else:
            found.skipped += 1
        return
    try:
        dataset = read_header(file)
    except UnreadableFileError as error:
        found.damaged[file] = error
        return
    kind = _other_kind(dataset)
    if kind:
        found.skipped += 1
        found.other_kind = kind
        return
    uid = str(value_of(dataset, "SeriesInstanceUID") or "")
    try:
        if not has_pixels(dataset):
            raise UnreadableFileError(
                f"{file} should be an image, but has no rows and columns. It is incomplete; copy it anew."
            )
        frames = frames_of(dataset, file)
    except StcnntError as error:
        if not uid and isinstance(error, UnreadableFileError):
            found.damaged[file] = error
            return
        found.errors.setdefault(uid, error)
        found.numbers.setdefault(uid, _series_number(dataset))
        found.folders[uid].add(file.parent)
        return
    found.frames[uid] += frames
    found.folders[uid].add(file.parent)
    found.numbers[uid] = frames[0].series_number


def _settle(path: Path, found: _Found) -> None:
    """Let damaged files refuse the series beside them, and see that something is left."""
    if found.skipped:
        logger.info("%s: %d files are no images and are skipped", path, found.skipped)
    for file, error in found.damaged.items():
        beside = [uid for uid, folders in found.folders.items() if file.parent in folders]
        for uid in beside or list(found.frames):
            found.errors.setdefault(uid, error)
    if not found.frames:
        for refusal in (*found.errors.values(), *found.damaged.values()):
            raise refusal
        if found.other_kind:
            raise NotAnImageError(f"{path} holds no image, but {found.other_kind}. Give a folder of images.")
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


def _other_kind(dataset: Dataset) -> str:
    """What a file says that it is, if not an image: a report, a capture, the state of a viewer; else empty."""
    uid = UID(str(dataset.file_meta.get("MediaStorageSOPClassUID") or value_of(dataset, "SOPClassUID") or ""))
    is_standard = uid.name != str(uid)
    if is_standard:
        return "" if _IMAGES.match(uid) else uid.name
    return "of a vendor's own kind" if uid.is_valid and uid.is_private and not has_pixels(dataset) else ""


def _series_number(dataset: Dataset) -> int:
    try:
        return int(dataset.get("SeriesNumber") or -1)
    except (TypeError, ValueError):
        return -1


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
        except StcnntError as refusal:
            result.append(DicomSeries(path, name, tuple(found.frames[uid]), number, uid, refusal))
            continue
        result += [DicomSeries(path, name + mark, tuple(image), number, uid) for mark, image in _images(frames)]
    return result


def _letters(number: int) -> str:
    """A to z, aa, ab, ..."""
    letters = ""
    while number >= 0:
        letters = chr(ord("a") + number % 26) + letters
        number = number // 26 - 1
    return letters


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


def _images(frames: list[DicomFrame]) -> list[tuple[str, list[DicomFrame]]]:
    """Split the frames of one series into images: what the values are, contrast, echo, plane; with a mark for each."""
    parts = _split_by(frames, lambda frame: frame.nature.component)
    images = []
    for component, part in parts:
        for contrast, of_contrast in _contrasts(part):
            for echo, of_echo in _echoes(of_contrast):
                mark = echo + (f"-{component}" if len(parts) > 1 else "") + contrast
                images += [(mark + plane, image) for plane, image in _planes(of_echo)]
    return images


def _split_by(frames: Sequence[DicomFrame], key: Callable[[DicomFrame], str]) -> list[tuple[str, list[DicomFrame]]]:
    groups: dict[str, list[DicomFrame]] = defaultdict(list)
    for frame in frames:
        groups[key(frame)].append(frame)
    return sorted(groups.items())


def _share_a_place(frames: Sequence[DicomFrame], key: Callable[[DicomFrame], object]) -> bool:
    """Whether frames of several keys lie in one place."""
    places: dict[tuple[int, ...], set[object]] = defaultdict(set)
    for frame in frames:
        places[tuple(np.round(frame.position * 10).astype(int))].add(key(frame))
    return any(len(keys) > 1 for keys in places.values())


def _contrasts(frames: list[DicomFrame]) -> list[tuple[str, list[DicomFrame]]]:
    """Split by the words of the image type where one place was imaged with several, such as water and fat."""
    kinds = list(dict.fromkeys(frame.nature.words for frame in frames))
    if len(kinds) == 1 or not _share_a_place(frames, lambda frame: frame.nature.words):
        return [("", frames)]
    common = set.intersection(*(set(kind) for kind in kinds))
    images = []
    for number, kind in enumerate(kinds):
        words = "_".join(re.sub(r"\W+", "", word.lower()) for word in kind if word not in common)
        images.append((f"-{words or number + 1}", [frame for frame in frames if frame.nature.words == kind]))
    return images


def _echoes(frames: list[DicomFrame]) -> list[tuple[str, list[DicomFrame]]]:
    """Split by echo time where one place was imaged at several; slices may differ in it by planning or rounding."""
    times = sorted({frame.echo_time for frame in frames if math.isfinite(frame.echo_time)})
    number, numbers = 0, {}
    for before, time in zip([math.nan, *times], times, strict=False):
        number += time - before > _ECHO_JITTER
        numbers[time] = number
    if not _share_a_place(frames, lambda frame: numbers.get(frame.echo_time, -1)):
        return [("", frames)]
    groups = _split_by(frames, lambda frame: f"{numbers.get(frame.echo_time, -1):04d}")
    return [(f"-e{index}", echo) for index, (_, echo) in enumerate(groups, 1)]


def _planes(frames: list[DicomFrame]) -> list[tuple[str, list[DicomFrame]]]:
    """Split by orientation, as in a localizer."""
    stacks: list[list[DicomFrame]] = []
    for frame in frames:
        for stack in stacks:
            if np.abs(frame.orientation - stack[0].orientation).max() <= _TILT:
                stack.append(frame)
                break
        else:
            stacks.append([frame])
    if len(stacks) == 1:
        return [("", frames)]
    names = [_PLANES[int(np.abs(stack[0].normal).argmax())] for stack in stacks]
    marks = [
        f"-{name}" + (str(names[: i + 1].count(name)) if names.count(name) > 1 else "") for i, name in enumerate(names)
    ]
    return list(zip(marks, stacks, strict=True))


def stacks_of(found: Sequence[DicomSeries]) -> list[DicomSeries]:
    """Join cines of one slice each that make a stack, as most scanners write short-axis views of the heart.

    Args:
        found: the series of a folder.

    Returns:
        A series for each stack of at least three: one study, protocol, matrix, spacing, orientation and number of
        frames, and slices at equal distances. Of a slice that was imaged again, the last series counts.
    """
    groups: dict[tuple[object, ...], list[DicomSeries]] = defaultdict(list)
    for series in found:
        if series.error is None and series.component == "magnitude" and _is_one_slice(series.frames):
            first = series.frames[0]
            protocol = tuple(re.sub(r"\d+", "", text) for text in first.protocol[2:])
            geometry = (first.shape, *np.round(first.spacing[:2], 3), *np.round(first.orientation.ravel(), 2))
            groups[(*first.protocol[:2], protocol, len(series.frames), geometry)].append(series)
    stacks: list[DicomSeries] = []
    for alike in groups.values():
        normal = alike[0].frames[0].normal
        by_place = {round(float(normal @ series.frames[0].position), 1): series for series in alike}
        members = list(by_place.values())
        gaps = np.diff(sorted(by_place))
        if len(members) < _FEWEST_SLICES or np.abs(gaps - np.median(gaps)).max() > _REGULAR * np.median(gaps):
            continue
        frames = tuple(frame for series in members for frame in series.frames)
        key = STACK + (str(len(stacks) + 1) if stacks else "")
        stacks.append(DicomSeries(members[0].path, key, frames, -1, ""))
    return stacks


def _is_one_slice(frames: Sequence[DicomFrame]) -> bool:
    return len(frames) > 1 and all(np.abs(frame.position - frames[0].position).max() < 0.1 for frame in frames)
