# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Files to damage: what comes with pydicom and nibabel, sample scans, and the same in other formats.

The copies carry a made-up name, number and birth date of a patient.
"""

from __future__ import annotations

import bz2
import gzip
import re
import shutil
from collections.abc import Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from pydicom.data import get_testdata_file

from monai_stcnnt.data.formats.dicom.headers import quiet_pydicom

__all__ = ["MARKS", "find_sources", "marked_copies", "path_of"]

MARKS = ("Zzfamily", "Qqgiven", "QQID-7731", "19470213")
"""What tells the patient: parts of the name, number, birth date."""

_PIP_DICOM = ("MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "examples_overlay.dcm")
_PIP_NIFTI = ("anatomical.nii", "functional.nii", "example_nifti2.nii.gz")
_SAMPLES = (
    "cine_sax_bivme/dicom_one_slice_Se2", "dicom_sunnybrook_empty_functional_groups",
    "dicom_ge_fmri_repeats/dicom_run4_first6vols",
    "dicom_philips_classic_phantom/dicom", "dwi_canon_classic/dicom_first2vols", "fmri_studyforrest/dicom_first2vols",
    "dicom_siemens_mosaic_fmri/dicom", "dicom_siemens_xa30_fmri_enhanced/dicom",
    "abdomen_mr_totalseg/mr.nii.gz", "spine_sct/t2.nii.gz", "spine_sct/dmri_7vol.nii.gz",
)  # fmt: skip
_MOST_FILES = 6
# Where a NIfTI-1 and a NIfTI-2 header have the name of an auxiliary file, a description, and the name of the intent.
_NIFTI_TEXTS = ((228, 148, 328), (320, 240, 508))
_PAR_REC = ("phantom_EPI_asc_CLEAR_2_1.PAR", "phantom_EPI_asc_CLEAR_2_1.REC")
_MOSAICS = ("32_refused_uih_mosaic", "33_refused_mosaic_0019_100a")


def find_sources(data: Path | None = None, cases: Path | None = None) -> list[list[Path]]:
    """List the originals, each one file or a few files of one series; header and values of a pair count as two.

    Args:
        data: folder of the sample data; by default files that come with pydicom and nibabel.
        cases: folder of difficult files, of which the mosaics are taken.

    Returns:
        Lists of files that are read together.
    """
    pip = [Path(str(get_testdata_file(name, download=False))) for name in _PIP_DICOM]
    pip += [Path(str(files("nibabel"))) / "tests" / "data" / name for name in _PIP_NIFTI]
    sources = [[file] for file in pip if file.is_file()]
    sources.append([Path(str(files("nibabel"))) / "tests" / "data" / name for name in _PAR_REC])
    sources += [sorted((cases / case).rglob("*.dcm"))[:1] for case in _MOSAICS] if cases is not None else []
    if data is None:
        return sources
    for sample in _SAMPLES:
        path = data / sample
        listed = sorted(path.iterdir()) if path.is_dir() else [path]
        if listed[0].is_file():
            sources.append(listed[:1])
        if len(listed) > 1:
            sources.append(_readable_group(listed))
    return sources


def _readable_group(listed: Sequence[Path]) -> list[Path]:
    """Frames of one slice, at most six, so that they make an image without the others."""
    positions: dict[str, list[Path]] = {}
    for file in listed:
        header = pydicom.dcmread(file, stop_before_pixels=True)
        positions.setdefault(str(header.get("ImagePositionPatient")), []).append(file)
    return max(positions.values(), key=len)[:_MOST_FILES]


def marked_copies(sources: Sequence[Sequence[Path]], folder: Path) -> list[list[Path]]:
    """Copy the originals and write into each who the patient is.

    Args:
        sources: originals, see :func:`find_sources`.
        folder: an empty folder.

    Returns:
        The copies.
    """
    copies = []
    for number, source in enumerate(sources):
        place = folder / f"{number:02d}_{source[0].parent.name}"
        place.mkdir()
        copies.append([_marked(file, place / file.name) for file in source])
    return [*copies, *_other_formats(copies, folder)]


def _other_formats(copies: Sequence[Sequence[Path]], folder: Path) -> list[list[Path]]:
    """Write a NIfTI file as header and values, for FreeSurfer, and packed by bzip2; a Slicer sequence, an MRD file."""
    plain = next(source[0] for source in copies if source[0].name.endswith(".nii"))
    place = folder / "other_formats"
    place.mkdir()
    image = nib.Nifti1Image.from_filename(plain)
    values = np.asarray(image.dataobj).astype(np.float32)
    for name in ("a.mgz", "a.mgh"):
        nib.save(nib.MGHImage(values, image.affine), place / name)
    pair = nib.Nifti1Pair(values, image.affine, image.header)
    pair.header["descrip"] = f"{MARKS[0]}^{MARKS[1]} {MARKS[2]}"
    nib.save(pair, place / "pair.hdr")
    (place / "a.nii.bz2").write_bytes(bz2.compress(plain.read_bytes()))
    singles = [place / name for name in ("a.mgz", "a.mgh", "a.nii.bz2")]
    singles += [_slicer_sequence(place / "a.seq.nrrd")] if find_spec("SimpleITK") else []
    singles += [_mrd_file(place / "a.h5")] if find_spec("ismrmrd") else []
    return [*([file] for file in singles), [place / "pair.hdr", place / "pair.img"]]


def _slicer_sequence(path: Path) -> Path:
    """Write an NRRD file with the frames along its first axis."""
    values = np.random.default_rng(0).integers(1, 4000, (3, 16, 14, 5), "<i2")
    header = (
        f"NRRD0004\n# {MARKS[0]}^{MARKS[1]} {MARKS[2]}\ntype: short\ndimension: 4\nspace: left-posterior-superior\n"
        "sizes: 3 16 14 5\nspace directions: none (2,0,0) (0,2,0) (0,0,3)\nkinds: list domain domain domain\n"
        "endian: little\nencoding: raw\nspace origin: (-10,20,5)\n\n"
    )
    path.write_bytes(header.encode() + values.tobytes(order="F"))
    return path


def _mrd_file(path: Path) -> Path:
    """Write an MRD file with three images of one place."""
    import ismrmrd

    with ismrmrd.Dataset(str(path), "dataset") as file:
        file.write_xml_header(
            f"<ismrmrdHeader><patientName>{MARKS[0]}^{MARKS[1]}</patientName></ismrmrdHeader>".encode()
        )
        for number in range(3):
            values = np.random.default_rng(number).integers(1, 4000, (1, 1, 16, 14)).astype(np.uint16)
            image = ismrmrd.Image.from_array(values, transpose=False)
            head = image.getHead()
            head.field_of_view[:] = (28, 32, 6)
            head.position[:], head.read_dir[:], head.phase_dir[:], head.slice_dir[:] = (
                (5, 6, 7), (1, 0, 0), (0, 1, 0), (0, 0, 1)
            )  # fmt: skip
            head.image_type, head.phase, head.image_index = ismrmrd.IMTYPE_MAGNITUDE, number, number
            image.setHead(head)
            file.append_image("image_0", image)
    return path


def path_of(source: Sequence[Path]) -> Path:
    """What to read of files that are read together: the folder of several DICOM files, the header of a pair."""
    header = next((file for file in source if file.suffix.lower() in (".hdr", ".par")), source[0])
    return source[0].parent if len(source) > 1 and header.suffix.lower() not in (".hdr", ".par") else header


def _marked(file: Path, copy: Path) -> Path:
    name = f"{MARKS[0]}^{MARKS[1]}"
    if file.suffix == ".PAR":
        text = file.read_text(encoding="latin-1")
        copy.write_text(re.sub(r"(Patient name +: +).*", rf"\g<1>{name} {MARKS[2]}", text), encoding="latin-1")
        return copy
    if file.suffix == ".REC":
        return Path(shutil.copyfile(file, copy))
    if ".nii" in file.name:
        packed = file.name.endswith(".gz")
        content = bytearray(gzip.decompress(file.read_bytes()) if packed else file.read_bytes())
        texts = (name, f"{name} {MARKS[2]} {MARKS[3]}", MARKS[2])
        for place, text in zip(_NIFTI_TEXTS[content[:4] == b"\x1c\2\0\0"], texts, strict=True):
            content[place : place + len(text)] = text.encode()
        copy.write_bytes(gzip.compress(content, 6, mtime=0) if packed else content)
        return copy
    with quiet_pydicom():
        dataset = pydicom.dcmread(file)
        dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = name, MARKS[2], MARKS[3]
        dataset.OtherPatientIDs, dataset.PatientAddress, dataset.PatientComments = MARKS[2], name, name
        dataset.save_as(copy)
    return copy
