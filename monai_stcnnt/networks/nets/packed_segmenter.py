# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The segmentation network on packed pixels: neighbors become channels, so that it runs on smaller frames."""

from typing import Any

import torch

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.layers.frames import fold_pixels, unfold_pixels
from monai_stcnnt.networks.nets.base import FrameLayout, FrameNet
from monai_stcnnt.networks.nets.segmenter import STCNNTSegmenter

__all__ = ["STCNNTPackedSegmenter"]


class STCNNTPackedSegmenter(FrameNet):
    """Label every pixel of every frame, with squares of pixels packed into channels.

    Every square of ``pack`` by ``pack`` pixels becomes one pixel with ``pack**2`` times the channels, an
    :class:`~monai_stcnnt.networks.nets.segmenter.STCNNTSegmenter` runs on these, and its logits are unpacked. Nothing
    of the image is lost, and with the same width the network is about ``pack**2`` times as fast and sees ``pack`` times
    as far.

    Args:
        in_channels: channels of the image.
        out_channels: number of classes, background included.
        channels: channels of the backbone on packed pixels.
        pack: side of the square, 2 or more.
        layout: ``BCTHW`` takes and returns MONAI's layout (B, C, T, H, W), ``BTCHW`` frame layout.
        **segmenter_options: keywords of the segmenter; sizes (``img_size``, windows) are those of packed frames.

    Shapes: (B, in_channels, T, H, W) to logits (B, out_channels, T, H, W), or (B, T, C, H, W) by ``layout``; any size,
        it is reflected at its end where H or W is no multiple of ``pack``.

    Raises:
        NetworkConfigError: for options that do not fit; ``deep_supervision`` is not offered.
        LayoutError: in forward, for a tensor in another layout.

    Example:
        >>> net = STCNNTPackedSegmenter(1, 4, 16, img_size=(8, 16, 16), num_heads=4, norm="batch2d")
        >>> net.eval()(torch.randn(1, 1, 5, 31, 42)).shape
        torch.Size([1, 4, 5, 31, 42])

    See Also:
        Shi et al., sub-pixel convolution, 2016, https://doi.org/10.1109/CVPR.2016.207.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 4,
        channels: int = 32,
        *,
        pack: int = 2,
        layout: FrameLayout = "BCTHW",
        **segmenter_options: Any,  # noqa: ANN401 - checked by the segmenter's constructor
    ) -> None:
        super().__init__(in_channels, out_channels, layout)
        if pack < 2 or segmenter_options.get("deep_supervision", False):
            raise NetworkConfigError(
                f"pack must be 2 or more, got {pack}, and deep_supervision belongs to STCNNTSegmenter."
            )
        self.pack = pack
        squares = pack * pack
        self.segmenter = STCNNTSegmenter(
            in_channels * squares, out_channels * squares, channels, layout="BTCHW", **segmenter_options
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Segment images (B, in_channels, T, H, W), or (B, T, in_channels, H, W) by ``layout``."""
        frames = self.to_frames(x)
        logits = self.segmenter(fold_pixels(frames, self.pack))
        assert isinstance(logits, torch.Tensor)  # the list is deep supervision's
        size = (frames.shape[1], frames.shape[3], frames.shape[4])
        return self.from_frames(unfold_pixels(logits, self.pack, size))
