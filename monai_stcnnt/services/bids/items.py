# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What a BIDS dataset holds to denoise: images with their metadata, magnitude and phase joined."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from monai_stcnnt.data import SeriesRecord, read_series
from monai_stcnnt.data.formats.parts import join_parts, phase_scale
from monai_stcnnt.data.paths import check_exists
from monai_stcnnt.errors import EmptyImageError, MissingFileError, SeriesMismatchError
from monai_stcnnt.services.extras import needed

__all__ = ["SUFFIXES", "BidsItem", "list_items", "with_parts"]

SUFFIXES = (
    "bold", "cbv", "dwi", "asl", "T1w", "T2w", "T2starw", "PDw", "PDT2", "FLAIR", "inplaneT1", "inplaneT2", "angio",
    "cine",
)  # fmt: skip
"""Suffixes of images that are denoised; ``cine`` is none of BIDS itself, but of datasets of hearts."""

_EXTENSIONS = (".nii", ".nii.gz")
_BESIDE = {"dwi": (".bval", ".bvec")}


@dataclass(frozen=True)
class BidsItem:
    """One image of a dataset.

    Attributes:
        subject: its label, without ``sub-``.
        path: the file, relative to the dataset; the magnitude of a complex image.
        phase: the file of the phase, empty where there is none.
        suffix: such as ``bold``.
        metadata: from its sidecars, inherited ones included.
        beside: files that go with it, such as gradient tables, relative to the dataset.
    """

    subject: str
    path: str
    phase: str = ""
    suffix: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    beside: tuple[str, ...] = ()

    @property
    def sources(self) -> list[str]:
        """The files that the image is made of."""
        return [self.path, *([self.phase] if self.phase else [])]

    def output(self, description: str, extension: str = ".nii.gz", path: str = "") -> str:
        """Name of a derivative: the image's own with ``desc-``, relative to the folder of derivatives."""
        source = Path(path or self.path)
        stem = source.name.removesuffix(".gz").removesuffix(".nii")
        entities, _, suffix = stem.rpartition("_")
        return (source.parent / f"{entities}_desc-{description}_{suffix}{extension}").as_posix()

    def read(self, root: Path) -> SeriesRecord:
        """Read the image; complex where there is a phase.

        Raises:
            SeriesMismatchError: if magnitude and phase do not fit.
            StcnntError: the errors of reading.
        """
        magnitude = read_series(root / self.path)
        if not self.phase:
            return magnitude
        phase = read_series(root / self.phase)
        if phase.array.shape != magnitude.array.shape or magnitude.kind == "complex":
            raise SeriesMismatchError(
                f"{self.path} and {self.phase} differ in size: they are not the two parts of one image."
            )
        array = join_parts(magnitude.array, phase.array, radians_of(phase))
        return SeriesRecord(array, magnitude.affine, magnitude.frame_times, {**magnitude.metadata, "kind": "complex"})

    def checksum(self, root: Path) -> str:
        """SHA-256 over the files that it is made of."""
        digest = hashlib.sha256()
        for name in self.sources:
            with open(check_exists(root / name), "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()


def radians_of(phase: SeriesRecord) -> float:
    """Radians for one unit of a phase image."""
    return phase_scale(str(phase.metadata["source"]), float(phase.array.min()), float(phase.array.max()))


def with_parts(record: SeriesRecord, phase: SeriesRecord) -> list[SeriesRecord]:
    """Split a complex record into magnitude and phase, the phase in the unit and range of a given one."""
    scale = radians_of(phase)
    angle = np.arctan2(record.array[1], record.array[0])
    if float(phase.array.min()) >= 0 and float(phase.array.max()) * scale > np.pi:
        angle = np.mod(angle, 2 * np.pi)
    magnitude = SeriesRecord(
        record.magnitude[None], record.affine, record.frame_times, {**record.metadata, "kind": "magnitude"}
    )
    return [magnitude, phase.with_array((angle / scale)[None])]


def list_items(root: str | Path, participants: Sequence[str] = ()) -> list[BidsItem]:
    """List the images of a dataset.

    Args:
        root: folder of the dataset.
        participants: labels, with or without ``sub-``; all by default.

    Returns:
        The images, by subject and name. A phase is no image of its own where its magnitude is there.

    Raises:
        MissingFileError: if there is no dataset, or a participant is not in it.
        EmptyImageError: if it holds no image to denoise.
        MissingPackageError: if pybids is not installed.
    """
    folder = check_exists(root)
    check_exists(folder / "dataset_description.json")
    layout = needed("bids", "bids").BIDSLayout(folder, validate=False)
    wanted = [label.removeprefix("sub-") for label in participants]
    unknown = sorted(set(wanted) - set(layout.get_subjects()))
    if unknown:
        raise MissingFileError(f"{folder} has no participant {unknown[0]}. It has {', '.join(layout.get_subjects())}.")
    files = layout.get(suffix=list(SUFFIXES), extension=list(_EXTENSIONS), subject=wanted or layout.get_subjects())
    by_name = {Path(file.path).relative_to(folder).as_posix(): file for file in files}
    phases = {name for name in by_name if "_part-phase_" in name and _magnitude_of(name) in by_name}
    items = [_item(folder, name, by_name[name], by_name) for name in sorted(set(by_name) - phases)]
    if not items:
        raise EmptyImageError(f"{folder} holds no image to denoise: none of {', '.join(SUFFIXES)}.")
    return items


def _magnitude_of(name: str) -> str:
    return name.replace("_part-phase_", "_part-mag_")


def _item(folder: Path, name: str, file: Any, known: Mapping[str, Any]) -> BidsItem:  # noqa: ANN401 - of pybids
    phase = name.replace("_part-mag_", "_part-phase_")
    suffix = str(file.entities["suffix"])
    stem = name.removesuffix(".gz").removesuffix(".nii")
    beside = [f"{stem}{ending}" for ending in _BESIDE.get(suffix, ())]
    if suffix == "asl":
        beside.append(f"{stem.removesuffix('asl')}aslcontext.tsv")
    return BidsItem(
        str(file.entities["subject"]), name, phase if phase != name and phase in known else "", suffix,
        dict(file.get_metadata()), tuple(one for one in beside if (folder / one).is_file()),
    )  # fmt: skip
