# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Transforms from file arrays to the tensors that networks take, and back, with MONAI's metadata and trace."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.config.type_definitions import KeysCollection, NdarrayOrTensor
from monai.data.meta_tensor import MetaTensor
from monai.transforms.inverse import InvertibleTransform
from monai.transforms.transform import MapTransform
from monai.utils.enums import TraceKeys, TransformBackends
from monai.utils.type_conversion import convert_to_dst_type

from monai_stcnnt.errors import LayoutError
from monai_stcnnt.transforms.layout import (
    FrameAxis,
    Layout,
    check_layout,
    expand_to_sizes,
    file_to_frames,
    frames_to_file,
    is_complex,
    resolve_frame_axis,
    swap_frame_layout,
)

__all__ = ["FileToFrames", "FileToFramesd", "SwapFrameLayout", "SwapFrameLayoutd"]


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
        check_layout(layout)
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
                "is_complex": is_complex(array),
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
        allow_missing_keys: whether a missing key is accepted.
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
        allow_missing_keys: whether a missing key is accepted.
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
