# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Find the heart in a stack of cines, and segment its surroundings in the frame that the network knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from monai.data.meta_tensor import MetaTensor
from monai.inferers import Inferer
from torch import Tensor
from tqdm import tqdm

from monai_stcnnt.errors import LayoutError, OptionError
from monai_stcnnt.mri.hearts import VIEW_AREAS, crop_heart, heart_scale, uncrop_heart
from monai_stcnnt.tensors import check_network_output

__all__ = ["HeartInferer", "motion_map"]

Network = Callable[..., Tensor]

VIEWS = (1, 2, 4, 8)
SMOOTHING = 8.0
"""Millimeters, of the motion and of the network's first look."""
LOOKS = 3
"""Frames that the network looks at to find the heart."""


def motion_map(images: Tensor, spacing: Sequence[float]) -> Tensor:
    """How much every place changes over time: the heart moves most.

    Args:
        images: ``(Z, 1, T, H, W)``.
        spacing: size of a pixel (H, W) in mm.

    Returns:
        ``(Z, H, W)``, smoothed, at most 1; all 1 where there are fewer than three frames or nothing moves.
    """
    if images.shape[2] < 3:
        return torch.ones(images.shape[0], *images.shape[3:])
    spread = images[:, 0].float().std(1)
    levels = spread.flatten(1).quantile(0.995, dim=1).clamp(min=torch.finfo(torch.float32).tiny)
    smooth = _blur((spread / levels[:, None, None]).clamp(max=1), [SMOOTHING / s for s in spacing])
    top = smooth.amax()
    return smooth / top if float(top) > 0 else torch.ones_like(smooth)


