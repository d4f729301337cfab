# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The stack-of-attention backbone."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.backbones.base import FrameBackbone, extend_strings

__all__ = ["STCNNTSOANet"]


class STCNNTSOANet(FrameBackbone):
    """Stack of attention: one block per stage, with or without downsampling between the stages.

    Channels double from stage to stage. With ``["S3ShS3Sh", "S3ShS3Sh", "S3Sh" * 6, "S3ShS3Sh"]`` it has the form of a
    3D Swin transformer, with ``["V2" * 12]`` that of ViT-base, with ``["V3" * 3, "V3" * 6, "V3" * 12]`` of a 3-stage 3D
    ViT.

    Args:
        in_channels: channels of the input.
        channels: channels of the first stage.
        block_strings: one string per stage, the last repeats.
        stages: number of stages; by default as many as there are block strings.
        downsample: halve H and W between stages.
        **options: keywords of :class:`~monai_stcnnt.networks.backbones.base.FrameBackbone`, of
            :class:`~monai_stcnnt.networks.blocks.CellBlock` and of :class:`~monai_stcnnt.networks.cells.AttentionCell`;
            with ``window_sizing="mixed"`` windows keep their size.

    Shapes: (B, T, in_channels, H, W) to one tensor per stage, first stage first: (B, T, channels * 2^i, ceil(H / 2^i),
        ceil(W / 2^i)), or all at full resolution without downsampling.

    Raises:
        NetworkConfigError: for options that do not fit.
        LayoutError: in forward, for a tensor that is not in frame layout.
        ImageSizeError: in forward, for a size that ``norm`` cannot take.

    See Also:
        Liu et al., Swin Transformer, 2021, https://doi.org/10.1109/ICCV48922.2021.00986; Dosovitskiy et al., ViT, 2020,
        https://doi.org/10.48550/arXiv.2010.11929. Departure: the downsampled tensors between the stages are not
        returned.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int = 32,
        block_strings: str | Sequence[str] = ("T1L1G1",),
        stages: int | None = None,
        *,
        downsample: bool = True,
        **options: Any,  # noqa: ANN401 - checked by the base and the cell's constructor
    ) -> None:
        if stages is None:
            stages = 1 if isinstance(block_strings, str) else len(block_strings)
        if stages < 1:
            raise NetworkConfigError(f"STCNNTSOANet has at least one stage, got {stages}.")
        if options.get("window_sizing") in (None, "mixed"):
            options["window_sizing"] = "keep_window_size"
        super().__init__(in_channels, stages if downsample else 1, **options)
        strings = extend_strings(block_strings, stages)
        c = [channels * 2**i for i in range(stages)]
        levels = [i if downsample else 0 for i in range(stages)]
        self.out_channels, self.strides = tuple(c), [2**level for level in levels]
        incoming = [in_channels, *(c[1:] if downsample else c[:-1])]
        self.blocks = nn.ModuleList(
            self.build_block(strings[i], incoming[i], c[i], levels[i], self.first_windows[levels[i]])
            for i in range(stages)
        )
        self.downs = nn.ModuleList(
            self.build_down(c[i - 1], c[i], i - 1, 1) if downsample and i > 0 else nn.Identity() for i in range(stages)
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Features of (B, T, C, H, W)."""
        height, width = x.shape[-2], x.shape[-1]
        x = self.enter(x)
        outputs: list[torch.Tensor] = []
        for down, block in zip(self.downs, self.blocks):
            x = block(down(x))
            outputs.append(x)
        return self.leave(outputs, height, width)
