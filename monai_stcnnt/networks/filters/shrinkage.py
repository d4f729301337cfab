# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Shrinkage of the cosine coefficients of blocks, without weights."""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import nn

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.layers.frames import crop_plane, exporting, units_over
from monai_stcnnt.tensors import reflect_index

__all__ = [
    "BlockShrinkage",
    "block_starts",
    "block_waves",
    "cosine_basis",
    "so_many",
    "sparseness",
    "sum_constants",
    "sum_waves",
    "wiener_gain",
]


def cosine_basis(length: int, device: torch.device) -> torch.Tensor:
    """Orthonormal discrete cosine transform (DCT-II): row k holds the k-th wave, shape (length, length), float32."""
    wave = torch.arange(length, device=device, dtype=torch.float32).unsqueeze(1)
    place = torch.arange(length, device=device, dtype=torch.float32).unsqueeze(0)
    scale = (torch.where(wave == 0, 1.0, 2.0) / length).sqrt()
    return scale * torch.cos(math.pi * (2.0 * place + 1.0) * wave / (2.0 * length))


def so_many(count: int, numbers: int, most: int) -> int:
    """How many of ``count`` things to work on at a time so that the numbers of all are at most so many.

    While the network is exported, all: how many it would be depends on the size of the image.
    """
    return count if exporting() else max(most // numbers, 1)


def block_starts(total: int, frames: int, device: torch.device) -> torch.Tensor:
    """Frames of every piece of a clip, (pieces, frames of a piece): every ``frames // 2``, the last one at the end.

    0 frames are all, and so are more than there are.
    """
    length = total if frames == 0 else min(frames, total)
    step = max(length // 2, 1)
    first = torch.arange(0, total - length + step, step, device=device).clamp(max=total - length)
    return first.unsqueeze(1) + torch.arange(length, device=device).unsqueeze(0)


def block_kernels(wave: torch.Tensor) -> torch.Tensor:
    """Images of the waves of a block, (size squared, 1, size, size), in the order of :func:`block_waves`."""
    return (wave.unsqueeze(0).unsqueeze(3) * wave.unsqueeze(1).unsqueeze(1)).flatten(0, 1).unsqueeze(1)


def placed(blocks: torch.Tensor, size: int, stride: int, extents: tuple[int, int]) -> torch.Tensor:
    """Blocks (N, C, blocks) of an image in rows and columns."""
    return blocks.unflatten(2, ((extents[0] - size) // stride + 1, (extents[1] - size) // stride + 1))


def block_waves(images: torch.Tensor, wave: torch.Tensor, stride: int) -> torch.Tensor:
    """Cosine transform of overlapping blocks of images (N, H, W), of which blocks at this stride reach the end.

    First along rows, then along columns: a fraction of the work of one product with a matrix for the whole block.
    Blocks are cut by moving whole rows of pixels that have the same place in cells of ``stride`` pixels, which is
    several times as fast as ``unfold``.

    Args:
        images: the images (N, H, W).
        wave: :func:`cosine_basis` of the rows and columns of a block, (size, size).
        stride: distance of blocks in rows and columns; divides ``size``, H and W.

    Returns:
        Coefficients (N, size squared, blocks); the first is the mean.
    """
    if exporting():
        return F.conv2d(images.unsqueeze(1), block_kernels(wave), stride=stride).flatten(2)
    across = wave.shape[0] // stride
    cells = images.unflatten(1, (-1, stride)).transpose(1, 2)
    along = cells.shape[2] - across + 1
    parts = [cells[:, :, i : i + along] for i in range(across)]
    rows = torch.matmul(wave, torch.cat(parts, 1).flatten(2)).unflatten(2, (along, -1, stride))
    cells = rows.permute(0, 4, 1, 2, 3).contiguous()
    along = cells.shape[4] - across + 1
    parts = [cells[:, :, :, :, i : i + along] for i in range(across)]
    return torch.matmul(wave, torch.cat(parts, 1).flatten(2)).unflatten(2, (wave.shape[0], -1)).flatten(1, 2)


def sum_waves(blocks: torch.Tensor, wave: torch.Tensor, stride: int, extents: tuple[int, int]) -> torch.Tensor:
    """Transform coefficients of :func:`block_waves` back and sum overlapping blocks to images (N, H, W)."""
    size = wave.shape[0]
    if exporting():
        return F.conv_transpose2d(placed(blocks, size, stride, extents), block_kernels(wave), stride=stride).squeeze(1)
    across, rows, columns = size // stride, extents[0] // stride, extents[1] // stride
    along = (rows - across + 1, columns - across + 1)
    values = torch.matmul(wave.t(), blocks.unflatten(1, (size, size)).flatten(2))
    values = values.view(blocks.shape[0], across, stride, size, along[0], along[1])
    total = torch.zeros(blocks.shape[0], stride, size, along[0], columns, device=blocks.device)
    for i in range(across):
        total[:, :, :, :, i : i + along[1]] += values[:, i]
    values = torch.matmul(wave.t(), total.permute(0, 2, 3, 4, 1).flatten(2))
    values = values.view(blocks.shape[0], across, stride, along[0], extents[1])
    total = torch.zeros(blocks.shape[0], stride, rows, extents[1], device=blocks.device)
    for i in range(across):
        total[:, :, i : i + along[0]] += values[:, i]
    return total.transpose(1, 2).flatten(1, 2)


def sum_constants(values: torch.Tensor, size: int, stride: int, extents: tuple[int, int]) -> torch.Tensor:
    """Sum overlapping blocks that have one value for all of their pixels, (N, blocks), to images (N, H, W)."""
    if exporting():
        ones = torch.ones(1, 1, size, size, device=values.device)
        return F.conv_transpose2d(placed(values.unsqueeze(1), size, stride, extents), ones, stride=stride).squeeze(1)
    across, margin = size // stride, size // stride - 1
    cells = values.unflatten(1, (extents[0] // stride - margin, extents[1] // stride - margin)).unsqueeze(1)
    cells = F.avg_pool2d(F.pad(cells, (margin, margin, margin, margin)), across, 1) * float(across * across)
    return cells.squeeze(1).repeat_interleave(stride, 1).repeat_interleave(stride, 2)


def wiener_gain(energy: torch.Tensor) -> torch.Tensor:
    """Factors for coefficients of this energy in noise of variance 1, in the memory of the energy.

    Their mean is the mean squared error that is left: :math:`(1 - g)^2 e + g^2 = g` for :math:`g = e / (e + 1)`.
    """
    return energy.div_(energy + 1.0)


def sparseness(gain: torch.Tensor, dim: list[int]) -> torch.Tensor:
    """How much a block counts where blocks overlap: the less, the more noise its coefficients let through."""
    return 1.0 / (gain.square().sum(dim, keepdim=True) + 0.25)


class BlockShrinkage(nn.Module):
    """Shrink the cosine coefficients of overlapping blocks of frames whose noise is white with sigma 1.

    Results of overlapping blocks are averaged; those with fewer coefficients left count more.

    Args:
        frames: frames of a block, every ``frames // 2`` of them (at least 1); 0 takes all frames. Where there are
            fewer frames, all.
        size: rows and columns of a block.
        stride: distance of blocks in the plane; divides ``size``.
        threshold: where :meth:`firm` begins to keep coefficients, in units of sigma.

    Raises:
        NetworkConfigError: for a stride that does not divide the block.
    """

    wave: torch.Tensor

    def __init__(self, frames: int, size: int, stride: int, threshold: float = 2.7) -> None:
        super().__init__()
        if frames < 0 or size < 2 or not 0 < stride < size or size % stride:
            raise NetworkConfigError(
                "A block has 0 (all) or more frames, at least 2 rows, and a stride that is a smaller divisor of them, "
                f"got frames={frames}, size={size}, stride={stride}."
            )
        self.frames, self.size, self.stride, self.threshold = frames, size, stride, threshold
        self.values_at_once = 2**19  # the memory of a processor's caches; a GPU wants more
        self.register_buffer("wave", cosine_basis(size, torch.device("cpu")), persistent=False)

    def firm(self, x: torch.Tensor) -> torch.Tensor:
        """Keep the coefficients above the threshold, and the mean of each block.

        Around the threshold, by 7.5% of it to both sides, a coefficient is kept in part: a jump there would let
        rounding errors decide.

        Args:
            x: images (N, T, H, W).

        Returns:
            Images of the same shape.
        """
        ramp = max(0.15 * self.threshold, 1e-6)
        images = self.pieces(x)
        planes: list[torch.Tensor] = []
        weights: list[torch.Tensor] = []
        for part in images.split(self.at_once(images)):
            blocks = self.coefficients(part)
            gain = blocks.abs().sub_(self.threshold - 0.5 * ramp).mul_(1.0 / ramp).clamp_(0.0, 1.0)
            gain[:, 0, 0] = 1.0
            weights.append(sparseness(gain.flatten(1, 2), [1]))
            planes.append(self.folded(gain.mul_(blocks), weights[-1], x))
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
        for part, steered in zip(images.split(at_once), steering.split(at_once)):
            gain = wiener_gain(self.coefficients(steered).square_())
            weights.append(sparseness(gain.flatten(1, 2), [1]))
            errors.append(gain.flatten(1, 2).mean(1, keepdim=True) * weights[-1])
            planes.append(self.folded(gain.mul_(self.coefficients(part)), weights[-1], x))
        total = self.totals(torch.cat(weights), x)
        return self.joined(torch.cat(planes), x) / total, self.totals(torch.cat(errors), x) / total

    def at_once(self, images: torch.Tensor) -> int:
        """Pieces (pieces, frames, H, W) to work on at a time, so that their coefficients stay in the caches."""
        repeats = (self.size // self.stride) * (self.size // self.stride)
        most = self.values_at_once if images.device.type == "cpu" else 64 * self.values_at_once
        return so_many(images.shape[0], repeats * images[0].numel(), most)

    def pieces(self, x: torch.Tensor) -> torch.Tensor:
        """Cut (N, T, H, W) into pieces of some frames and transform along these: (N * pieces, frames, H, W)."""
        index = block_starts(x.shape[1], self.frames, x.device)
        cut = x.index_select(1, index.flatten()).unflatten(1, index.shape).flatten(0, 1)
        over_time = cosine_basis(index.shape[1], x.device)
        return torch.matmul(over_time, cut.flatten(2)).unflatten(2, (x.shape[2], x.shape[3]))

    def coefficients(self, images: torch.Tensor) -> torch.Tensor:
        """Transform the blocks of (N, T, H, W) to (N, T, size squared, blocks)."""
        rows, columns = self.reflected(images.shape[2], images.device), self.reflected(images.shape[3], images.device)
        padded = images.flatten(0, 1).index_select(1, rows).index_select(2, columns)
        blocks = block_waves(padded, self.wave, self.stride)
        return blocks.unflatten(0, (images.shape[0], images.shape[1]))

    def folded(self, blocks: torch.Tensor, weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Transform coefficients back and sum overlapping blocks, by weights (N, 1, blocks), to (N, T, H, W)."""
        values = blocks.mul_(weight.unsqueeze(1)).flatten(0, 1)
        images = self.inside(sum_waves(values, self.wave, self.stride, self.extents(x)), x)
        return images.unflatten(0, (blocks.shape[0], blocks.shape[1]))

    def joined(self, planes: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Transform pieces (N * pieces, frames, H, W) back along the frames, and sum them in the shape of ``x``."""
        back = torch.matmul(cosine_basis(planes.shape[1], x.device).t(), planes.flatten(2))
        back = back.unflatten(0, (x.shape[0], -1)).flatten(1, 2).unflatten(2, (x.shape[2], x.shape[3]))
        return self.over_pieces(back, x)

    def totals(self, values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Sum of the values (pieces, 1, blocks) of all blocks that cover a pixel, in the shape of ``x``."""
        planes = self.inside(sum_constants(values.squeeze(1), self.size, self.stride, self.extents(x)), x)
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

    def extents(self, x: torch.Tensor) -> tuple[int, int]:
        """Rows and columns with the margins."""
        return self.padded_extent(x.shape[2]), self.padded_extent(x.shape[3])

    def inside(self, images: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Cut the margins off images (N, H, W)."""
        margin = self.size - self.stride
        return crop_plane(images[:, margin:, margin:], x.shape[2], x.shape[3])

    def padded_extent(self, extent: int) -> int:
        """Extent with the margins, so that whole blocks cover it."""
        whole = extent + 2 * (self.size - self.stride) - self.size
        return units_over(whole, self.stride) * self.stride + self.size

    def reflected(self, extent: int, device: torch.device) -> torch.Tensor:
        """Positions of an axis with its margins, folded back into it."""
        return reflect_index(extent, self.padded_extent(extent), device, self.stride - self.size)
