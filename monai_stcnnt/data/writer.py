# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The end of a postprocessing chain: save a prediction as the same kind of file as its image, in the same place.

Masks of DICOM images become DICOM segmentation objects.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Protocol, get_args

import numpy as np
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import Transform
from monai.utils.enums import MetaKeys, TransformBackends

from monai_stcnnt.data.formats.base import NIFTI_EXTENSION, Format, OutputDtype, WriteOptions
from monai_stcnnt.data.formats.registry import OutputFormat, files_of, format_for, result_extension
from monai_stcnnt.data.listing import output_path
from monai_stcnnt.data.paths import check_output_folder
from monai_stcnnt.data.provenance import KEY, Provenance, sidecar_path, write_sidecar
from monai_stcnnt.data.record import SeriesRecord, record_from_channel_first
from monai_stcnnt.data.sinks import RecordSink, SeriesSink
from monai_stcnnt.data.slabs import IN_MEMORY
from monai_stcnnt.errors import LabelValueError, LayoutError, OptionError, OutputNotWritableError

__all__ = [
    "SaveSeries",
    "record_from_metatensor",
    "write_labels",
    "write_series",
]

logger = logging.getLogger(__name__)


def record_from_metatensor(img: MetaTensor) -> SeriesRecord:
    """Make a record of an image that was loaded with :class:`~monai_stcnnt.data.reader.SeriesReader`.

    Args:
        img: ``(C, X, Y[, Z[, T]])`` with the reader's metadata; complex with C = 1, or real with C = 1, or with C = 2
            for real and imaginary part where the metadata's ``kind`` is ``"complex"``.

    Returns:
        The record, with the image's present affine.

    Raises:
        LayoutError: if there is no metadata, the number of channels is another, or the number of frames changed.
    """
    if not isinstance(img, MetaTensor):
        raise LayoutError(
            f"The image to save is a {type(img).__name__} without metadata. Save a MetaTensor, after Invertd."
        )
    channels = int(img.shape[0])
    if channels != 1 and not (channels == 2 and img.meta.get("kind") == "complex"):
        raise LayoutError(
            f"The image to save has the shape {tuple(img.shape)} and is {img.meta.get('kind', 'of unknown kind')}. "
            "Save one channel, or two (real, imaginary) of a complex image."
        )
    array = img.as_tensor().detach().cpu()
    array = array.float() if not (array.is_complex() or array.is_floating_point()) or array.itemsize < 4 else array
    keep = {k: v for k, v in img.meta.items() if k not in {key.value for key in MetaKeys}}
    times = keep.pop("frame_times", None)
    frames = array.shape[4] if array.ndim == 5 else 1
    if times is not None and len(times) != frames:
        raise LayoutError(
            f"The image to save has {frames} frames, but {len(times)} frame times. Invert the transforms first."
        )
    keep.pop("frame_time", None)
    affine = np.asarray(img.affine, np.float64)
    return record_from_channel_first(array.numpy(), affine, None if times is None else np.asarray(times), keep)


def write_series(
    record: SeriesRecord,
    path: str | Path,
    *,
    dtype: OutputDtype = "float32",
    uid_seed: str | None = None,
    provenance: Provenance | None = None,
) -> Path:
    """Write a record in the format that the name tells: NIfTI, NumPy, MHA or NRRD; a derived DICOM series elsewhere.

    Args:
        record: what to write.
        path: file name, or for DICOM the folder to make.
        dtype: type of the voxels in a NIfTI file.
        uid_seed: makes the UIDs of a DICOM series a function of this text and the source, see
            :func:`~monai_stcnnt.data.formats.dicom.writer.write_dicom_series`.
        provenance: how the record came about, for a JSON file beside the result, or for its DICOM headers.

    Returns:
        The path.

    Raises:
        OutputNotWritableError: if the format cannot hold the record, or the place cannot be written to.
    """
    return _write(record, Path(path), WriteOptions(dtype, uid_seed), provenance)


def write_labels(
    record: SeriesRecord,
    path: str | Path,
    *,
    class_names: Mapping[int, str],
    algorithm_version: str = "unspecified",
    uid_seed: str | None = None,
    provenance: Provenance | None = None,
    seg_per_frame: bool = False,
) -> Path:
    """Write a mask in the format that the name tells: NIfTI, NumPy, MHA or NRRD; a DICOM segmentation elsewhere.

    Args:
        record: the mask ``(1, T, Z, Y, X)`` of whole numbers, with the metadata of its images.
        path: file name, or for DICOM the folder to make.
        class_names: name of every value but 0.
        algorithm_version: version of what made the mask, for DICOM.
        uid_seed: makes DICOM's UIDs and dates the same every time, see
            :func:`~monai_stcnnt.data.formats.dicom.seg.write_dicom_seg`.
        provenance: how the mask came about, for a JSON file beside it.
        seg_per_frame: for DICOM one object per frame, in place of one with time as a dimension.

    Returns:
        The path.

    Raises:
        LabelValueError: if the mask holds fractions or values without a name.
        OutputNotWritableError: if DICOM is asked for and the images are not DICOM, or the place cannot be written to.
    """
    known = {0, *(int(value) for value in class_names)}
    unnamed = sorted(set(np.unique(record.array).tolist()) - known)
    if unnamed:
        raise LabelValueError(
            f"The mask of {record.metadata.get('source', 'the image')} holds values without a class name: "
            f"{', '.join(f'{value:g}' for value in unnamed[:8])}. Named are {', '.join(map(str, sorted(known)))}."
        )
    dtype: OutputDtype = "uint8" if max(known) < 256 else "uint16"
    how = WriteOptions(dtype, uid_seed, class_names, algorithm_version, seg_per_frame)
    return _write(record, Path(path), how, provenance)


