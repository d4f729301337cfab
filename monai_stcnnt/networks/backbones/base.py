# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What every backbone shares: its contract, the sizes of its levels, and the resampling between them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from monai_stcnnt.errors import ImageSizeError, NetworkConfigError
from monai_stcnnt.networks.blocks import CellBlock
from monai_stcnnt.networks.checks import check_choice
from monai_stcnnt.networks.layers.frames import (
    FrameConv,
    add_frames,
    check_frames,
    crop_plane,
    level_size,
    pad_frames,
    round_up,
    to_triple,
    units_over,
)
from monai_stcnnt.networks.layers.norms import fixes_image_size
from monai_stcnnt.networks.layers.resample import FramePatchMerging, InterpolateFrames, Interpolation
from monai_stcnnt.networks.layers.windows import WindowSize, level_windows

__all__ = ["FrameBackbone", "Resampling", "extend_strings", "frame_sum"]

Resampling = Literal["merge", "conv", "attention"]


def extend_strings(block_strings: str | Sequence[str], count: int) -> list[str]:
    """One block string per block: the last one repeats.

    Raises:
        NetworkConfigError: when there are none, or more than blocks.
    """
    strings = [block_strings] if isinstance(block_strings, str) else list(block_strings)
    if not strings or len(strings) > count:
        raise NetworkConfigError(f"This backbone takes 1 to {count} block strings, got {len(strings)}: {strings}.")
    return strings + [strings[-1]] * (count - len(strings))


def frame_sum(terms: list[torch.Tensor]) -> torch.Tensor:
    """Sum of tensors of one shape, of which nobody else needs any but the first."""
    total = terms[0]
    for term in terms[1:]:
        total = add_frames(term, total)
    return total


