# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Convolution, padding and cropping of tensors in frame layout (B, T, C, H, W)."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import nn

from monai_stcnnt.errors import LayoutError, NetworkConfigError

__all__ = [
    "FrameConv",
    "add_frames",
    "cat_frames",
    "check_frames",
    "crop_frames",
    "empty_frames",
    "frames_at_once",
    "level_size",
    "pad_frames",
    "reflect_index",
    "to_triple",
    "widen",
]


def to_triple(value: int | Sequence[int], name: str) -> tuple[int, int, int]:
    """Expand a size to (t, h, w).

    Args:
        value: one number for H and W (T then is 1), a pair (h, w) (T then is 1), or a triple (t, h, w).
        name: what the value is called, for the message of the error.

    Raises:
        NetworkConfigError: when it is none of these, or not positive.
    """
    sizes = (1, int(value), int(value)) if isinstance(value, int) else tuple(int(v) for v in value)
    sizes = (1, *sizes) if len(sizes) == 2 else sizes
    if len(sizes) != 3 or min(sizes) < 1:
        raise NetworkConfigError(f"{name} must be a positive number, (h, w) or (t, h, w), got {value!r}.")
    return sizes[0], sizes[1], sizes[2]


def check_frames(x: torch.Tensor, channels: int, name: str) -> None:
    """Refuse a tensor that is not (B, T, C, H, W) with ``channels`` channels.

    Raises:
        LayoutError: names the shape that came and the layout that is wanted.
    """
    if x.dim() != 5 or x.shape[2] != channels:
        raise LayoutError(
            f"{name} takes a tensor in frame layout (B, T, C, H, W) with C = {channels}, got shape {list(x.shape)}. "
            "A MONAI tensor (B, C, T, H, W) becomes one by x.transpose(1, 2)."
        )


def reflect_index(extent: int, target: int, device: torch.device) -> torch.Tensor:
    """Positions 0 .. target-1 folded back into 0 .. extent-1 by reflection about the last and first element.

    A target beyond twice the extent folds several times; an extent of 1 repeats its element.
    """
    index = torch.arange(target, device=device)
    if extent == 1:
        return torch.zeros_like(index)
    period = 2 * (extent - 1)
    index = index % period
    return torch.minimum(index, period - index)


def pad_frames(x: torch.Tensor, size: tuple[int, int, int]) -> torch.Tensor:
    """Extend (B, T, C, H, W) at the end of T, H and W to ``size`` by reflection (replication where an extent is 1)."""
    if x.shape[1] >= size[0] and x.shape[3] >= size[1] and x.shape[4] >= size[2]:
        return x
    x = x.permute(0, 1, 3, 4, 2)
    if x.shape[1] < size[0]:
        x = x.index_select(1, reflect_index(x.shape[1], size[0], x.device))
    if x.shape[2] < size[1]:
        x = x.index_select(2, reflect_index(x.shape[2], size[1], x.device))
    if x.shape[3] < size[2]:
        x = x.index_select(3, reflect_index(x.shape[3], size[2], x.device))
    return x.permute(0, 1, 4, 2, 3)


def crop_frames(x: torch.Tensor, size: tuple[int, int, int]) -> torch.Tensor:
    """Keep the first ``size`` = (t, h, w) of (B, T, C, H, W)."""
    return x[:, : size[0], :, : size[1], : size[2]]


