# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""NIfTI files written at once, or plane by plane as the values come."""

from __future__ import annotations

import io
import logging
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import IO

import nibabel as nib
import numpy as np
from nibabel.openers import ImageOpener

from monai_stcnnt.data.formats.base import OutputDtype
from monai_stcnnt.data.formats.nifti_header import MM_PER_UNIT, MS_PER_UNIT, is_nifti_path, stored_header, units_of
from monai_stcnnt.data.paths import write_aside
from monai_stcnnt.data.provenance import KEY
from monai_stcnnt.data.record import SeriesRecord
from monai_stcnnt.data.sinks import SeriesSink, claim
from monai_stcnnt.data.slabs import BACKGROUND, background_of, with_background
from monai_stcnnt.errors import OutputNotWritableError

__all__ = ["NiftiSink", "nifti_file_layout", "write_nifti"]

logger = logging.getLogger(__name__)

_CHUNK = 1 << 22


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
    metadata = {name: value for name, value in outline.metadata.items() if name != BACKGROUND}
    plane = replace(outline, array=outline.array[..., :1, :1], metadata=metadata)
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


class NiftiSink(SeriesSink):
    """A NIfTI file of floating point values that is written in place, plane by plane.

    A compressed file is written plain beside it, to a file without a name, and packed at the end.

    Args:
        outline: what will be written.
        path: name that ends in ``.nii`` or ``.nii.gz``.
        dtype: ``"float32"`` or ``"float64"``, per component.
    """

    def __init__(self, outline: SeriesRecord, path: Path, dtype: OutputDtype = "float32") -> None:
        super().__init__(outline, path)
        self.header, self.file_dtype, self.is_pair = nifti_file_layout(outline, dtype)
        self.background = background_of(outline.metadata, outline.array.shape)
        self._aside = path
        self._file: IO[bytes]

    def _begin(self) -> None:
        self._aside = self._stack.enter_context(write_aside(self.path))
        size = len(self.header) + self._planes() * self._plane_size()
        try:
            is_packed = self.path.name.lower().endswith(".gz")
            if is_packed:
                self._file = self._stack.enter_context(tempfile.TemporaryFile(dir=self.path.parent))  # noqa: SIM115
            else:
                self._file = self._stack.enter_context(open(self._aside, "w+b"))  # noqa: SIM115 - the stack closes it
            claim(self._file, size)
            self._file.write(self.header)
        except OSError as error:
            raise self._failure(error) from error

    def write(self, frames: slice, slices: slice, values: np.ndarray) -> None:
        """Write some frames of some slices; see :meth:`SeriesSink.write`."""
        _, times, places, *_ = self.outline.array.shape
        if self.background is not None:
            values = np.where(self.background[slices], np.float32(np.nan), values)
        if self.file_dtype.kind == "f":
            parts = values.astype(self.file_dtype)
        else:
            parts = (values[:1] + 1j * values[1:]).astype(self.file_dtype)
        try:
            for part, volume in enumerate(parts):
                for time, planes in enumerate(volume, frames.start):
                    place = (part * times + time) * places + slices.start
                    self._file.seek(len(self.header) + place * self._plane_size())
                    self._file.write(np.ascontiguousarray(planes).data)
        except OSError as error:
            raise self._failure(error) from error

    def _finish(self) -> None:
        try:
            self._file.flush()
            if self.path.name.lower().endswith(".gz"):
                self._file.seek(0)
                with ImageOpener(str(self._aside), "wb") as packed:
                    while block := self._file.read(_CHUNK):
                        packed.write(block)
            else:
                os.fsync(self._file.fileno())
        except OSError as error:
            raise self._failure(error) from error

    def _planes(self) -> int:
        _, times, places, *_ = self.outline.array.shape
        return times * places * (2 if self.is_pair else 1)

    def _plane_size(self) -> int:
        *_, rows, columns = self.outline.array.shape
        return rows * columns * self.file_dtype.itemsize


def _file_values(record: SeriesRecord, dtype: OutputDtype) -> tuple[np.ndarray, np.dtype]:
    """Voxels in the file's axes (x, y, z, t), and their type in the file."""
    values = (with_background(record) if np.dtype(dtype).kind == "f" else record).to_spatial()
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
    stored = stored_header(record)
    if stored is None:
        header = nib.Nifti1Header()
        header.set_xyzt_units("mm", "sec" if values.ndim > 3 else "unknown")
    else:
        header = stored
        header["vox_offset"] = 0
    source_affine = header.get_best_affine() if stored is not None else np.zeros((4, 4))
    header.set_data_dtype(dtype)
    pixdim = header["pixdim"].copy()
    header.set_data_shape(values.shape)
    header["pixdim"] = pixdim  # nibabel forgets those of absent axes
    space, time = units_of(header)
    affine = record.affine.copy()
    affine[:3] /= MM_PER_UNIT.get(space, 1.0)
    if not np.allclose(affine, source_affine, rtol=1e-6, atol=1e-6):
        _set_affine(header, affine, stored is None)
    _set_times(header, record, time)
    if KEY in record.metadata:
        header["descrip"] = str(record.metadata[KEY]["Description"]).encode()[:79]
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
    scale = MS_PER_UNIT.get(unit, 1e3)
    frame_time, start = record.frame_time / scale, times[0] / scale
    if not np.allclose(np.diff(times), record.frame_time, rtol=1e-3, atol=0):
        logger.info("the frames are not equally spaced in time; the NIfTI file tells their median distance")
    if not np.isclose(float(header["pixdim"][4]), frame_time, rtol=1e-6):
        header["pixdim"][4] = frame_time
    if not np.isclose(float(header["toffset"]), start, rtol=1e-6):
        header["toffset"] = start
