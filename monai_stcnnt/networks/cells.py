# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Cells: a normalization, an attention (or a convolution), a mixer, and residual connections around them."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from monai.networks.layers.drop_path import DropPath
from torch import nn

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.block_string import CellKind, CellSpec
from monai_stcnnt.networks.checks import check_choice, check_probability
from monai_stcnnt.networks.layers.attention import PositionBias, Similarity
from monai_stcnnt.networks.layers.frames import (
    FrameConv,
    PieceByPiece,
    Triple,
    add_frames,
    crop_frames,
    pad_frames,
    round_up,
    to_triple,
)
from monai_stcnnt.networks.layers.norms import NormName, build_act, build_norm
from monai_stcnnt.networks.layers.spatial_attention import Projection, SpatialAttention
from monai_stcnnt.networks.layers.temporal_attention import TemporalAttention, TemporalHeads
from monai_stcnnt.networks.layers.windows import WindowSize, merge_tokens, resolve_windows, split_tokens

__all__ = ["AttentionCell", "ConvMixer", "ConvNormAct", "PatchMixer", "cell_windows", "of_kind"]


class ConvNormAct(nn.Module):
    """Convolution, normalization and activation; the input is added where the channels agree.

    Shapes: (B, T, in_channels, H, W) to (B, T, out_channels, H, W).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: Triple,
        *,
        spatial_dims: int,
        norm: NormName,
        act: str | tuple[str, dict[str, Any]],
        kernel_size: int = 3,
    ) -> None:
        super().__init__()
        self.residual = in_channels == out_channels
        self.conv = FrameConv(in_channels, out_channels, kernel_size, bias=False, spatial_dims=spatial_dims)
        self.norm = build_norm(norm, out_channels, size)
        self.act = build_act(act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform (B, T, C, H, W)."""
        y = self.act(self.norm(self.conv(x)))
        return add_frames(y, x) if self.residual else y


