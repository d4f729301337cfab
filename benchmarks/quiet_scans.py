# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Scans with little noise of their own: means over many volumes, or halved along each axis, or a phantom."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from torch import Tensor

from monai_stcnnt.mri import cine_phantom, resize_matrix

__all__ = ["QUIET_SCANS", "quiet_clip"]

QUIET_SCANS = {
    "brain 3D": ("ms_lesions_train/patient19/t1w.nii.gz", "half"),
    "cine": ("cine_sunnybrook_train/patient004/patient004_4d.nii.gz", "half series"),
    "cine, second": ("cine_sunnybrook_train/patient001/patient001_4d.nii.gz", "half series"),
    "pCASL": ("asl_pcasl2d_siemens/pcasl_2d.nii.gz", "mean"),
    "BOLD": ("fmri_studyforrest/bold_vol1-16.nii.gz", "mean"),
    "tuned: brain 3D": ("brain_t1_studyforrest/t1_crop_0p67mm.nii.gz", "half volume"),
    "tuned: cine": ("cine_sunnybrook_train/patient005/patient005_4d.nii.gz", "half series"),
    "tuned: brain 2D": ("pyradiomics_brain1/image.nii.gz", "half image"),
    "tuned: phantom": ("", "phantom"),
}
"""Name -> path below the data folder, and how its own noise is reduced. The estimators were developed on those called
``tuned``; nothing was tuned on the others."""

_FRAMES = 8


@cache
def quiet_clip(path: Path, how: str, extent: int = 112) -> Tensor:
    """Magnitudes ``(T, H, W)`` around the middle of a scan, with little noise of their own."""
    if how == "phantom":
        return cine_phantom((_FRAMES, 96, 96)).image.abs()
    array = np.asarray(nib.load(path).dataobj, dtype=np.float32)  # type: ignore[attr-defined]  # any spatial image
    middle, half = array.shape[2] // 2, _FRAMES // 2
    if how == "half series":
        frames = array[:, :, middle, :_FRAMES]
    elif how == "half volume":
        frames = array[:, :, middle - 2 * half : middle + 2 * half]
    elif how == "half image":
        frames = array.reshape(*array.shape[:3], -1)[:, :, middle : middle + 1, 0]
    else:
        frames = array.reshape(*array.shape[:3], -1).mean(-1)[:, :, middle - half : middle + half]
    clip = torch.from_numpy(np.ascontiguousarray(frames.transpose(2, 1, 0)))
    if how != "mean":
        clip = resize_matrix(clip.to(torch.complex64), [n // 2 for n in clip.shape[1:]], keep="signal").abs()
    if how == "half volume":
        clip = (clip[::2] + clip[1::2]) / 2
    top, left = (max(0, (n - extent) // 2) for n in clip.shape[1:])
    return clip[:, top : top + extent, left : left + extent]
