# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Sliding-window inference over frames, rows and columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.data.meta_tensor import MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.utils import BlendMode, PytorchPadMode

from monai_stcnnt.errors import ImageSizeError, LayoutError

__all__ = ["FrameSlidingWindowInferer", "pad_to_window"]


def pad_to_window(x: torch.Tensor, window: Sequence[int]) -> torch.Tensor:
    """Extend T, H and W of (B, C, T, H, W) at their ends to at least ``window``.

    The image is reflected, several times where the window is much larger; an extent of 1 is repeated.
    """
    for axis, wanted in enumerate(window, start=2):
        extent = x.shape[axis]
        if extent >= wanted:
            continue
        period = max(2 * (extent - 1), 1)
        place = torch.arange(wanted, device=x.device) % period
        x = x.index_select(axis, torch.minimum(place, period - place) if extent > 1 else torch.zeros_like(place))
    return x


class FrameSlidingWindowInferer(SlidingWindowInferer):
    """MONAI's sliding window over (T, H, W), safe for short clips and small images.

    Against :class:`monai.inferers.SlidingWindowInferer`: the input is computed in float32 whatever its type; an image
    smaller than the window is extended by reflection (repetition where it has one frame) and cropped again, or the
    window is shrunk to it; a network that returns its input does not corrupt it; a bar shows the progress when asked.
    The windows go to ``sw_device`` a batch at a time, the stitched result lies on ``device``, so that the memory of the
    network follows the window and not the scan.

    Args:
        roi_size: window (t, h, w); an entry of -1 takes the whole extent.
        sw_batch_size: windows per call of the network.
        overlap: share of the window that neighbors have in common, one number or one per axis.
        mode: ``gaussian`` or ``constant`` blending.
        sigma_scale: width of the Gaussian as a share of the window.
        shrink_to_image: run an image that is smaller than the window as it is, for networks that take any size; else
            it is extended to the window. One flag, or one for each of t, h and w.
        progress: show a bar.
        sw_device: where windows are computed; default is where the input lies.
        device: where the result is put together; default is where the input lies.

    Raises:
        ImageSizeError: for a window that is not three numbers.
        LayoutError: in the call, for an input without five axes.

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
            raise ImageSizeError(f"roi_size is (t, h, w), got {tuple(roi_size)}.")
        super().__init__(
            roi_size=tuple(roi_size),
            sw_batch_size=sw_batch_size,
            overlap=overlap,
            mode=mode,
            sigma_scale=sigma_scale,
            padding_mode=PytorchPadMode.REPLICATE,
            sw_device=sw_device,
            device=device,
            progress=progress,
        )
        self.window = tuple(int(r) for r in roi_size)
        shrink = (shrink_to_image,) * 3 if isinstance(shrink_to_image, bool) else tuple(shrink_to_image)
        if len(shrink) != 3:
            raise ImageSizeError(f"shrink_to_image is one flag, or one for each of t, h and w, got {shrink}.")
        self.shrink_to_image = shrink

    def __call__(  # type: ignore[override]  # MONAI's also allows several outputs, which frames never have here
        self,
        inputs: torch.Tensor,
        network: Callable[..., torch.Tensor],
        *args: Any,  # noqa: ANN401 - passed on
        **kwargs: Any,  # noqa: ANN401 - passed on
    ) -> torch.Tensor:
        """Run a network window by window.

        Args:
            inputs: (B, C, T, H, W).
            network: called with windows (n, C, t, h, w), returns (n, C', t, h, w).
            *args: passed to the network.
            **kwargs: passed to the network.

        Returns:
            (B, C', T, H, W) in float32, with the metadata of the input where it has any.
        """
        if inputs.dim() != 5:
            raise LayoutError(f"The inferer takes (B, C, T, H, W), got shape {list(inputs.shape)}.")
        size = inputs.shape[2:]
        window = [extent if r <= 0 else r for r, extent in zip(self.window, size, strict=True)]
        window = [
            min(w, extent) if shrink else w
            for w, extent, shrink in zip(window, size, self.shrink_to_image, strict=True)
        ]
        plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        image = pad_to_window(plain.float(), window)

        def fresh(patch: torch.Tensor, *a: Any, **k: Any) -> torch.Tensor:  # noqa: ANN401
            out = network(patch, *a, **k)
            return out.clone() if out.data_ptr() == patch.data_ptr() else out.float()

        self.roi_size = tuple(window)
        try:
            stitched = super().__call__(image, fresh, *args, **kwargs)
        finally:
            self.roi_size = self.window
        assert isinstance(stitched, torch.Tensor)
        stitched = stitched[:, :, : size[0], : size[1], : size[2]]
        return MetaTensor(stitched).copy_meta_from(inputs) if isinstance(inputs, MetaTensor) else stitched
