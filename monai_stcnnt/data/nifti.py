# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""NIfTI in and out: values, geometry, frame times and units stay what they are.

Read with nibabel: 2D, 3D and 4D images, real or complex, NIfTI-1 and NIfTI-2. A fifth axis of size 2 that the header
does not call a vector holds real and imaginary part. The record keeps the header, so that what is written has the
same number of axes, qform, sform, units and frame time as what was read.
"""

from __future__ import annotations

import gzip
import logging
import math
import zlib
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import intent_codes, unit_codes, xform_codes
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError

from monai_stcnnt.data.atomic import write_aside
from monai_stcnnt.data.checks import check_exists
from monai_stcnnt.data.record import SeriesRecord, regular_frame_times
from monai_stcnnt.errors import (
    EmptyImageError,
    GeometryError,
    NotAnImageError,
    OutputNotWritableError,
    UnreadableFileError,
)

__all__ = ["NIFTI_SUFFIXES", "OutputDtype", "is_nifti_path", "read_nifti", "write_nifti"]

logger = logging.getLogger(__name__)

NIFTI_SUFFIXES = (".nii.gz", ".nii")
OutputDtype = Literal["float32", "float64", "int16", "uint16", "uint8"]

_MS_PER_UNIT = {"sec": 1e3, "msec": 1.0, "usec": 1e-3}
_MM_PER_UNIT = {"meter": 1e3, "mm": 1.0, "micron": 1e-3}
_READ_FAILURES = (
    OSError, EOFError, ValueError, TypeError, KeyError, OverflowError, ArithmeticError, MemoryError, zlib.error,
    ImageFileError, HeaderDataError,
)  # fmt: skip
_MOST_DEFLATE = 1100  # gzip does not shrink more than about 1030 times


def is_nifti_path(path: str | Path) -> bool:
    """Tell by its name whether a file is NIfTI.

    Args:
        path: the file.

    Returns:
        Whether the name ends in ``.nii`` or ``.nii.gz``.
    """
    return Path(path).name.lower().endswith(NIFTI_SUFFIXES)


def read_nifti(path: str | Path) -> SeriesRecord:
    """Read a NIfTI file.

    The frame time is taken from the header and converted to milliseconds. Where the header has no unit of time, seconds
    are assumed, as all common software writes them, and the log says so; where it has no frame time, the times are NaN.
    An unknown unit of space is taken for millimeters.

    Args:
        path: ``.nii`` or ``.nii.gz`` file.

    Returns:
        The record; its metadata holds the header (``nifti_header``, bytes as uint8) for the writer.

    Raises:
        MissingFileError: if the file does not exist.
        UnreadableFileError: if it is damaged or truncated.
        NotAnImageError: if it holds colors, vectors, or a fourth axis that is not time.
        EmptyImageError: if it has no voxels.
        GeometryError: if its affine is impossible.
    """
    path = check_exists(path)
    image = _load(path)
    _check_codes(path)
    _check_header(path, image)
    try:
        size = _unpacked_size(path)
        values = np.asarray(image.dataobj)
    except _READ_FAILURES as error:
        raise _unreadable(path, error) from error
    shape = image.shape
    _check_size(path, image, size)
    units = _units_of(image.header)
    is_pair = len(shape) == 5 and shape[4] == 2
    if is_pair:
        channels = np.stack([values[..., 0], values[..., 1]])
    else:
        values = values.reshape((*shape, 1, 1)[:4])
        channels = np.stack([values.real, values.imag]) if np.iscomplexobj(values) else values[None]
    metadata: dict[str, Any] = {
        "source": str(path),
        "file_format": "nifti",
        "file_ndim": len(shape),
        "file_shape": tuple(shape),
        "file_dtype": str(image.get_data_dtype()),
        "units": units,
        "kind": "complex" if len(channels) == 2 else "magnitude",
        "complex_axis": 4 if is_pair else -1,
        "nifti_header": np.frombuffer(image.header.as_byteswapped("<").binaryblock, np.uint8).copy(),
    }
    with np.errstate(over="ignore"):
        array = channels.transpose(0, 4, 3, 2, 1).astype(np.float32)
    times = _frame_times(path, image.header, array.shape[1], units[1])
    return SeriesRecord(array, _affine_in_mm(image), times, metadata)


def write_nifti(record: SeriesRecord, path: str | Path, *, dtype: OutputDtype = "float32") -> Path:
    """Write a record as NIfTI; the file is complete or absent.

    A record that was read from NIfTI keeps its header: number of axes, qform and sform with their codes, units, frame
    time, intent and description. Geometry or times that were changed since then are written as they are now.

    Args:
        record: what to write.
        path: file name that ends in ``.nii`` or ``.nii.gz``; missing folders are made.
        dtype: type of the voxels, per component for a complex image. Integers hold whole numbers as they are; other
            values are scaled to use their range, with the slope in the header.

    Returns:
        The path.

    Raises:
        OutputNotWritableError: if the name is not NIfTI's, the place cannot be written to, or the type cannot hold the
            image.
    """
    path = Path(path).expanduser()
    if not is_nifti_path(path):
        raise OutputNotWritableError(f"{path} does not end in .nii or .nii.gz. Choose such a name.")
    values, file_dtype = _file_values(record, dtype)
    header = _header_for(record, values, file_dtype)
    image_class = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    image = image_class(values, None, header)
    image.header.set_data_dtype(file_dtype)
    with write_aside(path) as aside:
        nib.save(image, aside)
    return path


def _load(path: Path) -> nib.Nifti1Image:
    try:
        image = nib.load(path)
    except _READ_FAILURES as error:
        raise _unreadable(path, error) from error
    if not isinstance(image, nib.Nifti1Image):
        raise NotAnImageError(f"{path} is not NIfTI but {type(image).__name__}. Convert it to NIfTI.")
    return image


def _unreadable(path: Path, error: BaseException) -> UnreadableFileError:
    reason = str(error) or type(error).__name__
    return UnreadableFileError(f"{path} cannot be read: {reason}. It is damaged or incomplete; copy it anew.")


def _check_header(path: Path, image: nib.Nifti1Image) -> None:
    """Refuse what is not an image of at most x, y, z, t and a pair, before its voxels are read."""
    shape, dtype = image.shape, image.get_data_dtype()
    if dtype.fields is not None:
        raise NotAnImageError(f"{path} is a color image (RGB). Convert it to gray values.")
    if math.prod(shape) <= 0:
        raise EmptyImageError(f"{path} has no voxels: its shape is {shape}.")
    intent = str(intent_codes.niistring[int(image.header["intent_code"])]) if _intent_known(image) else ""
    pair = len(shape) == 5 and shape[4] == 2 and dtype.kind != "c"
    if len(shape) < 2 or (math.prod(shape[4:]) != 1 and not pair):
        raise NotAnImageError(f"{path} has the shape {shape}. Images have 2 to 4 axes: x, y, z, time.")
    if pair and ("VECTOR" in intent.upper() or "DISPVECT" in intent.upper()):
        raise NotAnImageError(f"{path} holds vectors ({intent}), not real and imaginary part. Give an image.")
    available = path.stat().st_size * (_MOST_DEFLATE if path.name.lower().endswith(".gz") else 1)
    if math.prod(shape) * dtype.itemsize > available:
        raise UnreadableFileError(
            f"{path} is too short for the shape {shape} of {dtype}. It is incomplete; copy it anew."
        )


def _unpacked_size(path: Path) -> int:
    """Bytes of a file; a compressed one is read to its end, where its checksum stands: nibabel stops before."""
    if not path.name.lower().endswith(".gz"):
        return path.stat().st_size
    size = 0
    with gzip.open(path) as file:
        while block := file.read(1 << 20):
            size += len(block)
    return size


def _check_size(path: Path, image: nib.Nifti1Image, size: int) -> None:
    """Refuse a file that holds more than its header says, by a row of voxels or more: the header is damaged."""
    itemsize = image.get_data_dtype().itemsize
    surplus = size - image.dataobj.offset - math.prod(image.shape) * itemsize  # type: ignore[attr-defined]
    if surplus >= max(image.shape[0] * itemsize, 16):
        raise UnreadableFileError(
            f"{path} holds {surplus} bytes more than the shape {image.shape} of {image.get_data_dtype()} takes. Its "
            "header is damaged; copy it anew."
        )


def _check_codes(path: Path) -> None:
    """Refuse codes of the geometry that do not exist; nibabel would go on with another geometry."""
    try:
        with ImageOpener(str(path)) as file:
            head = file.read(nib.Nifti2Header.sizeof_hdr)
        size = int.from_bytes(head[:4], "little")
        header_class = nib.Nifti2Header if nib.Nifti2Header.sizeof_hdr in _both_ways(size) else nib.Nifti1Header
        header = header_class(head[: header_class.sizeof_hdr], check=False)
    except _READ_FAILURES as error:
        raise _unreadable(path, error) from error
    codes = {name: int(header[name]) for name in ("qform_code", "sform_code")}
    if any(code not in xform_codes.code for code in codes.values()):
        raise GeometryError(f"{path} has the unknown codes {codes} for its geometry. Repair its header.")


def _both_ways(size: int) -> tuple[int, int]:
    """A number of four bytes, and the same with the bytes in the other order."""
    return size, int.from_bytes(size.to_bytes(4, "little"), "big")


def _intent_known(image: nib.Nifti1Image) -> bool:
    return int(image.header["intent_code"]) in intent_codes.niistring


def _units_of(header: nib.Nifti1Header) -> tuple[str, str]:
    """Units of space and time by nibabel's names; codes that do not exist count as unknown."""
    code = int(header["xyzt_units"])
    space, time = code % 8, code // 8 * 8
    return _unit_name(space), _unit_name(time)


