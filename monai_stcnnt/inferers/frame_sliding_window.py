# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Sliding-window inference over frames, rows and columns, for tensors and for images larger than memory."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from monai.data.meta_tensor import MetaTensor
from monai.data.utils import compute_importance_map, dense_patch_slices
from monai.inferers import SlidingWindowInferer
from monai.utils import BlendMode
from tqdm import tqdm

from monai_stcnnt.errors import DeviceMemoryError, LayoutError, OptionError
from monai_stcnnt.tensors import check_network_output, reflect_index

__all__ = ["FrameSlidingWindowInferer", "pad_to_window"]

logger = logging.getLogger(__name__)

_MULTIPLE = 4
"""Of windows that are fitted: networks halve rows and columns twice or more often."""

Network = Callable[..., torch.Tensor]


def pad_to_window(x: torch.Tensor, window: Sequence[int]) -> torch.Tensor:
    """Extend T, H and W of (B, C, T, H, W) at their ends to at least ``window``.

    The image is reflected, several times where the window is much larger; an extent of 1 is repeated.
    """
    for axis, wanted in enumerate(window, start=2):
        if x.shape[axis] < wanted:
            x = x.index_select(axis, reflect_index(x.shape[axis], wanted, x.device))
    return x


def windows_needed(extent: int, window: int, shared: int) -> int:
    """Number of windows that cover an extent, where neighbors have ``shared`` in common."""
    return -(-max(extent - shared, 1) // max(window - shared, 1))


def fitting_window(extent: int, largest: int, shared: int) -> int:
    """Smallest window of which no more are needed than of the largest: a multiple of 4, the largest, or the image.

    Args:
        extent: of the image.
        largest: window.
        shared: what neighbors have in common, less than the largest window.
    """
    if extent <= largest:
        return extent
    count = windows_needed(extent, largest, shared)
    window = -(-(extent + (count - 1) * shared) // count)
    return min(largest, window + -window % _MULTIPLE)


def cheapest_window(size: Sequence[int], largest: Sequence[int], shared: Sequence[int]) -> tuple[int, int, int]:
    """Window of at most as many voxels as the largest one, and not fewer frames, with which the least is computed.

    More frames than the largest one has, up to twice as many, go with smaller planes. Of windows that are equally good,
    the one with the most frames is taken.

    Args:
        size: (T, H, W) of the image.
        largest: (t, h, w) of the window.
        shared: frames, rows and columns that neighbors have in common.
    """
    choices = [(min(largest[0], size[0]), largest[1], largest[2])]
    for frames in range(largest[0] + 1, min(2 * largest[0], size[0]) + 1):
        scale = math.sqrt(largest[0] / frames)
        rows, columns = (max(int(scale * largest[i]) // _MULTIPLE * _MULTIPLE, shared[i] + 1) for i in (1, 2))
        choices.append((frames, rows, columns))
    windows: dict[tuple[int, int], tuple[int, int, int]] = {}
    for frames, rows, columns in choices:
        window = frames, fitting_window(size[1], rows, shared[1]), fitting_window(size[2], columns, shared[2])
        if math.prod(window) <= math.prod(largest):
            count = math.prod(map(windows_needed, size, window, shared))
            windows[count * math.prod(window), -frames] = window
    return windows[min(windows)]


class FrameSlidingWindowInferer(SlidingWindowInferer):
    """MONAI's sliding window over (T, H, W), safe for short clips, small images and series larger than memory.

    Windows, weights and sums are those of :class:`monai.inferers.SlidingWindowInferer`. The differences: the input is
    computed in float32 whatever its type; an image smaller than the window is extended by reflection (repetition where
    it has one frame) and cropped again, or the window is shrunk to it; a network that returns or changes its input does
    not corrupt it; where a device runs out of memory, fewer windows are taken at once, and the log says so.

    Windows run from the first frame to the last, and a frame is finished when no later window reaches it.
    :meth:`stream` reads frames when a window needs them and hands them out when they are finished: beside the network
    it needs memory for the frames of one window, however many there are.

    Args:
        roi_size: window (t, h, w); an entry of -1 takes the whole extent.
        sw_batch_size: windows per call of the network; fewer where the device runs out of memory.
        overlap: share of the window that neighbors have in common, one number or one per axis.
        mode: ``gaussian`` or ``constant`` blending.
        sigma_scale: width of the Gaussian as a share of the window.
        shrink_to_image: for networks that take any size: run an image that is smaller than the window as it is, and
            take windows of a larger one only as high and wide as equally many have to be with this overlap. Else a
            smaller image is extended to the window. One flag, or one for each of t, h and w. With all three, windows
            have more frames (up to twice as many) and smaller planes where that is less to compute; they have no more
            voxels than ``roi_size``.
        progress: show a bar.
        sw_device: where windows are computed and put together; default is where the input lies.
        device: where the result goes; default is where the input lies.

    Raises:
        OptionError: for a window, an overlap or flags that are not three, or an overlap outside of 0 to below 1.
        LayoutError: in the call, for an input without five axes, or a network that changes the size of its windows.
        DeviceMemoryError: in the call, where the device has no memory for one window.
        NetworkOutputError: in the call, where the network makes NaN or infinite values of finite ones.

    Example:
        >>> inferer = FrameSlidingWindowInferer(roi_size=(16, 64, 64), overlap=(0.25, 0.25, 0.25))
        >>> inferer(torch.rand(1, 2, 5, 80, 70), torch.nn.Conv3d(2, 1, 1)).shape
        torch.Size([1, 1, 5, 80, 70])
    """

    def __init__(
        self,
        roi_size: Sequence[int] = (16, 64, 64),
        sw_batch_size: int = 1,
        overlap: Sequence[float] | float = 0.25,
        mode: BlendMode | str = BlendMode.GAUSSIAN,
        sigma_scale: Sequence[float] | float = 0.125,
        *,
        shrink_to_image: Sequence[bool] | bool = False,
        progress: bool = False,
        sw_device: torch.device | str | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        if len(roi_size) != 3:
            raise OptionError(f"roi_size is (t, h, w), got {tuple(roi_size)}.")
        if sw_batch_size < 1:
            raise OptionError(f"sw_batch_size is {sw_batch_size}: give 1 window at once or more.")
        super().__init__(
            roi_size=tuple(roi_size),
            sw_batch_size=sw_batch_size,
            overlap=overlap,
            mode=mode,
            sigma_scale=sigma_scale,
            sw_device=sw_device,
            device=device,
            progress=progress,
        )
        self.window = tuple(int(r) for r in roi_size)
        self.shares = (float(overlap),) * 3 if isinstance(overlap, (int, float)) else tuple(overlap)
        if len(self.shares) != 3 or not all(0 <= share < 1 for share in self.shares):
            raise OptionError(f"overlap is a share from 0 to below 1, or one for each of t, h and w, got {overlap}.")
        shrink = (shrink_to_image,) * 3 if isinstance(shrink_to_image, bool) else tuple(shrink_to_image)
        if len(shrink) != 3:
            raise OptionError(f"shrink_to_image is one flag, or one for each of t, h and w, got {shrink}.")
        self.shrink_to_image = shrink

    def __call__(  # type: ignore[override]  # MONAI's also allows several outputs, which frames never have here
        self,
        inputs: torch.Tensor,
        network: Network,
        *args: Any,  # noqa: ANN401 - passed on
        **kwargs: Any,  # noqa: ANN401 - passed on
    ) -> torch.Tensor:
        """Run a network window by window.

        Args:
            inputs: (B, C, T, H, W), or a batch of series (B, N, C, T, H, W) with N items of frames each.
            network: called with windows (n, C, t, h, w), returns (n, C', t, h, w).
            *args: passed to the network.
            **kwargs: passed to the network.

        Returns:
            (B, C', T, H, W), or (B, N, C', T, H, W), in float32, with the metadata of the input where it has any.
        """
        if inputs.dim() not in (5, 6):
            raise LayoutError(f"The inferer takes ([B,] N, C, T, H, W), got shape {list(inputs.shape)}.")
        plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        if inputs.dim() == 6:
            result = self(plain.flatten(0, 1), network, *args, **kwargs).unflatten(0, inputs.shape[:2])
            return MetaTensor(result).copy_meta_from(inputs) if isinstance(inputs, MetaTensor) else result
        device = self.device or inputs.device
        size = tuple(inputs.shape[2:])
        result = torch.empty(0)
        with tqdm(
            total=self.count_windows(size) * len(plain), leave=False, disable=None if self.progress else True
        ) as bar:
            blocks = self.stream(
                lambda start, stop: plain[:, :, start:stop],
                size,
                lambda patch: network(patch, *args, **kwargs),
                advance=bar.update,
            )
            for start, block in blocks:
                if not result.numel():
                    result = torch.empty((*block.shape[:2], *size), device=device)
                result[:, :, start : start + block.shape[2]] = block.to(device)
        return MetaTensor(result).copy_meta_from(inputs) if isinstance(inputs, MetaTensor) else result

    def count_windows(self, size: Sequence[int]) -> int:
        """Tell how many windows an image of (T, H, W) has."""
        frames, planes = self._places(size, self._window_of(size))
        return len(frames) * len(planes)

    def stream(
        self,
        read: Callable[[int, int], torch.Tensor],
        size: Sequence[int],
        network: Network,
        *,
        advance: Callable[[int], object] = lambda _: None,
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """Run a network over frames that are read when they are needed.

        Args:
            read: called with a first frame and the one after the last, returns these frames (B, C, t, H, W). Frames are
                asked for once each, in their order.
            size: (T, H, W) of the image.
            network: called with windows (n, C, t, h, w), returns (n, C', t, h, w).
            advance: called with the number of windows that were done, after every call of the network.

        Yields:
            Number of the first frame, and finished frames (B, C', t, H, W) in float32, in their order: together what
            the inferer makes of the whole image. They lie on ``sw_device``.

        Raises:
            LayoutError: if the network changes the size of its windows.
            DeviceMemoryError: where the device has no memory for one window.
        """
        window = self._window_of(size)
        starts, planes = self._places(size, window)
        sums = _Sums(self.mode, self.sigma_scale, window, planes)
        block, end = torch.empty(0), 0
        for number, start in enumerate(starts):
            stop = min(start + window[0], size[0])
            fresh = self._load(read(end, stop), window if start + window[0] > size[0] else (1, *window[1:]))
            block = fresh if number == 0 else torch.cat([block[:, :, block.shape[2] - (end - start) :], fresh], dim=2)
            end = stop
            sums.begin(start)
            for places in _batches([(b, p) for b in range(len(block)) for p in planes], lambda: self.sw_batch_size):
                patches = torch.stack([block[b, :, :, rows, columns] for b, (rows, columns) in places])
                sums.add(places, self._predict(patches, network), block)
                advance(len(places))
            finished = starts[number + 1] if number + 1 < len(starts) else size[0]
            yield start, sums.take(finished - start)[..., : size[1], : size[2]]

    def _load(self, frames: torch.Tensor, window: Sequence[int]) -> torch.Tensor:
        return pad_to_window(frames.to(self.sw_device or frames.device, torch.float32), window)

    def _window_of(self, size: Sequence[int]) -> tuple[int, int, int]:
        """The window for an image: whole extents where asked, no larger than needed where it shrinks to the image."""
        window = self._asked(size)
        shared = self._shared(window)
        if all(self.shrink_to_image):
            return cheapest_window(size, window, shared)
        t, h, w = window
        return (
            min(t, size[0]) if self.shrink_to_image[0] else t,
            fitting_window(size[1], h, shared[1]) if self.shrink_to_image[1] else h,
            fitting_window(size[2], w, shared[2]) if self.shrink_to_image[2] else w,
        )

    def _asked(self, size: Sequence[int]) -> list[int]:
        """The window that was asked for, with the extents of the image where that was asked."""
        return [extent if r <= 0 else r for r, extent in zip(self.window, size, strict=True)]

    def _shared(self, window: Sequence[int]) -> list[int]:
        """Frames, rows and columns that neighbors have in common; as MONAI rounds them."""
        return [r - max(int(r * (1 - share)), 1) for r, share in zip(window, self.shares, strict=True)]

    def _places(self, size: Sequence[int], window: Sequence[int]) -> tuple[list[int], list[tuple[slice, slice]]]:
        """First frames of the windows, and their places in a frame, in MONAI's order."""
        padded = [max(r, n) for r, n in zip(window, size, strict=True)]
        shared = self._shared(self._asked(size))
        steps = [r if r == n else max(r - s, 1) for r, n, s in zip(window, padded, shared, strict=True)]
        frames = dense_patch_slices(padded[:1], window[:1], steps[:1])
        planes = dense_patch_slices(padded[1:], window[1:], steps[1:])
        return [int(frame[0].start) for frame in frames], [(rows, columns) for rows, columns in planes]

    def _predict(self, patches: torch.Tensor, network: Network) -> torch.Tensor:
        """Run the network on (n, C, t, h, w); where memory runs out, on fewer at once from then on."""
        parts: list[torch.Tensor] = []
        done = 0
        while done < len(patches):
            batch = patches[done : done + self.sw_batch_size]
            out = self._attempt(batch, network)
            if out is not None:
                parts.append(out)
                done += len(batch)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _attempt(self, batch: torch.Tensor, network: Network) -> torch.Tensor | None:
        """Run the network; None where memory ran out, and half as many windows are to be taken."""
        try:
            out = network(batch).float()
        except torch.OutOfMemoryError as error:
            if len(batch) == 1:
                raise DeviceMemoryError(
                    f"{batch.device} has not enough memory for one window of {tuple(batch.shape[2:])}. Choose a "
                    "smaller roi_size, or another device."
                ) from error
        else:
            if out.shape[2:] != batch.shape[2:]:
                raise LayoutError(
                    f"The network made {list(out.shape)} of windows {list(batch.shape)}; their size must stay."
                )
            if bool(batch.isfinite().all()):
                check_network_output(out)
            return out
        self.sw_batch_size = len(batch) // 2
        logger.warning(
            "%s is out of memory with %d windows at once; continuing with %d",
            batch.device, len(batch), self.sw_batch_size,
        )  # fmt: skip
        if batch.is_cuda:
            torch.cuda.empty_cache()
        return None


class _Sums:
    """Weighted sums of windows over the frames that are not finished."""

    def __init__(
        self,
        mode: BlendMode | str,
        sigma_scale: Sequence[float] | float,
        window: tuple[int, int, int],
        planes: Sequence[tuple[slice, slice]],
    ) -> None:
        self.weights = compute_importance_map(window, mode=mode, sigma_scale=sigma_scale)
        self.planes = planes
        self.start = 0
        self.values = self.totals = torch.empty(0)

    def begin(self, start: int) -> None:
        """Move on to windows that begin with another frame; the frames before it must have been taken."""
        frames = self.weights.shape[0]
        if self.totals.numel():
            kept = frames - (start - self.start)
            for sums in (self.values, self.totals):
                sums[:, :, :kept] = sums[:, :, frames - kept :].clone()
                sums[:, :, kept:] = 0
            self._count()
        self.start = start

    def add(self, places: Sequence[tuple[int, tuple[slice, slice]]], out: torch.Tensor, block: torch.Tensor) -> None:
        """Add windows (n, C', t, h, w) at their places in a block (B, C, t, H, W)."""
        if not self.totals.numel():
            self.weights = self.weights.to(out.device)
            self.values = out.new_zeros((len(block), out.shape[1], *block.shape[2:]))
            self.totals = out.new_zeros((1, 1, *block.shape[2:]))
            self._count()
        for (b, (rows, columns)), window in zip(places, out, strict=True):
            self.values[b, :, :, rows, columns] += window * self.weights

    def take(self, frames: int) -> torch.Tensor:
        """The first frames (B, C', frames, H, W), now that they are finished."""
        return self.values[:, :, :frames] / self.totals[:, :, :frames]

    def _count(self) -> None:
        for rows, columns in self.planes:
            self.totals[0, 0, :, rows, columns] += self.weights


def _batches(
    places: Sequence[tuple[int, tuple[slice, slice]]], size: Callable[[], int]
) -> Iterator[Sequence[tuple[int, tuple[slice, slice]]]]:
    """Split places into batches of a size that may get smaller meanwhile."""
    done = 0
    while done < len(places):
        batch = places[done : done + size()]
        done += len(batch)
        yield batch
