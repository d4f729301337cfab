# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Headers of NIfTI files, read with nibabel and looked through before a voxel is read."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import logging
import math
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.fileholders import FileHolder
from nibabel.nifti1 import intent_codes, unit_codes, xform_codes
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from monai_stcnnt.data.record import SeriesRecord, outline_of, regular_frame_times
from monai_stcnnt.data.unpacking import check_packing
from monai_stcnnt.errors import EmptyImageError, GeometryError, NotAnImageError, UnreadableFileError

__all__ = [
    "MM_PER_UNIT",
    "MS_PER_UNIT",
    "NIFTI_FAILURES",
    "NIFTI_SUFFIXES",
    "NiftiFile",
    "description_at",
    "description_in",
    "header_file",
    "is_nifti_path",
    "open_nifti",
    "opener_of",
    "stored_header",
    "units_of",
    "unreadable_nifti",
    "values_file",
]

logger = logging.getLogger(__name__)

NIFTI_SUFFIXES = (".nii.gz", ".nii")
_OPENERS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open}
_ENDINGS = {".gz": b"\x1f\x8b", ".bz2": b"BZ"}
_PAIR = (".hdr", ".img")
_SAME_SIZE = 0.02  # relative difference of voxel sizes
_LARGEST_SLIP = 1000.0
_LONGEST_FRAME = 100.0  # seconds, where the unit is not told

MS_PER_UNIT = {"sec": 1e3, "msec": 1.0, "usec": 1e-3}
MM_PER_UNIT = {"meter": 1e3, "mm": 1.0, "micron": 1e-3}
NIFTI_FAILURES = (
    OSError, EOFError, ValueError, TypeError, KeyError, OverflowError, ArithmeticError, MemoryError, zlib.error,
    ImageFileError, HeaderDataError, WrapStructError,
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
        values_path: the file of the voxels: the file itself, or the ``.img`` that a ``.hdr`` stands beside.
        opener: what opens it: ``open``, or the one of its compression, whatever its name says.
    """

    path: Path
    image: nib.Nifti1Pair
    shape: tuple[int, ...]
    is_pair: bool
    affine: np.ndarray
    frame_times: np.ndarray
    metadata: dict[str, Any]
    values_path: Path
    opener: Callable[..., Any]

    @cached_property
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
        StcnntError: the errors of :func:`read_nifti` as far as the header shows them.
    """
    path = header_file(Path(path))
    image, opener = _load(path)
    values_path = values_file(path)
    _check_codes(path, opener)
    _check_header(path, image)
    voxel = image.get_data_dtype()
    check_packing(values_path, math.prod(image.shape), voxel.itemsize, is_packed=opener is not open)
    affine = _affine_in_mm(image)
    remarks = _size_remark(image, affine)
    for remark in remarks:
        logger.warning("%s: %s", path, remark)
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
        "remarks": remarks,
        "b_values": _b_values(path, full[1]),
        "nifti_header": _header_block(image.header),
    }
    times = _frame_times(path, image.header, full[1], units[1])
    return NiftiFile(path, image, full, is_pair, affine, times, metadata, values_path, opener)


def _b_values(path: Path, frames: int) -> np.ndarray:
    """Diffusion weightings in the ``.bval`` file beside an image, as dcm2niix writes it; none where it does not fit."""
    file = path.with_name(re.sub(r"\.nii(\.gz|\.bz2)?$|\.hdr$", ".bval", path.name, flags=re.IGNORECASE))
    values = np.zeros(0)
    if file.suffix == ".bval" and file.is_file():
        with contextlib.suppress(OSError, ValueError):
            values = np.array(file.read_text(encoding="utf-8").split(), np.float64)
    return values if len(values) == frames > 1 else np.zeros(0)


def _header_block(header: nib.Nifti1Header) -> np.ndarray:
    """Bytes of a header as of a single file, whatever it was read from."""
    single = header.as_byteswapped("<")
    single["magic"] = {b"ni1": b"n+1", b"ni2": b"n+2"}.get(bytes(single["magic"])[:3], single["magic"])
    return np.frombuffer(single.binaryblock, np.uint8).copy()


def opener_of(path: Path) -> Callable[..., Any]:
    """What opens a file: by its first bytes, since names lie."""
    with path.open("rb") as file:
        return _OPENERS.get(file.read(2), open)


def values_file(path: Path) -> Path:
    """The file that holds the voxels of a NIfTI file: itself, or the ``.img`` beside a ``.hdr``."""
    if path.suffix.lower() not in _PAIR:
        return path
    wanted = (path.stem, ".img")
    return next((file for file in path.parent.iterdir() if (file.stem, file.suffix.lower()) == wanted), path)


def header_file(path: Path) -> Path:
    """The file that holds the header of a NIfTI file: itself, or the ``.hdr`` beside an ``.img``."""
    if path.suffix.lower() not in _PAIR:
        return path
    wanted = (path.stem, ".hdr")
    return next((file for file in path.parent.iterdir() if (file.stem, file.suffix.lower()) == wanted), path)


def _load(path: Path) -> tuple[nib.Nifti1Pair, Callable[..., Any]]:
    """The file as nibabel opens it, and what opens it."""
    try:
        opener = opener_of(path)
        if _OPENERS.get(_ENDINGS.get(path.suffix.lower(), b""), open) is opener:
            image = nib.load(path)
        else:
            with opener(path, "rb") as file:
                image_class = _header_class(file.read(4))
                file.seek(0)
                holder = FileHolder(fileobj=file)
                image = image_class.from_file_map({"header": holder, "image": holder})
    except NIFTI_FAILURES as error:
        raise unreadable_nifti(path, error) from error
    if not isinstance(image, nib.Nifti1Pair):
        raise NotAnImageError(f"{path} is not NIfTI but {type(image).__name__}. Convert it to NIfTI.")
    return image, opener


