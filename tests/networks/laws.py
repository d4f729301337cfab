# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws that every network obeys, for the tests of all networks."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

__all__ = [
    "SMALL",
    "assert_differ",
    "check_gradients",
    "check_half_precision",
    "check_scripted_and_traced",
    "first_of",
    "outcome",
]

SMALL: dict[str, Any] = {
    "img_size": (4, 16, 16),
    "window_size": (2, 4, 4),
    "patch_size": (1, 2, 2),
    "num_heads": 2,
    "mixer_ratio": 1.0,
    "norm": "instance2d",
    "act": "gelu",
}
"""Options of a backbone that is small and takes any image size."""


def first_of(result: torch.Tensor | list[torch.Tensor]) -> list[torch.Tensor]:
    """Make a list of whatever a network returns."""
    return result if isinstance(result, list) else [result]


def check_gradients(net: nn.Module, x: torch.Tensor) -> None:
    """Check that a loss on all outputs moves every parameter, the three parts of a joint projection each."""
    net.train()
    net.zero_grad()
    loss = sum((y * torch.randn_like(y)).sum() for y in first_of(net(x)))
    assert isinstance(loss, torch.Tensor)
    loss.backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, f"{name} has no gradient"
        assert bool(parameter.grad.isfinite().all()), f"{name} has a gradient that is not finite"
        parts = 3 if ".qkv." in name or ".project_tokens." in name else 1
        for part in parameter.grad.chunk(parts):
            assert bool((part != 0).any()), f"nothing reaches {name}"


@torch.no_grad()
def check_scripted_and_traced(net: nn.Module, x: torch.Tensor, other: torch.Tensor) -> None:
    """Check that script and trace equal the network to 1e-5, the script for an input of another size as well.

    The script is run as it is written: optimizing it takes ten times longer than running it once.
    """
    net.eval()
    wanted = net(x)
    torch.testing.assert_close(net(x), wanted, rtol=0, atol=0)
    with torch.jit.optimized_execution(False):
        scripted = torch.jit.script(net)
        torch.testing.assert_close(scripted(x), wanted, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(scripted(other), net(other), rtol=1e-5, atol=1e-5)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", torch.jit.TracerWarning)  # meant for one size
            traced = torch.jit.trace(net, x, check_trace=False)
        torch.testing.assert_close(traced(x), wanted, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def check_half_precision(net: nn.Module, x: torch.Tensor) -> None:
    """Check that autocast to either half precision, and half-precision weights, stay finite and near."""
    net.eval()
    wanted = net(x)
    scale = float(wanted.abs().max()) + 1e-3
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype=dtype):
            y = net(x)
        for result in (y, copy.deepcopy(net).to(dtype)(x.to(dtype))):
            assert bool(result.isfinite().all()), dtype
            assert float((result.float() - wanted).abs().max()) < 0.3 * scale, dtype


def outcome(build: Callable[[], nn.Module], x: torch.Tensor) -> tuple[dict[str, torch.Size], list[torch.Tensor] | None]:
    """Build a network from a fixed seed and run it in training mode: its parameters' shapes and its outputs.

    Parameters that start at zero or one are drawn again, so that none hides an effect. Outputs are None where the input
    does not fit the network.
    """
    torch.manual_seed(0)
    net = build()
    shapes = {name: parameter.shape for name, parameter in net.named_parameters()}
    for parameter in net.parameters():
        if parameter.unique().numel() == 1:
            nn.init.normal_(parameter)
    torch.manual_seed(1)
    try:
        with torch.no_grad():
            return shapes, first_of(copy.deepcopy(net).train()(x))
    except ValueError:
        return shapes, None


def assert_differ(
    build: Callable[..., nn.Module], base: dict[str, Any], changed: dict[str, Any], x: torch.Tensor
) -> None:
    """Check that an option changes the parameters or the output of a network."""
    shapes, outputs = outcome(lambda: build(**base), x)
    other_shapes, other_outputs = outcome(lambda: build(**{**base, **changed}), x)
    assert outputs is not None
    if shapes != other_shapes or other_outputs is None:
        return
    same = [y.shape == z.shape and torch.allclose(y, z) for y, z in zip(outputs, other_outputs, strict=False)]
    assert len(outputs) != len(other_outputs) or not all(same), f"{changed} changes nothing"
