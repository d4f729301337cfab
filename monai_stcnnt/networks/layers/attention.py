# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The one attention core, and the projections to queries, keys and values that all attentions share."""

import math
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import nn

from monai_stcnnt.networks.checks import check_positive
from monai_stcnnt.networks.layers.frames import FrameConv, exporting, frames_at_once, widen

__all__ = ["PositionBias", "QKVConv", "Similarity", "attend"]

Similarity = Literal["cosine", "dot", "normalized"]
PositionBias = Literal["none", "before_softmax", "after_softmax"]


def standardize(x: torch.Tensor) -> torch.Tensor:
    """Zero mean and unit (unbiased) variance along the last axis; float32's epsilon keeps the division finite."""
    several = int(x.shape[-1]) > 1  # a number also while torch.jit.trace records sizes as tensors
    return (x - x.mean(-1, keepdim=True)) * torch.rsqrt(x.var(-1, unbiased=several, keepdim=True) + 1.1920929e-07)


def attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    similarity: str,
    logit_bias: torch.Tensor | None,
    weight_bias: torch.Tensor | None,
    dropout: float,
) -> torch.Tensor:
    r"""Attention of tokens, :math:`(\mathrm{softmax}(s(q, k) + b_l) + b_w) \, v`.

    Args:
        q: queries (G, heads, N, D).
        k: keys (G, heads, N, D).
        v: values (G, heads, N, Dv).
        similarity: ``cosine`` (no temperature), ``dot`` (scaled by the root of D) or ``normalized`` (each query and key
            standardized, then ``dot``).
        logit_bias: added before the softmax, (N, N) or (1, heads, N, N); an export's may differ between groups.
        weight_bias: added after the softmax, (heads, N, N); the rows then no longer sum to one.
        dropout: probability with which a weight is dropped.

    Returns:
        (G, heads, N, Dv).
    """
    tokens = q.shape[-2]
    many = exporting() or tokens > 64 or (torch.is_grad_enabled() and tokens >= 32 and tokens > q.shape[-1])
    if many and dropout == 0.0 and q.shape[-1] == v.shape[-1]:
        return attend_fused(q, k, v, similarity, logit_bias, weight_bias)
    groups = q.shape[0]
    step = frames_at_once(q, groups, q.shape[1] * tokens * tokens)
    if step == groups:
        return attend_stored(q, k, v, similarity, logit_bias, weight_bias, dropout)
    y = v.new_empty(v.shape)
    for i in range(0, groups, step):
        j = i + step
        y[i:j] = attend_stored(q[i:j], k[i:j], v[i:j], similarity, logit_bias, weight_bias, dropout)
    return y


def attend_stored(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    similarity: str,
    logit_bias: torch.Tensor | None,
    weight_bias: torch.Tensor | None,
    dropout: float,
) -> torch.Tensor:
    """What :func:`attend` does, with all weights in memory: faster where there are few tokens."""
    if similarity == "cosine" and q.shape[-1] > q.shape[-2] and widen(q).dtype == q.dtype:
        weights = torch.matmul(q, k.transpose(-2, -1)) * inverse_norm(q) * inverse_norm(k).transpose(-2, -1)
    else:
        q, k, scale = compared(q, k, similarity, v.dtype)
        weights = torch.matmul(q * scale if scale != 1.0 else q, k.transpose(-2, -1))
    if logit_bias is not None:
        weights = weights + logit_bias
    weights = weights.softmax(dim=-1)
    if weight_bias is not None:
        weights = weights + weight_bias if torch.is_grad_enabled() else weights.add_(weight_bias)
    return torch.matmul(F.dropout(weights, dropout), v) if dropout > 0.0 else torch.matmul(weights, v)


def inverse_norm(x: torch.Tensor) -> torch.Tensor:
    """One over the length of every token (.., N, D), as (.., N, 1)."""
    return torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min(1e-12).reciprocal()


def compared(
    q: torch.Tensor, k: torch.Tensor, similarity: str, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Queries and keys whose products, times the returned number, are the similarities."""
    if similarity == "cosine":
        return F.normalize(widen(q), dim=-1).to(dtype), F.normalize(widen(k), dim=-1).to(dtype), 1.0
    if similarity == "normalized":
        q, k = standardize(widen(q)).to(dtype), standardize(widen(k)).to(dtype)
    return q, k, 1.0 / math.sqrt(q.shape[-1])


def attend_fused(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    similarity: str,
    logit_bias: torch.Tensor | None,
    weight_bias: torch.Tensor | None,
) -> torch.Tensor:
    """What :func:`attend` does, without storing the weights: they are many where there are many tokens.

    A bias after the softmax is the same for all groups, so its product with the values is one matrix product per head.
    """
    q, k, scale = compared(q, k, similarity, v.dtype)
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=logit_bias, scale=scale)
    if weight_bias is None:
        return y
    groups, heads, tokens, features = v.shape
    shared = torch.bmm(weight_bias, v.permute(1, 2, 0, 3).reshape(heads, tokens, groups * features))
    shared = shared.unflatten(2, (groups, features)).permute(2, 0, 1, 3)
    return y + shared if torch.is_grad_enabled() else y.add_(shared)


class QKVConv(nn.Module):
    """Queries, keys and values by one convolution (by two where queries and keys are strided).

    Args:
        in_channels: channels of the input.
        out_channels: channels of each of q, k and v.
        kernel_size: of the convolution.
        qk_stride: step of queries and keys along H and W; values keep the resolution.
        spatial_dims: 2 (per frame) or 3.

    Shapes: (B, T, in_channels, H, W) to q, k (B, T, out_channels, ceil(H / qk_stride), ceil(W / qk_stride)) and
        v (B, T, out_channels, H, W).
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, qk_stride: int, spatial_dims: int
    ) -> None:
        super().__init__()
        self.strided = qk_stride > 1
        check_positive(qk_stride=qk_stride)
        if self.strided:
            self.qk: nn.Module = FrameConv(
                in_channels, 2 * out_channels, kernel_size, stride=qk_stride, spatial_dims=spatial_dims
            )
            self.v: nn.Module = FrameConv(in_channels, out_channels, kernel_size, spatial_dims=spatial_dims)
            self.qkv: nn.Module = nn.Identity()
        else:
            self.qk, self.v = nn.Identity(), nn.Identity()
            self.qkv = FrameConv(in_channels, 3 * out_channels, kernel_size, spatial_dims=spatial_dims)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Project (B, T, C, H, W)."""
        if self.strided:
            q, k = self.qk(x).chunk(2, dim=2)
            return q, k, self.v(x)
        q, k, v = self.qkv(x).chunk(3, dim=2)
        return q, k, v
