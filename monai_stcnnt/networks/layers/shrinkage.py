# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""First estimates of a clean image by shrinkage of cosine coefficients, without weights."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import nn

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.layers.frames import reflect_index

__all__ = ["BlockShrinkage", "ShrinkageEstimates", "cosine_basis"]


def cosine_basis(length: int, device: torch.device) -> torch.Tensor:
    """Orthonormal discrete cosine transform (DCT-II): row k holds the k-th wave, shape (length, length), float32."""
    wave = torch.arange(length, device=device, dtype=torch.float32).unsqueeze(1)
    place = torch.arange(length, device=device, dtype=torch.float32).unsqueeze(0)
    scale = torch.where(wave == 0, math.sqrt(1.0 / length), math.sqrt(2.0 / length))
    return scale * torch.cos(math.pi * (2.0 * place + 1.0) * wave / (2.0 * length))


class BlockShrinkage(nn.Module):
    """Shrink the cosine coefficients of overlapping blocks of frames whose noise is white with sigma 1.

    Results of overlapping blocks are averaged; those with fewer coefficients left count more.

    Args:
        frames: frames of a block, every ``frames // 2`` of them (at least 1); 0 takes all frames. Where there are
            fewer frames, all.
        size: rows and columns of a block.
        stride: distance of blocks in the plane; divides ``size``.
        threshold: smallest coefficient that :meth:`hard` keeps, in units of sigma.
        noise: variance that :meth:`wiener` assumes; below 1 it keeps more detail.

    Shapes: (N, T, H, W) to the same.

    Raises:
        NetworkConfigError: for a stride that does not divide the block.
    """

    basis: torch.Tensor

    def __init__(self, frames: int, size: int, stride: int, threshold: float = 2.7, noise: float = 0.7) -> None:
        super().__init__()
        if frames < 0 or size < 2 or not 0 < stride < size or size % stride:
            raise NetworkConfigError(
                "A block has 0 (all) or more frames, at least 2 rows, and a stride that is a smaller divisor of them, "
                f"got frames={frames}, size={size}, stride={stride}."
            )
        self.frames, self.size, self.stride = frames, size, stride
        self.threshold, self.noise = threshold, noise
        wave = cosine_basis(size, torch.device("cpu"))
        self.register_buffer("basis", torch.kron(wave, wave), persistent=False)

    def hard(self, x: torch.Tensor) -> torch.Tensor:
        """Keep the coefficients above the threshold, and the mean of each block."""
        return self.thresholded(self.coefficients(self.pieces(x)), x)

    def wiener(self, x: torch.Tensor, pilot: torch.Tensor) -> torch.Tensor:
        """Weigh every coefficient by the energy that it has in another estimate of the image, the pilot."""
        return self.weighed(self.coefficients(self.pieces(x)), pilot)

    def two_passes(self, x: torch.Tensor) -> torch.Tensor:
        """:meth:`wiener` with :meth:`hard` as its pilot; the image is transformed once."""
        blocks = self.coefficients(self.pieces(x))
        return self.weighed(blocks, self.thresholded(blocks, x))

    def thresholded(self, blocks: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The image that the coefficients above the threshold make, in the shape of ``x``."""
        return self.joined(blocks, (blocks.abs() > self.threshold).to(blocks.dtype), x)

    def weighed(self, blocks: torch.Tensor, pilot: torch.Tensor) -> torch.Tensor:
        """The image that the coefficients make, each weighed by its energy in the pilot."""
        energy = self.coefficients(self.pieces(pilot)).square_()
        return self.joined(blocks, energy / (energy + self.noise), pilot)

    def starts(self, x: torch.Tensor) -> torch.Tensor:
        """Frames of every piece, (pieces, frames of a block), for images (N, T, H, W)."""
        total = x.shape[1]
        length = total if self.frames == 0 else min(self.frames, total)
        step = max(length // 2, 1)
        first = torch.arange(0, total - length + step, step, device=x.device).clamp(max=total - length)
        return first.unsqueeze(1) + torch.arange(length, device=x.device).unsqueeze(0)

    def pieces(self, x: torch.Tensor) -> torch.Tensor:
        """Cut (N, T, H, W) into pieces of some frames and transform along these: (N * pieces, frames, H, W)."""
        index = self.starts(x)
        cut = x.index_select(1, index.flatten()).unflatten(1, index.shape).flatten(0, 1)
        over_time = cosine_basis(index.shape[1], x.device)
        return torch.matmul(over_time, cut.flatten(2)).unflatten(2, (x.shape[2], x.shape[3]))

    def coefficients(self, images: torch.Tensor) -> torch.Tensor:
        """Transform the blocks of (N, T, H, W) to (N, T, size squared, blocks)."""
        rows = self.reflected(images.shape[2], images.device)
        columns = self.reflected(images.shape[3], images.device)
        padded = images.flatten(0, 1).unsqueeze(1).index_select(2, rows).index_select(3, columns)
        blocks = F.unfold(padded, (self.size, self.size), stride=(self.stride, self.stride))
        return torch.matmul(self.basis, blocks).unflatten(0, (images.shape[0], images.shape[1]))

    def joined(self, blocks: torch.Tensor, gain: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Weigh coefficients, transform back, and average overlapping blocks and pieces to the shape of ``x``."""
        gain[:, 0, 0] = 1.0
        height, width = x.shape[2], x.shape[3]
        planes = self.averaged(blocks, gain, height, width)
        index = self.starts(x)
        back = torch.matmul(cosine_basis(index.shape[1], x.device).t(), planes.flatten(2))
        back = back.unflatten(0, (x.shape[0], index.shape[0])).flatten(1, 2)
        belongs = (index.flatten().unsqueeze(0) == torch.arange(x.shape[1], device=x.device).unsqueeze(1)).to(x.dtype)
        return torch.matmul(belongs / belongs.sum(1, keepdim=True), back).unflatten(2, (height, width))

    def averaged(self, blocks: torch.Tensor, gain: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Average overlapping blocks (N, T, size squared, blocks) to (N, T, H, W), the sparse ones counting more."""
        b, margin = self.size, self.size - self.stride
        weight = 1.0 / gain.square().sum((1, 2), keepdim=True)
        values = torch.matmul(self.basis.t(), (blocks * (gain * weight)).flatten(0, 1))
        extents = (self.padded_extent(height), self.padded_extent(width))
        total = F.fold(values, extents, (b, b), stride=(self.stride, self.stride))
        weights = weight.squeeze(1).expand(blocks.shape[0], b * b, weight.shape[3])
        norm = F.fold(weights, extents, (b, b), stride=(self.stride, self.stride))
        result = total.unflatten(0, (blocks.shape[0], blocks.shape[1])) / norm.unsqueeze(1)
        return result[:, :, 0, margin : margin + height, margin : margin + width]

    def padded_extent(self, extent: int) -> int:
        """Extent with the margins, so that whole blocks cover it."""
        whole = extent + 2 * (self.size - self.stride) - self.size
        return whole + (-whole) % self.stride + self.size

    def reflected(self, extent: int, device: torch.device) -> torch.Tensor:
        """Positions of an axis with its margins, folded back into it."""
        first = (-(self.size - self.stride)) % (2 * max(extent - 1, 1))
        return reflect_index(extent, first + self.padded_extent(extent), device)[first:]


class ShrinkageEstimates(nn.Module):
    """Several estimates of clean frames, each by shrinkage in blocks of another shape.

    A pilot, the mean of hard thresholding in sparse blocks of every shape, steers Wiener filters in dense blocks, one
    for each shape: long ones suit what stands still, flat ones what moves, small ones fine structure. Transforms with a
    threshold are Yaroslavsky's; two passes are those of BM3D and BM4D (Dabov et al. 2007, doi:10.1109/TIP.2007.901238;
    Maggioni et al. 2013, doi:10.1109/TIP.2012.2210725), here without their search for similar blocks.

    There are no weights, and no gradient passes: the estimates are the input of a network, which knows from the noisy
    image beside them what is wrong with each (coloured noise, edges that move).

    Args:
        blocks: frames (0 is all) and size of the blocks of each estimate.

    Shapes: (B, T, C, H, W) in units of the noise to (B, T, len(blocks) * C, H, W), the estimates one after the other.
    """

    def __init__(self, blocks: Sequence[tuple[int, int]] = ((0, 8), (1, 8), (4, 4), (4, 8))) -> None:
        super().__init__()
        self.count = len(blocks)
        self.pilots = nn.ModuleList(BlockShrinkage(frames, size, size // 2) for frames, size in blocks)
        self.filters = nn.ModuleList(BlockShrinkage(frames, size, size // 4) for frames, size in blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Estimate the clean frames of (B, T, C, H, W), always in single precision."""
        with torch.no_grad():
            noisy = x.float().transpose(1, 2).flatten(0, 1)
            if torch.jit.is_scripting():  # type: ignore[attr-defined]
                estimates = self.filtered(noisy)
            else:
                with torch.autocast(x.device.type, enabled=False):
                    estimates = self.filtered(noisy)
            return torch.cat([e.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2) for e in estimates], dim=2)

    def filtered(self, noisy: torch.Tensor) -> list[torch.Tensor]:
        """Estimate images (N, T, H, W) in every shape of blocks."""
        pilot = torch.zeros_like(noisy)
        for shrink in self.pilots:
            pilot = pilot + shrink.two_passes(noisy) / self.count  # type: ignore[operator]
        estimates: list[torch.Tensor] = []
        for shrink in self.filters:
            estimates.append(shrink.wiener(noisy, pilot))  # type: ignore[operator]
        return estimates