def _unit_name(code: int) -> str:
    return str(unit_codes.label[code]) if code in unit_codes.code else "unknown"


def _frame_times(path: Path, header: nib.Nifti1Header, frames: int, unit: str) -> np.ndarray:
    if frames == 1:
        return np.zeros(1)
    if unit not in (*_MS_PER_UNIT, "unknown"):
        raise NotAnImageError(f"{path} has {frames} points along an axis in {unit}, not time. Split it into images.")
    frame_time, start = float(header["pixdim"][4]), float(header["toffset"])
    if unit == "unknown" and frame_time > 0:
        logger.info("%s has no unit of time; its frame time %g is taken for seconds", path, frame_time)
    scale = _MS_PER_UNIT.get(unit, 1e3)
    return regular_frame_times(frames, frame_time * scale, start * scale if math.isfinite(start) else 0.0)


def _affine_in_mm(image: nib.Nifti1Image) -> np.ndarray:
    """Affine in millimeters; an axis of one voxel without spacing gets 1 mm along the normal of the others."""
    affine = np.array(image.affine, np.float64)
    affine[:3] *= _MM_PER_UNIT.get(_units_of(image.header)[0], 1.0)
    flat = [i for i in range(3) if (*image.shape, 1)[i] == 1 and not affine[:3, i].any()]
    if len(flat) == 1:
        first, second = (affine[:3, i] for i in range(3) if i != flat[0])
        normal = np.cross(first, second)
        affine[:3, flat[0]] = normal / max(float(np.linalg.norm(normal)), 1e-12)
    return affine