def _blur(maps: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Smooth maps (N, H, W) with a Gaussian of these standard deviations in pixels."""
    out = maps[:, None]
    for axis, sigma in enumerate(sigmas):
        reach = max(min(int(3 * sigma), maps.shape[1 + axis] - 1), 0)
        kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / max(sigma, 1e-3)).square())
        weight = (kernel / kernel.sum()).view(1, 1, *((-1, 1) if axis == 0 else (1, -1)))
        out = F.conv2d(out, weight.to(out), padding=(reach, 0) if axis == 0 else (0, reach))
    return out[:, 0]


class HeartInferer(Inferer):
    """Localize the heart, crop it in the network's size of pixel, segment it, and bring it back.

    The heart is where the network, on a few frames of the whole field of view, sees wall and cavity, and where the
    image changes over time; all slices vote together. The crop around it is brought to one scale
    (:func:`~monai_stcnnt.mri.hearts.heart_scale`) and segmented frame by frame or in clips. With ``views`` the
    result is the mean over turned and mirrored images.

    Networks that learned with soft Dice make classes too large where they are uncertain [1]: thin walls get too thick.
    ``given_share`` corrects that. It belongs to a network, and is chosen on images that it learned from.

    Args:
        size: (h, w) of the crop.
        pixel: its pixels in mm.
        views: 1, 2, 4 (quarter turns) or 8 (with mirror images).
        given_share: share of the probability of the wall, class 2, that counts for the background, class 0.
        batch_size: slices per call of the network.
        progress: show a bar.

    Raises:
        OptionError: for another number of views, and for a share that is not from 0 to 1.
        LayoutError: in the call, for an input without the axes (Z, 1, T, H, W).
        NetworkOutputError: in the call, where the network makes NaN or infinite values.

    Example:
        >>> HeartInferer((32, 32))(torch.rand(2, 1, 5, 40, 50), torch.nn.Conv3d(1, 4, 1)).shape
        torch.Size([2, 4, 5, 40, 50])

    References:
        [1] Bertels et al., "Theoretical analysis and experimental validation of volume bias of soft Dice optimized
        segmentation maps in the context of inherent uncertainty", Medical Image Analysis 2021,
        https://doi.org/10.1016/j.media.2020.101833
    """

    def __init__(
        self,
        size: Sequence[int] = (96, 96),
        pixel: float = 1.75,
        views: int = 1,
        batch_size: int = 1,
        given_share: float = 0.0,
        *,
        progress: bool = False,
    ) -> None:
        super().__init__()
        if views not in VIEWS:
            raise OptionError(f"views is one of {VIEWS}, not {views!r}.")
        if not 0 <= given_share <= 1:
            raise OptionError(f"given_share is a number from 0 to 1, not {given_share}.")
        self.size, self.pixel, self.views = tuple(int(n) for n in size), pixel, views
        self.given_share = given_share
        self.batch_size, self.progress = batch_size, progress

    def __call__(
        self,
        inputs: Tensor,
        network: Network,
        *args: Any,  # noqa: ANN401 - passed on
        **kwargs: Any,  # noqa: ANN401 - passed on
    ) -> Tensor:
        """Segment a stack.

        Args:
            inputs: magnitudes (Z, 1, T, H, W), or a batch of series (B, Z, 1, T, H, W); a MetaTensor tells the size of
                its pixels by the affine of its file, in which x are the columns and y the rows; else pixels are those
                of the network.
            network: from (B, 1, T, h, w) to logits (B, K, T, h, w).
            *args: passed to the network.
            **kwargs: passed to the network.

        Returns:
            Logarithms of probabilities, of the input's shape with K channels, with the metadata of the input and, in
            it, :data:`~monai_stcnnt.mri.hearts.VIEW_AREAS`.
        """
        if inputs.ndim not in (5, 6) or inputs.shape[-4] != 1:
            raise LayoutError(f"The inferer takes slices ([B,] Z, 1, T, H, W), got shape {list(inputs.shape)}.")
        plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        series = plain if inputs.ndim == 6 else plain[None]
        results = [
            self._segment(one, _spacing(inputs, n, self.pixel), network, *args, **kwargs)
            for n, one in enumerate(series)
        ]
        logits, areas = (torch.stack(parts) if inputs.ndim == 6 else parts[0] for parts in zip(*results, strict=True))
        if not isinstance(inputs, MetaTensor):
            return logits
        out = MetaTensor(logits).copy_meta_from(inputs)
        out.meta[VIEW_AREAS] = areas
        return out

    def _segment(
        self,
        series: Tensor,
        spacing: tuple[float, float],
        network: Network,
        *args: Any,  # noqa: ANN401 - passed on
        **kwargs: Any,  # noqa: ANN401 - passed on
    ) -> tuple[Tensor, Tensor]:
        """Logarithms of probabilities of one series, and its areas (V, Z, K, T) in square mm."""

        def run(clips: Tensor) -> Tensor:
            logits = network(clips, *args, **kwargs).float()
            check_network_output(logits)
            return logits.softmax(1)

        center = self.find(series, spacing, run)
        crops = heart_scale(crop_heart(series, spacing, center, self.size, self.pixel))
        mean, areas = self._predict(crops, run)
        probabilities = uncrop_heart(mean, series.shape[3:], spacing, center, self.pixel)
        return probabilities.clamp(min=1e-6).log(), areas * self.pixel**2

    def find(self, images: Tensor, spacing: Sequence[float], run: Network) -> tuple[float, float]:
        """Center of the heart (y, x) in mm from the first pixel's center."""
        extents = [n * s for n, s in zip(images.shape[3:], spacing, strict=True)]
        middle = [(n - 1) * s / 2 for n, s in zip(images.shape[3:], spacing, strict=True)]
        size = [max(-(-round(extent / self.pixel) // 16) * 16, 16) for extent in extents]
        frames = sorted({int(t) for t in torch.linspace(0, images.shape[2] - 1, min(LOOKS, images.shape[2]))})
        whole = crop_heart(images, spacing, middle, size, self.pixel)
        seen = torch.stack([run(heart_scale(clip[None, :, frames]))[0, 2:].sum(0).mean(0) for clip in whole])
        moving = motion_map(whole, (self.pixel, self.pixel)).to(seen)
        votes = (_blur(seen, [SMOOTHING / self.pixel] * 2) * (0.2 + moving)).sum(0).detach()
        weights = (votes / votes.amax().clamp(min=1e-12)) ** 4
        y, x = ((torch.arange(n) - (n - 1) / 2).to(votes) * self.pixel for n in size)
        total = weights.sum().clamp(min=1e-12)
        center = ((weights.sum(1) * y).sum() / total, (weights.sum(0) * x).sum() / total)
        return float(center[0]) + middle[0], float(center[1]) + middle[1]

    def _predict(self, crops: Tensor, run: Network) -> tuple[Tensor, Tensor]:
        """Mean probabilities over the views, and the pixels (views, Z, K, T) of every class in each."""
        total, areas = torch.zeros(()), []
        batches = crops.split(self.batch_size)
        with tqdm(total=self.views * len(batches), leave=False, disable=None if self.progress else True) as bar:
            for view in range(self.views):
                turned = []
                for batch in batches:
                    turned.append(_turn_back(run(_turn(batch, view)), view))
                    bar.update()
                probabilities = self._corrected(torch.cat(turned))
                chosen = probabilities.argmax(1, keepdim=True)
                classes = torch.arange(probabilities.shape[1], device=chosen.device).view(1, -1, 1, 1, 1)
                areas.append((chosen == classes).sum((3, 4)).float())
                total = total.to(probabilities) + probabilities
        return total / self.views, torch.stack(areas)

    def _corrected(self, probabilities: Tensor) -> Tensor:
        """Probabilities (Z, K, T, h, w) after the wall has given its share to the background."""
        if self.given_share == 0:
            return probabilities
        given = self.given_share * probabilities[:, 2]
        out = probabilities.clone()
        out[:, 0] += given
        out[:, 2] -= given
        return out


def _turn(x: Tensor, view: int) -> Tensor:
    return torch.rot90(x.flip(-1) if view >= 4 else x, view % 4, (-2, -1))


def _turn_back(x: Tensor, view: int) -> Tensor:
    x = torch.rot90(x, -(view % 4), (-2, -1))
    return x.flip(-1) if view >= 4 else x


def _spacing(inputs: Tensor, number: int, default: float) -> tuple[float, float]:
    """Size of a pixel (H, W) in mm of one series of a batch: H is the file's y, W its x."""
    if not isinstance(inputs, MetaTensor):
        return default, default
    affines = torch.as_tensor(inputs.affine).float().view(-1, 4, 4)
    steps = affines[number if len(affines) > 1 else 0, :3, :2].norm(dim=0)
    return float(steps[1]), float(steps[0])
