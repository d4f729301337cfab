# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""MetaImage and NRRD through SimpleITK, which is optional: ``pip install SimpleITK``."""

from __future__ import annotations

import glob
import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np

from monai_stcnnt.data.formats.base import NIFTI_EXTENSION, Format, WriteOptions, refuse_series
from monai_stcnnt.data.paths import check_exists, write_aside
from monai_stcnnt.data.record import LPS_TO_RAS, SeriesRecord, regular_frame_times
from monai_stcnnt.data.slabs import with_background
from monai_stcnnt.errors import EmptyImageError, NotAnImageError, OutputNotWritableError, UnreadableFileError

__all__ = ["Itk", "read_itk", "write_itk"]

_SINGLE_FILES = {".mhd": ".mha", ".mha": ".mha", ".nhdr": ".nrrd", ".nrrd": ".nrrd"}
_HEADER_BYTES = 1 << 20
_DATA_FILE = re.compile(rb"^(?:ElementDataFile\s*=|data ?file:)\s*(.+?)\s*$", re.MULTILINE)


def read_itk(path: str | Path) -> SeriesRecord:
    """Read a MetaImage or NRRD file with SimpleITK.

    Args:
        path: file with 2 to 4 axes x, y, z, time; real or complex.

    Returns:
        The record. These formats have no unit of time; the spacing of the fourth axis is taken for milliseconds.

    Raises:
        MissingFileError: if the file does not exist.
        UnreadableFileError: if it is damaged, or SimpleITK is not installed.
        NotAnImageError: if it holds colors or vectors, or has other axes.
        EmptyImageError: if it has no voxels.
        GeometryError: if its spacing is impossible.
    """
    path = check_exists(path)
    sitk = _simple_itk(path)
    try:
        image = sitk.ReadImage(str(path))
        values = sitk.GetArrayFromImage(image)
    except (RuntimeError, ValueError, MemoryError):
        raise UnreadableFileError(
            f"{path} cannot be read by SimpleITK. It is damaged or incomplete; copy it again."
        ) from None  # the cause quotes the header
    ndim, frames = image.GetDimension(), _sequence_of(image)
    if (image.GetNumberOfComponentsPerPixel() != 1 and not frames) or not 2 <= ndim <= 4:
        raise NotAnImageError(f"{path} has colors or vectors, or {ndim} axes. Images have one value and 2 to 4 axes.")
    if values.size == 0:
        raise EmptyImageError(f"{path} has no voxels.")
    if frames:
        full = np.moveaxis(values, -1, 0).reshape((frames, *(1,) * (3 - ndim), *values.shape[:-1]))
    else:
        full = values.reshape((1,) * (4 - ndim) + values.shape)
    channels = np.stack([full.real, full.imag]) if np.iscomplexobj(full) else full[None]
    frame_time = image.GetSpacing()[3] if ndim == 4 else np.nan
    metadata: dict[str, Any] = {
        "source": str(path),
        "file_format": "itk",
        "file_ndim": 4 if frames else ndim,
        "file_shape": (*image.GetSize(), frames) if frames else tuple(image.GetSize()),
        "file_dtype": str(values.dtype),
        "units": ("mm", "msec"),
        "kind": "complex" if len(channels) == 2 else "magnitude",
    }
    start = image.GetOrigin()[3] if ndim == 4 else 0.0
    times = regular_frame_times(len(full), frame_time, start)
    with np.errstate(over="ignore"):
        array = channels.astype(np.float32)
    return SeriesRecord(array, _affine(image, ndim), times, metadata)


