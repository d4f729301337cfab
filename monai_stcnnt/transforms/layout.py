# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""File arrays to the tensors that networks take, and back, without losing anything.

A file holds ``(C, X, Y[, Z[, T]])``, channel first as MONAI has it, real or complex. A network that runs over frames
takes one 5-D item ``(batch, C, frames, H, W)`` with ``H = y`` and ``W = x``. One of the file's axes becomes the frames,
another the batch:

=============  =========================  ==========================
frame axis     item (layout ``BCTHW``)    item (layout ``BTCHW``)
=============  =========================  ==========================
``"time"``     ``(Z, C, T, Y, X)``        ``(Z, T, C, Y, X)``
``"slice"``    ``(T, C, Z, Y, X)``        ``(T, Z, C, Y, X)``
=============  =========================  ==========================

``"auto"`` takes time where the file has more than one time point, else slices: a cine gives ``(Z, C, T, H, W)``, a
volume ``(1, C, Z, H, W)``, a single image ``(1, C, 1, H, W)``. A complex array becomes the channels real, imaginary.

The functions are pure and take tensors or arrays; the transforms on top of them, in
:mod:`monai_stcnnt.transforms.frames`, keep MONAI's metadata and trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from monai.config.type_definitions import NdarrayOrTensor

from monai_stcnnt.errors import LayoutError

__all__ = [
    "FrameAxis",
    "Layout",
    "check_layout",
    "expand_to_sizes",
    "file_to_frames",
    "frames_to_file",
    "is_complex",
    "resolve_frame_axis",
    "swap_frame_layout",
]

FrameAxis = Literal["auto", "time", "slice"]
Layout = Literal["BCTHW", "BTCHW"]

# Where each axis of an item (batch, C, frames, H, W) stands in (C, X, Y, Z, T).
_ORDER = {"time": (3, 0, 4, 2, 1), "slice": (4, 0, 3, 2, 1)}


def resolve_frame_axis(shape: Sequence[int], frame_axis: FrameAxis = "auto") -> Literal["time", "slice"]:
    """Decide which axis of a file array is the frame axis.

    Args:
        shape: shape of the file array, ``(C, X, Y[, Z[, T]])``.
        frame_axis: ``"auto"`` takes time where there is more than one time point, else slices.

    Returns:
        ``"time"`` or ``"slice"``.

    Raises:
        LayoutError: if the shape does not have 3 to 5 axes, or the option is unknown.
    """
    if not 3 <= len(shape) <= 5:
        raise LayoutError(
            f"A file array is channel first, (C, X, Y[, Z[, T]]), but this one has the shape {tuple(shape)}. "
            "Put EnsureChannelFirst(channel_dim='no_channel') before."
        )
    if frame_axis == "auto":
        return "time" if len(shape) == 5 and shape[4] > 1 else "slice"
    if frame_axis not in _ORDER:
        raise LayoutError(f"frame_axis is 'auto', 'time' or 'slice', not {frame_axis!r}.")
    return frame_axis


def swap_frame_layout(x: NdarrayOrTensor) -> NdarrayOrTensor:
    """Swap the channel and the frame axis; the same call swaps them back.

    Args:
        x: ``(B, C, T, H, W)`` or ``(B, T, C, H, W)``, or without the batch axis ``(C, T, H, W)`` or ``(T, C, H, W)``.

    Returns:
        The other of the two layouts, contiguous.

    Raises:
        LayoutError: if ``x`` does not have 4 or 5 axes.
    """
    if x.ndim not in (4, 5):
        raise LayoutError(f"Frames have the axes ([B,] C, T, H, W), but the shape is {tuple(x.shape)}.")
    order = (1, 0, 2, 3) if x.ndim == 4 else (0, 2, 1, 3, 4)
    return _permute(x, order)


def file_to_frames(
    array: NdarrayOrTensor, *, frame_axis: FrameAxis = "auto", layout: Layout = "BCTHW"
) -> NdarrayOrTensor:
    """Lay a file's array out as one 5-D item of frames.

    Args:
        array: ``(C, X, Y[, Z[, T]])``, real, or complex with C = 1.
        frame_axis: the file axis that becomes the frames, see :func:`resolve_frame_axis`.
        layout: ``"BCTHW"``, MONAI's, or ``"BTCHW"``, the frame layout.

    Returns:
        ``(batch, C, frames, Y, X)`` or ``(batch, frames, C, Y, X)``, contiguous and of the same type; C = 2, real and
        imaginary, where the array was complex. Values are not changed.

    Raises:
        LayoutError: if the axes do not fit, or a complex array has more than one channel.
    """
    check_layout(layout)
    axis = resolve_frame_axis(array.shape, frame_axis)
    if is_complex(array):
        if array.shape[0] != 1:
            raise LayoutError(f"A complex image has one channel, but the shape is {tuple(array.shape)}.")
        array = _split_complex(array)
    padded = array.reshape(_pad_sizes(array.shape))
    items = _permute(padded, _ORDER[axis])
    return items if layout == "BCTHW" else swap_frame_layout(items)


