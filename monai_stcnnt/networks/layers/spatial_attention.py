# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Attention between patches, windows or voxels: local, global, ViT and Swin, per frame or in 3D."""

from typing import Literal

import torch
from torch import nn

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.checks import check_choice, check_heads
from monai_stcnnt.networks.layers.attention import PositionBias, QKVConv, Similarity, attend
from monai_stcnnt.networks.layers.frames import (
    FrameConv,
    PieceByPiece,
    Triple,
    crop_frames,
    exporting,
    pad_frames,
    round_up,
    units_over,
)
from monai_stcnnt.networks.layers.position_bias import RelativePositionBias
from monai_stcnnt.networks.layers.windows import WindowSize, counts, merge_heads, split_heads, split_tokens
from monai_stcnnt.tensors import cyclic_index

__all__ = ["Projection", "SpatialAttention", "SpatialKind", "part_mask", "shifted_parts"]

SpatialKind = Literal["local", "global", "vit", "swin"]
Projection = Literal["conv", "linear"]


def shifted_parts(size: Triple, window: Triple, shift: Triple, device: torch.device) -> torch.Tensor:
    """Parts of cyclically shifted windows whose voxels were neighbors before the shift.

    Args:
        size: (T, H, W), multiples of the window.
        window: (t, h, w).
        shift: voxels by which the image was rolled back along each axis; 0 where one window covers the axis.
        device: where to put the result.

    Returns:
        (windows, N) with N the voxels of a window: a number for every part of a window.
    """
    part = torch.zeros([1, 1, 1], device=device)
    for axis in range(3):
        wrapped = torch.arange(size[axis], device=device) >= size[axis] - shift[axis]
        shape = [1, 1, 1]
        shape[axis] = size[axis]
        part = part * 2.0 + wrapped.float().reshape(shape)
    return split_tokens(part[None, :, :, :, None], window, (1, 1, 1), False)[:, :, 0]


def part_mask(part: torch.Tensor) -> torch.Tensor:
    """What is added to the similarities (.., N, N) of a window's voxels, which may see their own part (.., N) only."""
    return (part.unsqueeze(-1) != part.unsqueeze(-2)).float() * -100.0


def cut_last(pieces: list[torch.Tensor], axis: int) -> list[torch.Tensor]:
    """Cut every tensor into all but the last along an axis, and the last."""
    cut: list[torch.Tensor] = []
    for x in pieces:
        before = x.shape[axis] - 1
        cut += [x.narrow(axis, 0, before), x.narrow(axis, before, 1)]
    return cut


def roll_frames(x: torch.Tensor, shift: Triple) -> torch.Tensor:
    """Roll T, H and W of (B, T, H, W, C); an export does so by positions, because the shift depends on the size."""
    if not exporting():
        return torch.roll(x, shift, (1, 2, 3))
    for axis in range(3):
        x = x.index_select(axis + 1, cyclic_index(x.shape[axis + 1], -shift[axis], x.device))
    return x


