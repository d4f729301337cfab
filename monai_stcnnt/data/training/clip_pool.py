# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Clean clips for training that are drawn on the device: from packed images, and from label maps in any contrast.

A GPU trains a small network faster than a processor reads and augments images for it. So everything lies on the device,
and batches are drawn there: parts of real images along their axes, in other sizes, and images that are synthesized from
label maps, which have no noise of their own. The idea of random contrasts is that of SynthSeg (Billot et al. 2023,
doi:10.1016/j.media.2023.102789).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from monai_stcnnt.errors import UnreadableFileError
from monai_stcnnt.tensors import reflect_index

__all__ = ["SHARES", "ClipPool", "resized"]

Split = Literal["train", "validation"]
SHARES = {"time": 0.32, "depth": 0.1, "cubic": 0.16, "labels": 0.42}
"""Kind of clips -> how often it is drawn, unless something else is asked for."""

_CLASSES = 64
_PLANES = ((0, 1, 2), (1, 0, 2), (2, 0, 1))


class ClipPool:
    """Clean clips from a packed file.

    Args:
        path: an ``.npz`` file with arrays of bytes named ``SPLIT/KIND/NAME``: split ``train`` or ``validation``, kind
            ``time`` (frames, Y, X over time; names are the series and ``_``, the slice), ``depth`` (slices), ``cubic``
            (a volume to cut along any axis) or ``labels`` (classes (Z, Y, X) of a head). Images are on a square-root
            scale.
        device: where everything lies.
        split: which part.
        seed: of the draws.
        kinds: the shares in which the kinds are drawn; :data:`SHARES` by default.

    Raises:
        UnreadableFileError: for a file without clips of this split.
    """

    def __init__(
        self,
        path: str | Path,
        device: torch.device | str,
        split: Split = "train",
        seed: int = 0,
        kinds: dict[str, float] | None = None,
    ) -> None:
        self.device, self.rng = torch.device(device), np.random.default_rng(seed)
        self.items: dict[str, dict[str, list[Tensor]]] = {}
        with np.load(path, allow_pickle=False) as packed:
            for name in packed.files:
                part, kind, item = name.split("/")
                if part == split:
                    group = self.items.setdefault(kind, {}).setdefault(item.rpartition("_")[0], [])
                    group.append(torch.from_numpy(packed[name]).to(self.device))
        shares = kinds or SHARES
        self.kinds = [kind for kind in shares if kind in self.items]
        if not self.kinds:
            raise UnreadableFileError(f"{path} has no clips for {split}. Make it with tools/pack_clips.py.")
        total = sum(shares[kind] for kind in self.kinds)
        self.shares = [shares[kind] / total for kind in self.kinds]

    def leave_out(self, names: Sequence[str]) -> None:
        """Draw no more from series whose names begin with one of ``names``; a kind without any is not drawn.

        Raises:
            UnreadableFileError: where nothing is left.
        """
        for kind, groups in self.items.items():
            self.items[kind] = {name: items for name, items in groups.items() if not name.startswith(tuple(names))}
        kept = [(kind, share) for kind, share in zip(self.kinds, self.shares, strict=True) if self.items[kind]]
        if not kept:
            raise UnreadableFileError(f"No clips are left without {', '.join(names)}.")
        self.kinds = [kind for kind, _ in kept]
        self.shares = [share / sum(share for _, share in kept) for _, share in kept]

    def draw(self, count: int, size: Sequence[int]) -> Tensor:
        """Clean magnitudes (count, T, H, W) of size (T, H, W), float32, whose foreground has a mean of 1."""
        clips = torch.stack([self._augmented(self._one(size)) for _ in range(count)])
        top = torch.quantile(clips.flatten(1)[:, :: max(clips[0].numel() // 8192, 1)], 0.99, 1).view(-1, 1, 1, 1)
        inside = (clips > 0.1 * top).float()
        mean = (clips * inside).sum((1, 2, 3)) / inside.sum((1, 2, 3)).clamp(min=1)
        return clips / mean.clamp(min=1e-6).view(-1, 1, 1, 1)

    def _one(self, size: Sequence[int]) -> Tensor:
        kind = self.kinds[int(self.rng.choice(len(self.kinds), p=self.shares))]
        groups = list(self.items[kind].values())
        for _ in range(8):
            items = groups[int(self.rng.integers(len(groups)))]
            item = items[int(self.rng.integers(len(items)))]
            clip = self._from_labels(item, size) if kind == "labels" else self._from_image(item, kind, size)
            if float(clip.amax()) > 0.15:  # not air alone
                break
        return clip

    def _augmented(self, clip: Tensor) -> Tensor:
        flips = [axis for axis in (0, 1, 2) if self.rng.random() < 0.5]
        clip = clip.flip(flips) if flips else clip
        return clip.transpose(1, 2) if clip.shape[1] == clip.shape[2] and self.rng.random() < 0.5 else clip

    def _from_image(self, image: Tensor, kind: str, size: Sequence[int]) -> Tensor:
        """Part of an image, in most cases of a larger part, which averages its own noise away."""
        if kind == "cubic":
            image = image.permute(_PLANES[int(self.rng.integers(3))])
        frames = image.shape[0]
        still = kind != "time" and self.rng.random() < 0.15
        first = int(self.rng.integers(frames if still or frames <= size[0] else frames - size[0] + 1))
        index = reflect_index(frames, 1 if still else size[0], self.device, first).expand(size[0])
        scale = float(np.exp(self.rng.uniform(math.log(0.7), math.log(2.0))))
        part = self._window(image, [round(n * scale) for n in size[1:]])[index]
        part = (part.float() / 255).square()
        return part if part.shape[1:] == tuple(size[1:]) else resized(part, size[1:])

    def _window(self, image: Tensor, wanted: Sequence[int]) -> Tensor:
        """Random rows and columns of an image, reflected where it is smaller."""
        for axis, extent in zip((1, 2), wanted, strict=True):
            length = image.shape[axis]
            if extent <= length:
                start = int(self.rng.integers(length - extent + 1))
                image = image.narrow(axis, start, extent)
            else:
                image = image.index_select(axis, reflect_index(length, extent, self.device))
        return image

    def _from_labels(self, labels: Tensor, size: Sequence[int]) -> Tensor:
        """An image of random contrast: tissue texture, lesions, vessels, bias, partial volume."""
        labels = labels.permute(_PLANES[int(self.rng.integers(3))])
        over_time = self.rng.random() < 0.3
        thickness = int(self.rng.integers(1, 5)) if self.rng.random() < 0.7 else 1
        pixel = float(np.exp(self.rng.uniform(math.log(0.6), math.log(2.0))))
        slices = thickness * (1 if over_time else size[0])
        first = int(self.rng.integers(max(labels.shape[0] - slices, 1)))
        part = self._window(labels, [max(round(n * pixel), 8) for n in size[1:]])
        part = part[reflect_index(labels.shape[0], slices, self.device, first)]
        values, textures = self._contrast()
        image = values[part.long()]
        image = (image * (1 + textures[part.long()] * self._texture(part.shape))).clamp(min=0)
        for _ in range(int(self.rng.integers(0, 6))):
            self._add_spot(image)
        if thickness > 1:
            image = image.unflatten(0, (-1, thickness)).mean(1)
        if pixel < 1.3:
            image = _softened(image)
        image = resized(image, size[1:])
        if over_time:
            image = self._over_time(image, part[thickness // 2], size)
        return (image * self._bias(size)).clamp(min=0)

    def _contrast(self) -> tuple[Tensor, Tensor]:
        """Intensity of every class, air nearly dark, and how much it varies."""
        values = self.rng.uniform(0.05, 1.0, _CLASSES)
        if self.rng.random() < 0.5:  # left and right, and many classes, alike
            groups = self.rng.uniform(0.05, 1.0, 6)[self.rng.integers(6, size=_CLASSES)]
            values = np.clip(groups + 0.04 * self.rng.standard_normal(_CLASSES), 0.02, 1)
        values[0] = 0.0
        textures = self.rng.uniform(0, 0.18, _CLASSES) * (self.rng.random() < 0.85)
        return (torch.tensor(v, dtype=torch.float32, device=self.device) for v in (values, textures))  # type: ignore[return-value]

    def _texture(self, shape: Sequence[int]) -> Tensor:
        """A random field with structures of 1 to 8 voxels."""
        field = torch.zeros(1, 1, *shape, device=self.device)
        for octave in (1, 2, 4, 8):
            weight = float(self.rng.random())
            coarse = torch.randn(1, 1, *[max(n // octave, min(n, 2)) for n in shape], device=self.device)
            fine = coarse if octave == 1 else F.interpolate(coarse, tuple(shape), mode="trilinear", align_corners=False)
            field = field + weight * fine
        return field[0, 0] / field.std().clamp(min=1e-6)

    def _add_spot(self, image: Tensor) -> None:
        """A lesion or a vessel: an ellipsoid of 1 to 7 voxels that is brighter or darker."""
        center = [int(self.rng.integers(n)) for n in image.shape]
        radii = np.exp(self.rng.uniform(0, math.log(7), 3)) * np.where(self.rng.random(3) < 0.2, 3, 1)
        parts = [slice(max(c - int(r) - 1, 0), c + int(r) + 2) for c, r in zip(center, radii, strict=True)]
        region = image[tuple(parts)]
        distance = torch.zeros(region.shape, device=self.device)
        for axis, (part, c, r) in enumerate(zip(parts, center, radii, strict=True)):
            place = torch.arange(part.start, part.start + region.shape[axis], device=self.device)
            shape = [1, 1, 1]
            shape[axis] = -1
            distance = distance + ((place - c) / float(r)).square().view(shape)
        inside = (1.5 - distance).clamp(0, 1)
        change = float(self.rng.uniform(-0.5, 0.9))
        region += inside * change * region.mean().clamp(min=0.1)
        region.clamp_(min=0)

    def _over_time(self, image: Tensor, part: Tensor, size: Sequence[int]) -> Tensor:
        """Repeat a slice over time; some classes change a little, as in perfusion and functional series."""
        frames = image.expand(size[0], -1, -1)
        if self.rng.random() < 0.5:
            return frames
        course = torch.tensor(self.rng.standard_normal((size[0], 1, 1)), dtype=torch.float32, device=self.device)
        strength = torch.rand(_CLASSES, device=self.device) * (torch.rand(_CLASSES, device=self.device) < 0.2)
        where = resized(strength[part.long()][None], size[1:])
        return frames * (1 + 0.05 * float(self.rng.random()) * course * where)

    def _bias(self, size: Sequence[int]) -> Tensor:
        """A smooth factor about 1."""
        coarse = torch.randn(1, 1, 4, 4, device=self.device) * float(self.rng.uniform(0, 0.3))
        return F.interpolate(coarse, tuple(size[1:]), mode="bicubic", align_corners=False)[0].exp()


def _softened(frames: Tensor) -> Tensor:
    """Frames (T, Y, X) with edges of two pixels, as a label map has none."""
    line = torch.tensor([0.25, 0.5, 0.25], device=frames.device)
    padded = F.pad(frames[:, None], (1, 1, 1, 1), mode="replicate")
    return F.conv2d(F.conv2d(padded, line.view(1, 1, 3, 1)), line.view(1, 1, 1, 3))[:, 0]


def resized(frames: Tensor, size: Sequence[int]) -> Tensor:
    """Frames (T, Y, X) in another size, by area where it is smaller."""
    return F.interpolate(frames[:, None], tuple(size), mode="bilinear", align_corners=False, antialias=True)[:, 0]
