# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What a file format has to say for itself: :class:`Format`, and what it lists: :class:`SeriesSummary`."""

from __future__ import annotations

import math
import sys
from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Literal

import numpy as np

from monai_stcnnt.data.content import check_mr_content
from monai_stcnnt.data.provenance import sidecar_action
from monai_stcnnt.data.record import SeriesRecord, weightings_of
from monai_stcnnt.data.sinks import RecordSink, SeriesSink
from monai_stcnnt.data.slabs import IN_MEMORY, MemorySlabs, SeriesSlabs, Watch
from monai_stcnnt.errors import NotAnImageError, OutputNotWritableError, SeriesSelectionError, StcnntError

__all__ = [
    "NIFTI_EXTENSION",
    "Format",
    "OutputDtype",
    "SeriesKind",
    "SeriesSummary",
    "WriteOptions",
    "finite_times",
    "known_facts",
    "printable",
    "refuse_series",
]

OutputDtype = Literal["float32", "float64", "int16", "uint16", "uint8"]
SeriesKind = Literal["magnitude", "complex", "phase", "real", "imaginary", "velocity", "derived", "unknown"]

NIFTI_EXTENSION = ".nii.gz"
"""Ending of results of formats that cannot hold them."""


@dataclass(frozen=True)
class SeriesSummary:
    """One image or series of images, and what would be done with it.

    Attributes:
        path: the file, or the folder that holds the series.
        file_format: name of the format, such as ``nifti``.
        series: the name to ask for where one path holds several images, empty elsewhere.
        kind: magnitude or complex, or the part of a complex image that it is.
        shape: sizes (x, y, z, t); empty where they are not known, since the image cannot be read.
        spacing: millimeters along x, y, z.
        frame_times: milliseconds, one per frame; None where the file does not tell.
        ordered_by: what ordered the frames of a DICOM series in time.
        description: what the series is called on the scanner.
        protocol: the protocol that it was measured with, where that has another name.
        facts: what else people know it by: echo time, repetition time, flip angle, field.
        b_values: diffusion weightings of its frames in s/mm2, those that differ.
        vendor: of the scanner.
        modality: from a DICOM header.
        transfer_syntax: how the pixels of a DICOM file are stored.
        files: number of files that belong to it.
        skipped: number of files in its folder that are no images.
        made: what this package did to make it, such as ``denoised``; empty for an image from elsewhere.
        members: keys of the series of one slice each that it joins, for a stack of them.
        remarks: what is not as it should be, although it would be denoised.
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
    description: str = ""
    protocol: str = ""
    facts: tuple[str, ...] = ()
    b_values: tuple[float, ...] = ()
    vendor: str = ""
    modality: str = ""
    transfer_syntax: str = ""
    files: int = 1
    skipped: int = 0
    made: str = ""
    members: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
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
    def size(self) -> int:
        """Voxels, those of both parts of a complex image; 0 where they are not known."""
        return (2 if self.kind == "complex" else 1) * math.prod(self.shape) if self.shape else 0


@dataclass(frozen=True)
class WriteOptions:
    """How to write, as far as a format can.

    Attributes:
        dtype: type of the voxels in a NIfTI file.
        uid_seed: makes the UIDs and dates of DICOM files a function of this text and their source, for the same files
            every time.
        class_names: makes the image a mask: the name of every value but 0.
        algorithm_version: version of what made a mask, for DICOM.
        seg_per_frame: one DICOM segmentation object per frame in place of one with time as a dimension.
    """

    dtype: OutputDtype = "float32"
    uid_seed: str | None = None
    class_names: Mapping[int, str] | None = None
    algorithm_version: str = "unspecified"
    seg_per_frame: bool = False


class Format(ABC):
    """A file format: one subclass and one row in :data:`~monai_stcnnt.data.formats.registry.FORMATS`.

    Everything that depends on a format asks its row: listing, reading, slabs, writing, checksums, watching for
    changes, the batch and ``stcnnt info``. A new format defines :attr:`name`, :attr:`label`, :attr:`extensions` and
    :meth:`read`; :meth:`files_of` where an image has more than one file; and more where it can do more.

    Attributes:
        name: as records tell it (``file_format``).
        label: for people.
        extensions: endings of its files' names, in lower case; none for a format of folders.
        holds_several: whether one path may hold several images.
        holds_geometry: whether it tells the size of voxels.
        holds_references: whether a mask can be an object of its own that refers to its images (DICOM segmentations).
    """

    name: str
    label: str
    extensions: tuple[str, ...] = ()
    holds_several: bool = False
    holds_geometry: bool = True
    holds_references: bool = False

    @property
    def is_written(self) -> bool:
        """Whether results can have this format."""
        return type(self).write is not Format.write

    def sniff(self, path: Path) -> bool:
        """Tell whether a file, or a folder that itself holds the files of images, is of this format.

        Args:
            path: file or folder that exists.

        Returns:
            Whether to ask this format.
        """
        return self.has_name(path) and not path.is_dir()

    def has_name(self, path: Path) -> bool:
        """Tell by its ending whether a name is one of this format; the file need not exist."""
        return bool(self.extensions) and path.name.lower().endswith(self.extensions)

    def entries_in(self, folder: Path, names: Sequence[str]) -> list[Path]:
        """List what a folder itself holds, for a search through folders.

        Args:
            folder: the folder.
            names: the files in it, without hidden ones.

        Returns:
            Files of this format; or the folder, where it is what holds the images.
        """
        return [folder / name for name in names if self.has_name(Path(name))]

    def files_of(self, path: Path) -> list[Path]:
        """List every file that the images at a path are made of.

        Args:
            path: as in :meth:`sniff`.

        Returns:
            Files that exist, the path itself first where it is one of them. Another content of any of them makes
            other images.
        """
        return [path]

    def list(
        self, path: Path, *, check: bool = True, progress: bool = False, stacks: bool = False
    ) -> list[SeriesSummary]:
        """Tell what a file or folder holds.

        Args:
            path: as in :meth:`sniff`.
            check: read values where it takes them to tell that an image would be refused; else headers only.
            progress: show a bar where many files take more than two seconds.
            stacks: add stacks that series of one slice each make, by their key ``stack``.

        Returns:
            One entry per image; what cannot be worked on has its reason in ``refused``.
        """
        try:
            if check:
                with self.open(path) as slabs:
                    slabs.check_values()
                    outline, foreign = slabs.outline, _foreign(slabs)
            else:
                outline, foreign = self.outline(path), ""
            return [replace(self.summary_of(outline, len(self.files_of(path))), refused=foreign)]
        except StcnntError as error:
            return [SeriesSummary(str(path), self.name, refused=str(error))]

    def outline(self, path: Path) -> SeriesRecord:
        """Read an image's header: a record whose values do not count. By default all of it is read."""
        with self.open(path) as slabs:
            return slabs.outline

    def read(self, path: Path, *, series: str | int | None = None) -> SeriesRecord:
        """Read an image; see :func:`~monai_stcnnt.data.formats.registry.read_series`, which checks its values.

        Either this or :meth:`open` has to be defined.
        """
        with self.open(path, series=series, memory=sys.maxsize) as slabs:
            return slabs.record()

    def open(
        self, path: Path, *, series: str | int | None = None, memory: int = IN_MEMORY, scratch: str | Path | None = None
    ) -> SeriesSlabs:
        """Open an image to read it slab by slab; by default it is read at once.

        Args:
            path: as in :meth:`sniff`.
            series: which one, where there are several.
            memory: largest size in bytes, as float32, of an image that is read at once.
            scratch: folder to unpack a compressed file in.

        Returns:
            The open image; its values are not checked.

        Raises:
            ChangedFileError: if a file was changed while it was read.
        """
        watch = Watch(self.files_of(path))
        try:
            return MemorySlabs(self.read(path, series=series))
        finally:
            watch.check()

    def write(self, record: SeriesRecord, path: Path, how: WriteOptions) -> Path:
        """Write a record, or a mask where the options name its classes.

        Raises:
            OutputNotWritableError: if this format is not written, or cannot hold the record.
        """
        raise OutputNotWritableError(f"{path}: {self.label} is read, but not written. Choose a name that ends in .nii.")

    def sink(self, outline: SeriesRecord, path: Path, how: WriteOptions, memory: int) -> SeriesSink:
        """Begin to write an image that comes slab by slab; by default it is written when all of it is there.

        Args:
            outline: what will be written; its values do not count.
            path: the file or folder to be.
            how: the options.
            memory: largest size in bytes to keep in memory.

        Returns:
            What takes the slabs.
        """
        return RecordSink(outline, path, lambda record, to: self.write(record, to, how), memory)

    def result_extension(self, path: Path, kind: str) -> str:
        """Tell how the result of an image ends.

        Args:
            path: the image.
            kind: ``"magnitude"`` or ``"complex"``.

        Returns:
            An ending such as the image's own, empty for a folder.
        """
        ending = next((e for e in self.extensions if path.name.lower().endswith(e)), "")
        return path.name[len(path.name) - len(ending) :]

    def made_by(self, path: Path) -> str:
        """Tell what this package did to make an image, empty where it did not; a look at headers alone."""
        return sidecar_action(path) if self.extensions else ""

    def summary_of(self, record: SeriesRecord, files: int = 1) -> SeriesSummary:
        """Describe a record, or the outline of one."""
        return SeriesSummary(
            path=str(record.metadata["source"]),
            file_format=self.name,
            series=str(record.metadata.get("series", "")),
            kind=record.kind,
            shape=record.array.shape[:0:-1],
            spacing=tuple(float(v) for v in record.spacing),
            frame_times=finite_times(record.frame_times),
            ordered_by=str(record.metadata.get("ordered_by", "")),
            made=sidecar_action(record.metadata["source"]) if self.extensions else "",
            vendor=str(record.metadata.get("vendor", "")),
            files=files,
            b_values=weightings_of(record.metadata),
            remarks=tuple(record.metadata.get("remarks", ())),
        )


