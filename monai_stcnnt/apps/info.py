# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What a file or folder holds, and what would be done with it, without a word about the patient."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Literal

from pydicom.uid import UID
from tqdm import tqdm

from monai_stcnnt.data import (
    DicomSeries,
    SeriesRecord,
    format_of,
    list_dicom_series,
    list_series,
    read_dicom,
    read_series,
)
from monai_stcnnt.data.formats.dicom.frames import read_header
from monai_stcnnt.data.formats.dicom.pixels import missing_decoder
from monai_stcnnt.data.formats.dicom.sorting import sort_frames
from monai_stcnnt.errors import StcnntError

__all__ = ["SeriesKind", "SeriesSummary", "as_json", "as_text", "describe"]

SeriesKind = Literal["magnitude", "complex", "phase", "real", "imaginary", "unknown"]

_FORMATS = {"nifti": "NIfTI", "dicom": "DICOM", "numpy": "NumPy", "itk": "MetaImage or NRRD"}


@dataclass(frozen=True)
class SeriesSummary:
    """One image or series of images, and what would be done with it.

    Attributes:
        path: the file, or the folder that holds the series.
        file_format: ``nifti``, ``dicom``, ``numpy`` or ``itk``.
        series: the name to ask for where a folder holds several DICOM series, empty elsewhere.
        kind: magnitude or complex, or the part of a complex image that it is.
        shape: sizes (x, y, z, t); empty where they are not known, since the image cannot be read.
        spacing: millimeters along x, y, z.
        frame_times: milliseconds, one per frame; None where the file does not tell.
        ordered_by: what ordered the frames of a DICOM series in time.
        vendor: of the scanner, from a DICOM header.
        modality: from a DICOM header.
        transfer_syntax: how the pixels of a DICOM file are stored.
        files: number of DICOM files.
        refused: why it would be refused, in a sentence; empty where it would be denoised.
    """

    path: str
    file_format: str
    series: str = ""
    kind: SeriesKind = "unknown"
    shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    frame_times: tuple[float | None, ...] = field(default=(), repr=False)
    ordered_by: str = ""
    vendor: str = ""
    modality: str = ""
    transfer_syntax: str = ""
    files: int = 1
    refused: str = ""

    @property
    def frame_time(self) -> float | None:
        """Median time from frame to frame in milliseconds; None for one frame or unknown times."""
        times = [t for t in self.frame_times if t is not None]
        return median(b - a for a, b in pairwise(times)) if len(times) > 1 else None

    @property
    def network(self) -> str:
        """Which network would denoise it: ``magnitude`` or ``complex``; empty where it would be refused."""
        return "" if self.refused else self.kind

    @property
    def outcome(self) -> str:
        """What would be done with it, in a sentence."""
        if self.refused:
            return f"refused: {self.refused}"
        times, slices = self.shape[3], self.shape[2]
        frames = f"{times} frames in time" if times > 1 else f"{slices} slices" if slices > 1 else "a single frame"
        note = "; the result is written as NIfTI" if self.kind == "complex" and self.file_format == "dicom" else ""
        return f"denoised by the {self.network} network, as {frames}{note}"


def describe(path: str | Path, *, progress: bool = False) -> list[SeriesSummary]:
    """Tell what a file or folder holds, and what :func:`monai_stcnnt.apps.denoise` would do with it.

    Of DICOM files the headers are read, and the pixels only where two series may make one complex image. Other files
    are read as a whole.

    Args:
        path: a file or a folder, which is searched with its sub folders.
        progress: show a bar where it takes more than two seconds.

    Returns:
        One entry per image, in the order of paths and series numbers. What cannot be worked on has its reason in
        ``refused``.

    Raises:
        MissingFileError: if there is no such file or folder.
        NotAnImageError: if it is a file of another kind.
        EmptyImageError: if the folder holds no image.
    """
    entries = tqdm(list_series(path), desc="Reading", unit="image", delay=2, disable=not progress, leave=False)
    return [summary for entry in entries for summary in _describe_entry(entry)]


def as_json(summaries: Sequence[SeriesSummary]) -> str:
    """Write summaries as JSON for other programs.

    Args:
        summaries: of :func:`describe`.

    Returns:
        A list of objects with the attributes of :class:`SeriesSummary`, ``frame_time`` and ``network``.
    """
    listed = [{**dataclasses.asdict(s), "frame_time": s.frame_time, "network": s.network} for s in summaries]
    return json.dumps(listed, indent=2, allow_nan=False)


def as_text(summaries: Sequence[SeriesSummary]) -> str:
    """Write summaries for people.

    Args:
        summaries: of :func:`describe`.

    Returns:
        A paragraph for each.
    """
    return "\n".join(_paragraph(summary) for summary in summaries)


