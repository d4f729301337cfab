# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What a file or folder holds, and what would be done with it, without a word about the patient."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from monai_stcnnt.data import SeriesSummary, list_images, list_series
from monai_stcnnt.data.formats.registry import format_named, result_extension

__all__ = ["SeriesSummary", "as_json", "as_text", "describe", "outcome"]


def describe(path: str | Path, *, progress: bool = True) -> list[SeriesSummary]:
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
    shown = None if progress else True  # None: on a terminal
    entries = tqdm(list_series(path), desc="Reading", unit="image", delay=2, disable=shown, leave=False)
    return [summary for entry in entries for summary in list_images(entry, progress=progress, stacks=True)]


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
    skipped = {summary.path: summary.skipped for summary in summaries if summary.skipped}
    notes = [f"{path}: {number} files are not images and are skipped" for path, number in skipped.items()]
    return "\n".join([*(_paragraph(summary) for summary in summaries), *notes])


def _paragraph(summary: SeriesSummary) -> str:
    lines = [summary.path + (f", series {summary.series}" if summary.series else "")]
    if summary.shape:
        size = " x ".join(map(str, summary.shape))
        voxels = " x ".join(f"{v:.4g}" for v in summary.spacing)
        lines.append(f"{summary.kind}, {size} (x, y, z, t), voxels {voxels} mm{_frame_text(summary)}")
    known_by = [summary.description, summary.protocol and f"protocol {summary.protocol}", *summary.facts]
    if summary.b_values:
        known_by.append("b-values " + ", ".join(f"{b:g}" for b in summary.b_values))
    source = [_label(summary), summary.modality, summary.vendor, summary.transfer_syntax]
    if summary.files > 1 or summary.transfer_syntax:
        source.append("1 file" if summary.files == 1 else f"{summary.files} files")
    texts = [", ".join(filter(None, known_by)), ", ".join(filter(None, source))]
    return "\n  ".join([*lines, *filter(None, texts), *summary.remarks, outcome(summary)])


def _frame_text(summary: SeriesSummary) -> str:
    if summary.shape[3] < 2:
        return ""
    step = summary.frame_time
    text = ", frame times unknown" if step is None else f", frames {round(step, 2):.10g} ms apart"
    return text + (f" (by {summary.ordered_by})" if summary.ordered_by else "")


def outcome(summary: SeriesSummary) -> str:
    """Tell what would be done with an image, in a sentence.

    Args:
        summary: of :func:`describe`.

    Returns:
        The network that would denoise it and what it takes for frames, or why it would be refused.
    """
    if summary.refused:
        return f"refused: {summary.refused}"
    if summary.members:
        return (
            f"series {', '.join(summary.members)} make one stack: take it with --stack, or as series {summary.series}"
        )
    times, slices = summary.shape[3], summary.shape[2]
    weighted = f"{times} frames by themselves, for their b-values differ" if len(summary.b_values) > 1 else ""
    frames = (
        weighted or f"{times} frames in time" if times > 1 else f"{slices} slices" if slices > 1 else "a single frame"
    )
    extension = result_extension(summary.path, summary.file_format, summary.kind)
    own = result_extension(summary.path, summary.file_format, "magnitude")
    note = "; the result is written as NIfTI" if extension != own else ""
    return f"denoised by the {summary.network} network, as {frames}{note}"


def _label(summary: SeriesSummary) -> str:
    row = format_named(summary.file_format)
    return summary.file_format if row is None else row.label
