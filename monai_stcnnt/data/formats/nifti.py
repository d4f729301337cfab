# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""NIfTI in and out: values, geometry, frame times and units stay what they are.

Read with nibabel: 2D, 3D and 4D images, real or complex, NIfTI-1 and NIfTI-2. A fifth axis of size 2 that the header
does not call a vector holds real and imaginary part. The record keeps the header, so that what is written has the
same number of axes, qform, sform, units and frame time as what was read.
"""

from __future__ import annotations

import io
import logging
import math
import zlib
from dataclasses import dataclass
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
from monai_stcnnt.data.unpacking import check_packing, unpacked_size
from monai_stcnnt.errors import (
    EmptyImageError,
    GeometryError,
    NotAnImageError,
    OutputNotWritableError,
    StcnntError,
    UnreadableFileError,
)

__all__ = [
    "NIFTI_FAILURES",
    "NIFTI_SUFFIXES",
    "NiftiFile",
    "OutputDtype",
    "check_nifti_size",
    "is_nifti_path",
    "most_nifti_bytes",
    "nifti_file_layout",
    "open_nifti",
    "read_nifti",
    "unreadable_nifti",
    "write_nifti",
]

logger = logging.getLogger(__name__)

NIFTI_SUFFIXES = (".nii.gz", ".nii")
OutputDtype = Literal["float32", "float64", "int16", "uint16", "uint8"]

_MS_PER_UNIT = {"sec": 1e3, "msec": 1.0, "usec": 1e-3}
_MM_PER_UNIT = {"meter": 1e3, "mm": 1.0, "micron": 1e-3}
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
    file = open_nifti(path)
    try:
        check_nifti_size(file, unpacked_size(file.path, most_nifti_bytes(file.image)))
        values = np.asarray(file.image.dataobj)
    except StcnntError:
        raise
    except NIFTI_FAILURES as error:
        raise unreadable_nifti(file.path, error) from error
    if file.is_pair:
        channels = np.stack([values[..., 0], values[..., 1]])
    else:
        values = values.reshape(file.shape[:0:-1])
        channels = np.stack([values.real, values.imag]) if np.iscomplexobj(values) else values[None]
    with np.errstate(over="ignore"):
        array = channels.transpose(0, 4, 3, 2, 1).astype(np.float32)
    return SeriesRecord(array, file.affine, file.frame_times, file.metadata)


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
    units = _units_of(image.header)
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
    image = _image_for(record, values, file_dtype)
    with write_aside(path) as aside:
        nib.save(image, aside)
    return path


def nifti_file_layout(outline: SeriesRecord, dtype: OutputDtype) -> tuple[bytes, np.dtype, bool]:
    """Lay out a file of floating point values that is written without nibabel, plane by plane.

    The planes ``(Y, X)`` follow the header, slices faster than times. Real and imaginary part are interleaved, or,
    where the source had them along a fifth axis, all real parts come first.

    Args:
        outline: what will be written; its values are not looked at.
        dtype: ``"float32"`` or ``"float64"``, per component.

    Returns:
        All bytes before the first voxel, the type of the voxels, and whether the parts stand along a fifth axis.

    Raises:
        OutputNotWritableError: for another type.
    """
    if dtype not in ("float32", "float64"):
        raise OutputNotWritableError(f"{dtype} is not written plane by plane. Choose float32 or float64.")
    plane = outline.with_array(outline.array[..., :1, :1])
    values, file_dtype = _file_values(plane, dtype)
    shape = (*outline.array.shape[:2:-1], *values.shape[2:])
    image = _image_for(outline, np.broadcast_to(np.zeros((), file_dtype), shape), file_dtype)
    image.update_header()
    image.header.set_slope_inter(1.0, 0.0)
    buffer = io.BytesIO()
    image.header.write_to(buffer)
    return buffer.getvalue(), file_dtype, outline.kind == "complex" and file_dtype.kind == "f"


def _image_for(record: SeriesRecord, values: np.ndarray, dtype: np.dtype) -> nib.Nifti1Image:
    header = _header_for(record, values, dtype)
    image_class = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    image = image_class(values, None, header)
    image.header.set_data_dtype(dtype)
    return image


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
