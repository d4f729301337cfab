# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Established denoisers from other packages, on frames ``(frames, Y, X)`` whose noise has standard deviation 1.

They come with ``pip install "monai_stcnnt[bench]"``; the licence of bm4d and bm3d is for non-commercial use.
"""

from __future__ import annotations

from functools import partial

import numpy as np

__all__ = ["block_matching", "marchenko_pastur", "non_local_means"]

_BLOCK = 4


def block_matching(image: np.ndarray, sigma: float = 1.0) -> np.ndarray:
    """BM4D (Maggioni et al. 2013, doi:10.1109/TIP.2012.2210725); BM3D of each frame where there are less than 4.

    Args:
        image: frames (frames, Y, X).
        sigma: standard deviation of the noise that it is told.

    Returns:
        Denoised frames of the same shape.
    """
    from bm3d import bm3d
    from bm4d import bm4d

    frames = np.ascontiguousarray(image, dtype=np.float32)
    if len(frames) < _BLOCK:
        return np.stack([bm3d(frame, sigma) for frame in frames]).astype(np.float32)
    return bm4d(frames, sigma)


def non_local_means(image: np.ndarray, sigma: float, *, rician: bool) -> np.ndarray:
    """Non-local means (Coupé et al. 2008, doi:10.1109/TMI.2007.906087), dipy's classic form.

    Less than 4 frames, in which dipy's blocks have no room, are filtered one by one, by scikit-image.

    Args:
        image: frames (frames, Y, X).
        sigma: standard deviation of the noise that it is told.
        rician: whether the image is a magnitude; other images are shifted above zero, which dipy needs.

    Returns:
        Denoised frames of the same shape.
    """
    from dipy.denoise.nlmeans import nlmeans
    from skimage.restoration import denoise_nl_means

    if len(image) < _BLOCK:
        one = partial(denoise_nl_means, patch_size=5, patch_distance=9, h=0.8 * sigma, sigma=sigma, fast_mode=False)
        return np.stack([one(frame.astype(np.float64)) for frame in image]).astype(np.float32)  # NaN in float32
    shift = 0.0 if rician else float(image.min()) - 10.0
    shifted = np.ascontiguousarray(image - shift, dtype=np.float32)
    return nlmeans(shifted, sigma, rician=rician, patch_radius=1, block_radius=3, method="classic") + shift


def marchenko_pastur(component: np.ndarray) -> np.ndarray:
    """MP-PCA (Veraart et al. 2016, doi:10.1016/j.neuroimage.2016.08.016), made for many volumes of the same place.

    Args:
        component: volumes (T, Z, Y, X) with several T; patches of 5x5 pixels, and 5 slices where there are as many.

    Returns:
        Denoised volumes of the same shape.
    """
    from dipy.denoise.localpca import mppca

    radius = (2, 2, 2 if component.shape[1] > 4 else 0)
    lowest = min(float(component.min()), 0.0)  # dipy cuts negative values off
    volumes = np.ascontiguousarray((component - lowest).transpose(3, 2, 1, 0))
    return mppca(volumes, patch_radius=radius, suppress_warning=True).transpose(3, 2, 1, 0) + lowest