def _foreign(slabs: SeriesSlabs) -> str:
    """Why denoising would refuse values that are not those of an MR image; empty where it would not."""
    try:
        check_mr_content(slabs)
    except NotAnImageError as error:
        return str(error)
    return ""


def printable(text: object) -> str:
    """A short text of a header without what could move the cursor of a terminal."""
    return "".join(c for c in str(text) if c.isprintable()).strip()[:64]


def known_facts(echo_time: float, repetition_time: float, flip_angle: float, field: float) -> tuple[str, ...]:
    """What people know a series by, but for dates.

    Args:
        echo_time: in milliseconds; NaN where it is not told, as for the others.
        repetition_time: in milliseconds.
        flip_angle: in degrees.
        field: in tesla.

    Returns:
        A text for each that is told.
    """
    numbers = (
        ("TE {:g} ms", echo_time), ("TR {:g} ms", repetition_time), ("flip angle {:g}", flip_angle), ("{:g} T", field),
    )  # fmt: skip
    return tuple(text.format(number) for text, number in numbers if math.isfinite(number) and number > 0)


def finite_times(times: np.ndarray) -> tuple[float | None, ...]:
    """Frame times for a summary: None in the place of NaN."""
    return tuple(float(t) if math.isfinite(t) else None for t in times)


def refuse_series(path: Path, series: str | int | None) -> None:
    """Refuse to choose a series where there is one image.

    Raises:
        SeriesSelectionError: if one is asked for.
    """
    if series is not None:
        raise SeriesSelectionError(f"{path} is a single image, so there is no series {series!r} to choose.")
