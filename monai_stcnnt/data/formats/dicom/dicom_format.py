# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM as a row among the formats: a file, or a folder that is searched with its sub folders."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import Dataset

from monai_stcnnt.data.content import foreign_content
from monai_stcnnt.data.formats.base import (
    NIFTI_EXTENSION,
    Format,
    SeriesSummary,
    WriteOptions,
    known_facts,
    printable,
)
from monai_stcnnt.data.formats.dicom.headers import (
    DECODE_FAILURES,
    is_dicom,
    number_in,
    quiet_pydicom,
    read_header,
    syntax_of,
)
from monai_stcnnt.data.formats.dicom.listing import list_dicom_series
from monai_stcnnt.data.formats.dicom.pixels import missing_decoder
from monai_stcnnt.data.formats.dicom.seg import write_dicom_seg
from monai_stcnnt.data.formats.dicom.series import DicomSeries, stacks_of
from monai_stcnnt.data.formats.dicom.slabs import DicomSlabs, open_dicom
from monai_stcnnt.data.formats.dicom.writer import write_dicom_series
from monai_stcnnt.data.formats.parts import alone_refused, pair_of
from monai_stcnnt.data.paths import files_below
from monai_stcnnt.data.provenance import action_of
from monai_stcnnt.data.record import SeriesRecord
from monai_stcnnt.data.slabs import IN_MEMORY, SeriesSlabs
from monai_stcnnt.errors import NotAnImageError, OutputNotWritableError, StcnntError, UnreadableFileError

__all__ = ["Dicom"]


_FEW_PLANES = 8
_FROM_OUTLINE = ("shape", "spacing", "frame_times", "ordered_by", "b_values", "remarks")


class Dicom(Format):
    """DICOM files and folders."""

    name, label = "dicom", "DICOM"
    holds_references = True
    holds_several = True

    def sniff(self, path: Path) -> bool:
        """Tell by its content whether a file is DICOM, or a folder itself holds such a file."""
        if not path.is_dir():
            return is_dicom(path)
        return any(is_dicom(file) for file in path.iterdir() if file.is_file() and not file.name.startswith("."))

    def entries_in(self, folder: Path, names: Sequence[str]) -> list[Path]:
        """List the folder where it holds a DICOM file."""
        return [folder] if any(is_dicom(folder / name) for name in names) else []

    def files_of(self, path: Path) -> list[Path]:
        """List the file, or all files of a folder and its sub folders: any of them may be, or become, DICOM."""
        return files_below(path)

    def list(
        self, path: Path, *, check: bool = True, progress: bool = False, stacks: bool = False
    ) -> list[SeriesSummary]:
        """Tell what a file or folder holds, from headers; pixels are read where two series may be one complex image."""
        try:
            found = list_dicom_series(path, progress=progress)
        except StcnntError as error:
            return [SeriesSummary(str(path), self.name, refused=str(error))]
        joined = _complex_record(found)
        if joined is not None:
            try:
                summary = _of_header(path, found, self.summary_of(joined))
            except StcnntError as error:
                return [SeriesSummary(str(path), self.name, refused=str(error))]
            return [dataclasses.replace(summary, skipped=found[0].skipped)]
        listed = [self._of_series(path, part, is_only=len(found) == 1, check=check) for part in found]
        for stack in stacks_of(found) if stacks else ():
            members = tuple(part.key for part in found if set(part.frames) <= set(stack.frames))
            joined_slices = dataclasses.replace(self._of_series(path, stack, is_only=False), members=members)
            listed.append(joined_slices)
        return listed

    def open(
        self, path: Path, *, series: str | int | None = None, memory: int = IN_MEMORY, scratch: str | Path | None = None
    ) -> SeriesSlabs:
        """Open one series; of a large one, pixels are read when they are asked for."""
        return open_dicom(path, series=series).within(memory)

    def write(self, record: SeriesRecord, path: Path, how: WriteOptions) -> Path:
        """Write a derived series, or segmentation objects; see the modules ``writer`` and ``seg``."""
        if how.class_names is None:
            return write_dicom_series(record, path, uid_seed=how.uid_seed)
        if record.metadata.get("file_format") != self.name:
            raise OutputNotWritableError(
                f"{path}: only images from DICOM files have DICOM segmentations. Choose a name that ends in .nii.gz."
            )
        return write_dicom_seg(
            record, path, class_names=how.class_names, algorithm_version=how.algorithm_version, uid_seed=how.uid_seed,
            per_frame=how.seg_per_frame,
        )  # fmt: skip

    def result_extension(self, path: Path, kind: str) -> str:
        """A result is a folder with a derived series; a complex image becomes NIfTI."""
        return NIFTI_EXTENSION if kind == "complex" else ""

    def _of_series(self, entry: Path, part: DicomSeries, *, is_only: bool, check: bool = False) -> SeriesSummary:
        """Summary of one series from its headers."""
        start = SeriesSummary(
            str(entry), self.name, "" if is_only else part.key, kind=part.component, skipped=part.skipped
        )
        if part.error is not None:
            is_other = isinstance(part.error, NotAnImageError)  # a color image
            kind = part.component if part.frames else "derived" if is_other else "unknown"
            return dataclasses.replace(start, kind=kind, refused=str(part.error))
        try:
            start = _of_header(entry, [part], start)
            summary = self.summary_of(part.outline())
            refused = start.refused or alone_refused(part)
            if check and not refused:
                summary = dataclasses.replace(summary, remarks=(*summary.remarks, *_remarks_on_pixels(part)))
        except StcnntError as error:
            return dataclasses.replace(start, refused=str(error))
        return dataclasses.replace(start, refused=refused, **{name: getattr(summary, name) for name in _FROM_OUTLINE})