def frames_to_file(
    frames: NdarrayOrTensor,
    *,
    spatial_shape: Sequence[int],
    frame_axis: Literal["time", "slice"],
    layout: Layout = "BCTHW",
    is_complex: bool = False,
) -> NdarrayOrTensor:
    """Lay one 5-D item of frames out as the file's array; the inverse of :func:`file_to_frames`.

    Args:
        frames: ``(batch, C, frames, Y, X)`` or ``(batch, frames, C, Y, X)``, with any number of channels.
        spatial_shape: the file's sizes ``(X, Y[, Z[, T]])``.
        frame_axis: the axis that the frames came from.
        layout: the layout of ``frames``.
        is_complex: whether the file was complex; two channels then become one complex one, while another number of
            channels (say a magnitude) stays real.

    Returns:
        ``(C, X, Y[, Z[, T]])``, contiguous, of the same type.

    Raises:
        LayoutError: if the sizes of the frames are not those of the file.
    """
    check_layout(layout)
    if frames.ndim != 5:
        raise LayoutError(f"An item of frames has 5 axes, but the shape is {tuple(frames.shape)}.")
    axis = resolve_frame_axis((1, *spatial_shape), frame_axis)
    items = frames if layout == "BCTHW" else swap_frame_layout(frames)
    order = _ORDER[axis]
    padded = _permute(items, [order.index(i) for i in range(5)])
    channels, *sizes = padded.shape
    expected = _pad_sizes((channels, *spatial_shape))[1:]
    if tuple(sizes) != expected:
        raise LayoutError(
            f"The frames {tuple(frames.shape)} ({layout}) give the file sizes (X, Y, Z, T) = {tuple(sizes)}, but the "
            f"file has {expected}. Invert every transform that changed the size first."
        )
    out = padded.reshape((channels, *spatial_shape))
    return _join_complex(out) if is_complex and channels == 2 else out


def expand_to_sizes(array: NdarrayOrTensor, spatial_shape: Sequence[int]) -> NdarrayOrTensor:
    """Repeat the axes of size 1, or absent at the end, so that a map covers an image.

    Args:
        array: ``(C, X, Y[, Z[, T]])``, for example a g-factor map ``(1, X, Y, Z)``.
        spatial_shape: sizes ``(X, Y[, Z[, T]])`` of the image.

    Returns:
        ``(C, X, Y[, Z[, T]])`` with the image's sizes; a view, without copying.

    Raises:
        LayoutError: if an axis has neither the image's size nor 1.
    """
    sizes = tuple(spatial_shape)
    given = tuple(array.shape[1:])
    padded = given + (1,) * (len(sizes) - len(given))
    surplus = padded[len(sizes) :]
    if any(a not in (1, b) for a, b in zip(padded, sizes, strict=False)) or any(n != 1 for n in surplus):
        raise LayoutError(f"A map of the sizes {given} does not cover an image of the sizes {sizes} (X, Y[, Z[, T]]).")
    channels = array.shape[0]
    array = array.reshape((channels, *padded[: len(sizes)]))
    if isinstance(array, torch.Tensor):
        return array.expand(channels, *sizes)
    return np.broadcast_to(array, (channels, *sizes))


def check_layout(layout: str) -> None:
    """Refuse a layout that is not known."""
    if layout not in ("BCTHW", "BTCHW"):
        raise LayoutError(f"layout is 'BCTHW' or 'BTCHW', not {layout!r}.")


def _pad_sizes(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(shape) + (1,) * (5 - len(shape))


def is_complex(array: NdarrayOrTensor) -> bool:
    """Whether the values are complex numbers."""
    return array.is_complex() if isinstance(array, torch.Tensor) else np.iscomplexobj(array)


def _permute(array: NdarrayOrTensor, order: Sequence[int]) -> NdarrayOrTensor:
    if isinstance(array, torch.Tensor):
        return array.permute(*order).contiguous()
    return np.ascontiguousarray(np.transpose(array, order))


def _split_complex(array: NdarrayOrTensor) -> NdarrayOrTensor:
    if isinstance(array, torch.Tensor):
        return torch.cat([array.real, array.imag])
    return np.concatenate([array.real, array.imag])


def _join_complex(array: NdarrayOrTensor) -> NdarrayOrTensor:
    if isinstance(array, torch.Tensor):
        parts = array if array.dtype in (torch.float32, torch.float64) else array.float()
        return torch.complex(parts[:1].contiguous(), parts[1:].contiguous())
    joined = np.empty((1, *array.shape[1:]), np.result_type(array.dtype, np.complex64))
    joined.real, joined.imag = array[:1], array[1:]
    return joined
