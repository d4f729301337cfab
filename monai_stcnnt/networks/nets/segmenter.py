# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The segmentation network: a backbone, and a head that looks at all of its levels."""

from typing import Any

import torch
from torch import nn

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.layers.frames import FrameConv
from monai_stcnnt.networks.nets.base import BackboneName, FrameLayout, FrameNet, build_backbone
from monai_stcnnt.networks.nets.heads import PixelHead

__all__ = ["STCNNTSegmenter"]


class STCNNTSegmenter(FrameNet):
    """Label every pixel of every frame.

    All levels that the backbone returns are brought to full resolution by bilinear interpolation, concatenated, and
    turned into logits by one 1x1 convolution, as in the classic HRNet.

    Args:
        in_channels: channels of the image.
        out_channels: number of classes, background included.
        channels: channels of the backbone at full resolution.
        backbone: ``hrnet``, ``unet`` or ``soanet``. The HRNet is built without its own concatenated output.
        deep_supervision: in training, also return logits of every level below the first, each by its own 1x1
            convolution and at its own resolution. Needs a backbone that returns several tensors.
        layout: ``BCTHW`` takes and returns MONAI's layout (B, C, T, H, W), ``BTCHW`` frame layout.
        **backbone_options: keywords of :class:`~monai_stcnnt.networks.backbones.STCNNTHRNet`,
            :class:`~monai_stcnnt.networks.backbones.STCNNTUNet` or
            :class:`~monai_stcnnt.networks.backbones.STCNNTSOANet`; ``norm`` is ``instance2d`` by default, which takes
            images of any size.

    Shapes: (B, in_channels, T, H, W) to logits (B, out_channels, T, H, W), or (B, T, C, H, W) by ``layout``. In
        training with ``deep_supervision`` to a list: these logits first, then those of the levels i = 1, 2, ... with
        ceil(H / strides[i]) rows and ceil(W / strides[i]) columns, as MONAI's ``DeepSupervisionLoss`` takes them.

    Raises:
        NetworkConfigError: for options that do not fit.
        LayoutError: in forward, for a tensor in another layout.
        ImageSizeError: in forward, for a size that ``norm`` cannot take.

    Example:
        >>> net = STCNNTSegmenter(1, 4, 16, img_size=(8, 32, 32), num_heads=4, norm="instance2d")
        >>> net(torch.randn(1, 1, 5, 30, 41)).shape
        torch.Size([1, 4, 5, 30, 41])

    See Also:
        Wang et al., HRNet, 2020, https://doi.org/10.1109/TPAMI.2020.2983686; Lee et al., Deeply-supervised nets, 2015,
        https://doi.org/10.48550/arXiv.1409.5185.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 4,
        channels: int = 32,
        *,
        backbone: BackboneName = "hrnet",
        deep_supervision: bool = False,
        layout: FrameLayout = "BCTHW",
        **backbone_options: Any,  # noqa: ANN401 - checked by the backbone's constructor
    ) -> None:
        super().__init__(in_channels, out_channels, layout)
        backbone_options.setdefault("norm", "instance2d")
        if backbone == "hrnet":
            backbone_options.setdefault("aggregate", False)
        self.backbone = build_backbone(backbone, in_channels, channels, **backbone_options)
        self.head = PixelHead(self.backbone.out_channels, self.backbone.strides, out_channels)
        supervised = self.backbone.out_channels[1:] if deep_supervision else ()
        if deep_supervision and not supervised:
            raise NetworkConfigError(
                f"deep_supervision needs several levels, but this backbone ({backbone}) returns one tensor; "
                "leave it out."
            )
        self.supervision = nn.ModuleList(FrameConv(c, out_channels, 1) for c in supervised)

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Segment images (B, in_channels, T, H, W), or (B, T, in_channels, H, W) by ``layout``."""
        features = self.backbone(self.to_frames(x))
        logits = self.from_frames(self.head(features))
        if not self.training or len(self.supervision) == 0:
            return logits
        outputs = [logits]
        for i, project in enumerate(self.supervision):
            outputs.append(self.from_frames(project(features[i + 1])))
        return outputs
