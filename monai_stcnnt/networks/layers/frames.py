# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Convolution, padding and cropping of tensors in frame layout (B, T, C, H, W)."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import nn
from torch.fx.experimental.symbolic_shapes import statically_known_true

from monai_stcnnt.errors import LayoutError, NetworkConfigError
from monai_stcnnt.networks.checks import check_choice
from monai_stcnnt.tensors import reflect_index

__all__ = [
    "FrameConv",
    "PieceByPiece",
    "PlanarConv3d",
    "Triple",
    "add_frames",
    "cat_frames",
    "check_frames",
    "crop_frames",
    "crop_plane",
    "exporting",
    "falls_short",
    "fold_pixels",
    "frames_at_once",
    "level_size",
    "may_overwrite",
    "pad_frames",
    "round_up",
    "to_triple",
    "unfold_pixels",
    "units_over",
    "widen",
]

Triple = tuple[int, int, int]
"""A size (t, h, w)."""


def to_triple(value: int | Sequence[int], name: str) -> Triple:
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


def exporting() -> bool:
    """Whether ``torch.export`` records the network, for any size of image: then no branch may depend on one."""
    if not torch.jit.is_scripting():
        return torch.compiler.is_exporting()
    return False


@torch.jit.unused
def may_be_less(extent: int, target: int) -> bool:
    """Whether an extent that is not known yet may be less than another one."""
    return not statically_known_true(extent >= target)


def falls_short(extent: int, target: int) -> bool:
    """Whether an extent is less than another one; while the network is exported, whether it may be."""
    return may_be_less(extent, target) if exporting() else extent < target


def pad_frames(x: torch.Tensor, size: Triple) -> torch.Tensor:
    """Extend (B, T, C, H, W) at the end of T, H and W to ``size`` by reflection (replication where an extent is 1)."""
    x = x.permute(0, 1, 3, 4, 2)
    for axis, extent in enumerate(size, 1):
        if falls_short(x.shape[axis], extent):
            x = x.index_select(axis, reflect_index(x.shape[axis], extent, x.device))
    return x.permute(0, 1, 4, 2, 3)


@torch.jit.unused
def keep_first(x: torch.Tensor, axis: int, extent: int) -> torch.Tensor:
    """A copy of the first places of an axis: of a view, its memory would depend on whether there are others."""
    if statically_known_true(x.shape[axis] == extent):
        return x
    return x.index_select(axis, torch.arange(extent, device=x.device))


