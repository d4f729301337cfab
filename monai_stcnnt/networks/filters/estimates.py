# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""First estimates of a clean image, without weights."""

import torch
from torch import nn

from monai_stcnnt.networks.filters.grouping import GroupedShrinkage
from monai_stcnnt.networks.filters.shrinkage import BlockShrinkage

__all__ = ["ShrinkageEstimates", "blend"]


class ShrinkageEstimates(nn.Module):
    """Estimates of clean frames by shrinkage in blocks of several shapes, and in groups of similar blocks.

    Thresholds in overlapping blocks (Yaroslavsky's), averaged over four shapes, steer Wiener filters in the same
    blocks: long ones suit what stands still, flat ones what moves, small ones fine structure. Their blend, in which
    every pixel follows the filter of the smallest expected error, is the first estimate. It steers Wiener filters on
    groups of similar blocks, as in BM4D (Maggioni et al. 2013, doi:10.1109/TIP.2012.2210725), of four frames and of all
    frames, which are the second and third. Of less than four frames, the second has large blocks of single frames, as
    in BM3D (Dabov et al. 2007, doi:10.1109/TIP.2007.901238).

    There are no weights, and no gradient passes: the estimates are the input of a network, which knows from the noisy
    image beside them what is wrong with each (coloured noise, edges that move).

    Args:
        stride: distance of blocks of 8 x 8 pixels of one frame and of four: 2, or 4 for estimates that are a little
            worse in less time. Blocks of all frames are 2 pixels apart, which costs little and gains most.
    """

    count: int

    def __init__(self, stride: int = 2) -> None:
        super().__init__()
        shapes = ((0, 8, 2), (1, 8, stride), (4, 4, 2), (4, 8, stride))
        self.filters = nn.ModuleList(BlockShrinkage(frames, size, step) for frames, size, step in shapes)
        self.single = GroupedShrinkage(1, size=8, stride=4, count=16, radius=8)
        self.some = GroupedShrinkage(4)
        self.all = GroupedShrinkage(0)
        self.count = 3

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Estimate clean frames, always in single precision.

        Args:
            x: frames (B, T, C, H, W) in units of the noise.

        Returns:
            Estimates (B, T, 3, C, H, W), and the mean squared error that each expects of itself, (B, T, 3, 1, H, W).
        """
        with torch.no_grad():
            if torch.jit.is_scripting():
                return self.estimated(x.float())
            with torch.autocast(x.device.type, enabled=False):
                return self.estimated(x.float())

    def estimated(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """All estimates and their expected errors."""
        first, first_error = self.in_blocks(x)
        distances = self.all.distances(first)
        some, some_error = self.some(x, first, distances) if x.shape[1] >= 4 else self.single(x, first)
        every, every_error = self.all(x, first, distances)
        return torch.stack([first, some, every], 2), torch.stack([first_error, some_error, every_error], 2)

    def in_blocks(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Estimate without groups, and its expected error (B, T, 1, H, W)."""
        noisy = x.transpose(1, 2).flatten(0, 1)
        pilot = torch.zeros_like(noisy)
        for shrink in self.filters:
            pilot = pilot + shrink.firm(noisy) / len(self.filters)  # type: ignore[operator]
        images: list[torch.Tensor] = []
        errors: list[torch.Tensor] = []
        for shrink in self.filters:
            image, error = shrink.wiener(noisy, pilot)  # type: ignore[operator]
            images.append(image.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2))
            errors.append(error.unflatten(0, (x.shape[0], x.shape[2])).mean(1).unsqueeze(2))
        return blend(torch.stack(images, 2), torch.stack(errors, 2))


def blend(estimates: torch.Tensor, errors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Average estimates (B, T, n, C, H, W) by their expected errors (B, T, n, 1, H, W), leaning on the smallest.

    Returns:
        Frames (B, T, C, H, W), and their expected error (B, T, 1, H, W), as if the errors were the same ones.
    """
    weights = torch.softmax(-4.0 * torch.log(errors + 1e-3), 2)
    return (estimates * weights).sum(2), (errors * weights).sum(2)