def add_frames(new: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    """Sum of a tensor that nobody else needs and another one; where no gradient is wanted ``new`` is overwritten."""
    if torch.is_grad_enabled() or new.dtype != old.dtype:
        return old + new
    return new.add_(old)


def cat_frames(terms: list[torch.Tensor]) -> torch.Tensor:
    """Concatenate the channels of tensors (B, T, C, H, W), in the memory order of the frames."""
    return torch.cat([term.permute(0, 1, 3, 4, 2) for term in terms], 4).permute(0, 1, 4, 2, 3)


def empty_frames(like: torch.Tensor, batch: int, frames: int) -> torch.Tensor:
    """Memory for (batch, frames, C, H, W) with the C, H, W of ``like``, channels fastest."""
    shape = [batch, frames, like.shape[3], like.shape[4], like.shape[2]]
    return torch.empty(shape, dtype=like.dtype, device=like.device).permute(0, 1, 4, 2, 3)


def frames_at_once(x: torch.Tensor, count: int, channels: int, budget: int = 16777216) -> int:
    """How many of ``count`` frames to compute together, so that their widest activation stays near the processor.

    Inference on a CPU gains from small pieces: they stay in the cache, and memory is used again instead of being asked
    from the system. Training, other devices, and networks that are being traced or compiled take all frames at once.

    Args:
        x: frames (.., H, W).
        count: number of frames.
        channels: of the widest activation.
        budget: bytes that it may take.
    """
    whole = torch.is_grad_enabled() or x.device.type != "cpu"
    if not torch.jit.is_scripting():  # type: ignore[attr-defined]
        traced = torch.jit.is_tracing()  # type: ignore[attr-defined]
        whole = whole or traced or torch.compiler.is_compiling()
    if whole:
        return count
    return min(max(budget // (channels * x.shape[-2] * x.shape[-1] * x.element_size()), 1), count)


def widen(x: torch.Tensor) -> torch.Tensor:
    """Bring half precision to single precision, for squares and small constants that it cannot hold."""
    return x.float() if x.dtype == torch.float16 or x.dtype == torch.bfloat16 else x


class FrameConv(nn.Module):
    """A convolution with reflect padding on tensors in frame layout.

    ``spatial_dims=2`` convolves every frame by itself (frames are folded into the batch, a free reshape), 3 convolves
    over (T, H, W). Where an extent is 1 the padding replicates, because one element has no reflection.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: odd size of the kernel along every axis.
        stride: step along H and W (T is never strided); the output has ``ceil(H / stride)`` rows.
        bias: add a bias per channel.
        spatial_dims: 2 or 3.

    Shapes: (B, T, in_channels, H, W) to (B, T, out_channels, ceil(H / stride), ceil(W / stride)).

    Raises:
        NetworkConfigError: for another number of dimensions or an even kernel.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        bias: bool = True,
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise NetworkConfigError(f"spatial_dims must be 2 or 3, got {spatial_dims}.")
        if kernel_size % 2 == 0 or kernel_size < 1:
            raise NetworkConfigError(f"kernel_size must be odd, got {kernel_size}.")
        self.pad = kernel_size // 2
        self.volume = spatial_dims == 3
        if self.volume:
            self.conv: nn.Module = nn.Conv3d(
                in_channels, out_channels, kernel_size, stride=(1, stride, stride), bias=bias
            )
        else:
            self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride=stride, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve (B, T, C, H, W); channels are fastest in the memory of the result."""
        if self.volume:
            y = self.padded(x.transpose(1, 2)).contiguous(memory_format=torch.channels_last_3d)
            return self.conv(y).transpose(1, 2)
        y = self.padded(x.flatten(0, 1)).contiguous(memory_format=torch.channels_last)
        return self.conv(y).unflatten(0, (x.shape[0], x.shape[1]))

    def padded(self, x: torch.Tensor) -> torch.Tensor:
        """Pad (N, C, H, W) or (N, C, T, H, W) on both sides of its spatial axes."""
        p = self.pad
        if p == 0:
            return x
        if min(x.shape[2:]) > p:
            return F.pad(x, [p, p] * (x.dim() - 2), mode="reflect")
        for axis in range(2, x.dim()):
            extent = x.shape[axis]
            low = reflect_index(extent, p + 1, x.device)[1:].flip(0)
            high = extent - 1 - reflect_index(extent, p + 1, x.device)[1:]
            middle = torch.arange(extent, device=x.device)
            x = x.index_select(axis, torch.cat([low, middle, high]))
        return x


def level_size(size: tuple[int, int, int], stride: int) -> tuple[int, int, int]:
    """Size (t, h, w) of an image whose H and W shrank ``stride`` times, rounded up."""
    return size[0], math.ceil(size[1] / stride), math.ceil(size[2] / stride)