def _header_class(start: bytes) -> type[nib.Nifti1Image]:
    """Kind of a file by its first four bytes, the size of its header in either order."""
    size = int.from_bytes(start, "little"), int.from_bytes(start, "big")
    return nib.Nifti2Image if nib.Nifti2Header.sizeof_hdr in size else nib.Nifti1Image


def unreadable_nifti(path: Path, error: BaseException) -> UnreadableFileError:
    """Say that a file cannot be read.

    Args:
        path: the file.
        error: what nibabel said.

    Returns:
        The error to raise.
    """
    reason = str(error) or type(error).__name__
    return UnreadableFileError(f"{path} cannot be read: {reason}. It is damaged or incomplete; copy it again.")


def _check_header(path: Path, image: nib.Nifti1Pair) -> None:
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


def _check_codes(path: Path, opener: Callable[..., Any]) -> None:
    """Refuse codes of the geometry that do not exist; nibabel would go on with another geometry."""
    try:
        with opener(path, "rb") as file:
            head = file.read(nib.Nifti2Header.sizeof_hdr)
        header_class = _header_class(head[:4]).header_class
        header = header_class(head[: header_class.sizeof_hdr], check=False)
    except NIFTI_FAILURES as error:
        raise unreadable_nifti(path, error) from error
    codes = {name: int(header[name]) for name in ("qform_code", "sform_code")}
    if any(code not in xform_codes.code for code in codes.values()):
        raise GeometryError(f"{path} has the unknown codes {codes} for its geometry. Repair its header.")


def _intent_known(image: nib.Nifti1Pair) -> bool:
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


def description_in(header: nib.Nifti1Header | None) -> str:
    """The description in a header; empty where there is none."""
    return "" if header is None else bytes(header["descrip"].item()).decode("latin-1")


def description_at(path: Path) -> str:
    """The description in the header of a file, which is not looked at any further.

    Args:
        path: the file.

    Raises:
        StcnntError: if it cannot be read, or is not NIfTI.
    """
    image, _ = _load(header_file(path))
    return description_in(image.header)


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
        is_plausible = frame_time <= _LONGEST_FRAME
        taken = "seconds" if is_plausible else "unknown, since that would be too long in seconds"
        logger.info("%s has no unit of time; its frame time %g is taken for %s", path, frame_time, taken)
        frame_time = frame_time if is_plausible else math.nan
    scale = MS_PER_UNIT.get(unit, 1e3)
    return regular_frame_times(frames, frame_time * scale, start * scale if math.isfinite(start) else 0.0)


def _consistent_affine(image: nib.Nifti1Pair) -> np.ndarray:
    """The header's affine; where its sform has other voxel sizes than pixdim, that of the qform, or its own scaled.

    A pixdim of ones without a qform is that of a header that only a sform was written to.
    """
    affine, header = np.array(image.affine, np.float64), image.header
    size = np.abs(np.array(header["pixdim"][1:4], np.float64))
    lengths = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    known = (size > 0) & np.isfinite(size) & (lengths > 0) & (np.array((*image.shape, 1, 1)[:3]) > 1)
    ratio = lengths[known] / size[known]
    if not int(header["sform_code"]) or np.allclose(ratio, 1, rtol=_SAME_SIZE) or not _is_slip(ratio):
        return affine
    if not int(header["qform_code"]) and (size[known] == 1).all():  # pixdim was never set
        return affine
    if int(header["qform_code"]):
        with contextlib.suppress(ValueError):  # of a quaternion longer than 1
            return np.array(header.get_qform(), np.float64)
    affine[:3, :3] *= np.where(known, size / np.where(known, lengths, 1.0), 1.0)
    return affine


def _is_slip(ratio: np.ndarray) -> bool:
    """Whether voxel sizes differ as software makes them differ, and not by damage."""
    return bool(np.isfinite(ratio).all() and (ratio < _LARGEST_SLIP).all() and (ratio > 1 / _LARGEST_SLIP).all())


def _size_remark(image: nib.Nifti1Pair, affine: np.ndarray) -> tuple[str, ...]:
    """A sentence where the sform's voxel sizes were not taken."""
    lengths = np.sqrt((np.asarray(image.affine)[:3, :3] ** 2).sum(axis=0))
    taken = np.sqrt((affine[:3, :3] ** 2).sum(axis=0)) / MM_PER_UNIT.get(units_of(image.header)[0], 1.0)
    if not int(image.header["sform_code"]) or np.allclose(lengths, taken, rtol=_SAME_SIZE):
        return ()
    shown = [" x ".join(f"{v:.4g}" for v in sizes) for sizes in (lengths, taken)]
    return (f"its sform has voxels of {shown[0]}, against {shown[1]} of its pixdim, which are taken",)


def _affine_in_mm(image: nib.Nifti1Pair) -> np.ndarray:
    """Affine in millimeters; an axis of one voxel without spacing gets 1 mm along the normal of the others."""
    affine = _consistent_affine(image)
    affine[:3] *= MM_PER_UNIT.get(units_of(image.header)[0], 1.0)
    flat = [i for i in range(3) if (*image.shape, 1)[i] == 1 and not affine[:3, i].any()]
    if len(flat) == 1:
        first, second = (affine[:3, i] for i in range(3) if i != flat[0])
        normal = np.cross(first, second)
        affine[:3, flat[0]] = normal / max(float(np.linalg.norm(normal)), 1e-12)
    return affine
