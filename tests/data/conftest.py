# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Small files to read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

__all__ = ["make_nifti"]

AFFINE = np.array([[0, -1.5, 0, 20], [1.4, 0, 0.1, -30], [0.05, 0, 8, 12], [0, 0, 0, 1.0]])


@pytest.fixture
def make_nifti(tmp_path: Path) -> Callable[..., Path]:
    """Give a function that writes NIfTI files with an oblique affine, a frame time and units."""

    def make(
        name: str,
        values: np.ndarray,
        *,
        frame_time: float = 0.04,
        units: tuple[str, str] = ("mm", "sec"),
        codes: tuple[int, int] = (1, 1),
        slope: tuple[float, float] | None = None,
        version: int = 1,
        **fields: Any,  # noqa: ANN401 - header fields
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image_class = nib.Nifti1Image if version == 1 else nib.Nifti2Image
        header = image_class.header_class()
        header.set_data_dtype(values.dtype)
        header.set_data_shape(values.shape)
        header.set_qform(AFFINE, codes[0])
        header.set_sform(AFFINE, codes[1])
        header.set_xyzt_units(*units)
        header["pixdim"][4] = frame_time
        for field, value in fields.items():
            header[field] = value
        image = image_class(values, None, header)
        if slope is not None:
            image.header.set_slope_inter(*slope)
        nib.save(image, path)
        return path

    return make
