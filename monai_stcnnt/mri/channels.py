# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Complex tensors and their two-channel form.

Networks see a complex image as two real channels (real, imaginary); physics is easier to read on complex tensors. These
functions translate, and take the magnitude of either kind of image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from monai_stcnnt.errors import LayoutError

__all__ = ["channels_to_complex", "complex_to_channels", "image_magnitude"]


def channels_to_complex(image: Tensor, channel_dim: int = 0) -> Tensor:
    """Join the real and the imaginary channel.

    Args:
        image: real tensor with two entries along ``channel_dim``, ``(2, T, H, W)`` by default.
        channel_dim: the axis that holds real and imaginary part.

    Returns:
        The complex tensor without that axis, ``(T, H, W)`` by default.

    Raises:
        LayoutError: when the axis does not have two entries.
    """
    if image.shape[channel_dim] != 2:
        raise LayoutError(
            f"A complex image needs 2 channels (real, imaginary) along axis {channel_dim}, "
            f"but the image has shape {tuple(image.shape)}. RandSmoothPhase gives a magnitude image a phase."
        )
    real, imaginary = image.unbind(channel_dim)
    return torch.complex(real.contiguous(), imaginary.contiguous())


def complex_to_channels(image: Tensor, channel_dim: int = 0) -> Tensor:
    """Split a complex tensor ``(T, H, W)`` into real and imaginary channels ``(2, T, H, W)``."""
    return torch.stack((image.real, image.imag), dim=channel_dim)


def image_magnitude(image: Tensor, channel_dim: int = 0) -> Tensor:
    """Magnitude of an image with one channel (absolute value) or two (real and imaginary); the channel axis is kept.

    Args:
        image: ``(1, T, H, W)`` or ``(2, T, H, W)`` when ``channel_dim`` is 0.
        channel_dim: the channel axis.

    Returns:
        Magnitude with one channel, ``(1, T, H, W)`` by default.

    Raises:
        LayoutError: when there are neither one nor two channels.
    """
    if image.shape[channel_dim] == 1:
        return image.abs()
    if image.shape[channel_dim] == 2:
        real, imaginary = image.unbind(channel_dim)
        return torch.hypot(real, imaginary).unsqueeze(channel_dim)
    raise LayoutError(
        f"An image has 1 channel (magnitude) or 2 (real, imaginary) along axis {channel_dim}; "
        f"found shape {tuple(image.shape)}."
    )