def _paragraph(summary: SeriesSummary) -> str:
    lines = [summary.path + (f", series {summary.series}" if summary.series else "")]
    if summary.shape:
        size = " x ".join(map(str, summary.shape))
        voxels = " x ".join(f"{v:.4g}" for v in summary.spacing)
        lines.append(f"{summary.kind}, {size} (x, y, z, t), voxels {voxels} mm{_frame_text(summary)}")
    source = [_FORMATS[summary.file_format], summary.modality, summary.vendor, summary.transfer_syntax]
    if summary.file_format == "dicom":
        source.append("1 file" if summary.files == 1 else f"{summary.files} files")
    return "\n  ".join([*lines, ", ".join(filter(None, source)), summary.outcome])


def _frame_text(summary: SeriesSummary) -> str:
    if summary.shape[3] < 2:
        return ""
    step = summary.frame_time
    text = ", frame times unknown" if step is None else f", frames {step:.4g} ms apart"
    return text + (f" (by {summary.ordered_by})" if summary.ordered_by else "")


def _describe_entry(entry: Path) -> list[SeriesSummary]:
    """Summaries of one file, or of one folder that itself holds a NumPy pair or DICOM files."""
    file_format = format_of(entry) or ""
    try:
        if file_format != "dicom":
            return [_of_record(read_series(entry))]
        found = list_dicom_series(entry)
        joined = _complex_record(entry, found)
        if joined is not None:
            return [_of_dicom(entry, found, _of_record(joined))]
    except StcnntError as error:
        return [SeriesSummary(str(entry), file_format, refused=str(error))]
    return [_of_series(entry, part, is_only=len(found) == 1) for part in found]


def _complex_record(entry: Path, found: Sequence[DicomSeries]) -> SeriesRecord | None:
    """The complex image that all series of a folder make; None where they are several images."""
    if len(found) < 2 or all(part.component == "magnitude" for part in found):
        return None
    try:
        return read_dicom(entry)
    except StcnntError:
        return None


def _of_series(entry: Path, part: DicomSeries, *, is_only: bool) -> SeriesSummary:
    """Summary of one DICOM series from its headers."""
    series = "" if is_only else part.key
    start = SeriesSummary(str(entry), "dicom", series, kind=part.component)
    try:
        start = _of_dicom(entry, [part], start)
        ordered = sort_frames(part.frames, f"{entry}, series {part.key}")
        rows, columns = part.frames[0].shape
        summary = dataclasses.replace(
            start,
            shape=(columns, rows, len(ordered.grid[0]), len(ordered.grid)),
            spacing=tuple(float(v) for v in (ordered.affine[:3, :3] ** 2).sum(axis=0) ** 0.5),
            frame_times=_finite(ordered.frame_times.tolist()),
            ordered_by=ordered.ordered_by,
        )
    except StcnntError as error:
        return dataclasses.replace(start, refused=str(error))
    if part.component == "magnitude":
        return summary
    other = {"phase": "the magnitude", "real": "the imaginary part"}.get(part.component, "the real part")
    return dataclasses.replace(
        summary,
        refused=f"a {part.component} image alone cannot be worked on; ask for it together with {other} of the same "
        "image, as KEY+KEY.",
    )


def _of_record(record: SeriesRecord) -> SeriesSummary:
    shape = record.array.shape
    return SeriesSummary(
        path=str(record.metadata["source"]),
        file_format=str(record.metadata["file_format"]),
        series=str(record.metadata.get("series", "")),
        kind=record.kind,
        shape=shape[:0:-1],
        spacing=tuple(float(v) for v in record.spacing),
        frame_times=_finite(record.frame_times.tolist()),
        ordered_by=str(record.metadata.get("ordered_by", "")),
    )


def _of_dicom(entry: Path, parts: Sequence[DicomSeries], summary: SeriesSummary) -> SeriesSummary:
    """Add what the header of the first file says."""
    first = parts[0].frames[0]
    header = read_header(first.path)
    syntax = UID(str(header.file_meta.get("TransferSyntaxUID", "")))
    missing = missing_decoder(syntax)
    return dataclasses.replace(
        summary,
        vendor=_printable(first.vendor),
        modality=_printable(str(header.get("Modality", ""))),
        transfer_syntax=_printable(syntax.name),
        files=len({frame.path for part in parts for frame in part.frames}),
        refused=f"{entry} {missing}" if missing else "",
    )


def _printable(text: str) -> str:
    return "".join(c for c in text if c.isprintable()).strip()[:64]


def _finite(times: Sequence[float]) -> tuple[float | None, ...]:
    return tuple(t if math.isfinite(t) else None for t in times)