def write_itk(record: SeriesRecord, path: str | Path) -> Path:
    """Write a record as ``.mha`` or ``.nrrd``, float32; the file is complete or absent.

    Args:
        record: what to write; a magnitude image.
        path: file name; missing folders are made.

    Returns:
        The path.

    Raises:
        OutputNotWritableError: if the name is another, the image is complex, or the place cannot be written to.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() not in _SINGLE_FILES.values() or record.kind == "complex":
        raise OutputNotWritableError(f"{path}: magnitude images are written as .mha or .nrrd. Choose NIfTI otherwise.")
    sitk = _simple_itk(path)
    spatial = record.to_spatial()
    if spatial.ndim == 2 and record.metadata.get("file_format") != "itk":
        spatial = spatial[..., None]  # an oblique plane has no 2D direction
    image = sitk.GetImageFromArray(np.ascontiguousarray(spatial.T), isVector=False)
    ndim = spatial.ndim
    affine = LPS_TO_RAS @ record.affine
    spacing, space = record.spacing, min(ndim, 3)
    direction, origin, steps = np.eye(ndim), np.zeros(ndim), np.ones(ndim)
    direction[:space, :space] = (affine[:3, :3] / spacing)[:space, :space]
    origin[:space], steps[:space] = affine[:space, 3], spacing[:space]
    if ndim == 4 and np.isfinite(record.frame_time):
        steps[3], origin[3] = record.frame_time, record.frame_times[0]
    image.SetSpacing(steps.tolist())
    image.SetOrigin(origin.tolist())
    image.SetDirection(direction.ravel().tolist())
    with write_aside(path) as aside:
        try:
            sitk.WriteImage(image, str(aside), useCompression=True)
        except RuntimeError as error:
            raise OutputNotWritableError(f"{path} cannot be written by SimpleITK. Choose another folder.") from error
    return path


def _sequence_of(image: Any) -> int:  # noqa: ANN401 - an untyped image
    """Number of frames of a sequence whose first axis is a list, as 3D Slicer writes it in NRRD; 0 elsewhere."""
    kind = "NRRD_kinds[pixel]"
    is_list = image.HasMetaDataKey(kind) and image.GetMetaData(kind) in ("list", "time")
    return int(image.GetNumberOfComponentsPerPixel()) if is_list and image.GetDimension() <= 3 else 0


def _simple_itk(path: Path) -> Any:  # noqa: ANN401 - an untyped module
    try:
        return importlib.import_module("SimpleITK")
    except ImportError as error:
        raise UnreadableFileError(f"{path} needs SimpleITK: pip install SimpleITK.") from error


def _affine(image: Any, ndim: int) -> np.ndarray:  # noqa: ANN401 - an untyped image
    space = min(ndim, 3)
    affine = np.eye(4)
    direction = np.array(image.GetDirection()).reshape(ndim, ndim)[:space, :space]
    affine[:space, :space] = direction * np.array(image.GetSpacing()[:space])
    affine[:space, 3] = image.GetOrigin()[:space]
    return LPS_TO_RAS @ affine


def _data_files(header: Path) -> list[Path]:
    """Files that a detached header names: one, a list of names, or a pattern with the first and the last number."""
    try:
        with header.open("rb") as file:
            text = file.read(_HEADER_BYTES)
    except OSError as error:
        raise UnreadableFileError(f"{header} cannot be opened: {error.strerror}. Check its permissions.") from error
    found = _DATA_FILE.search(text)
    if found is None:
        return []
    value = found.group(1).decode(errors="surrogateescape")
    first, *numbers = value.split()
    if first.upper() == "LIST":
        names = [line.strip().decode(errors="surrogateescape") for line in text[found.end() :].splitlines()]
    elif "%" in first and len(numbers) >= 2:  # a pattern, the first number and the last
        pattern = re.sub(r"%0?\d*[diu]", "*", glob.escape(str(header.parent / first)))
        names = sorted(glob.glob(pattern))
    else:
        names = [value]
    return [header.parent / name for name in names if name and (header.parent / name).is_file()]


class Itk(Format):
    """MetaImage and NRRD files, with the header in the file or apart."""

    name, label = "itk", "MetaImage or NRRD"
    extensions = tuple(_SINGLE_FILES)

    def files_of(self, path: Path) -> list[Path]:
        """List the file, and the data files that a detached header names."""
        return [path, *(_data_files(path) if path.suffix.lower() in (".mhd", ".nhdr") else [])]

    def read(self, path: Path, *, series: str | int | None = None) -> SeriesRecord:
        """Read a file, see :func:`read_itk`."""
        refuse_series(path, series)
        return read_itk(path)

    def write(self, record: SeriesRecord, path: Path, how: WriteOptions) -> Path:
        """Write a file, see :func:`write_itk`."""
        return write_itk(with_background(record) if how.class_names is None else record, path)

    def result_extension(self, path: Path, kind: str) -> str:
        """A result is one file, of the same kind as its image; NIfTI where that is complex."""
        return NIFTI_EXTENSION if kind == "complex" else _SINGLE_FILES[path.suffix.lower()]
