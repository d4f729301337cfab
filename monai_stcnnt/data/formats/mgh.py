# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""FreeSurfer's MGH and MGZ files through nibabel; results are NIfTI."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.fileholders import FileHolder
from nibabel.freesurfer.mghformat import MGHError

from monai_stcnnt.data.formats.base import NIFTI_EXTENSION, Format, refuse_series
from monai_stcnnt.data.formats.nifti_header import NIFTI_FAILURES, opener_of, unreadable_nifti
from monai_stcnnt.data.record import SeriesRecord, regular_frame_times
from monai_stcnnt.data.unpacking import check_packing
from monai_stcnnt.errors import EmptyImageError, UnreadableFileError

__all__ = ["Mgh"]


class Mgh(Format):
    """MGH and MGZ files."""

    name, label, extensions = "mgh", "MGH", (".mgz", ".mgh")

    def read(self, path: Path, *, series: str | int | None = None) -> SeriesRecord:
        """Read a file; the repetition time in its header is the time from frame to frame.

        Raises:
            UnreadableFileError: if it is damaged.
            EmptyImageError: if it has no voxels.
            GeometryError: if its affine is impossible.
        """
        refuse_series(path, series)
        try:
            with opener_of(path)(path, "rb") as file:
                image = nib.MGHImage.from_file_map({"image": FileHolder(fileobj=file)}, mmap=False)
                dtype, shape = image.get_data_dtype(), tuple(int(n) for n in (*image.shape, 1)[:4])
                if min(shape) < 1:
                    raise EmptyImageError(f"{path} has no voxels: its shape is {shape}.")
                check_packing(path, math.prod(shape), dtype.itemsize, is_packed=opener_of(path) is not open)
                values = np.asarray(image.dataobj).reshape(shape)
            frame_time = float(image.header["tr"])
        except (EmptyImageError, UnreadableFileError):
            raise
        except (*NIFTI_FAILURES, MGHError) as error:
            raise unreadable_nifti(path, error) from error
        metadata: dict[str, Any] = {
            "source": str(path),
            "file_format": self.name,
            "file_ndim": 4 if shape[3] > 1 else 3,
            "file_shape": shape,
            "file_dtype": str(dtype),
            "units": ("mm", "msec"),
            "kind": "magnitude",
        }
        array = values.transpose(3, 2, 1, 0)[None].astype(np.float32)
        return SeriesRecord(array, image.affine, regular_frame_times(shape[3], frame_time), metadata)

    def result_extension(self, path: Path, kind: str) -> str:
        """MGH is not written."""
        return NIFTI_EXTENSION
