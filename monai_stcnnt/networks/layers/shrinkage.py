# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Shrinkage of the cosine coefficients of blocks, without weights."""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import nn

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.layers.frames import reflect_index

__all__ = ["BlockShrinkage", "block_starts", "cosine_basis", "sparseness", "wiener_gain"]


def cosine_basis(length: int, device: torch.device) -> torch.Tensor:
    """Orthonormal discrete cosine transform (DCT-II): row k holds the k-th wave, shape (length, length), float32."""
    wave = torch.arange(length, device=device, dtype=torch.float32).unsqueeze(1)
    place = torch.arange(length, device=device, dtype=torch.float32).unsqueeze(0)
    scale = torch.where(wave == 0, math.sqrt(1.0 / length), math.sqrt(2.0 / length))
    return scale * torch.cos(math.pi * (2.0 * place + 1.0) * wave / (2.0 * length))


def block_starts(total: int, frames: int, device: torch.device) -> torch.Tensor:
    """Frames of every piece of a clip, (pieces, frames of a piece): every ``frames // 2``, the last one at the end.

    0 frames are all, and so are more than there are.
    """
    length = total if frames == 0 else min(frames, total)
    step = max(length // 2, 1)
    first = torch.arange(0, total - length + step, step, device=device).clamp(max=total - length)
    return first.unsqueeze(1) + torch.arange(length, device=device).unsqueeze(0)


def wiener_gain(energy: torch.Tensor) -> torch.Tensor:
    """Factors for coefficients of this energy in noise of variance 1, in the memory of the energy.

    Their mean is the mean squared error that is left: :math:`(1 - g)^2 e + g^2 = g` for :math:`g = e / (e + 1)`.
    """
    return energy.div_(energy + 1.0)


def sparseness(gain: torch.Tensor, dim: int) -> torch.Tensor:
    """How much a block counts where blocks overlap: the less, the more noise its coefficients let through."""
    return 1.0 / (torch.linalg.vector_norm(gain, dim=dim, keepdim=True).square_() + 0.25)


class BlockShrinkage(nn.Module):
    """Shrink the cosine coefficients of overlapping blocks of frames whose noise is white with sigma 1.

    Results of overlapping blocks are averaged; those with fewer coefficients left count more.

    Args:
        frames: frames of a block, every ``frames // 2`` of them (at least 1); 0 takes all frames. Where there are
            fewer frames, all.
        size: rows and columns of a block.
        stride: distance of blocks in the plane; divides ``size``.
        threshold: smallest coefficient that :meth:`hard` keeps, in units of sigma.

    Raises:
        NetworkConfigError: for a stride that does not divide the block.
    """

    basis: torch.Tensor

    def __init__(self, frames: int, size: int, stride: int, threshold: float = 2.7) -> None:
        super().__init__()
        if frames < 0 or size < 2 or not 0 < stride < size or size % stride:
            raise NetworkConfigError(
                "A block has 0 (all) or more frames, at least 2 rows, and a stride that is a smaller divisor of them, "
                f"got frames={frames}, size={size}, stride={stride}."
            )
        self.frames, self.size, self.stride, self.threshold = frames, size, stride, threshold
        self.values_at_once = 2**19  # the memory of a processor's caches; a GPU wants more
        wave = cosine_basis(size, torch.device("cpu"))
        self.register_buffer("basis", torch.kron(wave, wave), persistent=False)

    def hard(self, x: torch.Tensor) -> torch.Tensor:
        """Keep the coefficients above the threshold, and the mean of each block.

        Args:
            x: images (N, T, H, W).

        Returns:
            Images of the same shape.
        """
        images = self.pieces(x)
        planes: list[torch.Tensor] = []
        weights: list[torch.Tensor] = []
        for part in images.split(self.at_once(images)):
            blocks = self.coefficients(part)
            kept = F.hardshrink(blocks, self.threshold)
            kept[:, 0, 0] = blocks[:, 0, 0]
            weights.append(1.0 / ((kept != 0).flatten(1, 2).sum(1, keepdim=True) + 0.25))
            planes.append(self.folded(kept, weights[-1], x))
        return self.joined(torch.cat(planes), x) / self.totals(torch.cat(weights), x)

    def wiener(self, x: torch.Tensor, pilot: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Weigh every coefficient by the energy that it has in another estimate of the image, the pilot.

        Args:
            x: images (N, T, H, W).
            pilot: the other estimate, of the same shape.

        Returns:
            Images (N, T, H, W), and the mean squared error that the pilot makes expect in every pixel.
        """
        images, steering = self.pieces(x), self.pieces(pilot)
        planes: list[torch.Tensor] = []
        weights: list[torch.Tensor] = []
        errors: list[torch.Tensor] = []
        at_once = self.at_once(images)
        for part, steered in zip(images.split(at_once), steering.split(at_once)):  # noqa: B905 - not in TorchScript
            gain = wiener_gain(self.coefficients(steered).square_())
            weights.append(sparseness(gain.flatten(1, 2), 1))
            errors.append(gain.flatten(1, 2).mean(1, keepdim=True) * weights[-1])
            planes.append(self.folded(gain.mul_(self.coefficients(part)), weights[-1], x))
        total = self.totals(torch.cat(weights), x)
        return self.joined(torch.cat(planes), x) / total, self.totals(torch.cat(errors), x) / total

    def at_once(self, images: torch.Tensor) -> int:
        """Pieces (pieces, frames, H, W) to work on at a time, so that their coefficients stay in the caches."""
        repeats = (self.size // self.stride) * (self.size // self.stride)
        most = self.values_at_once if images.device.type == "cpu" else 64 * self.values_at_once
        return max(most // (repeats * images[0].numel()), 1)

    def pieces(self, x: torch.Tensor) -> torch.Tensor:
        """Cut (N, T, H, W) into pieces of some frames and transform along these: (N * pieces, frames, H, W)."""
        index = block_starts(x.shape[1], self.frames, x.device)
        cut = x.index_select(1, index.flatten()).unflatten(1, index.shape).flatten(0, 1)
        over_time = cosine_basis(index.shape[1], x.device)
        return torch.matmul(over_time, cut.flatten(2)).unflatten(2, (x.shape[2], x.shape[3]))

    def coefficients(self, images: torch.Tensor) -> torch.Tensor:
        """Transform the blocks of (N, T, H, W) to (N, T, size squared, blocks)."""
        rows, columns = self.reflected(images.shape[2], images.device), self.reflected(images.shape[3], images.device)
        padded = images.flatten(0, 1).unsqueeze(1).index_select(2, rows).index_select(3, columns)
        if images.device.type == "cpu":
            waves = self.basis.unflatten(1, (1, self.size, self.size))
            blocks = F.conv2d(padded, waves, stride=(self.stride, self.stride)).flatten(2)
        else:  # convolutions of GPUs are in reduced precision by default, which large signals do not stand
            blocks = F.unfold(padded, (self.size, self.size), stride=(self.stride, self.stride))
            blocks = torch.matmul(self.basis, blocks)
        return blocks.unflatten(0, (images.shape[0], images.shape[1]))

    def folded(self, blocks: torch.Tensor, weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Transform coefficients back and sum overlapping blocks, by weights (N, 1, blocks), to (N, T, H, W)."""
        values = torch.matmul(self.basis.t(), blocks.mul_(weight.unsqueeze(1)).flatten(0, 1))
        return self.summed(values, x).unflatten(0, (blocks.shape[0], blocks.shape[1]))

    def joined(self, planes: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Transform pieces (N * pieces, frames, H, W) back along the frames, and sum them in the shape of ``x``."""
        back = torch.matmul(cosine_basis(planes.shape[1], x.device).t(), planes.flatten(2))
        back = back.unflatten(0, (x.shape[0], -1)).flatten(1, 2).unflatten(2, (x.shape[2], x.shape[3]))
        return self.over_pieces(back, x)

    def totals(self, values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Sum of the values (pieces, 1, blocks) of all blocks that cover a pixel, in the shape of ``x``."""
        planes = self.summed(values.expand(values.shape[0], self.size * self.size, values.shape[2]), x)
        frames = block_starts(x.shape[1], self.frames, x.device).shape[1]
        planes = planes.unflatten(0, (x.shape[0], -1)).unsqueeze(2)
        return self.over_pieces(planes.expand(-1, -1, frames, -1, -1).flatten(1, 2), x)

    def over_pieces(self, pieces: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Sum the frames of all pieces (N, pieces * frames, H, W) where they belong, in the shape of ``x``."""
        index = block_starts(x.shape[1], self.frames, x.device)
        if index.shape[0] == 1:
            return pieces
        belongs = (index.flatten().unsqueeze(0) == torch.arange(x.shape[1], device=x.device).unsqueeze(1)).to(x.dtype)
        return torch.matmul(belongs, pieces.flatten(2)).unflatten(2, (x.shape[2], x.shape[3]))

    def summed(self, values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Sum overlapping blocks (planes, size squared, blocks) to planes (planes, H, W)."""
        height, width = x.shape[2], x.shape[3]
        extents = (self.padded_extent(height), self.padded_extent(width))
        total = F.fold(values, extents, (self.size, self.size), stride=(self.stride, self.stride))
        margin = self.size - self.stride
        return total[:, 0, margin : margin + height, margin : margin + width]

    def padded_extent(self, extent: int) -> int:
        """Extent with the margins, so that whole blocks cover it."""
        whole = extent + 2 * (self.size - self.stride) - self.size
        return whole + (-whole) % self.stride + self.size

    def reflected(self, extent: int, device: torch.device) -> torch.Tensor:
        """Positions of an axis with its margins, folded back into it."""
        first = (-(self.size - self.stride)) % (2 * max(extent - 1, 1))
        return reflect_index(extent, first + self.padded_extent(extent), device)[first:]