def _remarks_on_pixels(part: DicomSeries) -> tuple[str, ...]:
    """Look at the pixels in the middle of an image, and at a few more of them where these look odd.

    Raises:
        StcnntError: where it cannot be read, or has one value everywhere.
    """
    with DicomSlabs([part]) as slabs:
        _, times, places, *_ = slabs.shape
        middle = slabs.read(slice(times // 2, times // 2 + 1), slice(places // 2, places // 2 + 1))
        if middle.min() == middle.max():
            slabs.check_values()
        reason = foreign_content(middle[0], is_integer=True)
        few = slabs.sample_places(_FEW_PLANES * middle.size) if reason else []
        if not few or not all(foreign_content(slabs.read(*place)[0], is_integer=True) for place in few):
            return ()
    return (f"it {reason}: denoising refuses what is no MR magnitude image, unless it is forced",)


def _complex_record(found: Sequence[DicomSeries]) -> SeriesRecord | None:
    """The complex image that two parts make; None where they are several images."""
    if len(found) != 2 or len(pair_of(found)) != 2:
        return None
    try:
        with DicomSlabs(pair_of(found)) as slabs:
            return slabs.record()
    except StcnntError:
        return None


def _of_header(entry: Path, parts: Sequence[DicomSeries], summary: SeriesSummary) -> SeriesSummary:
    """Add what the header of the first file says.

    Raises:
        UnreadableFileError: if it is damaged there.
    """
    first = parts[0].frames[0]
    try:
        with quiet_pydicom():
            return _described(entry, parts, summary, read_header(first.path))
    except StcnntError:
        raise
    except DECODE_FAILURES as error:
        raise UnreadableFileError(
            f"{first.path} has a damaged header: {type(error).__name__}. Copy it again."
        ) from None  # the cause quotes values


def _described(entry: Path, parts: Sequence[DicomSeries], summary: SeriesSummary, header: Dataset) -> SeriesSummary:
    first = parts[0].frames[0]
    syntax = syntax_of(header)
    missing = missing_decoder(syntax, int(header.get("BitsStored") or 8))
    return dataclasses.replace(
        summary,
        description=printable(str(header.get("SeriesDescription") or "")),
        protocol=_protocol(header),
        facts=_facts(header, parts),
        vendor=printable(first.vendor),
        modality=printable(str(header.get("Modality", ""))),
        transfer_syntax=printable(syntax.name),
        files=len({frame.path for part in parts for frame in part.frames}),
        made=next(filter(None, map(action_of, _contributions(header))), ""),
        refused=f"{entry} {missing}" if missing else "",
    )


def _protocol(header: Dataset) -> str:
    """Name of the protocol, where it is not that of the series."""
    protocol = str(header.get("ProtocolName") or "")
    return "" if protocol == str(header.get("SeriesDescription") or "") else printable(protocol)


def _facts(header: Dataset, parts: Sequence[DicomSeries]) -> tuple[str, ...]:
    """What people know a series by, but for dates."""
    first = parts[0].frames[0]
    angle, field = (number_in([header], name) for name in ("FlipAngle", "MagneticFieldStrength"))
    return known_facts(first.echo_time, first.repetition_time, angle, field)


def _contributions(header: Dataset) -> list[str]:
    """What equipment did to an image, by its header."""
    return [str(item.get("ContributionDescription", "")) for item in header.get("ContributingEquipmentSequence") or []]