class SpatialAttention(PieceByPiece):
    """Attention inside or across the windows of an image; queries, keys and values keep their pixels.

    Four kinds, one mechanism:

    - ``local``: the patches of one window attend to each other;
    - ``global``: the patches at the same place of all windows attend to each other;
    - ``vit``: whole windows attend to whole windows;
    - ``swin``: the voxels of one window attend to each other, in windows that may be shifted (with the wrap mask).

    Any input size is accepted: what the windows need is added by reflection and cropped again. ``local`` and ``swin``
    keep the window's size, ``global`` and ``vit`` keep the number of windows (with linear projections ``vit`` keeps the
    size, because its weights have it).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        size: (T, H, W) that the module is built for.
        windows: window and patch, each dividing the next larger (see
            :func:`~monai_stcnnt.networks.layers.windows.resolve_windows`).
        kind: one of the four above.
        num_heads: heads, which share the numbers of a token: pixels of the patch first, channels within a pixel.
        spatial_dims: 2 treats every frame by itself; 3 treats T, H and W together, with 3D convolutions.
        shifted: shift the windows of ``swin`` by half their size along every axis that has more than one.
        qkv: ``conv`` (3x3 or 3x3x3) or ``linear`` (a linear map of a token).
        similarity: see :func:`~monai_stcnnt.networks.layers.attention.attend`.
        position_bias: relative position bias added before or after the softmax, or none.
        qk_stride: step of queries and keys along H and W (convolutions only).
        output_proj: end with a convolution.
        attention_dropout: probability of dropping a weight in training.
        kernel_size: of the convolutions.

    Shapes: (B, T, in_channels, H, W) to (B, T, out_channels, H, W).

    Raises:
        NetworkConfigError: for options that do not fit.

    See Also:
        Xue et al., 2024, https://doi.org/10.48550/arXiv.2404.02382; Dosovitskiy et al., ViT, 2020,
        https://doi.org/10.48550/arXiv.2010.11929; Liu et al., Swin Transformer, 2021,
        https://doi.org/10.1109/ICCV48922.2021.00986. Departures from the published code: 2D and 3D share one split and
        merge, the 3D bias is indexed in the order of its tokens, Swin uses its value projection, windows need not be
        square.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: tuple[int, int, int],
        windows: WindowSize,
        kind: SpatialKind,
        num_heads: int = 8,
        *,
        spatial_dims: int = 2,
        shifted: bool = False,
        qkv: Projection = "conv",
        similarity: Similarity = "cosine",
        position_bias: PositionBias = "after_softmax",
        qk_stride: int = 1,
        output_proj: bool = True,
        attention_dropout: float = 0.0,
        kernel_size: int = 3,
    ) -> None:
        super().__init__()
        for name, value, choices in (
            ("kind", kind, SpatialKind),
            ("qkv", qkv, Projection),
            ("similarity", similarity, Similarity),
            ("position_bias", position_bias, PositionBias),
        ):
            check_choice(name, value, choices)
        self.volume = spatial_dims == 3
        self.kind, self.similarity, self.linear = str(kind), str(similarity), qkv == "linear"
        self.num_heads, self.shifted, self.attention_dropout = num_heads, shifted, attention_dropout
        self.across = kind in ("global", "vit")
        self.keep_count = kind == "global" or (kind == "vit" and qkv == "conv")
        self.out_channels, self.qk_stride = out_channels, qk_stride
        self.window = windows.window if self.volume else (1, windows.window[1], windows.window[2])
        patch = {"vit": self.window, "swin": (1, 1, 1)}.get(kind, windows.patch)
        self.patch = patch if self.volume else (1, patch[1], patch[2])
        built = size if self.volume else (1, size[1], size[2])
        count = [max(n, 1) for n in counts(built, self.window)]
        self.count = (count[0], count[1], count[2])
        voxels = self.patch[0] * self.patch[1] * self.patch[2]
        check_heads(out_channels * voxels, num_heads, f"a token of {kind} attention")
        self._check_stride()
        self.bias_before = position_bias == "before_softmax"
        self.position_bias: RelativePositionBias | None = None
        if position_bias != "none":
            self.position_bias = RelativePositionBias(self.token_grid(self.count, self.window, self.patch), num_heads)
        self.project_tokens = nn.Linear(in_channels * voxels, 3 * out_channels * voxels) if self.linear else None
        self.project = None if self.linear else QKVConv(in_channels, out_channels, kernel_size, qk_stride, spatial_dims)
        self.output_proj: nn.Module = nn.Identity()
        if output_proj:
            self.output_proj = FrameConv(out_channels, out_channels, kernel_size, spatial_dims=spatial_dims)

    def _check_stride(self) -> None:
        """Refuse a stride on queries and keys that their tokens cannot follow."""
        stride = self.qk_stride
        if stride == 1:
            return
        if self.linear or self.patch[1] % stride or self.patch[2] % stride:
            raise NetworkConfigError(
                f"qk_stride={stride} needs qkv='conv' and a patch that it divides; the patch (t, h, w) of this "
                f"{self.kind} attention is {self.patch}, qkv is {'linear' if self.linear else 'conv'}."
            )
        check_heads(
            self.out_channels * self.patch[0] * self.patch[1] * self.patch[2] // stride**2,
            self.num_heads,
            f"a strided token of {self.kind} attention",
        )

    def token_grid(self, count: Triple, window: Triple, patch: Triple) -> Triple:
        """Tokens along (t, h, w) that meet: the windows, or the patches of a window."""
        return count if self.across else counts(window, patch)

    def fit_windows(self, size: Triple) -> tuple[Triple, Triple, Triple]:
        """Padded size, window and patch for an input of ``size`` = (T, H, W)."""
        if not self.keep_count:
            return round_up(size, self.window), self.window, self.patch
        unit = [1, 1, 1] if self.kind == "vit" else [self.patch[0], self.patch[1], self.patch[2]]
        grown = [units_over(size[i], self.count[i] * unit[i]) * unit[i] for i in range(3)]
        if self.kind == "vit":
            step = self.qk_stride
            grown[1], grown[2] = units_over(grown[1], step) * step, units_over(grown[2], step) * step
            if self.out_channels % self.num_heads != 0:
                while (self.out_channels * grown[0] * grown[1] * grown[2] // step**2) % self.num_heads != 0:
                    grown[2] += step
        window = (grown[0], grown[1], grown[2])
        padded = (self.count[0] * window[0], self.count[1] * window[1], self.count[2] * window[2])
        return padded, window, window if self.kind == "vit" else self.patch

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend over (B, T, C, H, W)."""
        if self.volume:
            return self.attend_windows(x)
        y = self.by_pieces(x.flatten(0, 1).unsqueeze(0), 3 * self.out_channels)[0]
        return y.squeeze(0).unflatten(0, (x.shape[0], x.shape[1])).permute(0, 1, 4, 2, 3)

    def piece(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Attend over every frame of (B, T, C, H, W) by itself; channels come out last."""
        y = self.attend_windows(x.flatten(0, 1).unsqueeze(1))
        return [y.squeeze(1).unflatten(0, (x.shape[0], x.shape[1])).permute(0, 1, 3, 4, 2)]

    def attend_windows(self, x: torch.Tensor) -> torch.Tensor:
        """Attend over the windows of (B, T, C, H, W), T = 1 where frames are treated by themselves."""
        size = (x.shape[1], x.shape[3], x.shape[4])
        padded, window, patch = self.fit_windows(size)
        shift = self.shift_of(padded, window)
        q, k, v = self.tokens(x, padded, window, patch, shift)
        logit_bias, weight_bias = self.biases(padded, window, patch, q)
        if self.moves(shift):
            y = self.attend_shifted([q, k, v], padded, window, shift, logit_bias, weight_bias)
        else:
            dropout = self.attention_dropout if self.training else 0.0
            y = attend(q, k, v, self.similarity, logit_bias, weight_bias, dropout)
        y = merge_heads(y, padded, window, patch, self.across)
        y = roll_frames(y, shift) if self.moves(shift) else y
        return self.output_proj(crop_frames(y.permute(0, 1, 4, 2, 3), size))

    def tokens(
        self, x: torch.Tensor, padded: Triple, window: Triple, patch: Triple, shift: Triple
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Queries, keys and values (groups, heads, N, features / heads) of (B, T, C, H, W)."""
        if self.project_tokens is not None:
            tokens = split_tokens(self.padded(x, padded, shift), window, patch, self.across)
            q, k, v = self.project_tokens(tokens).unflatten(2, (3 * self.num_heads, -1)).transpose(1, 2).chunk(3, dim=1)
            return q, k, v
        assert self.project is not None
        step = (1, self.qk_stride, self.qk_stride)
        q, k, v = self.project(x)
        small, less = counts(padded, step), counts(shift, step)
        q, k = self.padded(q, small, less), self.padded(k, small, less)
        small_window, small_patch = counts(window, step), counts(patch, step)
        q = split_heads(q, small_window, small_patch, self.across, self.num_heads)
        k = split_heads(k, small_window, small_patch, self.across, self.num_heads)
        return q, k, split_heads(self.padded(v, padded, shift), window, patch, self.across, self.num_heads)

    def padded(self, x: torch.Tensor, size: Triple, shift: Triple) -> torch.Tensor:
        """(B, T, C, H, W), padded and shifted, as (B, T, H, W, C)."""
        y = pad_frames(x, size).permute(0, 1, 3, 4, 2)
        return roll_frames(y, (-shift[0], -shift[1], -shift[2])) if self.moves(shift) else y

    def shift_of(self, padded: Triple, window: Triple) -> Triple:
        """Half a window along every axis that has more than one window, if this module shifts."""
        if not self.shifted:
            return 0, 0, 0
        several = [1 - window[i] // padded[i] for i in range(3)]
        half = [max(window[i] // 2, 1) * several[i] for i in range(3)]
        return half[0], half[1], half[2]

    def moves(self, shift: Triple) -> bool:
        """Whether the image is shifted."""
        return self.shifted and (exporting() or max(shift) > 0)

    def biases(
        self, padded: Triple, window: Triple, patch: Triple, q: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """What is added before and after the softmax, by the distance of two tokens."""
        if self.position_bias is None:
            return None, None
        count = self.count if self.keep_count else counts(padded, window)
        bias = self.position_bias(self.token_grid(count, window, patch)).to(q.dtype)
        if self.bias_before:
            return bias.unsqueeze(0), None
        return None, bias

    def attend_shifted(
        self,
        tokens: list[torch.Tensor],
        padded: Triple,
        window: Triple,
        shift: Triple,
        logit_bias: torch.Tensor | None,
        weight_bias: torch.Tensor | None,
    ) -> torch.Tensor:
        """Attend in windows that were shifted.

        Only the last window along an axis has parts that may not see each other. Windows that are the last along the
        same axes have the same mask and go together: masks of all windows would be larger than all activations. An
        export has them nevertheless, because it does not know the number of windows.
        """
        dropout = self.attention_dropout if self.training else 0.0
        parts = shifted_parts(padded, window, shift, tokens[0].device)
        if exporting():
            apart = part_mask(parts).to(tokens[0].dtype).unsqueeze(1)
            apart = apart.repeat(tokens[0].shape[0] // apart.shape[0], 1, 1, 1)
            every = apart if logit_bias is None else apart + logit_bias
            return attend(tokens[0], tokens[1], tokens[2], self.similarity, every, weight_bias, dropout)
        sets: list[list[torch.Tensor]] = []
        for x in tokens + [parts]:
            pieces = [x.unflatten(0, [-1, padded[0] // window[0], padded[1] // window[1], padded[2] // window[2]])]
            for axis in range(3):
                pieces = cut_last(pieces, axis + 1) if shift[axis] > 0 else pieces
            sets.append(pieces)
        y: list[torch.Tensor] = []
        for i, part in enumerate(sets[3]):
            mask = logit_bias
            if i > 0:
                apart = part_mask(part[0, 0, 0, 0]).to(tokens[0].dtype)
                mask = apart if logit_bias is None else logit_bias + apart
            q, k, v = sets[0][i], sets[1][i], sets[2][i]
            z = attend(q.flatten(0, 3), k.flatten(0, 3), v.flatten(0, 3), self.similarity, mask, weight_bias, dropout)
            y.append(z.unflatten(0, v.shape[:4]))
        for axis in [2, 1, 0]:
            if shift[axis] > 0:
                joined: list[torch.Tensor] = []
                for j in range(0, len(y), 2):
                    joined.append(torch.cat(y[j : j + 2], axis + 1))
                y = joined
        return y[0].flatten(0, 3)