def _file_values(record: SeriesRecord, dtype: OutputDtype) -> tuple[np.ndarray, np.dtype]:
    """Voxels in the file's axes (x, y, z, t), and their type in the file."""
    values = record.to_spatial()
    source_ndim = int(record.metadata.get("file_ndim", 0)) if record.metadata.get("file_format") == "nifti" else 0
    if record.kind == "complex":
        if dtype not in ("float32", "float64"):
            raise OutputNotWritableError(f"A complex image cannot be stored as {dtype}. Choose float32 or float64.")
        if record.metadata.get("complex_axis", -1) == 4:
            values = np.stack([values.real, values.imag], -1).reshape((*_four(values.shape), 2))
            return values.astype(dtype), np.dtype(dtype)
        return _grow(values, source_ndim), np.dtype({"float32": "complex64", "float64": "complex128"}[dtype])
    values, wanted = _grow(values, source_ndim), np.dtype(dtype)
    if wanted.kind in "iu" and _fits(values, wanted):
        values = values.astype(wanted)
    return values, wanted


def _four(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape + (1,) * (4 - len(shape))


def _grow(values: np.ndarray, ndim: int) -> np.ndarray:
    """Add the axes of size 1 that the source had at its end."""
    return values.reshape(values.shape + (1,) * (ndim - values.ndim))


def _fits(values: np.ndarray, dtype: np.dtype) -> bool:
    limits = np.iinfo(dtype)
    return bool(values.min() >= limits.min and values.max() <= limits.max and (values == np.round(values)).all())


def _header_for(record: SeriesRecord, values: np.ndarray, dtype: np.dtype) -> nib.Nifti1Header:
    """Header of the source where it was NIfTI, else a new one; with the record's shape, geometry and times."""
    stored = record.metadata.get("nifti_header")
    if stored is None:
        header = nib.Nifti1Header()
        header.set_xyzt_units("mm", "sec" if values.ndim > 3 else "unknown")
    else:
        block = np.asarray(stored, np.uint8).tobytes()
        header_class = nib.Nifti1Header if len(block) == nib.Nifti1Header.sizeof_hdr else nib.Nifti2Header
        header = header_class(block, endianness="<")
        header["vox_offset"] = 0
    source_affine = header.get_best_affine() if stored is not None else np.zeros((4, 4))
    header.set_data_dtype(dtype)
    pixdim = header["pixdim"].copy()
    header.set_data_shape(values.shape)
    header["pixdim"] = pixdim  # nibabel forgets those of absent axes
    space, time = _units_of(header)
    affine = record.affine.copy()
    affine[:3] /= _MM_PER_UNIT.get(space, 1.0)
    if not np.allclose(affine, source_affine, rtol=1e-6, atol=1e-6):
        _set_affine(header, affine, stored is None)
    _set_times(header, record, time)
    return header


def _set_affine(header: nib.Nifti1Header, affine: np.ndarray, is_new: bool) -> None:
    """Set both forms and keep the codes; an image without codes gets those of scanner coordinates."""
    sform_code, qform_code = int(header["sform_code"]), int(header["qform_code"])
    if is_new or not (sform_code or qform_code):
        sform_code = qform_code = 1
    header.set_sform(affine, sform_code or qform_code)
    header.set_qform(affine, qform_code)


def _set_times(header: nib.Nifti1Header, record: SeriesRecord, unit: str) -> None:
    """Write the frame time in the file's own unit, unless it is there already (or unknown)."""
    times = record.frame_times
    if len(times) < 2:
        return
    if not np.isfinite(times).all():
        header["pixdim"][4] = min(float(header["pixdim"][4]), 0.0)  # a new header has 1
        return
    scale = _MS_PER_UNIT.get(unit, 1e3)
    frame_time, start = record.frame_time / scale, times[0] / scale
    if not np.allclose(np.diff(times), record.frame_time, rtol=1e-3, atol=0):
        logger.info("the frames are not equally spaced in time; the NIfTI file tells their median distance")
    if not np.isclose(float(header["pixdim"][4]), frame_time, rtol=1e-6):
        header["pixdim"][4] = frame_time
    if not np.isclose(float(header["toffset"]), start, rtol=1e-6):
        header["toffset"] = start
