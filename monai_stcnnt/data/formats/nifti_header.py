# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Headers of NIfTI files, read with nibabel and looked through before a voxel is read."""

from __future__ import annotations

import logging
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import intent_codes, unit_codes, xform_codes
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError

from monai_stcnnt.data.checks import check_exists
from monai_stcnnt.data.record import SeriesRecord, regular_frame_times
from monai_stcnnt.data.slabs import outline_of
from monai_stcnnt.data.unpacking import check_packing
from monai_stcnnt.errors import EmptyImageError, GeometryError, NotAnImageError, UnreadableFileError

__all__ = [
    "MM_PER_UNIT",
    "MS_PER_UNIT",
    "NIFTI_FAILURES",
    "NIFTI_SUFFIXES",
    "NiftiFile",
    "check_nifti_size",
    "description_in",
    "is_nifti_path",
    "most_nifti_bytes",
    "open_nifti",
    "stored_header",
    "units_of",
    "unreadable_nifti",
]

logger = logging.getLogger(__name__)

NIFTI_SUFFIXES = (".nii.gz", ".nii")

MS_PER_UNIT = {"sec": 1e3, "msec": 1.0, "usec": 1e-3}
MM_PER_UNIT = {"meter": 1e3, "mm": 1.0, "micron": 1e-3}
NIFTI_FAILURES = (
    OSError, EOFError, ValueError, TypeError, KeyError, OverflowError, ArithmeticError, MemoryError, zlib.error,
    ImageFileError, HeaderDataError,
)  # fmt: skip


def is_nifti_path(path: str | Path) -> bool:
    """Tell by its name whether a file is NIfTI.

    Args:
        path: the file.

    Returns:
        Whether the name ends in ``.nii`` or ``.nii.gz``.
    """
    return Path(path).name.lower().endswith(NIFTI_SUFFIXES)


@dataclass(frozen=True, eq=False)
class NiftiFile:
    """A NIfTI file whose header was read and found sound.

    Args:
        path: the file.
        image: nibabel's image, whose voxels are not read yet.
        shape: ``(C, T, Z, Y, X)``.
        is_pair: whether real and imaginary part stand along a fifth axis.
        affine: to millimeters.
        frame_times: ``(T,)`` in milliseconds.
        metadata: of the record.
    """

    path: Path
    image: nib.Nifti1Image
    shape: tuple[int, ...]
    is_pair: bool
    affine: np.ndarray
    frame_times: np.ndarray
    metadata: dict[str, Any]

    @property
    def is_packed(self) -> bool:
        """Whether the file is compressed."""
        return self.path.name.lower().endswith(".gz")

    @property
    def outline(self) -> SeriesRecord:
        """The record without its values."""
        return outline_of(self.shape, self.affine, self.frame_times, self.metadata)

    def channels(self, values: np.ndarray) -> np.ndarray:
        """Put voxels ``(x, y, z, t[, 2])``, as many axes as the file has, into ``(C, T, Z, Y, X)`` float32."""
        if self.is_pair:
            parts = np.stack([values[..., 0], values[..., 1]])
        else:
            values = values.reshape((*values.shape, 1, 1)[:4])
            parts = np.stack([values.real, values.imag]) if np.iscomplexobj(values) else values[None]
        with np.errstate(over="ignore"):
            return parts.transpose(0, 4, 3, 2, 1).astype(np.float32, order="C")


def open_nifti(path: str | Path) -> NiftiFile:
    """Read the header of a NIfTI file.

    Args:
        path: ``.nii`` or ``.nii.gz`` file.

    Returns:
        What it tells.

    Raises:
        MissingFileError: as :func:`read_nifti`, and its other errors as far as the header shows them.
    """
    path = check_exists(path)
    image = _load(path)
    _check_codes(path)
    _check_header(path, image)
    shape = image.shape
    units = units_of(image.header)
    is_pair = len(shape) == 5 and shape[4] == 2
    channels = 2 if is_pair or image.get_data_dtype().kind == "c" else 1
    full = (channels, *(*shape, 1, 1)[:4][::-1])
    metadata: dict[str, Any] = {
        "source": str(path),
        "file_format": "nifti",
        "file_ndim": len(shape),
        "file_shape": tuple(shape),
        "file_dtype": str(image.get_data_dtype()),
        "units": units,
        "kind": "complex" if channels == 2 else "magnitude",
        "complex_axis": 4 if is_pair else -1,
        "nifti_header": np.frombuffer(image.header.as_byteswapped("<").binaryblock, np.uint8).copy(),
    }
    times = _frame_times(path, image.header, full[1], units[1])
    return NiftiFile(path, image, full, is_pair, _affine_in_mm(image), times, metadata)


def _load(path: Path) -> nib.Nifti1Image:
    try:
        image = nib.load(path)
    except NIFTI_FAILURES as error:
        raise unreadable_nifti(path, error) from error
    if not isinstance(image, nib.Nifti1Image):
        raise NotAnImageError(f"{path} is not NIfTI but {type(image).__name__}. Convert it to NIfTI.")
    return image


def unreadable_nifti(path: Path, error: BaseException) -> UnreadableFileError:
    """Say that a file cannot be read.

    Args:
        path: the file.
        error: what nibabel said.

    Returns:
        The error to raise.
    """
    reason = str(error) or type(error).__name__
    return UnreadableFileError(f"{path} cannot be read: {reason}. It is damaged or incomplete; copy it anew.")