class FrameBackbone(nn.Module):
    """Base of the backbones: tensors in frame layout in, a list of tensors in frame layout out.

    A backbone pads H and W at their end to what its levels need, and crops its outputs to ``ceil(H / stride)`` rows.

    Attributes:
        in_channels: channels of the input.
        out_channels: channels of every returned tensor.
        strides: by what factor H and W of every returned tensor are smaller than the input's.

    Args:
        in_channels: channels of the input.
        levels: number of resolutions.
        img_size: (T, H, W) that windows and bias tables are built for; another size works too, unless ``norm`` fixes
            it.
        window_size: window (t, h, w) at full resolution.
        patch_size: patch (t, h, w) inside a window, at full resolution.
        window_sizing: how windows follow the levels, see :func:`~monai_stcnnt.networks.layers.windows.level_windows`.
        resample: ``merge`` goes down by patch merging and up by interpolation and convolution (the published form);
            ``conv`` interpolates and convolves both ways; ``attention`` interpolates and applies a block of cells.
        resample_kernel_size: 1 or 3, of the convolutions that follow an interpolation.
        resample_block_string: cells of the ``attention`` resampling.
        interpolation: ``bilinear`` or ``nearest``.
        **cell_options: keywords of :class:`~monai_stcnnt.networks.blocks.CellBlock` and
            :class:`~monai_stcnnt.networks.cells.AttentionCell`, for all blocks.

    Raises:
        NetworkConfigError: for options that do not fit.
    """

    if TYPE_CHECKING:  # torch.jit.script cannot read these annotations
        out_channels: tuple[int, ...]
        strides: list[int]

    def __init__(
        self,
        in_channels: int,
        levels: int,
        /,
        *,
        img_size: Sequence[int] = (16, 64, 64),
        window_size: Sequence[int] | int = (2, 8, 8),
        patch_size: Sequence[int] | int = (1, 4, 4),
        window_sizing: str = "mixed",
        resample: Resampling = "merge",
        resample_kernel_size: int = 3,
        resample_block_string: str = "T1L1G1",
        interpolation: Interpolation = "bilinear",
        **cell_options: Any,  # noqa: ANN401 - checked by the cell's constructor
    ) -> None:
        super().__init__()
        check_choice("resample", resample, Resampling)
        check_choice("resample_kernel_size", resample_kernel_size, (1, 3))
        self.in_channels = in_channels
        self.img_size = to_triple(img_size, "img_size")
        self.multiple = 2 ** (levels - 1)
        padded = round_up(self.img_size, (1, self.multiple, self.multiple))
        self.sizes = [level_size(padded, 2**i) for i in range(levels)]
        wanted = WindowSize(to_triple(window_size, "window_size"), to_triple(patch_size, "patch_size"))
        self.first_windows, self.later_windows = level_windows(self.sizes, wanted, window_sizing)
        self.fixed_time, self.fixed_image = fixes_image_size(cell_options.get("norm", "layer"))
        self._resample, self._kernel, self._interpolation = resample, resample_kernel_size, interpolation
        self._resample_block, self._cell_options = resample_block_string, cell_options

    def build_block(
        self, block_string: str, in_channels: int, out_channels: int, level: int, windows: WindowSize
    ) -> CellBlock:
        """A block of cells for a level."""
        return CellBlock(
            block_string, in_channels, out_channels, self.sizes[level],
            window_size=windows.window, patch_size=windows.patch, **self._cell_options,
        )  # fmt: skip

    def build_down(self, in_channels: int, out_channels: int, level: int, steps: int) -> nn.Sequential:
        """Go down ``steps`` levels from ``level``; the first step changes the channels. Each step halves H and W."""
        if self._resample != "merge":
            return self._interpolated(0.5, in_channels, out_channels, range(level + 1, level + 1 + steps))
        widths = [in_channels, *[out_channels] * steps]
        return nn.Sequential(*(FramePatchMerging(width, out_channels) for width in widths[:-1]))

    def build_up(self, in_channels: int, out_channels: int, level: int, steps: int) -> nn.Sequential:
        """Go up ``steps`` levels from ``level``; the first step changes the channels. Each step doubles H and W."""
        return self._interpolated(2.0, in_channels, out_channels, range(level - 1, level - 1 - steps, -1))

    def _interpolated(self, scale: float, in_channels: int, out_channels: int, levels: range) -> nn.Sequential:
        modules: list[nn.Module] = []
        for step, level in enumerate(levels):
            modules.append(InterpolateFrames(scale, self._interpolation))
            modules.append(self._after_resampling(out_channels if step else in_channels, out_channels, level))
        return nn.Sequential(*modules)

    def _after_resampling(self, in_channels: int, out_channels: int, level: int) -> nn.Module:
        if self._resample == "attention":
            return self.build_block(self._resample_block, in_channels, out_channels, level, self.later_windows[level])
        return FrameConv(in_channels, out_channels, self._kernel, bias=False)

    def enter(self, x: torch.Tensor) -> torch.Tensor:
        """Check (B, T, C, H, W) and pad its H and W to what the levels need.

        Raises:
            LayoutError: for a tensor that is not in frame layout.
            ImageSizeError: for a size that the normalization cannot take.
        """
        check_frames(x, self.in_channels, "This backbone")
        t, h, w = x.shape[1], x.shape[3], x.shape[4]
        built = self.img_size
        if (self.fixed_image and (h != built[1] or w != built[2])) or (self.fixed_time and t != built[0]):
            raise ImageSizeError(
                f"This network was built for (T, H, W) = {built} and its layer normalization fixes that size, got "
                f"{(t, h, w)}. Run it through a sliding window of the built size, or build it with another norm."
            )
        return pad_frames(x, round_up((t, h, w), (1, self.multiple, self.multiple)))

    def leave(self, features: list[torch.Tensor], height: int, width: int) -> list[torch.Tensor]:
        """Crop the returned tensors to an input of ``height`` x ``width``."""
        out: list[torch.Tensor] = []
        for feature, stride in zip(features, self.strides):
            out.append(crop_plane(feature, units_over(height, stride), units_over(width, stride)))
        return out
