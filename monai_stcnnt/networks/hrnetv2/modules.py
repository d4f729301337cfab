# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Parts of the convolutional HRNet: residual blocks, transitions, and modules whose branches exchange information.

All of them compute on (N, C, *spatial) with two or three spatial axes. Branch ``i`` works at ``1 / 2**i`` of the first
branch's resolution: an axis of ``n`` elements has ``ceil(n / 2**i)`` there, so that any size passes through. The names
of the submodules are those of the published weights.

Reference: Wang et al., "Deep high-resolution representation learning for visual recognition", IEEE TPAMI 2021,
https://doi.org/10.1109/TPAMI.2020.2983686
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_norm_layer
from torch import nn

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.checks import check_choice

__all__ = [
    "BlockName",
    "FuseMode",
    "HRNetBlock",
    "HRNetFuse",
    "HRNetInstanceNorm",
    "HRNetStage",
    "HRNetTransition",
    "HighResolutionModule",
    "NormSpec",
    "block_expansion",
    "interpolation_name",
    "make_conv",
    "make_conv_norm",
    "make_layer",
    "make_norm",
    "make_strided_chain",
    "resize",
]

BlockName = Literal["basic", "bottleneck"]
FuseMode = Literal["nearest", "bilinear"]
NormSpec = str | tuple[str, dict[str, Any]]


def make_conv(
    spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, bias: bool = False
) -> nn.Module:
    """Build a convolution with zero padding that keeps the size (halves it, rounded up, with ``stride=2``)."""
    return Conv[Conv.CONV, spatial_dims](
        in_channels, out_channels, kernel_size, stride=stride, padding=kernel_size // 2, bias=bias
    )


class HRNetInstanceNorm(nn.Module):
    """Instance normalization with weights, which turns a single pixel into its bias where torch refuses it.

    Args:
        channels: channels of the input.
        eps: added to the variance.

    Shapes: (N, channels, *spatial) to the same.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize every channel of (N, channels, *spatial) over its pixels."""
        pixels = x.flatten(2)
        normal = F.layer_norm(pixels, [pixels.shape[2]], eps=self.eps)
        return (normal * self.weight.unsqueeze(-1) + self.bias.unsqueeze(-1)).reshape(x.shape)


def make_norm(norm: NormSpec, spatial_dims: int, channels: int) -> nn.Module:
    """Build a normalization.

    Args:
        norm: ``instance`` (see :class:`HRNetInstanceNorm`), or a name, alone or with keywords, as MONAI's
            ``get_norm_layer`` takes it.
        spatial_dims: 2 or 3.
        channels: channels of its input.
    """
    if norm == "instance":
        return HRNetInstanceNorm(channels)
    return get_norm_layer(norm, spatial_dims=spatial_dims, channels=channels)


def make_conv_norm(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    kernel_size: int = 3,
    *,
    norm: NormSpec,
    stride: int = 1,
    bias: bool = False,
    relu: bool = True,
) -> nn.Sequential:
    """Build a convolution, its normalization and, if asked for, a ReLU."""
    conv = make_conv(spatial_dims, in_channels, out_channels, kernel_size, stride=stride, bias=bias)
    layers = [conv, make_norm(norm, spatial_dims, out_channels)]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if relu else nn.Sequential(*layers)


def make_strided_chain(
    spatial_dims: int, in_channels: int, out_channels: int, steps: int, *, norm: NormSpec, last_relu: bool
) -> nn.Sequential:
    """Build ``steps`` 3x3 convolutions of stride 2, each with norm and ReLU; only the last one changes the channels.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input and of all steps but the last.
        out_channels: channels of the result.
        steps: how many times the resolution is halved.
        norm: normalization as :func:`make_norm` takes it.
        last_relu: end with a ReLU (a transition) or without one (a fuse layer, whose sum gets the ReLU).
    """
    chain = nn.Sequential()
    for step in range(steps):
        last = step == steps - 1
        width = out_channels if last else in_channels
        relu = last_relu or not last
        chain.append(make_conv_norm(spatial_dims, in_channels, width, stride=2, norm=norm, relu=relu))
    return chain


def resize(x: torch.Tensor, size: list[int], mode: str, align_corners: bool) -> torch.Tensor:
    """Interpolate (N, C, *spatial) to the spatial extents ``size``.

    Args:
        x: the tensor.
        size: extents of the result, one per spatial axis.
        mode: ``nearest``, ``bilinear`` or ``trilinear``.
        align_corners: whether the centers of the corner pixels stay where they are; no meaning for ``nearest``.
    """
    return F.interpolate(x, size=size, mode=mode, align_corners=None if mode == "nearest" else align_corners)


