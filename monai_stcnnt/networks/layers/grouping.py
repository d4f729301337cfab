# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Collaborative filtering: shrinkage of the coefficients of similar blocks, without weights."""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import nn

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.layers.frames import pad_frames
from monai_stcnnt.networks.layers.shrinkage import block_starts, cosine_basis, sparseness, wiener_gain

__all__ = ["GroupedShrinkage", "hadamard_basis"]


def hadamard_basis(length: int) -> torch.Tensor:
    """Orthonormal Hadamard transform, (length, length), float32; ``length`` is a power of 2."""
    basis = torch.ones(1, 1)
    while basis.shape[0] < length:
        basis = torch.cat([torch.cat([basis, basis], 1), torch.cat([basis, -basis], 1)])
    return basis / math.sqrt(length)


class GroupedShrinkage(nn.Module):
    """Weigh the coefficients of groups of similar blocks by the energy that they have in another estimate of the image.

    The second pass of BM4D (Maggioni et al. 2013, doi:10.1109/TIP.2012.2210725), for noise that is white with sigma 1.
    Blocks are looked for in the same frames, around every ``stride``-th pixel; all channels share the places, which are
    those of the smallest squared difference in the pilot.

    Args:
        frames: frames of a block, every ``frames // 2`` of them (at least 1); 0 takes all frames.
        size: rows and columns of a block.
        stride: distance of the blocks that others are compared with; at most ``size``.
        count: blocks of a group; a power of 2, at most ``(radius + 1) ** 2``.
        radius: largest distance of similar blocks, in rows and in columns.

    Raises:
        NetworkConfigError: for options that do not fit.
    """

    group: torch.Tensor
    basis: torch.Tensor

    def __init__(self, frames: int, size: int = 4, stride: int = 3, count: int = 8, radius: int = 3) -> None:
        super().__init__()
        if frames < 0 or not 0 < stride <= size or radius < 0 or not 0 < count <= (radius + 1) ** 2:
            raise NetworkConfigError(
                "A group has blocks of 0 (all) or more frames, a stride up to their size, and at most "
                f"(radius + 1) ** 2 blocks, got frames={frames}, size={size}, stride={stride}, count={count}, "
                f"radius={radius}."
            )
        if count & (count - 1):
            raise NetworkConfigError(f"The number of blocks of a group must be a power of 2, got {count}.")
        self.frames, self.size, self.stride, self.count, self.radius = frames, size, stride, count, radius
        self.values_at_once = 2**19  # the memory of a processor's caches; a GPU wants more
        wave = cosine_basis(size, torch.device("cpu"))
        self.register_buffer("basis", torch.kron(wave, wave), persistent=False)
        self.register_buffer("group", hadamard_basis(count), persistent=False)

    def forward(self, x: torch.Tensor, pilot: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Filter images.

        Args:
            x: noisy frames (B, T, C, H, W).
            pilot: another estimate of them, of the same shape.

        Returns:
            Frames (B, T, C, H, W), and the mean squared error that the pilot makes expect, (B, T, 1, H, W).
        """
        b, t, c, h, w = x.shape[0], x.shape[1], x.shape[2], x.shape[3], x.shape[4]
        both = pad_frames(torch.cat([x, pilot], 2), (t, self.padded(h), self.padded(w)))
        rows, columns = both.shape[3], both.shape[4]
        pixels = both.permute(0, 1, 3, 4, 2).flatten(0, 3)
        index = block_starts(t, self.frames, x.device)
        places = self.places(both[:, :, c:], index)
        inside = torch.arange(self.size, device=x.device)
        inside = (inside.unsqueeze(1) * columns + inside.unsqueeze(0)).flatten()
        inside = ((index[0] * (rows * columns)).unsqueeze(1) + inside.unsqueeze(0)).flatten()
        over_time = cosine_basis(index.shape[1], x.device)
        total = torch.zeros(pixels.shape[0], c + 2, device=x.device)
        at_once = self.values_at_once if x.device.type == "cpu" else 32 * self.values_at_once
        step = max(at_once // (self.count * inside.shape[0]), 1)
        for first in range(0, places.shape[0], step):
            index_in = (places[first : first + step].unsqueeze(2) + inside).flatten()
            values = self.filtered(pixels.index_select(0, index_in), c, over_time)
            total.index_add_(0, index_in, values)
        total = total.unflatten(0, (b, t, rows, columns))[:, :, :h, :w].permute(0, 1, 4, 2, 3)
        weights = total[:, :, c : c + 1]
        return total[:, :, :c] / weights, total[:, :, c + 1 :] / weights

    def filtered(self, pixels: torch.Tensor, channels: int, over_time: torch.Tensor) -> torch.Tensor:
        """Filter the pixels of groups, (pixels, noisy and pilot channels), to (pixels, channels, weight, error)."""
        frames, area = over_time.shape[0], self.size * self.size
        blocks = pixels.t().reshape(2 * channels, -1, self.count, frames, area)
        blocks = torch.matmul(torch.matmul(blocks, self.basis.t()).transpose(3, 4), over_time.t())
        blocks = torch.matmul(self.group, blocks.flatten(3))
        gain = wiener_gain(blocks[channels:].square())
        weight = sparseness(gain.flatten(2), 2).mean(0)
        error = gain.mean((2, 3)).mean(0).unsqueeze(1)
        blocks = torch.matmul(self.group, gain.mul_(blocks[:channels]).mul_(weight.unsqueeze(2)))
        blocks = torch.matmul(blocks.unflatten(3, (area, frames)), over_time).transpose(3, 4)
        blocks = torch.matmul(blocks, self.basis).flatten(1)
        weights = torch.cat([weight, weight * error], 1).t().unsqueeze(2)
        weights = weights.expand(-1, -1, self.count * frames * area).flatten(1)
        return torch.cat([blocks, weights]).t()

    def places(self, pilot: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """First pixels of the blocks of every group, (groups, count), in all pixels of frames (B, T, C, H, W)."""
        t, rows, columns = pilot.shape[1], pilot.shape[3], pilot.shape[4]
        distances = self.distances(pilot, index)
        y = torch.arange(0, rows - self.size + 1, self.stride, device=pilot.device)
        x = torch.arange(0, columns - self.size + 1, self.stride, device=pilot.device)
        shift = torch.arange(-self.radius, self.radius + 1, device=pilot.device)
        all_y, all_x = y.unsqueeze(1) + shift, x.unsqueeze(1) + shift
        outside_y = (all_y < 0) | (all_y > rows - self.size)
        outside_x = (all_x < 0) | (all_x > columns - self.size)
        outside = outside_y.view(len(y), 1, -1, 1) | outside_x.view(1, len(x), 1, -1)
        distances = distances.masked_fill(outside.flatten(2), float("inf"))
        own = 2 * self.radius * (self.radius + 1)
        distances[:, :, :, :, own] = -1.0  # in every group, whatever is as near as it: so every pixel is in some block
        nearest = distances.topk(self.count, 4, largest=False)[1]
        width = 2 * self.radius + 1
        found_y = y.view(1, 1, -1, 1, 1) + nearest // width - self.radius
        found_x = x.view(1, 1, 1, -1, 1) + nearest % width - self.radius
        found_y, found_x = found_y.clamp(0, rows - self.size), found_x.clamp(0, columns - self.size)
        images = torch.arange(pilot.shape[0], device=pilot.device).view(-1, 1, 1, 1, 1) * t
        frames = index[:, 0].view(1, -1, 1, 1, 1)
        return (((images + frames) * rows + found_y) * columns + found_x).flatten(0, 3)

    def distances(self, pilot: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """Squared differences of blocks and their surroundings, (B, pieces, rows, columns of blocks, surroundings)."""
        rows, columns, r = pilot.shape[3], pilot.shape[4], self.radius
        around = F.pad(pilot, (r, r, r, r))
        found: list[torch.Tensor] = []
        for dy in range(2 * r + 1):
            for dx in range(2 * r + 1):
                moved = around[:, :, :, dy : dy + rows, dx : dx + columns]
                found.append(F.avg_pool2d((moved - pilot).square_().sum(2), self.size, self.stride))
        every = torch.stack(found, 4)
        return every.index_select(1, index.flatten()).unflatten(1, index.shape).sum(2)

    def padded(self, extent: int) -> int:
        """Extent of which blocks at this stride reach the end."""
        return self.size + -(-max(extent - self.size, 0) // self.stride) * self.stride
