# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What a DICOM file, or a folder with its sub folders, holds: series, echoes and parts of complex images, with keys.

A folder may hold several series, and a series several images that are no frames of each other: echoes, or the parts
of a complex image. Each is listed under a key such as ``"8"``, ``"8-e2"`` or ``"8-phase"``, by which it can be asked
for. Magnitude and phase (or real and imaginary part) that are alone in a folder make one complex image; so do two
keys joined by ``+``.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import UID, EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage, MRImageStorage

from monai_stcnnt.data.checks import check_exists
from monai_stcnnt.data.formats.dicom.frames import (
    DicomFrame,
    frames_of,
    has_pixels,
    is_dicom,
    quiet_pydicom,
    read_header,
)
from monai_stcnnt.data.formats.dicom.series import DicomSeries
from monai_stcnnt.data.paths import files_below
from monai_stcnnt.errors import EmptyImageError, UnreadableFileError

__all__ = ["list_dicom_series"]

_MR_IMAGES = (MRImageStorage, EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage)
_SUFFIXES = (".dcm", ".ima")


def list_dicom_series(path: str | Path) -> list[DicomSeries]:
    """List what a DICOM file, or a folder with its sub folders, holds.

    Args:
        path: file or folder. Files that are not DICOM, or have no pixels, are passed over in a folder.

    Returns:
        The series in the order of their numbers.

    Raises:
        MissingFileError: if there is no such file or folder.
        EmptyImageError: if the folder holds no image.
        NotAnImageError: if the file is no image, or an image is of a kind that is not read, such as color.
        GeometryError: if a frame has no position in space.
        UnreadableFileError: if a file is damaged.
    """
    path = check_exists(path)
    frames: list[DicomFrame] = []
    for file in [path] if path.is_file() else _dicom_files(path):
        dataset = read_header(file)
        if path.is_file() or has_pixels(dataset):
            frames += frames_of(dataset, file)
        elif not _is_no_image(dataset):
            raise UnreadableFileError(
                f"{file} should be an image, but has no rows and columns. It is incomplete; copy it anew."
            )
    if not frames:
        raise EmptyImageError(f"{path} holds no DICOM image. Check the folder.")
    return _grouped(path, frames)


def _dicom_files(folder: Path) -> list[Path]:
    files = [file for file in files_below(folder) if file.name != "DICOMDIR"]
    found = [file for file in files if is_dicom(file)]
    damaged = [file for file in files if file not in set(found) and _was_dicom(file)] if found else []
    if damaged:
        raise UnreadableFileError(f"{damaged[0]} is damaged at its beginning, or incomplete; copy it anew.")
    return found


def _was_dicom(file: Path) -> bool:
    """Tell whether a file should be DICOM: by its name, the empty preamble, or the identifiers that all DICOM has."""
    try:
        with open(file, "rb") as content:
            start = content.read(1024)
    except OSError as error:
        raise UnreadableFileError(f"{file} cannot be opened: {error.strerror}. Check its permissions.") from error
    is_empty = len(start) > 0 and not any(start[:128])
    return file.suffix.lower() in _SUFFIXES or is_empty or b"1.2.840.10008." in start


def _is_no_image(dataset: pydicom.Dataset) -> bool:
    """Tell whether a file says that it is something else, such as a report or the state of a viewer."""
    with quiet_pydicom():
        uid = UID(str(dataset.file_meta.get("MediaStorageSOPClassUID") or dataset.get("SOPClassUID") or ""))
    is_known = uid.name != str(uid) or (uid.is_valid and uid.is_private)
    return is_known and uid not in _MR_IMAGES


def _grouped(path: Path, frames: Sequence[DicomFrame]) -> list[DicomSeries]:
    """Split frames into series, parts of complex images and echoes, with a key for each."""
    by_uid: dict[str, list[DicomFrame]] = defaultdict(list)
    for frame in frames:
        by_uid[frame.series_uid].append(frame)
    uids = sorted(by_uid, key=lambda uid: (by_uid[uid][0].series_number, uid))
    numbers = [by_uid[uid][0].series_number for uid in uids]
    result = []
    for position, (uid, number) in enumerate(zip(uids, numbers, strict=True)):
        name = str(number) if number >= 0 else "none"
        if numbers.count(number) > 1:
            name += chr(ord("a") + numbers[:position].count(number) % 26)
        components = sorted({frame.component for frame in by_uid[uid]})
        for component in components:
            part = [frame for frame in by_uid[uid] if frame.component == component]
            echoes = _echoes(part)
            for index, echo in enumerate(echoes):
                key = (
                    name
                    + (f"-e{index + 1}" if len(echoes) > 1 else "")
                    + (f"-{component}" if len(components) > 1 else "")
                )
                result.append(DicomSeries(path, key, tuple(echo)))
    return result


def _echoes(frames: list[DicomFrame]) -> list[list[DicomFrame]]:
    """Split by echo time where one place was imaged at several; slices may differ in it by planning."""
    by_echo: dict[float, list[DicomFrame]] = defaultdict(list)
    places: dict[tuple[int, ...], set[float]] = defaultdict(set)
    for frame in frames:
        echo = round(frame.echo_time, 3) if math.isfinite(frame.echo_time) else -1.0
        by_echo[echo].append(frame)
        places[tuple(np.round(frame.position * 10).astype(int))].add(echo)
    if all(len(echoes) == 1 for echoes in places.values()):
        return [frames]
    return [by_echo[echo] for echo in sorted(by_echo)]
