# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The high-resolution backbone: levels by stages of attention blocks, fused at the end."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.backbones.base import FrameBackbone, extend_strings, frame_sum
from monai_stcnnt.networks.layers.frames import cat_frames

__all__ = ["STCNNTHRNet"]


def running_sums(sums: list[torch.Tensor], new: list[torch.Tensor]) -> list[torch.Tensor]:
    """Sums per level with the new outputs added; a level that is new starts its sum."""
    return [sums[i] + x if i < len(sums) else x for i, x in enumerate(new)]


class _Stage(nn.Module):
    """One stage j: every level i <= j runs its block on the sum of its own earlier outputs and of what comes down.

    ``sums[i]`` is the sum of x[i, m] over the earlier stages m (the image for the first stage), ``last[k]`` is
    x[k, j - 1].
    """

    def __init__(self, blocks: list[nn.Module], downs: list[nn.ModuleList]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downs: Any = nn.ModuleList(downs)  # a list of lists of modules, which ModuleList cannot say

    def forward(self, sums: list[torch.Tensor], last: list[torch.Tensor]) -> list[torch.Tensor]:
        new: list[torch.Tensor] = []
        for i, (block, downs) in enumerate(zip(self.blocks, self.downs)):
            terms = sums[i : i + 1] + [down(last[k]) for k, down in enumerate(downs)]
            new.append(block(frame_sum(terms)))
        return new


class _Fusion(nn.Module):
    """The last exchange: every level receives all others and runs an output block.

    Where there are ``finals`` every level is also brought to full resolution, and all are appended as one tensor.
    """

    def __init__(
        self, blocks: list[nn.Module], downs: list[nn.ModuleList], ups: list[nn.ModuleList], finals: list[nn.Module]
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downs: Any = nn.ModuleList(downs)  # a list of lists of modules, which ModuleList cannot say
        self.ups: Any = nn.ModuleList(ups)
        self.finals = nn.ModuleList(finals)

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        outputs: list[torch.Tensor] = []
        for i, (block, downs, ups) in enumerate(zip(self.blocks, self.downs, self.ups)):
            above = [down(x[k]) for k, down in enumerate(downs)]
            below = [up(x[i + 1 + k]) for k, up in enumerate(ups)]
            outputs.append(block(frame_sum([x[i]] + above + below)))
        if len(self.finals) == 0:
            return outputs
        return outputs + [cat_frames([final(outputs[i]) for i, final in enumerate(self.finals)])]


class STCNNTHRNet(FrameBackbone):
    r"""High-resolution backbone of attention blocks.

    With :math:`x_{i,j}` the output of level i (resolution 1 / 2^i, ``channels`` * 2^i) at stage j and J = levels - 1:

    .. math:: x_{i,j} = B_{ij}\Big(\sum_{m=i}^{j-1} x_{i,m} + \sum_{k<i} \mathrm{down}(x_{k,j-1})\Big)

    .. math:: y_i = O_i\Big(x_{i,J} + \sum_{k<i} \mathrm{down}(x_{k,J}) + \sum_{k>i} \mathrm{up}(x_{k,J})\Big)

    Block ``(level i, stage j)`` is :meth:`block`; weights lie under ``stages.j.blocks.i``.

    Args:
        in_channels: channels of the input.
        channels: channels at full resolution; they double per level.
        block_strings: one string per level, the last repeats; a level uses its string at every stage and at the output.
        levels: number of resolutions (and of stages), 2 to 5.
        aggregate: also return all levels brought to full resolution by learned upsampling and concatenated; a head that
            combines the levels by itself does without.
        **options: keywords of :class:`~monai_stcnnt.networks.backbones.base.FrameBackbone`, of
            :class:`~monai_stcnnt.networks.blocks.CellBlock` and of :class:`~monai_stcnnt.networks.cells.AttentionCell`.

    Shapes: (B, T, in_channels, H, W) to ``[y_0, ..., y_J, y]``: y_i is (B, T, channels * 2^i, ceil(H / 2^i),
        ceil(W / 2^i)), y (if ``aggregate``) holds all levels at full resolution, (B, T, channels * (2^levels - 1), H,
        W).

    Raises:
        NetworkConfigError: for options that do not fit.
        LayoutError: in forward, for a tensor that is not in frame layout.
        ImageSizeError: in forward, for a size that ``norm`` cannot take.

    See Also:
        Wang et al., HRNet, 2020, https://doi.org/10.1109/TPAMI.2020.2983686; Xue et al., 2024,
        https://doi.org/10.48550/arXiv.2404.02382. Departures: any image size, 2 to 5 levels by one rule.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int = 32,
        block_strings: str | Sequence[str] = ("T1L1G1", "T1L1G1"),
        levels: int = 2,
        *,
        aggregate: bool = True,
        **options: Any,  # noqa: ANN401 - checked by the base and the cell's constructor
    ) -> None:
        if not 2 <= levels <= 5:
            raise NetworkConfigError(f"STCNNTHRNet has 2 to 5 levels, got {levels}.")
        super().__init__(in_channels, levels, **options)
        c = [channels * 2**i for i in range(levels)]
        strings = extend_strings(block_strings, levels)
        self.out_channels = (*c, sum(c)) if aggregate else tuple(c)
        self.strides = [*(2**i for i in range(levels)), 1][: len(self.out_channels)]
        self.stages = nn.ModuleList(self._stage(j, strings, c) for j in range(levels))
        self.fusion = _Fusion(
            [self.build_block(strings[i], c[i], c[i], i, self.later_windows[i]) for i in range(levels)],
            [nn.ModuleList(self.build_down(c[k], c[i], k, i - k) for k in range(i)) for i in range(levels)],
            [nn.ModuleList(self.build_up(c[k], c[i], k, k - i) for k in range(i + 1, levels)) for i in range(levels)],
            [self.build_up(c[i], c[i], i, i) for i in range(levels)] if aggregate else [],
        )

    def _stage(self, stage: int, strings: list[str], channels: list[int]) -> _Stage:
        blocks: list[nn.Module] = []
        downs: list[nn.ModuleList] = []
        for i in range(stage + 1):
            windows = self.first_windows[i] if i == stage else self.later_windows[i]
            incoming = self.in_channels if stage == 0 else channels[i]
            blocks.append(self.build_block(strings[i], incoming, channels[i], i, windows))
            sources = range(i) if stage > 0 else range(0)
            downs.append(nn.ModuleList(self.build_down(channels[k], channels[i], k, i - k) for k in sources))
        return _Stage(blocks, downs)

    def block(self, level: int, stage: int) -> nn.Module:
        """Block of a level and a stage, ``0 <= level <= stage < levels``."""
        stages: Any = self.stages
        return stages[stage].blocks[level]

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Features of (B, T, C, H, W)."""
        height, width = x.shape[-2], x.shape[-1]
        last = [self.enter(x)]
        sums = last
        for j, stage in enumerate(self.stages):
            last = stage(sums, last)
            if j + 1 < len(self.stages):
                sums = last if j == 0 else running_sums(sums, last)
        return self.leave(self.fusion(last), height, width)
