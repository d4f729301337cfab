# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The end of a postprocessing chain: save a prediction as the same kind of file as its image, in the same place."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform, Transform
from monai.utils.enums import MetaKeys, TransformBackends

from monai_stcnnt.data.checks import check_output_folder
from monai_stcnnt.data.listing import output_path
from monai_stcnnt.data.nifti import OutputDtype, write_nifti
from monai_stcnnt.data.record import SeriesRecord, record_from_channel_first
from monai_stcnnt.errors import LayoutError, OutputNotWritableError

__all__ = ["SaveSeries", "SaveSeriesD", "SaveSeriesDict", "SaveSeriesd", "record_from_metatensor"]

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


class SaveSeries(Transform):
    """Save an image as NIfTI with the geometry, frame times and units of the file it came from.

    The file is complete or absent. Its name comes from the image's own (``source`` in the metadata), see
    :func:`~monai_stcnnt.data.listing.output_path`.

    Args:
        output_dir: folder of the results; it is made, and checked to be writable, at once.
        input_root: the file or folder that the images were listed from, whose sub folders are kept; by default each
            image's own folder, so that results lie flat.
        suffix: what to add to the name.
        dtype: type of the voxels in the file.

    Raises:
        OutputNotWritableError: if the folder cannot be written to, or ``dtype`` is unknown.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012 - as MONAI declares it

    def __init__(
        self,
        output_dir: str | Path,
        input_root: str | Path | None = None,
        suffix: str = "denoised",
        dtype: OutputDtype = "float32",
    ) -> None:
        if dtype not in get_args(OutputDtype):
            raise OutputNotWritableError(f"dtype {dtype!r} is not one of {', '.join(get_args(OutputDtype))}.")
        self.output_dir = check_output_folder(output_dir)
        self.input_root = input_root
        self.suffix = suffix
        self.dtype: OutputDtype = dtype

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
        source = record.metadata.get("source")
        if source is None:
            raise LayoutError("The metadata of the image to save has no 'source'. Load it with SeriesReader.")
        root = Path(source) if self.input_root is None else self.input_root
        path = write_nifti(record, output_path(source, root, self.output_dir, self.suffix), dtype=self.dtype)
        img.meta[MetaKeys.SAVED_TO.value] = str(path)
        logger.info("wrote %s", path)
        return img


class SaveSeriesd(MapTransform):
    """Dictionary form of :class:`SaveSeries`.

    Args:
        keys: keys of the images to save; several keys need a suffix each.
        output_dir: folder of the results.
        input_root: the file or folder that the images were listed from.
        suffix: what to add to the name, one for all keys or one per key.
        dtype: type of the voxels in the file.
        allow_missing_keys: pass over keys that are absent.

    Raises:
        OutputNotWritableError: if the folder cannot be written to, ``dtype`` is unknown, or several keys would go to
            one file.
    """

    backend = SaveSeries.backend

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        input_root: str | Path | None = None,
        suffix: str | tuple[str, ...] | list[str] = "denoised",
        dtype: OutputDtype = "float32",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        suffixes = (suffix,) if isinstance(suffix, str) else tuple(suffix)
        if len(suffixes) != len(self.keys) or len(set(suffixes)) != len(suffixes):
            raise OutputNotWritableError(f"{len(self.keys)} keys need as many different suffixes, not {suffixes}.")
        self.savers = [SaveSeries(output_dir, input_root, s, dtype) for s in suffixes]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Save every key.

        Args:
            data: images ``(C, X, Y[, Z[, T]])`` by key.

        Returns:
            The same dictionary.
        """
        d = dict(data)
        for key, saver in self.key_iterator(d, self.savers):
            d[key] = saver(d[key])
        return d


SaveSeriesD = SaveSeriesDict = SaveSeriesd