def interpolation_name(mode: str, spatial_dims: int) -> str:
    """Torch's name of an interpolation: ``nearest``, and ``bilinear`` or ``trilinear`` by the number of axes.

    Raises:
        NetworkConfigError: for another mode than ``nearest`` or ``bilinear``.
    """
    check_choice("fuse_mode", mode, FuseMode)
    return "trilinear" if mode == "bilinear" and spatial_dims == 3 else mode


def block_expansion(block: str) -> int:
    """Output channels of a block by name, in multiples of its ``channels``.

    Raises:
        NetworkConfigError: for another name than ``basic`` or ``bottleneck``.
    """
    check_choice("block", block, BlockName)
    return 4 if block == "bottleneck" else 1


class HRNetBlock(nn.Module):
    """Convolutions and a skip connection: two 3x3 (``basic``), or a 1x1, a 3x3 and a widening 1x1 (``bottleneck``).

    Args:
        block: ``basic`` or ``bottleneck``.
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        channels: channels of the first two convolutions; the output has as many (basic) or four times as many.
        norm: normalization as :func:`make_norm` takes it.

    Shapes: (N, in_channels, *spatial) to (N, channels * expansion, *spatial).
    """

    def __init__(self, block: BlockName, spatial_dims: int, in_channels: int, channels: int, norm: NormSpec) -> None:
        super().__init__()
        widened, wide = channels * block_expansion(block), block == "bottleneck"
        self.conv1 = make_conv(spatial_dims, in_channels, channels, 1 if wide else 3)
        self.bn1 = make_norm(norm, spatial_dims, channels)
        self.conv2 = make_conv(spatial_dims, channels, channels, 3)
        self.bn2 = make_norm(norm, spatial_dims, channels)
        self.conv3 = make_conv(spatial_dims, channels, widened, 1) if wide else None
        self.bn3 = make_norm(norm, spatial_dims, widened) if wide else None
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if in_channels != widened:
            self.downsample = make_conv_norm(spatial_dims, in_channels, widened, 1, norm=norm, relu=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform (N, in_channels, *spatial)."""
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        if self.conv3 is not None and self.bn3 is not None:
            y = self.bn3(self.conv3(self.relu(y)))
        return self.relu(y + self.downsample(x))


def make_layer(
    block: BlockName, spatial_dims: int, in_channels: int, channels: int, num_blocks: int, norm: NormSpec
) -> nn.Sequential:
    """Build ``num_blocks`` residual blocks in a row, the first of which changes the channels."""
    widths = [in_channels] + [channels * block_expansion(block)] * (num_blocks - 1)
    return nn.Sequential(*(HRNetBlock(block, spatial_dims, width, channels, norm) for width in widths))


class HRNetTransition(nn.ModuleList):
    """Leads the branches of one stage to those of the next.

    A branch that exists keeps its resolution and gets a 3x3 convolution where its width changes; a new branch is made
    from the last one there was, by convolutions of stride 2.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels per branch of the stage before.
        out_channels: channels per branch of the stage to come, at least as many branches.
        norm: normalization as :func:`make_norm` takes it.

    Shapes: a list of (N, in_channels[i], *spatial / 2**i) to a list of (N, out_channels[i], *spatial / 2**i).
    """

    def __init__(
        self, spatial_dims: int, in_channels: Sequence[int], out_channels: Sequence[int], norm: NormSpec
    ) -> None:
        super().__init__()
        for i, width in enumerate(out_channels):
            steps = i + 1 - len(in_channels)
            if steps > 0:
                chain = make_strided_chain(spatial_dims, in_channels[-1], width, steps, norm=norm, last_relu=True)
                self.append(chain)
            elif in_channels[i] == width:
                self.append(nn.Identity())
            else:
                self.append(make_conv_norm(spatial_dims, in_channels[i], width, norm=norm))

    def forward(self, xs: list[torch.Tensor]) -> list[torch.Tensor]:
        """Transform the branches ``xs``, finest first."""
        return [layer(xs[min(i, len(xs) - 1)]) for i, layer in enumerate(self)]


class HRNetFuse(nn.ModuleList):
    """Sum of all branches at the resolution of one of them.

    Coarser branches pass a 1x1 convolution and are interpolated to the exact size of branch ``level``; finer ones pass
    convolutions of stride 2.

    Args:
        spatial_dims: 2 or 3.
        channels: channels per branch, finest first.
        level: index of the branch whose resolution the sum has.
        norm: normalization as :func:`make_norm` takes it.
        mode: ``nearest``, or ``bilinear`` (trilinear in 3D).
        align_corners: see :func:`resize`.

    Shapes: a list of (N, channels[i], *spatial / 2**i) to (N, channels[level], *spatial / 2**level).
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: Sequence[int],
        level: int,
        norm: NormSpec,
        mode: FuseMode,
        align_corners: bool,
    ) -> None:
        super().__init__()
        self.level = level
        self.mode = interpolation_name(mode, spatial_dims)
        self.align_corners = align_corners
        for j, width in enumerate(channels):
            if j > level:
                self.append(make_conv_norm(spatial_dims, width, channels[level], 1, norm=norm, relu=False))
            elif j == level:
                self.append(nn.Identity())
            else:
                steps = level - j
                chain = make_strided_chain(spatial_dims, width, channels[level], steps, norm=norm, last_relu=False)
                self.append(chain)

    def forward(self, xs: list[torch.Tensor]) -> torch.Tensor:
        """Sum the branches ``xs``, finest first, and apply a ReLU."""
        size = list(xs[self.level].shape[2:])
        terms: list[torch.Tensor] = []
        for j, layer in enumerate(self):
            y = layer(xs[j])
            terms.append(resize(y, size, self.mode, self.align_corners) if j > self.level else y)
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return F.relu(total)


