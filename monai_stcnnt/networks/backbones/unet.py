# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The U-Net backbone of attention blocks."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.backbones.base import FrameBackbone, extend_strings
from monai_stcnnt.networks.layers.frames import cat_frames
from monai_stcnnt.networks.layers.resample import AttentionGate
from monai_stcnnt.networks.layers.windows import keep_window_size

__all__ = ["STCNNTUNet"]


class _Decoder(nn.Module):
    """One step up: upsample, gate the skip connection by it, join both, run the block."""

    def __init__(self, up: nn.Module, gate: nn.Module | None, block: nn.Module) -> None:
        super().__init__()
        self.up = up
        self.gate = gate
        self.block = block

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        x = self.up(x)
        if self.gate is not None:
            skip = self.gate(x, skip)
        return self.block(cat_frames([skip, x]))


class STCNNTUNet(FrameBackbone):
    """U-Net of attention blocks: ``levels`` encoder blocks, a bridge one level below, ``levels`` decoder blocks.

    Args:
        in_channels: channels of the input.
        channels: channels per level, or those of full resolution (then they double per level); the bridge has those of
            the lowest level.
        block_strings: one string per encoder level and one for the bridge; the last repeats. A decoder block uses the
            string of its level.
        levels: number of encoder levels, 1 to 5.
        gated: scale the skip connections by an attention gate.
        **options: keywords of :class:`~monai_stcnnt.networks.backbones.base.FrameBackbone`, of
            :class:`~monai_stcnnt.networks.blocks.CellBlock` and of :class:`~monai_stcnnt.networks.cells.AttentionCell`.

    Shapes: (B, T, in_channels, H, W) to ``[u_0]`` with u_0 (B, T, channels[0], H, W).

    Raises:
        NetworkConfigError: for options that do not fit.
        LayoutError: in forward, for a tensor that is not in frame layout.
        ImageSizeError: in forward, for a size that ``norm`` cannot take.

    See Also:
        Oktay et al., Attention U-Net, 2018, https://doi.org/10.48550/arXiv.1804.03999; Xue et al., 2024,
        https://doi.org/10.48550/arXiv.2404.02382. Departure: from three levels on, the published code sizes the
        decoder's windows by a list it changes on the way; here a decoder block takes the windows of the next finer
        level, as there up to two levels.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int | Sequence[int] = 32,
        block_strings: str | Sequence[str] = ("T1L1G1",),
        levels: int = 2,
        *,
        gated: bool = True,
        **options: Any,  # noqa: ANN401 - checked by the base and the cell's constructor
    ) -> None:
        if not 1 <= levels <= 5:
            raise NetworkConfigError(f"STCNNTUNet has 1 to 5 levels, got {levels}.")
        c = [channels * 2**i for i in range(levels)] if isinstance(channels, int) else [int(v) for v in channels]
        if len(c) != levels:
            raise NetworkConfigError(f"channels names {len(c)} levels ({c}), but levels={levels}.")
        super().__init__(in_channels, levels + 1, **options)
        strings = extend_strings(block_strings, levels + 1)
        self.out_channels, self.strides = (c[0],), [1]
        incoming = [in_channels, *c]
        self.encoder = nn.ModuleList(
            self.build_block(strings[i], incoming[i], c[i], i, self.first_windows[i]) for i in range(levels)
        )
        self.downs = nn.ModuleList(self.build_down(c[i], c[i], i, 1) for i in range(levels))
        self.bridge = self.build_block(strings[levels], c[-1], c[-1], levels, self.first_windows[levels])
        self.decoder = nn.ModuleList(self._decoder(i, strings[i], c, gated) for i in reversed(range(levels)))

    def _decoder(self, level: int, block_string: str, channels: list[int], gated: bool) -> _Decoder:
        c = channels[level]
        gate = AttentionGate(c, c) if gated else None
        windows = keep_window_size(self.sizes[level], self.first_windows[max(level - 1, 0)])
        block = self.build_block(block_string, 2 * c, channels[max(level - 1, 0)], level, windows)
        return _Decoder(self.build_up(c, c, level + 1, 1), gate, block)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Features of (B, T, C, H, W)."""
        height, width = x.shape[-2], x.shape[-1]
        x = self.enter(x)
        skips: list[torch.Tensor] = []
        for block, down in zip(self.encoder, self.downs):
            skips.append(block(x))
            x = down(skips[-1])
        x = self.bridge(x)
        for i, step in enumerate(self.decoder):
            x = step(x, skips[len(skips) - 1 - i])
        return self.leave([x], height, width)
