# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The denoising network: stem, backbone, residual, head."""

from typing import Any, Literal

import torch

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.checks import check_choice
from monai_stcnnt.networks.nets.base import BackboneName, FrameLayout, ResidualTrunk

__all__ = ["STCNNTDenoiser"]


class STCNNTDenoiser(ResidualTrunk):
    """Denoise MR images in SNR units with an imaging transformer.

    A 3x3 stem, a backbone whose last tensor has full resolution, the stem's features added to its first ``channels``
    channels, a 3x3 head. Complex images come as (real, imaginary, g-factor) and leave as (real, imaginary); magnitude
    images as (magnitude, g-factor) and leave as magnitude. SNR units: the noise has sigma 1 per real and imaginary
    component.

    Args:
        in_channels: image channels and the g-factor map; 3 for complex, 2 for magnitude images.
        out_channels: 2 for complex, 1 for magnitude images.
        channels: channels of the stem and of the backbone at full resolution.
        backbone: ``hrnet``, ``unet``, or ``soanet`` (without downsampling).
        residual: ``features`` adds the stem's features only (the published form); ``image`` also adds the image, the
            first ``out_channels`` input channels, to the output, so that the network learns minus the noise.
        layout: ``BCTHW`` takes and returns MONAI's layout (B, C, T, H, W), ``BTCHW`` frame layout.
        **backbone_options: keywords of :class:`~monai_stcnnt.networks.backbones.STCNNTHRNet`,
            :class:`~monai_stcnnt.networks.backbones.STCNNTUNet` or
            :class:`~monai_stcnnt.networks.backbones.STCNNTSOANet`.

    Shapes: (B, in_channels, T, H, W) to (B, out_channels, T, H, W), or (B, T, C, H, W) by ``layout``.

    Raises:
        NetworkConfigError: for options that do not fit.
        LayoutError: in forward, for a tensor in another layout.
        ImageSizeError: in forward, for a size that ``norm`` cannot take.

    Example:
        >>> net = STCNNTDenoiser(3, 2, 16, img_size=(8, 32, 32), block_strings="T1L1G1", num_heads=4, norm="instance2d")
        >>> net(torch.randn(1, 3, 5, 30, 41)).shape
        torch.Size([1, 2, 5, 30, 41])

    See Also:
        Xue et al., Imaging transformer for MRI denoising with the SNR unit training, 2024,
        https://doi.org/10.48550/arXiv.2404.02382.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 2,
        channels: int = 32,
        *,
        backbone: BackboneName = "hrnet",
        residual: Literal["features", "image"] = "features",
        layout: FrameLayout = "BCTHW",
        **backbone_options: Any,  # noqa: ANN401 - checked by the backbone's constructor
    ) -> None:
        check_choice("residual", residual, ("features", "image"))
        if residual == "image" and out_channels > in_channels:
            raise NetworkConfigError(
                f"residual='image' adds input channels to the output, but out_channels={out_channels} is more than "
                f"in_channels={in_channels}."
            )
        super().__init__(
            in_channels, out_channels, layout, channels, stem_channels=in_channels, head_channels=out_channels,
            start_at_zero=residual == "image", backbone=backbone, **backbone_options,
        )  # fmt: skip
        self.image_residual = residual == "image"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Denoise images (B, in_channels, T, H, W), or (B, T, in_channels, H, W) by ``layout``."""
        x = self.to_frames(x)
        y = self.trunk(x)
        return self.from_frames(y + x[:, :, : y.shape[2]] if self.image_residual else y)

    def head_terms(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the network returns, and what a change of its head adds; a group is a channel."""
        frames = self.to_frames(x)
        y = self.trunk(frames)
        result = y + frames[:, :, : y.shape[2]] if self.image_residual else y
        groups = torch.eye(y.shape[2], device=y.device, dtype=y.dtype).view(-1, 1, 1, y.shape[2], 1, 1)
        terms = torch.cat([groups * y, groups * torch.ones_like(y)])
        return self.from_frames(result), terms if self.channel_axis == 2 else terms.transpose(2, 3)