class HighResolutionModule(nn.Module):
    """Residual blocks on parallel branches of falling resolution, then an exchange of information among all of them.

    Args:
        spatial_dims: 2 or 3.
        num_branches: number of branches.
        num_blocks: residual blocks per branch.
        in_channels: channels per branch of the input.
        channels: channels per branch inside the blocks (the output has ``channels`` times the block's expansion).
        block: ``basic`` or ``bottleneck``.
        norm: normalization as :func:`make_norm` takes it.
        fuse_mode: how coarse branches are brought to a finer size: ``nearest``, or ``bilinear`` (trilinear in 3D).
        align_corners: see :func:`resize`.
        multi_scale_output: return all branches; False returns the finest only.

    Shapes: a list of (N, in_channels[i], *spatial / 2**i) to a list of (N, out_channels[i], *spatial / 2**i), where the
    extents are rounded up; ``out_channels`` is an attribute, one number per returned tensor.

    Raises:
        NetworkConfigError: when the numbers of branches, block counts and channels differ (it names both numbers), or
            for an unknown block or fuse mode.
    """

    def __init__(
        self,
        spatial_dims: int,
        num_branches: int,
        num_blocks: Sequence[int],
        in_channels: Sequence[int],
        channels: Sequence[int],
        *,
        block: BlockName = "basic",
        norm: NormSpec = "batch",
        fuse_mode: FuseMode = "bilinear",
        align_corners: bool = False,
        multi_scale_output: bool = True,
    ) -> None:
        super().__init__()
        counts = {"num_blocks": num_blocks, "in_channels": in_channels, "channels": channels}
        for name, values in counts.items():
            if len(values) != num_branches:
                raise NetworkConfigError(
                    f"num_branches is {num_branches}, but {name} has {len(values)} entries: {list(values)}. "
                    "Give one entry per branch."
                )
        widened = [width * block_expansion(block) for width in channels]
        self.branches = nn.ModuleList(
            make_layer(block, spatial_dims, in_channels[i], channels[i], num_blocks[i], norm)
            for i in range(num_branches)
        )
        levels = range(num_branches if multi_scale_output else 1)
        self.fuse_layers = nn.ModuleList(
            HRNetFuse(spatial_dims, widened, level, norm, fuse_mode, align_corners) for level in levels
        )
        self.out_channels = widened[: len(levels)]

    def forward(self, xs: list[torch.Tensor]) -> list[torch.Tensor]:
        """Transform the branches ``xs``, finest first."""
        ys = [branch(xs[i]) for i, branch in enumerate(self.branches)]
        return [fuse(ys) for fuse in self.fuse_layers]


class HRNetStage(nn.ModuleList):
    """High-resolution modules in a row.

    Args:
        num_modules: how many.
        num_blocks: residual blocks per branch.
        channels: channels per branch inside the blocks.
        spatial_dims: 2 or 3.
        block: ``basic`` or ``bottleneck``.
        multi_scale_output: return all branches; False returns the finest of the last module only.
        **options: further keywords of :class:`HighResolutionModule`.

    Shapes: a list of (N, in_channels[i], *spatial / 2**i) to a list of (N, out_channels[i], *spatial / 2**i); both are
    attributes.
    """

    def __init__(
        self,
        num_modules: int,
        num_blocks: Sequence[int],
        channels: Sequence[int],
        *,
        spatial_dims: int,
        block: BlockName = "basic",
        multi_scale_output: bool = True,
        **options: Any,  # noqa: ANN401 - checked by the module's constructor
    ) -> None:
        super().__init__()
        self.in_channels = [width * block_expansion(block) for width in channels]
        self.out_channels = self.in_channels if multi_scale_output else self.in_channels[:1]
        for index in range(num_modules):
            module = HighResolutionModule(
                spatial_dims, len(channels), num_blocks, self.in_channels, channels, block=block,
                multi_scale_output=multi_scale_output or index < num_modules - 1, **options,
            )  # fmt: skip
            self.append(module)

    def forward(self, xs: list[torch.Tensor]) -> list[torch.Tensor]:
        """Transform the branches ``xs``, finest first."""
        for module in self:
            xs = module(xs)
        return xs