def crop_plane(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Keep the first rows and columns of (.., H, W)."""
    if exporting():
        return keep_first(keep_first(x, -2, height), -1, width)
    return x[..., :height, :width]


def crop_frames(x: torch.Tensor, size: Triple) -> torch.Tensor:
    """Keep the first ``size`` = (t, h, w) of (B, T, C, H, W)."""
    if exporting():
        x = keep_first(x, 1, size[0])
    return crop_plane(x[:, : size[0]], size[1], size[2])


def add_frames(new: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    """Sum of a tensor that nobody else needs and another one; where no gradient is wanted ``new`` is overwritten."""
    if torch.is_grad_enabled() or new.dtype != old.dtype:
        return old + new
    return new.add_(old)


def cat_frames(terms: list[torch.Tensor]) -> torch.Tensor:
    """Concatenate the channels of tensors (B, T, C, H, W), in the memory order of the frames."""
    return torch.cat([term.permute(0, 1, 3, 4, 2) for term in terms], 4).permute(0, 1, 4, 2, 3)


def may_overwrite(x: torch.Tensor) -> bool:
    """Whether the time of a step and its memory may be saved by ways that only inference on a CPU allows.

    Not where a gradient is wanted, on other devices, and while a network is being traced or compiled.
    """
    plain = not torch.is_grad_enabled() and x.device.type == "cpu"
    if not torch.jit.is_scripting():
        traced = torch.jit.is_tracing()
        plain = plain and not traced and not torch.compiler.is_compiling()
    return plain


def frames_at_once(x: torch.Tensor, count: int, numbers: int, budget: int = 16777216) -> int:
    """How many of ``count`` frames to compute together, so that their widest activation stays near the processor.

    Inference on a CPU gains from small pieces: they stay in the cache, and memory is reused instead of being requested
    from the system. Elsewhere (see :func:`may_overwrite`) all are computed at once.

    Args:
        x: where and in what type the activation is.
        count: number of frames.
        numbers: of the widest activation, for one frame.
        budget: bytes that it may take.
    """
    return min(max(budget // (numbers * x.element_size()), 1), count) if may_overwrite(x) else count


class PieceByPiece(nn.Module):
    """Base of modules that compute frames without regard to each other, a few at a time where that is faster.

    A subclass has a method ``piece``, which turns frames (B, t, C, H, W) into tensors that have the t frames along one
    axis. What comes out of several pieces is contiguous in memory.
    """

    def piece(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Compute some of the frames."""
        raise NotImplementedError

    def by_pieces(self, x: torch.Tensor, channels: int, axis: int = 1) -> list[torch.Tensor]:
        """Compute all frames of (B, T, C, H, W).

        Args:
            x: the frames.
            channels: of the widest activation of ``piece``.
            axis: where the results have their frames.
        """
        count = x.shape[1]
        step = frames_at_once(x, count, x.shape[0] * channels * x.shape[3] * x.shape[4])
        parts = self.piece(x[:, :step])
        if step == count:
            return parts
        results: list[torch.Tensor] = []
        for part in parts:
            shape = list(part.shape)
            shape[axis] = count
            results.append(part.new_empty(shape))
        for start in range(0, count, step):
            if start > 0:
                parts = self.piece(x[:, start : start + step])
            for i, part in enumerate(parts):
                results[i].narrow(axis, start, part.shape[axis]).copy_(part)
        return results


def fold_pixels(x: torch.Tensor, side: int) -> torch.Tensor:
    """Make channels of the squares of ``side`` by ``side`` pixels of (B, T, C, H, W), extended by reflection to fit.

    Returns:
        (B, T, C * side^2, ceil(H / side), ceil(W / side)).

    See Also:
        Shi et al., sub-pixel convolution, 2016, https://doi.org/10.1109/CVPR.2016.207.
    """
    h, w = x.shape[3], x.shape[4]
    return F.pixel_unshuffle(pad_frames(x, round_up((x.shape[1], h, w), (1, side, side))), side)


def unfold_pixels(x: torch.Tensor, side: int, size: Triple) -> torch.Tensor:
    """Undo :func:`fold_pixels` for an image of ``size`` = (T, H, W)."""
    return crop_frames(F.pixel_shuffle(x, side), size)


def widen(x: torch.Tensor) -> torch.Tensor:
    """Bring half precision to single precision, for squares and small constants that it cannot hold."""
    return x.float() if x.dtype == torch.float16 or x.dtype == torch.bfloat16 else x


class PlanarConv3d(nn.Conv3d):
    """A convolution over (T, H, W) without padding, computed in the plane, where neighbors in time are more channels.

    On a CPU that takes a quarter of the time of ``nn.Conv3d`` for 24 channels. Groups are for kernels of one frame.
    Shapes: those of ``nn.Conv3d``.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Convolve (B, C, T, H, W); channels are fastest in the memory of the result."""
        y = input.permute(0, 2, 3, 4, 1)
        span = self.kernel_size[0]
        frames = y.shape[1] - span + 1
        neighbors: list[torch.Tensor] = []
        for i in range(span):
            neighbors.append(y[:, i : i + frames])
        y = torch.cat(neighbors, 4).flatten(0, 1).permute(0, 3, 1, 2)
        weight = self.weight.transpose(1, 2).flatten(1, 2).contiguous(memory_format=torch.channels_last)
        y = F.conv2d(y, weight, self.bias, self.stride[1:], groups=self.groups)
        return y.unflatten(0, (input.shape[0], frames)).transpose(1, 2)


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
        check_choice("spatial_dims", spatial_dims, (2, 3))
        if kernel_size % 2 == 0 or kernel_size < 1:
            raise NetworkConfigError(f"kernel_size must be odd, got {kernel_size}.")
        self.pad = kernel_size // 2
        self.volume = spatial_dims == 3
        if self.volume:
            self.conv: nn.Module = PlanarConv3d(
                in_channels, out_channels, kernel_size, stride=(1, stride, stride), bias=bias
            )
        else:
            self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride=stride, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve (B, T, C, H, W); channels are fastest in the memory of the result."""
        frames = x.shape[1]
        y = self.padded(x.flatten(0, 1))
        if not self.volume:
            return self.conv(y.contiguous(memory_format=torch.channels_last)).unflatten(0, (x.shape[0], frames))
        y = y.unflatten(0, (x.shape[0], frames)).permute(0, 1, 3, 4, 2)
        y = y.index_select(1, reflect_index(frames, frames + 2 * self.pad, x.device, -self.pad))
        return self.conv(y.permute(0, 4, 1, 2, 3)).transpose(1, 2)

    def padded(self, x: torch.Tensor) -> torch.Tensor:
        """Pad (N, C, H, W) on both sides of its rows and columns."""
        p = self.pad
        if p == 0:
            return x
        if x.shape[2] > p and x.shape[3] > p:
            return F.pad(x, [p, p, p, p], mode="reflect")
        for axis in (2, 3):
            x = x.index_select(axis, reflect_index(x.shape[axis], x.shape[axis] + 2 * p, x.device, -p))
        return x


def units_over(extent: int, unit: int) -> int:
    """How many units cover an extent; written without negative numbers, which ONNX divides in another way."""
    return (extent + unit - 1) // unit


def round_up(size: Triple, unit: Triple) -> Triple:
    """The smallest multiples of ``unit`` that are not below ``size``."""
    n = [units_over(size[i], unit[i]) for i in range(3)]
    return n[0] * unit[0], n[1] * unit[1], n[2] * unit[2]


def level_size(size: Triple, stride: int) -> Triple:
    """Size (t, h, w) of an image whose H and W shrank ``stride`` times, rounded up."""
    return size[0], math.ceil(size[1] / stride), math.ceil(size[2] / stride)