def _write(record: SeriesRecord, path: Path, how: WriteOptions, provenance: Provenance | None) -> Path:
    """Write a result, and what it says about how it came about."""
    marked = record if provenance is None else provenance.mark(record)
    row = format_for(path)
    written = row.write(marked, path, how)
    _tell(path, marked, row)
    return written


@contextmanager
def _telling(path: Path, record: SeriesRecord, row: Format) -> Iterator[None]:
    """Write what a result says of itself when it is complete."""
    yield
    _tell(path, record, row)


def _tell(path: Path, record: SeriesRecord, row: Format) -> None:
    """Write the JSON file beside a result that is a file; DICOM has headers for that."""
    if KEY in record.metadata and row.extensions:
        write_sidecar(path, record.metadata[KEY])


class ResultKeeper(Protocol):
    """What decides whether a result may have its place."""

    def keep(self, path: Path, source: str) -> AbstractContextManager[Path]:
        """Give a hidden name to write the result of an image to, which at the end becomes ``path``."""


class SaveSeries(Transform):
    """Save an image, or a mask, with the geometry, frame times and units of the file it came from.

    The output is complete or absent. Its name comes from the image's own (``source`` in the metadata), see
    :func:`~monai_stcnnt.data.listing.output_path`.

    Args:
        output_dir: folder of the results; it is made, and checked to be writable, at once.
        input_root: the file or folder that the images were listed from, whose sub folders are kept; by default each
            image's own folder, so that results lie flat.
        suffix: what to add to the name.
        dtype: type of the voxels in a NIfTI file.
        output_format: ``"same"`` as the image's own (a folder with a derived series for DICOM, ``.npy`` for a NumPy
            pair), or ``"nifti"``. A complex image from DICOM files becomes NIfTI in any case. A mask of DICOM images
            becomes a folder with a DICOM segmentation object, which ``"dicom_seg"`` insists on;
            ``"dicom_seg_per_frame"`` makes one for each frame.
        uid_seed: makes the UIDs and dates of DICOM series the same in every run, and different for another text; by
            default every run makes new ones.
        class_names: makes the image a mask: the name of every value but 0, such as ``{"1": "RV"}``. Its voxels are
            ``uint8`` in a NIfTI file, whatever ``dtype`` says.
        algorithm_version: version of what made a mask, which DICOM segmentations tell.
        output_file: the file to write, in place of a name made from the image's own; for one image.
        provenance: how results come about, which they then say: in a JSON file beside them, or in DICOM headers.
        keeper: what decides about results that exist, such as
            :class:`~monai_stcnnt.apps.bundle_results.BundleResults`; by default files are replaced, and folders never.

    Raises:
        OptionError: if an option is unknown.
        OutputNotWritableError: if the folder cannot be written to.
        LabelValueError: if a key of ``class_names`` is no whole number.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012 - as MONAI declares it

    def __init__(
        self,
        output_dir: str | Path,
        input_root: str | Path | None = None,
        suffix: str = "denoised",
        dtype: OutputDtype = "float32",
        output_format: OutputFormat = "same",
        uid_seed: str | None = None,
        *,
        class_names: Mapping[int, str] | Mapping[str, str] | None = None,
        algorithm_version: str = "unspecified",
        output_file: str | Path | None = None,
        provenance: Provenance | None = None,
        keeper: ResultKeeper | None = None,
    ) -> None:
        for value, choices in ((dtype, get_args(OutputDtype)), (output_format, get_args(OutputFormat))):
            if value not in choices:
                raise OptionError(f"{value!r} is not one of {', '.join(choices)}.")
        self.output_dir = check_output_folder(output_dir)
        self.input_root = input_root
        self.suffix = suffix
        self.dtype: OutputDtype = dtype
        self.output_format: OutputFormat = output_format
        self.uid_seed = uid_seed
        self.class_names = None if class_names is None else _whole_keys(class_names)
        self.algorithm_version = algorithm_version
        self.output_file = None if output_file is None else Path(output_file).expanduser()
        self.provenance, self.keeper = provenance, keeper
        if output_format.startswith("dicom_seg") and not self.class_names:
            raise OptionError("A DICOM segmentation needs the names of the classes. Give class_names.")
        self._sources: dict[Path, str] = {}

    def __call__(self, img: MetaTensor) -> MetaTensor:
        """Save one image.

        Args:
            img: ``(C, X, Y[, Z[, T]])``, see :func:`record_from_metatensor`.

        Returns:
            The same image, with ``saved_to`` in its metadata.

        Raises:
            LayoutError: if it is not an image of these axes with the reader's metadata.
            OutputNotWritableError: if the file cannot be written.
        """
        record = record_from_metatensor(img)
        if "source" not in record.metadata:
            raise LayoutError("The metadata of the image to save has no 'source'. Load it with SeriesReader.")
        path = self._target(record)
        with self._kept(path, record) as aside:
            self._write(record, aside)
        img.meta[MetaKeys.SAVED_TO.value] = str(path)
        logger.info("wrote %s", path)
        return img

    def open(self, outline: SeriesRecord, *, memory: int = IN_MEMORY) -> SeriesSink:
        """Begin to save an image that comes slab by slab.

        Floating point NIfTI is written as it comes. Other files need all values before the first can be written: what
        is too large for the memory waits in a file without a name in the output folder.

        Args:
            outline: what will be saved; its values are not looked at.
            memory: largest size in bytes, as float32, to keep in memory.

        Returns:
            What takes the slabs, a context manager; at its end the file is complete.

        Raises:
            LayoutError: if the outline does not tell where the image came from.
            OutputNotWritableError: if there is no place for it.
        """
        if "source" not in outline.metadata:
            raise LayoutError("The metadata of the image to save has no 'source'. Open it with SeriesReader.")
        path = self._target(outline)
        if self.keeper is None and path.is_dir():
            raise OutputNotWritableError(f"{path} exists already. Choose another folder.")
        marked = outline if self.provenance is None else self.provenance.mark(outline)
        row = format_for(path)
        stack = ExitStack()
        with stack:
            aside = stack.enter_context(self._kept(path, outline))
            if self.class_names is None:
                stack.enter_context(_telling(aside, marked, row))
                sink = row.sink(marked, aside, WriteOptions(self.dtype, self.uid_seed), memory)
            else:
                sink = RecordSink(outline, aside, self._write, memory)
            sink.within(stack, path)
        return sink

    def _kept(self, path: Path, record: SeriesRecord) -> AbstractContextManager[Path]:
        """Where to write what will be at a path."""
        return nullcontext(path) if self.keeper is None else self.keeper.keep(path, str(record.metadata["source"]))

    def beside(self, result: Path, name: str, content: str) -> SaveSeries:
        """What saves another image beside a result: a file of the same kind, or NIfTI beside a DICOM series.

        Args:
            result: the file or folder.
            name: what is added to its name.
            content: what the file says is in it.
        """
        if format_for(result).extensions:
            stem = sidecar_path(result).stem
            file = result.with_name(f"{stem}_{name}{result.name[len(stem) :]}")
        else:
            file = result.with_name(f"{result.name}_{name}{NIFTI_EXTENSION}")
        provenance = None if self.provenance is None else replace(self.provenance, content=content)
        return SaveSeries(self.output_dir, output_file=file, provenance=provenance)

    def _write(self, record: SeriesRecord, path: Path) -> Path:
        if self.class_names is None:
            return write_series(record, path, dtype=self.dtype, uid_seed=self.uid_seed, provenance=self.provenance)
        return write_labels(
            record, path, class_names=self.class_names, algorithm_version=self.algorithm_version,
            uid_seed=self.uid_seed, provenance=self.provenance,
            seg_per_frame=self.output_format == "dicom_seg_per_frame",
        )  # fmt: skip

    def _target(self, record: SeriesRecord) -> Path:
        """Where a record goes; two sources never go to one place."""
        return self.place_of(str(record.metadata["source"]), record.metadata.get("file_format"), record.kind)

    def place_of(self, source: str, file_format: object, kind: str) -> Path:
        """Where the result of an image goes; two images never go to one place, and none to that of an image.

        Args:
            source: the file or folder.
            file_format: name of its format, None to go by its name.
            kind: ``"magnitude"`` or ``"complex"``.

        Returns:
            The path.

        Raises:
            OutputNotWritableError: if the place is that of an image.
        """
        path = self.output_file
        if path is None:
            extension = result_extension(source, file_format, kind, self.output_format)
            root = source if self.input_root is None else self.input_root
            path = output_path(source, root, self.output_dir, self.suffix, extension)
        other = self._sources.setdefault(path, source)
        if other != source:
            raise OutputNotWritableError(f"{other} and {source} would both become {path}. Rename one of them.")
        if path.exists() and any(path.samefile(file) for file in files_of(source)):
            raise OutputNotWritableError(f"{path} is the input itself. Choose another name or folder.")
        return path


def _whole_keys(class_names: Mapping[int, str] | Mapping[str, str]) -> dict[int, str]:
    """Names by number, of a mapping whose keys may be text, as in JSON."""
    try:
        return {int(value): str(name) for value, name in class_names.items()}
    except ValueError as error:
        raise LabelValueError(f"The class names {dict(class_names)} need whole numbers as keys.") from error
