# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The attention core, compared with torch's, and the projections."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.layers.attention import QKVConv, attend
from monai_stcnnt.networks.layers.frames import FrameConv

__all__: list[str] = []


def tokens(features: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draw queries, keys and values (3, 2, 5, features)."""
    q, k, v = torch.randn(3, 3, 2, 5, features)
    return q, k, v


def test_dot_is_scaled_dot_product_attention() -> None:
    q, k, v = tokens()
    torch.testing.assert_close(attend(q, k, v, "dot", None, None, 0.0), F.scaled_dot_product_attention(q, k, v))


def test_bias_before_the_softmax_is_an_attention_mask() -> None:
    q, k, v = tokens()
    bias = torch.randn(2, 5, 5)
    wanted = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.expand(3, 2, 5, 5))
    torch.testing.assert_close(attend(q, k, v, "dot", bias, None, 0.0), wanted)


def test_bias_after_the_softmax_adds_to_the_weights() -> None:
    q, k, v = tokens()
    bias = torch.randn(2, 5, 5)
    wanted = attend(q, k, v, "cosine", None, None, 0.0) + bias @ v
    torch.testing.assert_close(attend(q, k, v, "cosine", None, bias, 0.0), wanted)


def test_cosine_ignores_the_length_of_queries_and_keys() -> None:
    q, k, v = tokens()
    scaled = attend(3 * q, 0.1 * k, v, "cosine", None, None, 0.0)
    torch.testing.assert_close(scaled, attend(q, k, v, "cosine", None, None, 0.0))
    wanted = F.scaled_dot_product_attention(F.normalize(q, dim=-1), F.normalize(k, dim=-1), v, scale=1.0)
    torch.testing.assert_close(scaled, wanted)


def test_normalized_ignores_scale_and_offset_of_queries_and_keys() -> None:
    q, k, v = tokens()
    shifted = attend(3 * q + 1, 0.5 * k - 2, v, "normalized", None, None, 0.0)
    torch.testing.assert_close(shifted, attend(q, k, v, "normalized", None, None, 0.0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("similarity", ["cosine", "dot", "normalized"])
@pytest.mark.parametrize("features", [1, 6])
def test_zero_tokens_give_finite_values_and_gradients(similarity: str, features: int) -> None:
    q, k, v = (torch.zeros(1, 1, 3, features, requires_grad=True) for _ in range(3))
    y = attend(q, k, v, similarity, None, None, 0.0)
    y.sum().backward()
    assert bool(y.isfinite().all())
    for x in (q, k, v):
        assert x.grad is not None
        assert bool(x.grad.isfinite().all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("similarity", ["cosine", "dot", "normalized"])
def test_half_precision_is_near(similarity: str, dtype: torch.dtype) -> None:
    q, k, v = tokens()
    with torch.autocast("cpu", dtype=dtype):
        half = attend(q.to(dtype), k.to(dtype), v.to(dtype), similarity, None, None, 0.0)
        zero = attend(0 * q.to(dtype), k.to(dtype), v.to(dtype), similarity, None, None, 0.0)
    torch.testing.assert_close(half.float(), attend(q, k, v, similarity, None, None, 0.0), rtol=0.1, atol=0.1)
    assert bool(zero.isfinite().all())


def test_dropout_drops_weights() -> None:
    q, k, v = tokens()
    assert not torch.allclose(attend(q, k, v, "dot", None, None, 0.5), attend(q, k, v, "dot", None, None, 0.0))


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_queries_and_keys_are_strided_and_values_are_not(stride: int, spatial_dims: int) -> None:
    project = QKVConv(2, 4, 3, stride, spatial_dims)
    q, k, v = project(torch.randn(1, 3, 2, 7, 6))
    small = (1, 3, 4, -(-7 // stride), -(-6 // stride))
    assert (q.shape, k.shape, v.shape) == (small, small, (1, 3, 4, 7, 6))


def test_one_projection_is_three() -> None:
    project, x = QKVConv(2, 4, 3, 1, 2), torch.randn(1, 3, 2, 5, 5)
    for i, part in enumerate(project(x)):
        alone = FrameConv(2, 4)
        alone.load_state_dict({name: tensor[4 * i : 4 * i + 4] for name, tensor in project.qkv.state_dict().items()})
        torch.testing.assert_close(part, alone(x))


def test_a_stride_below_one_is_refused() -> None:
    with pytest.raises(NetworkConfigError, match="qk_stride must be at least 1, got 0"):
        QKVConv(2, 4, 3, 0, 2)


@pytest.mark.parametrize("similarity", ["cosine", "dot", "normalized"])
@pytest.mark.parametrize(("before", "after"), [(False, False), (True, False), (False, True), (True, True)])
def test_many_tokens_give_what_the_formula_says(similarity: Any, before: bool, after: bool) -> None:  # noqa: ANN401
    q, k, v = torch.randn(3, 2, 3, 70, 4).unbind(0)
    logit_bias, weight_bias = torch.randn(2, 1, 70, 70), torch.randn(3, 70, 70)
    scale = 0.5
    if similarity == "cosine":
        a, b, scale = F.normalize(q, dim=-1), F.normalize(k, dim=-1), 1.0
    elif similarity == "normalized":
        a, b = ((x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True) for x in (q, k))
    else:
        a, b = q, k
    weights = (scale * a @ b.transpose(-2, -1) + (logit_bias if before else 0.0)).softmax(-1)
    wanted = (weights + (weight_bias if after else 0.0)) @ v
    y = attend(q, k, v, similarity, logit_bias if before else None, weight_bias if after else None, 0.0)
    torch.testing.assert_close(y, wanted, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        y = attend(q, k, v, similarity, logit_bias if before else None, weight_bias if after else None, 0.0)
        torch.testing.assert_close(y, wanted, rtol=1e-4, atol=1e-5)


def test_long_tokens_are_compared_by_cosine_even_where_one_is_zero() -> None:
    q, k, v = torch.randn(3, 1, 2, 3, 8).unbind(0)
    q[0, 0, 1] = 0.0
    wanted = (F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)).softmax(-1) @ v
    q.requires_grad_()
    y = attend(q, k, v, "cosine", None, None, 0.0)
    torch.testing.assert_close(y, wanted)
    y.sum().backward()
    assert q.grad is not None
    assert bool(q.grad.isfinite().all())


def test_few_tokens_are_attended_in_pieces_or_fused_with_the_same_result() -> None:
    q, k, v = torch.randn(3, 1100, 2, 64, 4).unbind(0)  # weights of 36 MB, in three pieces
    weights = torch.randn(2, 64, 64)
    with_gradients = attend(q, k, v, "cosine", None, weights, 0.0)
    with torch.no_grad():
        torch.testing.assert_close(attend(q, k, v, "cosine", None, weights, 0.0), with_gradients, rtol=1e-4, atol=1e-5)
