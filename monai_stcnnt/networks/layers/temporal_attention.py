# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Attention between the frames of a clip."""

from typing import Literal

import torch
from torch import nn

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.checks import check_choice, check_heads
from monai_stcnnt.networks.layers.attention import QKVConv, Similarity, attend
from monai_stcnnt.networks.layers.frames import FrameConv, PieceByPiece

__all__ = ["TemporalAttention", "TemporalHeads"]

TemporalHeads = Literal["channel", "pixel"]


class TemporalAttention(PieceByPiece):
    """Frames attend to frames; a token is a whole frame.

    Queries, keys and values are 3x3 convolutions, so pixels stay where they are; the weight between two frames is one
    number per head for the whole (window of the) image. Any number of frames works.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        num_heads: number of heads.
        heads: ``channel`` shares the channels among the heads; ``pixel`` cuts the flattened (C, H, W) vector into equal
            pieces (the same thing where the heads divide the channels), so that there may be more heads than channels.
        similarity: see :func:`~monai_stcnnt.networks.layers.attention.attend`.
        causal: a frame attends to itself and earlier frames only.
        qk_stride: step of queries and keys along H and W.
        output_proj: end with a 3x3 convolution.
        attention_dropout: probability of dropping a weight in training.
        kernel_size: of the convolutions.

    Shapes: (B, T, in_channels, H, W) to (B, T, out_channels, H, W).

    Raises:
        NetworkConfigError: for options that do not fit.

    See Also:
        Xue et al., Imaging transformer for MRI denoising with the SNR unit training, 2024,
        https://doi.org/10.48550/arXiv.2404.02382. Departures: ``causal`` works, and T is not limited.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_heads: int = 8,
        *,
        heads: TemporalHeads = "channel",
        similarity: Similarity = "cosine",
        causal: bool = False,
        qk_stride: int = 1,
        output_proj: bool = True,
        attention_dropout: float = 0.0,
        kernel_size: int = 3,
    ) -> None:
        super().__init__()
        check_choice("similarity", similarity, Similarity)
        check_choice("heads", heads, TemporalHeads)
        if heads == "channel" or num_heads < 1:
            check_heads(out_channels, num_heads, "a temporal attention")
        self.num_heads, self.similarity, self.causal = num_heads, str(similarity), causal
        self.out_channels = out_channels
        self.by_channel = out_channels % num_heads == 0
        self.attention_dropout = attention_dropout
        self.project = QKVConv(in_channels, out_channels, kernel_size, qk_stride, spatial_dims=2)
        self.output_proj = FrameConv(out_channels, out_channels, kernel_size) if output_proj else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend along T of (B, T, C, H, W)."""
        q, k, v = [tokens.flatten(3) for tokens in self.by_pieces(x, 3 * self.out_channels, axis=2)]
        mask: torch.Tensor | None = None
        if self.causal:
            mask = torch.full([x.shape[1], x.shape[1]], float("-inf"), dtype=q.dtype, device=q.device).triu(1)
        y = attend(q, k, v, self.similarity, mask, None, self.attention_dropout if self.training else 0.0)
        return self.output_proj(self.merge(y, x.shape[3], x.shape[4]))

    def piece(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Queries, keys and values (B, heads, T, numbers of a head) of (B, T, C, H, W), in one axis or several."""
        q, k, v = self.project(x)
        return [self.split(q), self.split(k), self.split(v)]

    def split(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, C, H, W) to (B, heads, T, H, W, C / heads), or to (B, heads, T, C * H * W / heads)."""
        if self.by_channel:
            return x.unflatten(2, (self.num_heads, -1)).permute(0, 2, 1, 4, 5, 3)
        if x[0, 0].numel() % self.num_heads:
            raise NetworkConfigError(
                f"A frame of {x[0, 0].numel()} numbers cannot be cut into num_heads={self.num_heads} equal pieces."
            )
        return x.flatten(2).unflatten(2, (self.num_heads, -1)).transpose(1, 2)

    def merge(self, y: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """(B, heads, T, C * H * W / heads) to (B, T, C, H, W) with H, W = ``height``, ``width``."""
        if self.by_channel:
            y = y.unflatten(3, (height, width, -1)).permute(0, 2, 3, 4, 1, 5)
            return y.flatten(4).permute(0, 1, 4, 2, 3)
        return y.transpose(1, 2).flatten(2).unflatten(2, (self.out_channels, height, width))
