# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Normalizations of tensors in frame layout, and activations, chosen by name."""

from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from monai.networks.layers.utils import get_act_layer
from torch import nn

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.checks import check_choice
from monai_stcnnt.networks.layers.frames import Triple, may_overwrite, widen

__all__ = [
    "BatchFrameNorm",
    "FixedLayerNorm",
    "InstanceFrameNorm",
    "NormName",
    "build_act",
    "build_norm",
    "fixes_image_size",
]

NormName = Literal["layer", "layer3d", "batch2d", "batch3d", "instance2d", "instance3d", "none"]


def channels_last(weight: torch.Tensor) -> torch.Tensor:
    """(C, ...) to (..., C), contiguous; the transpose of a matrix is what torch does fastest."""
    return weight.flatten(1).t().contiguous().unflatten(0, weight.shape[1:])


class FixedLayerNorm(nn.Module):
    """Layer normalization over ``[C, H, W]`` of each frame, or over ``[C, T, H, W]`` of each clip.

    The affine weights have the shape of what is normalized, so the image size is part of the module (the form of the
    published SNRAware networks). Shapes: (B, T, C, H, W) to the same.
    """

    def __init__(self, channels: int, size: Triple, *, with_time: bool) -> None:
        super().__init__()
        self.with_time = with_time
        self.shape = [channels, *size] if with_time else [channels, size[1], size[2]]
        self.weight = nn.Parameter(torch.ones(self.shape))
        self.bias = nn.Parameter(torch.zeros(self.shape))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize (B, T, C, H, W)."""
        shape = self.shape[1:] + self.shape[:1]
        y = F.layer_norm(x.permute(0, 1, 3, 4, 2), shape, channels_last(self.weight), channels_last(self.bias))
        return y.permute(0, 1, 4, 2, 3)


class BatchFrameNorm(nn.Module):
    """Batch normalization over B, T, H and W, with running statistics. Shapes: (B, T, C, H, W) to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize (B, T, C, H, W)."""
        return self.bn(x.flatten(0, 1)).unflatten(0, (x.shape[0], x.shape[1]))


class InstanceFrameNorm(nn.Module):
    """Instance normalization without weights, over H, W of a frame or T, H, W of a clip.

    Where only one element is normalized the result is zero. Half precision is normalized in single precision, because
    squares of large values leave its range. Shapes: (B, T, C, H, W) to the same.
    """

    def __init__(self, *, with_time: bool, eps: float = 1e-5) -> None:
        super().__init__()
        self.with_time = with_time
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize (B, T, C, H, W)."""
        axes = [1, 3, 4] if self.with_time else [3, 4]
        wide = widen(x)
        centered = wide - wide.mean(axes, keepdim=True)
        scale = torch.rsqrt(centered.square().mean(axes, keepdim=True) + self.eps)
        return (centered * scale if torch.is_grad_enabled() else centered.mul_(scale)).to(x.dtype)


class _OneSlope(torch.autograd.Function):
    """PReLU with one slope on a CPU: torch sums the slope's gradient by a kernel that takes four times as long."""

    @staticmethod
    def forward(x: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
        return F.leaky_relu(x, float(slope))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor], output: torch.Tensor) -> None:  # noqa: ANN401, ARG004 - torch's signature
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: ANN401 - torch's signature
        x, slope = ctx.saved_tensors
        if torch.is_grad_enabled():  # a gradient of the gradient is wanted
            return torch.where(x > 0, gradient, gradient * slope), (gradient * x.clamp(max=0)).sum().view_as(slope)
        total = x.clamp(max=0).mul_(gradient).sum().view_as(slope)
        return torch.ops.aten.leaky_relu_backward(gradient, x, float(slope), False), total


class FramePReLU(nn.PReLU):
    """PReLU with one slope, which overwrites its input where nobody else needs it and no gradient is wanted."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Activate a tensor that the caller does not use afterwards."""
        if may_overwrite(x):
            return F.leaky_relu_(x, float(self.weight.item()))
        if not torch.jit.is_scripting():
            plain = x.device.type == "cpu" and x.dtype == self.weight.dtype
            if plain and not torch.jit.is_tracing() and not torch.compiler.is_compiling():
                y: torch.Tensor = _OneSlope.apply(x, self.weight)
                return y
        return F.prelu(x, self.weight)


def fixes_image_size(norm: str) -> tuple[bool, bool]:
    """Whether a normalization fixes (T, (H, W)) of the network it stands in."""
    return norm == "layer3d", norm in ("layer", "layer3d")


def build_norm(norm: NormName, channels: int, size: Triple) -> nn.Module:
    """Build a normalization of (B, T, C, H, W).

    Args:
        norm: ``layer`` over [C, H, W] and ``layer3d`` over [C, T, H, W] (both fix the size), ``batch2d`` and
            ``batch3d`` (the same statistics: frames are part of the batch), ``instance2d`` per frame, ``instance3d``
            per clip, ``none`` leaves the features in the units of the image.
        channels: C.
        size: (T, H, W) for the two layer normalizations.

    Raises:
        NetworkConfigError: for another name.
    """
    check_choice("norm", norm, NormName)
    if norm in ("layer", "layer3d"):
        return FixedLayerNorm(channels, size, with_time=norm == "layer3d")
    if norm in ("batch2d", "batch3d"):
        return BatchFrameNorm(channels)
    if norm in ("instance2d", "instance3d"):
        return InstanceFrameNorm(with_time=norm == "instance3d")
    return nn.Identity()


def build_act(act: str | tuple[str, dict[str, Any]]) -> nn.Module:
    """Build an activation, which may overwrite its input.

    Args:
        act: MONAI's name of it, or (name, arguments).

    Raises:
        NetworkConfigError: for another name.
    """
    try:
        layer: nn.Module = get_act_layer(act)
    except ValueError as error:
        raise NetworkConfigError(
            f"act={act!r} is not an activation that MONAI knows, such as prelu, gelu or relu."
        ) from error
    if isinstance(layer, nn.PReLU) and layer.num_parameters == 1:
        return FramePReLU(init=layer.init)
    return layer
