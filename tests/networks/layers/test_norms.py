# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Normalizations, compared with torch's own on the axes that they name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.layers.norms import NormName, build_act, build_norm, fixes_image_size

__all__: list[str] = []

SIZE = (4, 6, 5)


def clip() -> torch.Tensor:
    """Make a clip (2, 4, 3, 6, 5) far from zero mean and unit variance."""
    return 3 * torch.randn(2, 4, 3, 6, 5) + 7


def test_layer_normalizes_each_frame() -> None:
    norm: Any = build_norm("layer", 3, SIZE)
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    x = clip()
    wanted = torch.stack([F.layer_norm(x[:, t], [3, 6, 5], norm.weight, norm.bias) for t in range(4)], dim=1)
    torch.testing.assert_close(norm(x), wanted)
    assert norm.weight.shape == (3, 6, 5)


def test_layer3d_normalizes_each_clip() -> None:
    norm: Any = build_norm("layer3d", 3, SIZE)
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    x = clip()
    wanted = F.layer_norm(x.transpose(1, 2), [3, 4, 6, 5], norm.weight, norm.bias).transpose(1, 2)
    torch.testing.assert_close(norm(x), wanted)


@pytest.mark.parametrize("name", ["batch2d", "batch3d"])
def test_batch_normalizes_over_frames_and_keeps_statistics(name: NormName) -> None:
    norm, x = build_norm(name, 3, SIZE), clip()
    y = norm(x)
    torch.testing.assert_close(y.mean([0, 1, 3, 4]), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.var([0, 1, 3, 4], unbiased=False), torch.ones(3), atol=1e-4, rtol=0)
    assert not torch.allclose(norm.eval()(x), y)


@pytest.mark.parametrize(("name", "axes"), [("instance2d", [3, 4]), ("instance3d", [1, 3, 4])])
def test_instance_normalizes_each_channel(name: NormName, axes: list[int]) -> None:
    x = clip()
    wanted = (x - x.mean(axes, keepdim=True)) / (x.var(axes, unbiased=False, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(build_norm(name, 3, SIZE)(x), wanted)
    if name == "instance2d":
        torch.testing.assert_close(wanted.flatten(0, 1), F.instance_norm(x.flatten(0, 1)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_instance_norm_of_large_half_precision_values_is_right(dtype: torch.dtype) -> None:
    x = (1000 * torch.randn(1, 2, 3, 8, 8)).to(dtype)
    norm = build_norm("instance2d", 3, SIZE)
    torch.testing.assert_close(norm(x).float(), norm(x.float()), rtol=1e-2, atol=1e-2)


def test_one_pixel_normalizes_to_zero() -> None:
    assert build_norm("instance2d", 3, (4, 1, 1))(torch.randn(2, 4, 3, 1, 1)).abs().max() == 0


def test_none_leaves_the_features_alone() -> None:
    x = clip()
    assert build_norm("none", 3, SIZE)(x) is x


@pytest.mark.parametrize(
    ("name", "fixed"),
    [("layer", (False, True)), ("layer3d", (True, True)), ("batch2d", (False, False)), ("none", (False, False))],
)
def test_which_norms_fix_the_size(name: str, fixed: tuple[bool, bool]) -> None:
    assert fixes_image_size(name) == fixed


def test_unknown_norm_is_refused() -> None:
    with pytest.raises(NetworkConfigError, match=r"'instance3d'.*'group'"):
        build_norm("group", 3, SIZE)  # type: ignore[arg-type]


def test_an_unknown_activation_is_refused_by_name() -> None:
    assert isinstance(build_act(("leakyrelu", {"negative_slope": 0.1})), torch.nn.LeakyReLU)
    with pytest.raises(NetworkConfigError, match="act='silu' is not an activation"):
        build_act("silu")


def test_a_slope_is_applied_in_place_only_where_no_gradient_is_wanted() -> None:
    act, x = build_act("prelu"), clip() - 7
    wanted = F.prelu(x, torch.tensor([0.25]))
    torch.testing.assert_close(act(x), wanted)
    assert bool((x < 0).any())
    with torch.no_grad():
        y = act(x)
    assert y is x
    torch.testing.assert_close(y, wanted)
    assert list(act.state_dict()) == ["weight"]


def test_gradients_of_one_slope_are_those_of_torch() -> None:
    act: Any = build_act("prelu").double()
    x = torch.randn(2, 3, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    own, torchs = act(x), F.prelu(x, act.weight)
    torch.testing.assert_close(own, torchs)
    found = torch.autograd.grad(own.square().sum(), [x, act.weight], create_graph=True)
    wanted = torch.autograd.grad(torchs.square().sum(), [x, act.weight], create_graph=True)
    torch.testing.assert_close(found, wanted)
    twice = [torch.autograd.grad(one[0].pow(3).sum() + one[1].sum(), [x, act.weight]) for one in (found, wanted)]
    torch.testing.assert_close(twice[0], twice[1])
    torch.autograd.gradcheck(lambda values: act(values), x)


def test_one_slope_gives_gradients_in_half_precision() -> None:
    act: Any = build_act("prelu").bfloat16()
    x = torch.randn(2, 3, 4, 5, 6, dtype=torch.bfloat16, requires_grad=True)
    act(x).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.where(x > 0, 1.0, 0.25).bfloat16())
    wanted = x.detach().float().clamp(max=0).sum().view(1)
    torch.testing.assert_close(act.weight.grad.float(), wanted, rtol=0.01, atol=0)
