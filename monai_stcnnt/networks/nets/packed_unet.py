# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""MONAI's basic U-Net on packed pixels: a small network for structures of some pixels' width."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from monai.networks.nets.basic_unet import BasicUNet

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.layers.frames import crop_frames
from monai_stcnnt.networks.nets.base import FrameLayout, FrameNet

__all__ = ["PackedUNet"]

LEVELS = 5


class PackedUNet(FrameNet):
    """Label every pixel of every frame by itself, with squares of pixels packed into channels.

    Every square of ``pack`` by ``pack`` pixels becomes one pixel with ``pack**2`` times the channels, MONAI's
    ``BasicUNet`` (2D, batch norm) runs on these, and its logits are unpacked. Against the U-Net on single pixels the
    costly first level is ``pack**2`` times as small, and everything is seen ``pack`` times as far.

    Args:
        in_channels: channels of the image.
        out_channels: number of classes, background included.
        channels: of the U-Net's five levels, and of its last features.
        pack: side of the square, 2 or more.
        layout: ``BCTHW`` takes and returns MONAI's layout (B, C, T, H, W), ``BTCHW`` frame layout.

    Shapes: (B, in_channels, T, H, W) to logits (B, out_channels, T, H, W), or (B, T, C, H, W) by ``layout``; any size,
        edges are repeated up to a multiple of ``16 * pack``.

    Raises:
        NetworkConfigError: for options that do not fit.
        LayoutError: in forward, for a tensor in another layout.

    Example:
        >>> PackedUNet(1, 4).eval()(torch.randn(1, 1, 5, 31, 42)).shape
        torch.Size([1, 4, 5, 31, 42])

    See Also:
        Falk et al., U-Net, 2019, https://doi.org/10.1038/s41592-018-0261-2; Shi et al., sub-pixel convolution, 2016,
        https://doi.org/10.1109/CVPR.2016.207.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 4,
        channels: Sequence[int] = (32, 32, 64, 96, 128, 32),
        *,
        pack: int = 2,
        layout: FrameLayout = "BCTHW",
    ) -> None:
        super().__init__(in_channels, out_channels, layout)
        if pack < 2 or len(channels) != LEVELS + 1 or min(channels) < 1:
            raise NetworkConfigError(
                f"pack must be 2 or more and channels {LEVELS + 1} numbers, got {pack} and {tuple(channels)}."
            )
        self.pack, self.multiple = pack, pack * 2 ** (LEVELS - 1)
        squares = pack * pack
        self.unet = BasicUNet(2, in_channels * squares, out_channels * squares, tuple(channels), norm="batch")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Segment images (B, in_channels, T, H, W), or (B, T, in_channels, H, W) by ``layout``."""
        frames = self.to_frames(x)
        b, t, _, h, w = frames.shape
        padded = F.pad(frames.flatten(0, 1), [0, -w % self.multiple, 0, -h % self.multiple], "replicate")
        logits = F.pixel_shuffle(self.unet(F.pixel_unshuffle(padded, self.pack)), self.pack)
        return self.from_frames(crop_frames(logits.unflatten(0, [b, t]), (t, h, w)))
