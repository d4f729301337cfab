# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Collaborative filtering: shrinkage of the coefficients of similar blocks, without weights."""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import nn

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.filters.shrinkage import (
    block_starts,
    block_waves,
    cosine_basis,
    so_many,
    sparseness,
    sum_constants,
    sum_waves,
    wiener_gain,
)
from monai_stcnnt.networks.layers.frames import crop_plane, exporting, pad_frames, units_over

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

    Transforms are linear: that of a block in place and time is computed once for every pixel where one begins, and a
    group gathers coefficients. Filtered ones are summed where they come from, and transformed back once.

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
    wave: torch.Tensor

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
        self.register_buffer("wave", cosine_basis(size, torch.device("cpu")), persistent=False)
        self.register_buffer("group", hadamard_basis(count), persistent=False)

    def forward(
        self, x: torch.Tensor, pilot: torch.Tensor, distances: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Filter images.

        Args:
            x: noisy frames (B, T, C, H, W).
            pilot: another estimate of them, of the same shape.
            distances: :meth:`distances` of the pilot, where they are known already.

        Returns:
            Frames (B, T, C, H, W), and the mean squared error that the pilot makes expect, (B, T, 1, H, W).
        """
        t, c, h, w = x.shape[1], x.shape[2], x.shape[3], x.shape[4]
        both = pad_frames(torch.cat([x, pilot], 2), (t, self.padded(h), self.padded(w)))
        index = block_starts(t, self.frames, x.device)
        if distances is None:
            distances = self.distances(pilot)
        places = self.places(distances, index).flatten(0, 1)
        over_time = cosine_basis(index.shape[1], x.device)
        pieces = both.index_select(1, index.flatten()).unflatten(1, index.shape).flatten(0, 1)
        waves = torch.matmul(over_time, pieces.flatten(2)).view_as(pieces)  # (pieces, frames, 2C, H, W)
        at_once = 1 if x.device.type == "cpu" and not exporting() else waves.shape[0]
        results: list[torch.Tensor] = []
        for some, found in zip(waves.split(at_once), places.split(at_once)):
            results.append(self.filtered(some, found))
        planes = torch.cat(results)
        images = torch.matmul(over_time.t(), planes[:, :-2].unflatten(1, (-1, c)).flatten(2)).unflatten(2, (c, -1))
        weights = planes[:, -2:].flatten(2).unsqueeze(1).expand(-1, index.shape[1], -1, -1)
        joined = torch.cat([images, weights], 2).unflatten(0, (x.shape[0], -1)).flatten(1, 2)
        total = torch.zeros(x.shape[0], t, c + 2, both.shape[3] * both.shape[4], device=x.device)
        total = total.index_add(1, index.flatten(), joined).unflatten(3, (both.shape[3], both.shape[4]))
        total = crop_plane(total, h, w)
        return total[:, :, :c] / total[:, :, c : c + 1], total[:, :, c + 1 :] / total[:, :, c : c + 1]

    def filtered(self, waves: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Filter pieces, transformed along their frames.

        Args:
            waves: noisy and pilot channels of each temporal frequency (pieces, frames, 2C, H, W).
            places: where the blocks of each group begin (pieces, groups, count), counting pixels where one can begin.

        Returns:
            Weighted sums of the filtered blocks, of the weights, and of the weighted errors, (pieces, frames * C + 2,
            H, W).
        """
        pieces, frames, channels, area = waves.shape[0], waves.shape[1], waves.shape[2] // 2, self.size * self.size
        extents, half = (waves.shape[3], waves.shape[4]), channels * frames * area
        at_once = self.values_at_once if waves.device.type == "cpu" else 128 * self.values_at_once
        images_at_once = so_many(2 * channels * frames, pieces * area * waves.shape[3] * waves.shape[4], at_once)
        begun: list[torch.Tensor] = []
        for images in waves.transpose(1, 2).flatten(1, 2).split(images_at_once, 1):
            found = block_waves(images.flatten(0, 1), self.wave, 1).unflatten(0, (pieces, -1))
            begun.append(found.flatten(1, 2).transpose(1, 2).contiguous())
        blocks = torch.cat(begun, 2)  # (pieces, places, 2C * frames * area)
        first = blocks.shape[1] * torch.arange(pieces, device=waves.device)
        blocks, places = blocks.flatten(0, 1), (places + first.view(-1, 1, 1)).flatten(0, 1)
        total = torch.zeros(blocks.shape[0], half, device=waves.device)
        weights = torch.zeros(blocks.shape[0], 2, device=waves.device)
        for part in places.t().split(so_many(places.shape[0], self.count * 2 * half, at_once), 1):
            where = part.flatten()
            members = blocks.index_select(0, where).unflatten(0, part.shape)
            groups = torch.matmul(self.group, members.flatten(1)).view_as(members)
            gain = wiener_gain(groups[:, :, half:].square())
            energy = gain.unflatten(2, (channels, -1))
            weight = sparseness(energy, [0, 3])[0].mean(1)
            both = torch.cat([weight, weight * energy.mean((0, 2, 3)).unsqueeze(1)], 1)
            kept = groups[:, :, :half].mul_(gain).mul_(weight)
            total.index_add_(0, where, torch.matmul(self.group, kept.flatten(1)).unflatten(1, (-1, half)).flatten(0, 1))
            weights.index_add_(0, where, both.expand(self.count, -1, -1).flatten(0, 1))
        planes: list[torch.Tensor] = []
        for sums in total.unflatten(0, (pieces, -1)).split(images_at_once * area, 2):
            values = sums.transpose(1, 2).unflatten(1, (-1, area)).flatten(0, 1)
            planes.append(sum_waves(values, self.wave, 1, extents).unflatten(0, (pieces, -1)))
        images = torch.cat(planes, 1).unflatten(1, (channels, frames)).transpose(1, 2).flatten(1, 2)
        counted = weights.unflatten(0, (pieces, -1)).transpose(1, 2).flatten(0, 1)
        return torch.cat([images, sum_constants(counted, self.size, 1, extents).unflatten(0, (pieces, 2))], 1)

    def places(self, distances: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """Where the blocks of every group begin: (B, pieces, groups, count), counting pixels where one can begin.

        Args:
            distances: result of :meth:`distances`.
            index: frames of every piece, (pieces, frames).
        """
        rows, columns = distances.shape[2], distances.shape[3]
        distances = distances.index_select(1, index.flatten()).unflatten(1, index.shape).sum(2)
        y = self.stride * torch.arange(rows, device=distances.device)
        x = self.stride * torch.arange(columns, device=distances.device)
        last_y, last_x = (rows - 1) * self.stride, (columns - 1) * self.stride
        shift = torch.arange(-self.radius, self.radius + 1, device=distances.device)
        all_y, all_x = y.unsqueeze(1) + shift, x.unsqueeze(1) + shift
        outside_y, outside_x = (all_y < 0) | (all_y > last_y), (all_x < 0) | (all_x > last_x)
        outside = outside_y.unsqueeze(1).unsqueeze(3) | outside_x.unsqueeze(0).unsqueeze(2)
        distances = distances.masked_fill(outside.flatten(2), float("inf"))
        own = 2 * self.radius * (self.radius + 1)
        distances[:, :, :, :, own] = -1.0  # in every group, whatever is as near as it: so every pixel is in some block
        nearest = distances.topk(self.count, 4, largest=False)[1]
        width = 2 * self.radius + 1
        found_y = y.view(1, 1, -1, 1, 1) + nearest // width - self.radius
        found_x = x.view(1, 1, 1, -1, 1) + nearest % width - self.radius
        return (found_y.clamp(0, last_y) * (last_x + 1) + found_x.clamp(0, last_x)).flatten(2, 3)

    def distances(self, pilot: torch.Tensor) -> torch.Tensor:
        """Squared differences of blocks and their surroundings in every frame of (B, T, C, H, W).

        They depend on size, stride and radius only.

        Returns:
            Distances (B, T, rows of blocks, columns of blocks, surroundings).
        """
        rows, columns, r = self.padded(pilot.shape[3]), self.padded(pilot.shape[4]), self.radius
        pilot = pad_frames(pilot, (pilot.shape[1], rows, columns))
        around = F.pad(pilot, (r, r, r, r))
        if exporting():  # in one step, which takes a hundred times the memory and a hundredth of the program
            moved = F.unfold(around.flatten(0, 1), 2 * r + 1).unflatten(2, (rows, columns))
            moved = (moved.unflatten(1, (pilot.shape[2], -1)) - pilot.flatten(0, 1).unsqueeze(2)).square().sum(1)
            pooled = F.avg_pool2d(moved, self.size, self.stride).permute(0, 2, 3, 1)
            return pooled.unflatten(0, (pilot.shape[0], pilot.shape[1]))
        found: list[torch.Tensor] = []
        for dy in range(2 * r + 1):
            for dx in range(2 * r + 1):
                moved = around[:, :, :, dy : dy + rows, dx : dx + columns]
                found.append(F.avg_pool2d((moved - pilot).square_().sum(2), self.size, self.stride))
        return torch.stack(found, 4)

    def padded(self, extent: int) -> int:
        """Extent of which blocks at this stride reach the end."""
        if extent < self.size:
            return self.size
        return self.size + units_over(extent - self.size, self.stride) * self.stride