class ConvMixer(PieceByPiece):
    """Two convolutions of every frame, and between them an activation of ``ratio`` times ``out_channels`` channels.

    Shapes: (B, T, in_channels, H, W) to (B, T, out_channels, H, W).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        ratio: float,
        act: str | tuple[str, dict[str, Any]],
        kernel_size: int = 3,
    ) -> None:
        super().__init__()
        hidden = int(ratio * out_channels)
        if hidden < 1:
            raise NetworkConfigError(f"mixer_ratio={ratio} leaves no channel between the two convolutions of a mixer.")
        self.hidden = hidden
        self.conv1 = FrameConv(in_channels, hidden, kernel_size)
        self.act = build_act(act)
        self.conv2 = FrameConv(hidden, out_channels, kernel_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mix the channels of (B, T, C, H, W)."""
        y = self.by_pieces(x.flatten(0, 1).unsqueeze(0), self.hidden)[0]
        return y.squeeze(0).unflatten(0, (x.shape[0], x.shape[1])).permute(0, 1, 4, 2, 3)

    def piece(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Mix the channels of (B, T, C, H, W); channels come out last."""
        return [self.conv2(self.act(self.conv1(x))).permute(0, 1, 3, 4, 2)]


class PatchMixer(nn.Module):
    """A two-layer perceptron on the flattened patches of an image, which is padded to whole patches and cropped again.

    Shapes: (B, T, in_channels, H, W) to (B, T, out_channels, H, W).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        ratio: float,
        act: str | tuple[str, dict[str, Any]],
        patch: Triple,
    ) -> None:
        super().__init__()
        self.patch = patch
        voxels = patch[0] * patch[1] * patch[2]
        hidden = int(ratio * out_channels * voxels)
        if hidden < 1:
            raise NetworkConfigError(f"mixer_ratio={ratio} leaves nothing between the two linear maps of a mixer.")
        self.linear1 = nn.Linear(in_channels * voxels, hidden)
        self.act = build_act(act)
        self.linear2 = nn.Linear(hidden, out_channels * voxels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mix the patches of (B, T, C, H, W)."""
        size = (x.shape[1], x.shape[3], x.shape[4])
        padded = round_up(size, self.patch)
        tokens = split_tokens(pad_frames(x, padded).permute(0, 1, 3, 4, 2), self.patch, self.patch, True)
        tokens = self.linear2(self.act(self.linear1(tokens)))
        y = merge_tokens(tokens, padded, self.patch, self.patch, True)
        return crop_frames(y.permute(0, 1, 4, 2, 3), size)


def cell_windows(spec: CellSpec, size: Triple, wanted: WindowSize) -> WindowSize:
    """Window and patch that a cell of a block works with.

    The wanted sizes are fitted to the image; a 2D global cell then halves its window (never below its patch), so that
    twice as many windows meet along each axis.
    """
    fitted = resolve_windows(size, wanted)
    if spec.kind != "global" or spec.spatial_dims == 3:
        return fitted
    window = [fitted.window[0]]
    for axis in (1, 2):
        patches = max(fitted.window[axis] // fitted.patch[axis] // 2, 1)
        window.append(patches * fitted.patch[axis])
    return WindowSize((window[0], window[1], window[2]), fitted.patch)


def of_kind(name: str, value: int | Mapping[str, int], kind: CellKind) -> int:
    """Number for a kind of cell, from one number for all kinds or one for each.

    Raises:
        NetworkConfigError: for a mapping that does not name the kind, or names one that does not exist.
    """
    if isinstance(value, int):
        return value
    for key in value:
        check_choice(f"a key of {name}", key, CellKind)
    if kind not in value:
        raise NetworkConfigError(f"{name} names {', '.join(value)}, but the block has a {kind} cell.")
    return int(value[kind])


class AttentionCell(nn.Module):
    """One cell: pre-norm attention or convolution, and a mixer, each with a residual connection.

    Sequential: ``x = proj(x) + drop(attn(norm1(x)))``, then ``x = x + drop(mixer(norm2(x)))``.
    Parallel: ``x = proj(x) + drop(attn(n)) + drop(mixer(n))`` with ``n = norm1(x)``.
    ``proj`` is a convolution where the number of channels changes.

    Args:
        spec: kind of the cell, from :func:`~monai_stcnnt.networks.block_string.parse_block_string`.
        in_channels: channels of the input.
        out_channels: channels of the output.
        size: (T, H, W) the cell is built for; with the norms ``layer`` and ``layer3d`` no other (H, W) works.
        window_size: window (h, w) or (t, h, w); fitted to the image.
        patch_size: patch (h, w) or (t, h, w) inside the window.
        num_heads: heads of the attention, one number or one for each kind of cell (``{"temporal": 64, "vit": 8}``).
        cell_type: ``sequential`` or ``parallel``.
        norm: see :func:`~monai_stcnnt.networks.layers.norms.build_norm`.
        act: MONAI's name of the activation, or (name, arguments).
        mixer: ``conv``, or ``linear`` on flattened patches (windows for ViT, voxels for Swin). Temporal and convolution
            cells have no patches and keep the convolutional mixer.
        mixer_ratio: hidden channels of the mixer per output channel.
        qkv: ``conv`` or ``linear`` projections; temporal cells keep convolutions.
        similarity: ``cosine``, ``dot`` or ``normalized``.
        position_bias: relative position bias of spatial cells: ``none``, ``before_softmax`` or ``after_softmax``.
        qk_stride: step of queries and keys, one number or one for each kind of cell.
        temporal_heads: see :class:`~monai_stcnnt.networks.layers.temporal_attention.TemporalAttention`.
        causal: temporal cells look back only.
        output_proj: end the attention with a convolution.
        attention_dropout: dropout on attention weights in training.
        drop_path: probability of dropping a branch for a whole sample in training (stochastic depth).
        kernel_size: of the convolutions of the attention and of ``proj``, and of a convolution cell.
        mixer_kernel_size: of the convolutions of the mixer.

    Shapes: (B, T, in_channels, H, W) to (B, T, out_channels, H, W).

    Raises:
        NetworkConfigError: for options that do not fit.
    """

    def __init__(
        self,
        spec: CellSpec,
        in_channels: int,
        out_channels: int,
        size: Triple,
        *,
        window_size: tuple[int, ...] | int = (2, 8, 8),
        patch_size: tuple[int, ...] | int = (1, 4, 4),
        num_heads: int | Mapping[str, int] = 8,
        cell_type: Literal["sequential", "parallel"] = "sequential",
        norm: NormName = "layer",
        act: str | tuple[str, dict[str, Any]] = "prelu",
        mixer: Literal["conv", "linear"] = "conv",
        mixer_ratio: float = 4.0,
        qkv: Projection = "conv",
        similarity: Similarity = "cosine",
        position_bias: PositionBias = "after_softmax",
        qk_stride: int | Mapping[str, int] = 1,
        temporal_heads: TemporalHeads = "channel",
        causal: bool = False,
        output_proj: bool = True,
        attention_dropout: float = 0.0,
        drop_path: float = 0.0,
        kernel_size: int = 3,
        mixer_kernel_size: int = 3,
    ) -> None:
        super().__init__()
        check_choice("cell_type", cell_type, Literal["sequential", "parallel"])
        check_choice("mixer", mixer, Literal["conv", "linear"])
        check_probability("drop_path", drop_path)
        check_probability("attention_dropout", attention_dropout)
        self.parallel = cell_type == "parallel"
        wanted = WindowSize(to_triple(window_size, "window_size"), to_triple(patch_size, "patch_size"))
        windows = cell_windows(spec, size, wanted)
        shared: dict[str, Any] = {
            "similarity": similarity,
            "qk_stride": 1 if spec.kind == "conv" else of_kind("qk_stride", qk_stride, spec.kind),
            "output_proj": output_proj,
            "attention_dropout": attention_dropout,
            "kernel_size": kernel_size,
        }
        if spec.kind == "conv":
            self.attn: nn.Module = ConvNormAct(
                in_channels, out_channels, size, spatial_dims=spec.spatial_dims, norm=norm, act=act,
                kernel_size=kernel_size,
            )  # fmt: skip
        elif spec.kind == "temporal":
            self.attn = TemporalAttention(
                in_channels,
                out_channels,
                of_kind("num_heads", num_heads, spec.kind),
                heads=temporal_heads,
                causal=causal,
                **shared,
            )
        else:
            self.attn = SpatialAttention(
                in_channels, out_channels, size, windows, spec.kind, of_kind("num_heads", num_heads, spec.kind),
                spatial_dims=spec.spatial_dims, shifted=spec.shifted, qkv=qkv, position_bias=position_bias, **shared,
            )  # fmt: skip
        self.norm1 = build_norm(norm, in_channels, size)
        self.proj = FrameConv(in_channels, out_channels, kernel_size) if in_channels != out_channels else nn.Identity()
        self.drop = DropPath(drop_path) if drop_path > 0.0 else nn.Identity()
        self.mixer: nn.Module | None = None
        self.norm2: nn.Module | None = None
        if spec.mixer:
            mixed = in_channels if self.parallel else out_channels
            patch = getattr(self.attn, "patch", None)
            if mixer == "linear" and patch is not None:
                self.mixer = PatchMixer(mixed, out_channels, mixer_ratio, act, patch)
            else:
                self.mixer = ConvMixer(mixed, out_channels, mixer_ratio, act, mixer_kernel_size)
            if not self.parallel:
                self.norm2 = build_norm(norm, out_channels, size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform (B, T, C, H, W)."""
        n = self.norm1(x)
        y = add_frames(self.drop(self.attn(n)), self.proj(x))
        if self.mixer is not None:
            if self.norm2 is not None:
                n = self.norm2(y)
            y = add_frames(self.drop(self.mixer(n)), y)
        return y