def _check_header(path: Path, image: nib.Nifti1Image) -> None:
    """Refuse what is not an image of at most x, y, z, t and a pair, before its voxels are read."""
    shape, dtype = image.shape, image.get_data_dtype()
    if dtype.fields is not None:
        raise NotAnImageError(f"{path} is a color image (RGB). Convert it to gray values.")
    if min(shape, default=0) <= 0:
        raise EmptyImageError(f"{path} has no voxels: its shape is {shape}.")
    intent = str(intent_codes.niistring[int(image.header["intent_code"])]) if _intent_known(image) else ""
    pair = len(shape) == 5 and shape[4] == 2 and dtype.kind != "c"
    if len(shape) < 2 or (math.prod(shape[4:]) != 1 and not pair):
        raise NotAnImageError(f"{path} has the shape {shape}. Images have 2 to 4 axes: x, y, z, time.")
    if pair and ("VECTOR" in intent.upper() or "DISPVECT" in intent.upper()):
        raise NotAnImageError(f"{path} holds vectors ({intent}), not real and imaginary part. Give an image.")
    check_packing(path, math.prod(shape), dtype.itemsize, is_packed=path.name.lower().endswith(".gz"))


def check_nifti_size(file: NiftiFile, size: int) -> None:
    """Refuse a file that holds more than its header says, by a row of voxels or more: the header is damaged.

    Args:
        file: the file.
        size: its bytes, unpacked.

    Raises:
        UnreadableFileError: if there are more.
    """
    shape, dtype = file.image.shape, file.image.get_data_dtype()
    if size >= most_nifti_bytes(file.image):
        surplus = size - file.image.dataobj.offset - math.prod(shape) * dtype.itemsize  # type: ignore[attr-defined]
        raise UnreadableFileError(
            f"{file.path} holds at least {surplus} bytes more than the shape {shape} of {dtype} takes. Its header is "
            "damaged; copy it anew."
        )


def most_nifti_bytes(image: nib.Nifti1Image) -> int:
    """Bytes, unpacked, from which on there is a row of voxels more than the header says."""
    itemsize = image.get_data_dtype().itemsize
    row = max(image.shape[0] * itemsize, 16)
    return int(image.dataobj.offset + math.prod(image.shape) * itemsize + row)  # type: ignore[attr-defined]


def _check_codes(path: Path) -> None:
    """Refuse codes of the geometry that do not exist; nibabel would go on with another geometry."""
    try:
        with ImageOpener(str(path)) as file:
            head = file.read(nib.Nifti2Header.sizeof_hdr)
        size = int.from_bytes(head[:4], "little")
        header_class = nib.Nifti2Header if nib.Nifti2Header.sizeof_hdr in _both_ways(size) else nib.Nifti1Header
        header = header_class(head[: header_class.sizeof_hdr], check=False)
    except NIFTI_FAILURES as error:
        raise unreadable_nifti(path, error) from error
    codes = {name: int(header[name]) for name in ("qform_code", "sform_code")}
    if any(code not in xform_codes.code for code in codes.values()):
        raise GeometryError(f"{path} has the unknown codes {codes} for its geometry. Repair its header.")


def _both_ways(size: int) -> tuple[int, int]:
    """A number of four bytes, and the same with the bytes in the other order."""
    return size, int.from_bytes(size.to_bytes(4, "little"), "big")


def _intent_known(image: nib.Nifti1Image) -> bool:
    return int(image.header["intent_code"]) in intent_codes.niistring


def stored_header(record: SeriesRecord) -> nib.Nifti1Header | None:
    """The header of the file that a record was read from, where that was NIfTI.

    Args:
        record: whose metadata holds it.
    """
    stored = record.metadata.get("nifti_header")
    if stored is None:
        return None
    block = np.asarray(stored, np.uint8).tobytes()
    header_class = nib.Nifti1Header if len(block) == nib.Nifti1Header.sizeof_hdr else nib.Nifti2Header
    return header_class(block, endianness="<")


def description_in(record: SeriesRecord) -> str:
    """The description in that header; empty where there is none.

    Args:
        record: whose metadata holds the header.
    """
    header = stored_header(record)
    return "" if header is None else bytes(header["descrip"].item()).decode("latin-1")


def units_of(header: nib.Nifti1Header) -> tuple[str, str]:
    """Units of space and time by nibabel's names; codes that do not exist count as unknown."""
    code = int(header["xyzt_units"])
    space, time = code % 8, code // 8 * 8
    return _unit_name(space), _unit_name(time)


def _unit_name(code: int) -> str:
    return str(unit_codes.label[code]) if code in unit_codes.code else "unknown"


def _frame_times(path: Path, header: nib.Nifti1Header, frames: int, unit: str) -> np.ndarray:
    if frames == 1:
        return np.zeros(1)
    if unit not in (*MS_PER_UNIT, "unknown"):
        raise NotAnImageError(f"{path} has {frames} points along an axis in {unit}, not time. Split it into images.")
    frame_time, start = float(header["pixdim"][4]), float(header["toffset"])
    if unit == "unknown" and frame_time > 0:
        logger.info("%s has no unit of time; its frame time %g is taken for seconds", path, frame_time)
    scale = MS_PER_UNIT.get(unit, 1e3)
    return regular_frame_times(frames, frame_time * scale, start * scale if math.isfinite(start) else 0.0)


def _affine_in_mm(image: nib.Nifti1Image) -> np.ndarray:
    """Affine in millimeters; an axis of one voxel without spacing gets 1 mm along the normal of the others."""
    affine = np.array(image.affine, np.float64)
    affine[:3] *= MM_PER_UNIT.get(units_of(image.header)[0], 1.0)
    flat = [i for i in range(3) if (*image.shape, 1)[i] == 1 and not affine[:3, i].any()]
    if len(flat) == 1:
        first, second = (affine[:3, i] for i in range(3) if i != flat[0])
        normal = np.cross(first, second)
        affine[:3, flat[0]] = normal / max(float(np.linalg.norm(normal)), 1e-12)
    return affine
