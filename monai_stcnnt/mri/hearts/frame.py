# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The frame in which networks see hearts: one size of pixel, one number of them, one scale of intensities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from monai_stcnnt.errors import LayoutError

__all__ = ["VIEW_AREAS", "crop_heart", "heart_scale", "uncrop_heart"]

VIEW_AREAS = "view_areas"
"""Key in the metadata of a prediction: area in square mm of every class, by view, slice, class and frame."""

MAX_INTENSITY = 3.0


def heart_scale(clips: Tensor) -> Tensor:
    """Bring clips with a heart in their middle to one scale.

    The 95th percentile of the middle half of the rows and columns becomes 1: bright fat near the coil is mostly outside
    of it. Higher values are cut off at three.

    Args:
        clips: magnitudes ``(..., T, H, W)``.

    Returns:
        The same shape, float32; a clip of zeros stays what it is.
    """
    height, width = clips.shape[-2:]
    middle = clips[..., height // 4 : height - height // 4, width // 4 : width - width // 4].flatten(-3).float()
    rank = max(int(0.95 * middle.shape[-1]), 1)
    level = middle.kthvalue(rank, dim=-1).values.clamp(min=torch.finfo(torch.float32).tiny)
    return (clips.float() / level[..., None, None, None]).clamp(max=MAX_INTENSITY)


def crop_heart(
    images: Tensor, spacing: Sequence[float], center: Sequence[float], size: Sequence[int], pixel: float
) -> Tensor:
    """Resample the surroundings of a point, linearly; finer images are smoothed first.

    Args:
        images: ``(Z, C, T, H, W)``.
        spacing: size of their pixels (H, W) in mm.
        center: (y, x) of the point, in mm from the first pixel's center.
        size: (h, w) of the result.
        pixel: size of its pixels in mm.

    Returns:
        ``(Z, C, T, h, w)``, float32; zero outside of the images.
    """
    _check(images)
    planes = images.float().flatten(0, 2)[None]
    sizes = [extent * step for extent, step in zip(images.shape[3:], spacing, strict=True)]
    coarse = [max(round(extent / pixel), 1) for extent in sizes]
    if max(c / n for c, n in zip(coarse, images.shape[3:], strict=True)) < 1:
        planes = F.interpolate(planes, coarse, mode="bilinear", antialias=True)
    axes = []
    for middle, count, extent, step in zip(center, size, sizes, spacing, strict=True):
        places = (torch.arange(count) - (count - 1) / 2) * pixel + middle + step / 2
        axes.append(2 * places / extent - 1)
    out = F.grid_sample(planes, _grid(axes).to(planes), "bilinear", "zeros", align_corners=False)
    return out[0].unflatten(0, images.shape[:3])


def uncrop_heart(
    crops: Tensor, shape: Sequence[int], spacing: Sequence[float], center: Sequence[float], pixel: float
) -> Tensor:
    """Bring probabilities back from :func:`crop_heart`, linearly.

    Args:
        crops: ``(Z, K, T, h, w)``, probabilities of K classes.
        shape: (H, W) of the images.
        spacing: size of their pixels in mm.
        center: the point.
        pixel: size of the crops' pixels in mm.

    Returns:
        ``(Z, K, T, H, W)``: outside of the crop the first class has all the probability.
    """
    _check(crops)
    axes = []
    for middle, count, extent, step in zip(center, shape, crops.shape[3:], spacing, strict=True):
        places = (torch.arange(count) * step - middle) / pixel
        axes.append(2 * places / extent)
    shifted = torch.cat([crops[:, :1] - 1, crops[:, 1:]], dim=1)
    out = F.grid_sample(shifted.flatten(0, 2)[None], _grid(axes).to(crops), "bilinear", "zeros", align_corners=False)
    out = out[0].unflatten(0, crops.shape[:3])
    out[:, 0] += 1
    return out


def _grid(axes: Sequence[Tensor]) -> Tensor:
    """Places (1, H, W, 2) for ``grid_sample`` from those of rows and of columns."""
    return torch.stack(torch.broadcast_tensors(axes[1][None, :], axes[0][:, None]), dim=-1)[None]


def _check(images: Tensor) -> None:
    if images.ndim != 5:
        raise LayoutError(f"Slices of a cine are (Z, C, T, H, W), not the shape {tuple(images.shape)}.")
