# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""g-factor maps from files: checked against the image that they belong to."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from monai_stcnnt.data.checks import check_gfactor_map
from monai_stcnnt.data.formats.registry import read_series
from monai_stcnnt.data.record import SeriesRecord

__all__ = ["read_gfactor_map"]

logger = logging.getLogger(__name__)


def read_gfactor_map(path: str | Path, like: SeriesRecord) -> np.ndarray:
    """Read the g-factor map of an image.

    Args:
        path: file with the map ``(X, Y)``, ``(X, Y, Z)`` or ``(X, Y, Z, T)``; each axis has the image's size or 1.
        like: the image.

    Returns:
        ``(1, T or 1, Z or 1, Y or 1, X or 1)`` float32, which broadcasts over the image's array.

    Raises:
        GFactorMapError: if the map does not cover the image, is complex, or has a value that is not positive and
            finite.
        MissingFileError: and the other errors of :func:`~monai_stcnnt.data.formats.registry.read_series`.
    """
    gmap = read_series(path, check=False)
    check_gfactor_map(gmap.array, like.array.shape, str(path))
    if not np.allclose(gmap.affine, like.affine, atol=1e-2):
        logger.warning("%s has another affine than its image; voxels are matched by their index", path)
    return gmap.array
