# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The network that answers with a few numbers for a whole clip: classes, or values of a regression."""

from typing import Any, Literal

import torch

from monai_stcnnt.networks.nets.base import BackboneName, FrameLayout, FrameNet, build_backbone
from monai_stcnnt.networks.nets.heads import PoolingHead

__all__ = ["STCNNTClassifier"]


class STCNNTClassifier(FrameNet):
    """Classify a clip, or estimate numbers from it: a backbone, global pooling over T, H and W, a linear map.

    Args:
        in_channels: channels of the image.
        out_channels: number of classes, or of values.
        channels: channels of the backbone at full resolution.
        backbone: ``hrnet``, ``unet`` or ``soanet``. The HRNet is built without its own concatenated output.
        pool: ``avg`` or ``max``.
        dropout_rate: probability of dropping a pooled feature in training.
        layout: ``BCTHW`` takes MONAI's layout (B, C, T, H, W), ``BTCHW`` frame layout.
        **backbone_options: keywords of :class:`~monai_stcnnt.networks.backbones.STCNNTHRNet`,
            :class:`~monai_stcnnt.networks.backbones.STCNNTUNet` or
            :class:`~monai_stcnnt.networks.backbones.STCNNTSOANet`.

    Shapes: (B, in_channels, T, H, W), or (B, T, in_channels, H, W) by ``layout``, to (B, out_channels): logits or
        values.

    Raises:
        NetworkConfigError: for options that do not fit.
        LayoutError: in forward, for a tensor in another layout.
        ImageSizeError: in forward, for a size that ``norm`` cannot take.

    Example:
        >>> net = STCNNTClassifier(1, 2, 16, backbone="soanet", block_strings=["S3Sh", "S3Sh"], img_size=(4, 16, 16),
        ...                        window_size=(2, 4, 4), num_heads=4, norm="instance3d")
        >>> net(torch.randn(3, 1, 4, 16, 16)).shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 2,
        channels: int = 32,
        *,
        backbone: BackboneName = "soanet",
        pool: Literal["avg", "max"] = "avg",
        dropout_rate: float = 0.0,
        layout: FrameLayout = "BCTHW",
        **backbone_options: Any,  # noqa: ANN401 - checked by the backbone's constructor
    ) -> None:
        super().__init__(in_channels, out_channels, layout)
        if backbone == "hrnet":
            backbone_options.setdefault("aggregate", False)
        self.backbone = build_backbone(backbone, in_channels, channels, **backbone_options)
        self.head = PoolingHead(self.backbone.out_channels, out_channels, pool, dropout_rate)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Classify clips (B, in_channels, T, H, W), or (B, T, in_channels, H, W) by ``layout``."""
        return self.head(self.backbone(self.to_frames(x)))
