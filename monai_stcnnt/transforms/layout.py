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

The functions are pure and take tensors or arrays; the transforms on top of them keep MONAI's metadata and trace.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection, NdarrayOrTensor
from monai.data.meta_tensor import MetaTensor
from monai.transforms.inverse import InvertibleTransform
from monai.transforms.transform import MapTransform
from monai.utils.enums import TraceKeys, TransformBackends
from monai.utils.type_conversion import convert_to_dst_type

from monai_stcnnt.errors import LayoutError

__all__ = [
    "FileToFrames",
    "FileToFramesd",
    "FrameAxis",
    "Layout",
    "SwapFrameLayout",
    "SwapFrameLayoutd",
    "expand_to_sizes",
    "file_to_frames",
    "frames_to_file",
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
    _check_layout(layout)
    axis = resolve_frame_axis(array.shape, frame_axis)
    if _is_complex(array):
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
    _check_layout(layout)
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


def _check_layout(layout: str) -> None:
    if layout not in ("BCTHW", "BTCHW"):
        raise LayoutError(f"layout is 'BCTHW' or 'BTCHW', not {layout!r}.")


def _pad_sizes(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(shape) + (1,) * (5 - len(shape))


def _is_complex(array: NdarrayOrTensor) -> bool:
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


def _plain(img: NdarrayOrTensor) -> NdarrayOrTensor:
    return img.as_tensor() if isinstance(img, MetaTensor) else img


def _like(out: NdarrayOrTensor, img: NdarrayOrTensor) -> NdarrayOrTensor:
    """Give ``out`` the type and the metadata of ``img`` and keep its own dtype."""
    return convert_to_dst_type(out, dst=img, dtype=out.dtype)[0]


class FileToFrames(InvertibleTransform):
    """Lay a file's array out as one 5-D item of frames, invertibly.

    A tensor or array without metadata comes back as its own type, but only a ``MetaTensor`` carries the trace that
    ``inverse`` needs; call :func:`frames_to_file` for the others. The affine, the frame times and all other metadata
    are left as they are: they describe the file, not the item.

    Args:
        frame_axis: the file axis that becomes the frames: ``"time"``, ``"slice"``, or ``"auto"`` for time where there
            is more than one time point, else slices.
        layout: ``"BCTHW"``, MONAI's, or ``"BTCHW"``, the frame layout.

    Raises:
        LayoutError: for an unknown option; in a call, for axes that do not fit, and for an image that its metadata
            calls complex (``kind``) while the array is real: its imaginary part was dropped on the way.
    """

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]  # noqa: RUF012 - as MONAI declares it

    def __init__(self, frame_axis: FrameAxis = "auto", layout: Layout = "BCTHW") -> None:
        resolve_frame_axis((1, 1, 1), frame_axis)
        _check_layout(layout)
        self.frame_axis: FrameAxis = frame_axis
        self.layout: Layout = layout

    def __call__(self, img: NdarrayOrTensor, source_shape: Sequence[int] | None = None) -> NdarrayOrTensor:
        """Apply to one image.

        Args:
            img: ``(C, X, Y[, Z[, T]])``, real, or complex with C = 1.
            source_shape: shape ``(C, X, Y[, Z[, T]])`` of another image, whose frame axis is taken and whose sizes this
                one (for example a g-factor map) is expanded to.

        Returns:
            ``(batch, C, frames, H, W)`` or ``(batch, frames, C, H, W)``.
        """
        _check_imaginary_part(img)
        axis = resolve_frame_axis(img.shape if source_shape is None else source_shape, self.frame_axis)
        array = _plain(img)
        if source_shape is not None:
            array = expand_to_sizes(array, source_shape[1:])
        out = _like(file_to_frames(array, frame_axis=axis, layout=self.layout), img)
        if isinstance(out, MetaTensor):
            info = {
                "frame_axis": axis,
                "spatial_shape": list(array.shape[1:]),
                "file_shape": list(img.shape[1:]),
                "is_complex": _is_complex(array),
            }
            self.push_transform(out, orig_size=tuple(img.shape[1:]), extra_info=info)
        return out

    def inverse(self, data: NdarrayOrTensor) -> NdarrayOrTensor:
        """Undo the transform on the item, or on what a network made of it.

        Args:
            data: ``(batch, C', frames, H, W)`` or ``(batch, frames, C', H, W)``, any number C' of channels.

        Returns:
            ``(C', X, Y[, Z[, T]])``, complex ``(1, X, Y[, Z[, T]])`` where the file was complex and C' = 2. What is not
            complex any more says so in its metadata (``kind``).

        Raises:
            LayoutError: if ``data`` has no trace, or its sizes are not those of the item.
        """
        if not isinstance(data, MetaTensor):
            raise LayoutError(f"The inverse needs the trace of a MetaTensor, but the item is a {type(data).__name__}.")
        info = self.pop_transform(data)[TraceKeys.EXTRA_INFO]
        out = frames_to_file(
            _plain(data),
            spatial_shape=info["spatial_shape"],
            frame_axis=info["frame_axis"],
            layout=self.layout,
            is_complex=bool(info["is_complex"]),
        )
        file_shape, sizes = info["file_shape"], info["spatial_shape"]
        if list(file_shape) != list(sizes):
            padded = [*file_shape, 1, 1][: len(sizes)]
            out = out[(slice(None), *(slice(n) for n in padded))].reshape((out.shape[0], *file_shape))
        file_image = _like(out, data)
        if isinstance(file_image, MetaTensor) and info["is_complex"] and not file_image.is_complex():
            file_image.meta["kind"] = "magnitude"
        return file_image


def _check_imaginary_part(img: NdarrayOrTensor) -> None:
    if isinstance(img, MetaTensor) and img.meta.get("kind") == "complex" and not img.is_complex() and img.shape[0] == 1:
        raise LayoutError(
            "The file is complex, but its array is real with one channel: the imaginary part was dropped. Load it with "
            "LoadImage(dtype=None); for a magnitude image set meta['kind'] = 'magnitude'."
        )


class FileToFramesd(MapTransform, InvertibleTransform):
    """Dictionary form of :class:`FileToFrames`.

    Args:
        keys: keys of the images.
        frame_axis: the file axis that becomes the frames, see :class:`FileToFrames`.
        layout: ``"BCTHW"`` or ``"BTCHW"``.
        source_key: key of the image that decides the frame axis for all keys, and whose sizes the others (g-factor
            maps, masks without a time axis) are expanded to; by default every image decides for itself.
        allow_missing_keys: whether a missing key is no error.
    """

    backend = FileToFrames.backend

    def __init__(
        self,
        keys: KeysCollection,
        frame_axis: FrameAxis = "auto",
        layout: Layout = "BCTHW",
        source_key: Hashable | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.source_key = source_key
        self.file_to_frames = FileToFrames(frame_axis, layout)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Apply to every key.

        Args:
            data: images ``(C, X, Y[, Z[, T]])`` by key.

        Returns:
            The same keys with 5-D items.
        """
        d = dict(data)
        source_shape = None if self.source_key is None else tuple(d[self.source_key].shape)
        for key in self.key_iterator(d):
            d[key] = self.file_to_frames(d[key], source_shape)
        return d

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Undo the transform for every key.

        Args:
            data: 5-D items by key.

        Returns:
            The same keys with arrays ``(C, X, Y[, Z[, T]])``.
        """
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.file_to_frames.inverse(d[key])
        return d


class SwapFrameLayout(InvertibleTransform):
    """Swap channel and frame axis: ``(B, C, T, H, W)`` to ``(B, T, C, H, W)`` or back, also without the batch axis."""

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]  # noqa: RUF012 - as MONAI declares it

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Apply to one item.

        Args:
            img: ``([B,] C, T, H, W)`` or ``([B,] T, C, H, W)``.

        Returns:
            The other layout, with the metadata of ``img``.
        """
        out = _like(swap_frame_layout(_plain(img)), img)
        if isinstance(out, MetaTensor):
            self.push_transform(out, orig_size=tuple(img.shape[1:]))
        return out

    def inverse(self, data: NdarrayOrTensor) -> NdarrayOrTensor:
        """Swap the axes back.

        Args:
            data: ``([B,] C, T, H, W)`` or ``([B,] T, C, H, W)``.

        Returns:
            The other layout.
        """
        if isinstance(data, MetaTensor):
            self.pop_transform(data)
        return _like(swap_frame_layout(_plain(data)), data)


class SwapFrameLayoutd(MapTransform, InvertibleTransform):
    """Dictionary form of :class:`SwapFrameLayout`.

    Args:
        keys: keys of the items.
        allow_missing_keys: whether a missing key is no error.
    """

    backend = SwapFrameLayout.backend

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.swap = SwapFrameLayout()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Apply to every key.

        Args:
            data: items ``([B,] C, T, H, W)`` or ``([B,] T, C, H, W)`` by key.

        Returns:
            The same keys in the other layout.
        """
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.swap(d[key])
        return d

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Swap the axes of every key back.

        Args:
            data: items by key.

        Returns:
            The same keys in the other layout.
        """
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.swap.inverse(d[key])
        return d
