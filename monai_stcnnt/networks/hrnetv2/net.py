# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""HRNetV2: the convolutional high-resolution network as a MONAI network, in two and three dimensions.

References:
    Wang et al., "Deep high-resolution representation learning for visual recognition", IEEE TPAMI 2021,
    https://doi.org/10.1109/TPAMI.2020.2983686

    Yuan, Chen, Wang, "Object-contextual representations for semantic segmentation", ECCV 2020,
    https://doi.org/10.1007/978-3-030-58539-6_11
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import nn

from monai_stcnnt.errors import LayoutError, NetworkConfigError
from monai_stcnnt.networks.checks import check_choice, check_positive
from monai_stcnnt.networks.hrnetv2.modules import (
    BlockName,
    FuseMode,
    HRNetStage,
    HRNetTransition,
    NormSpec,
    block_expansion,
    interpolation_name,
    make_conv,
    make_conv_norm,
    make_layer,
    make_norm,
    resize,
)
from monai_stcnnt.networks.hrnetv2.ocr import OCRDistribution, gather_regions

__all__ = ["HRNETV2_VARIANTS", "HRNetV2"]

HRNETV2_VARIANTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "hrnetv2_w18_small_v2": {
            "channels": (18, 36, 72, 144), "num_modules": (1, 3, 2), "num_blocks": (2, 2, 2), "layer1_blocks": 2
        },
        "hrnetv2_w18": {
            "channels": (18, 36, 72, 144), "num_modules": (1, 4, 3), "num_blocks": (4, 4, 4), "layer1_blocks": 4
        },
        "hrnetv2_w32": {
            "channels": (32, 64, 128, 256), "num_modules": (1, 4, 3), "num_blocks": (4, 4, 4), "layer1_blocks": 4
        },
        "hrnetv2_w48": {
            "channels": (48, 96, 192, 384), "num_modules": (1, 4, 3), "num_blocks": (4, 4, 4), "layer1_blocks": 4
        },
    }
)  # fmt: skip
"""Keywords of :class:`HRNetV2` for each published variant."""

STAGES = 3
INITIAL_GAIN = 0.5  # norms undo it in training; with 1 an untrained network grows beyond half precision in eval mode


class HRNetV2(nn.Module):
    """HRNetV2 for segmentation: four resolutions in parallel that exchange information again and again.

    Two convolutions of stride 2 lead to a quarter of the resolution, bottleneck blocks (``layer1``) widen it, then
    three stages of :class:`~monai_stcnnt.networks.hrnetv2.modules.HighResolutionModule` work on two, three and
    four branches. The branches are interpolated to the finest one and concatenated, and a head turns them into logits.
    Names and shapes of the state dict are those of the published checkpoints, which
    :func:`monai_stcnnt.checkpoints.hrnet.load_hrnet` loads.

    Args:
        spatial_dims: 2 convolves single images or the frames of a clip, 3 volumes or clips as a whole. In 3D all three
            axes are strided alike.
        in_channels: channels of the image.
        out_channels: number of classes (at least 2 with ``ocr``).
        channels: channels of the four branches, the same in all stages; or one sequence per stage.
        num_blocks: residual blocks per stage: one number for all branches of a stage, or one sequence per stage.
        num_modules: high-resolution modules per stage.
        block: the stages' blocks: ``basic``, or ``bottleneck`` (four times as many channels come out).
        stem_channels: channels of the first two convolutions.
        layer1_channels: inner channels of the bottleneck blocks; four times as many come out.
        layer1_blocks: number of bottleneck blocks.
        fuse_mode: how coarse branches are interpolated inside the modules: ``nearest`` (as in the published
            classification networks) or ``bilinear`` (segmentation; trilinear in 3D). The concatenation and the output
            are always interpolated linearly.
        align_corners: of every linear interpolation. Published: True with OCR, False without.
        multi_scale_output: False ends the last module with the finest branch only, which then feeds the head.
        norm: ``batch``, or ``instance`` (with weights, without running statistics).
        bn_momentum: weight of a new batch in the running statistics of ``batch`` (None: 0.1).
        final_kernel_size: 1 or 3, of the last convolution; the OCR head has no such choice.
        ocr: segment by object-contextual representations; an auxiliary head proposes the regions.
        ocr_channels: channels of pixels and regions, and of queries and keys, in the OCR head.
        ocr_dropout_rate: probability that a channel of the OCR head is zeroed in training.
        deep_supervision: with ``ocr`` in training mode, return ``[auxiliary, main]`` logits; else the main ones alone.
        upsample_output: interpolate the logits to the size of the input; False leaves them at a quarter of it
            (rounded up), as published.
        layout: ``BCTHW``, MONAI's, or ``BTCHW``, frames first, of 5-D inputs and outputs.

    Shapes: (B, in_channels, H, W) for ``spatial_dims=2``, (B, in_channels, T, H, W) for both (``spatial_dims=2``
    treats every frame by itself), to logits with ``out_channels`` channels and no softmax. Any T, H, W of at least 1.
    One tensor in eval mode; see ``deep_supervision`` for training mode.

    Departures from the published code: convolutions start from half of Kaiming's normal distribution (fan out)
    instead of a fixed standard deviation of 0.001; ``align_corners`` belongs to the network, not to the process; plain
    batch norm instead of a synchronized one (``torch.nn.SyncBatchNorm.convert_sync_batchnorm`` makes it one).

    Raises:
        NetworkConfigError: for options that do not exist or do not fit together.
        LayoutError: by ``forward``, for a tensor with other axes or channels.

    Example:
        >>> net = HRNetV2(2, in_channels=1, out_channels=4, **HRNETV2_VARIANTS["hrnetv2_w18_small_v2"]).eval()
        >>> net(torch.randn(1, 1, 3, 65, 70)).shape
        torch.Size([1, 4, 3, 65, 70])
    """

    __constants__ = ("ocr",)

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] | Sequence[Sequence[int]] = (18, 36, 72, 144),
        num_blocks: Sequence[int] | Sequence[Sequence[int]] = (4, 4, 4),
        num_modules: Sequence[int] = (1, 4, 3),
        *,
        block: BlockName = "basic",
        stem_channels: int = 64,
        layer1_channels: int = 64,
        layer1_blocks: int = 4,
        fuse_mode: FuseMode = "bilinear",
        align_corners: bool = False,
        multi_scale_output: bool = True,
        norm: Literal["batch", "instance"] = "batch",
        bn_momentum: float | None = None,
        final_kernel_size: int = 1,
        ocr: bool = False,
        ocr_channels: tuple[int, int] = (512, 256),
        ocr_dropout_rate: float = 0.05,
        deep_supervision: bool = True,
        upsample_output: bool = True,
        layout: Literal["BCTHW", "BTCHW"] = "BCTHW",
    ) -> None:
        super().__init__()
        check_choice("spatial_dims", spatial_dims, (2, 3))
        check_choice("layout", layout, ("BCTHW", "BTCHW"))
        check_positive(in_channels=in_channels, out_channels=out_channels, stem_channels=stem_channels)
        check_positive(layer1_channels=layer1_channels, layer1_blocks=layer1_blocks)
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.align_corners = align_corners
        self.mode = interpolation_name("bilinear", spatial_dims)
        self.frames_first = layout == "BTCHW"
        self.upsample_output = upsample_output
        self.ocr = ocr
        self.return_auxiliary = ocr and deep_supervision
        norm_spec = _norm_spec(norm, bn_momentum)

        self.conv1 = make_conv(spatial_dims, in_channels, stem_channels, 3, stride=2)
        self.bn1 = make_norm(norm_spec, spatial_dims, stem_channels)
        self.conv2 = make_conv(spatial_dims, stem_channels, stem_channels, 3, stride=2)
        self.bn2 = make_norm(norm_spec, spatial_dims, stem_channels)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = make_layer("bottleneck", spatial_dims, stem_channels, layer1_channels, layer1_blocks, norm_spec)
        stages = _make_stages(
            _stage_modules(num_modules),
            _stage_blocks(num_blocks),
            _stage_widths(channels),
            multi_scale_output=multi_scale_output,
            spatial_dims=spatial_dims,
            block=block,
            norm=norm_spec,
            fuse_mode=fuse_mode,
            align_corners=align_corners,
        )
        self.stage2, self.stage3, self.stage4 = stages
        layer1_width = layer1_channels * block_expansion("bottleneck")
        self.transition1 = HRNetTransition(spatial_dims, [layer1_width], self.stage2.in_channels, norm_spec)
        self.transition2 = HRNetTransition(spatial_dims, self.stage2.out_channels, self.stage3.in_channels, norm_spec)
        self.transition3 = HRNetTransition(spatial_dims, self.stage3.out_channels, self.stage4.in_channels, norm_spec)
        self.feature_channels = self.stage4.out_channels
        self.feature_strides = [4 * 2**level for level in range(len(self.feature_channels))]
        self._add_head(norm_spec, final_kernel_size, ocr_channels, ocr_dropout_rate)
        self.apply(_initialize)

    def _add_head(
        self, norm: NormSpec, final_kernel_size: int, ocr_channels: tuple[int, int], ocr_dropout_rate: float
    ) -> None:
        dims, merged, classes = self.spatial_dims, sum(self.feature_channels), self.out_channels
        if not self.ocr:
            check_choice("final_kernel_size", final_kernel_size, (1, 3))
            self.last_layer = make_conv_norm(dims, merged, merged, 1, norm=norm, bias=True)
            self.last_layer.append(make_conv(dims, merged, classes, final_kernel_size, bias=True))
            return
        if classes < 2 or final_kernel_size != 1:
            raise NetworkConfigError(
                f"ocr=True compares regions of at least 2 classes and ends with a 1x1 convolution, got "
                f"out_channels={classes} and final_kernel_size={final_kernel_size}."
            )
        pixels, keys = ocr_channels
        check_positive(ocr_channels=min(ocr_channels))
        self.aux_head = make_conv_norm(dims, merged, merged, 1, norm=norm, bias=True)
        self.aux_head.append(make_conv(dims, merged, classes, 1, bias=True))
        self.conv3x3_ocr = make_conv_norm(dims, merged, pixels, 3, norm=norm, bias=True)
        self.ocr_distri_head = OCRDistribution(dims, pixels, keys, norm, ocr_dropout_rate)
        self.cls_head = make_conv(dims, pixels, classes, 1, bias=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Segment images.

        Args:
            x: (B, in_channels, H, W), (B, in_channels, T, H, W) or, with ``layout="BTCHW"``, (B, T, in_channels, H, W).

        Returns:
            Logits in the layout of ``x``; in training mode with ``ocr`` and ``deep_supervision`` the list of auxiliary
            and main logits.
        """
        images = self.to_images(x)
        outputs: list[torch.Tensor] = []
        for y in self.logits(images):
            if self.upsample_output:
                y = resize(y, list(images.shape[2:]), self.mode, self.align_corners)
            outputs.append(self.to_layout(y, x))
        if self.training and self.return_auxiliary:
            return outputs
        return outputs[-1]

    def features(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Compute the branches of the last stage, finest first.

        Args:
            x: (N, in_channels, *spatial) with ``spatial_dims`` spatial axes.

        Returns:
            One (N, feature_channels[i], *spatial / feature_strides[i]) per branch, extents rounded up.
        """
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        xs = self.stage2(self.transition1([self.layer1(x)]))
        xs = self.stage3(self.transition2(xs))
        return self.stage4(self.transition3(xs))

    def logits(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Compute logits at a quarter of the resolution (rounded up), in training and eval mode alike.

        Args:
            x: (N, in_channels, *spatial) with ``spatial_dims`` spatial axes.

        Returns:
            ``[main]``, or ``[auxiliary, main]`` with ``ocr``; each (N, out_channels, *spatial / 4).
        """
        branches = self.features(x)
        size = list(branches[0].shape[2:])
        merged = torch.cat([resize(branch, size, self.mode, self.align_corners) for branch in branches], dim=1)
        if self.ocr:
            auxiliary = self.aux_head(merged)
            pixels = self.conv3x3_ocr(merged)
            pixels = self.ocr_distri_head(pixels, gather_regions(pixels, auxiliary))
            return [auxiliary, self.cls_head(pixels)]
        return [self.last_layer(merged)]

    def to_images(self, x: torch.Tensor) -> torch.Tensor:
        """Bring an input of ``forward`` to (N, in_channels, *spatial), frames folded into the batch in 2D.

        Raises:
            LayoutError: for a tensor with other axes or channels.
        """
        axis = 2 if self.frames_first and x.dim() == 5 else 1
        if not (x.dim() == 5 or x.dim() == self.spatial_dims + 2) or x.shape[axis] != self.in_channels:
            raise LayoutError(
                f"HRNetV2 with spatial_dims={self.spatial_dims} takes {self.in_channels} channels in axis {axis} of a "
                f"tensor (B, C, T, H, W) (layout 'BTCHW': (B, T, C, H, W); in 2D also (B, C, H, W)), got {x.shape}."
            )
        if x.dim() == 5 and axis == 1 and self.spatial_dims == 2:
            return x.transpose(1, 2).flatten(0, 1)
        if x.dim() == 5 and axis == 2:
            return x.flatten(0, 1) if self.spatial_dims == 2 else x.transpose(1, 2)
        return x

    def to_layout(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Bring ``y`` (N, channels, *spatial), computed from ``to_images(x)``, to the layout of ``x``."""
        if x.dim() == 5 and self.spatial_dims == 2:
            frames = x.shape[1] if self.frames_first else x.shape[2]
            y = y.unflatten(0, [x.shape[0], frames])
            return y if self.frames_first else y.transpose(1, 2)
        return y.transpose(1, 2) if x.dim() == 5 and self.frames_first else y


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Conv3d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        with torch.no_grad():
            module.weight.mul_(INITIAL_GAIN)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _make_stages(
    num_modules: list[int],
    num_blocks: list[int | list[int]],
    channels: list[list[int]],
    *,
    multi_scale_output: bool,
    **options: Any,  # noqa: ANN401 - keywords of HRNetStage
) -> list[HRNetStage]:
    stages = []
    for i, (modules, blocks, widths) in enumerate(zip(num_modules, num_blocks, channels, strict=True)):
        counts = [blocks] * len(widths) if isinstance(blocks, int) else blocks
        multi_scale = multi_scale_output or i < STAGES - 1
        stages.append(HRNetStage(modules, counts, widths, multi_scale_output=multi_scale, **options))
    return stages


def _norm_spec(norm: str, bn_momentum: float | None) -> NormSpec:
    check_choice("norm", norm, ("batch", "instance"))
    if norm == "instance":
        if bn_momentum is not None:
            raise NetworkConfigError(f"bn_momentum={bn_momentum} belongs to norm='batch'. Leave it out.")
        return "instance"
    momentum = 0.1 if bn_momentum is None else bn_momentum
    if not 0 < momentum <= 1:
        raise NetworkConfigError(f"bn_momentum must be in (0, 1], got {bn_momentum}.")
    return ("batch", {"momentum": momentum})


def _entries(name: str, values: Sequence[int] | Sequence[Sequence[int]]) -> list[int | list[int]]:
    """Numbers and sequences of numbers, all of them at least 1."""
    entries = [entry if isinstance(entry, int) else [int(number) for number in entry] for entry in values]
    numbers = [number for entry in entries for number in ([entry] if isinstance(entry, int) else entry or [0])]
    if min(numbers, default=1) < 1:
        raise NetworkConfigError(f"{name} must hold numbers of at least 1, got {values!r}.")
    return entries


def _stage_widths(channels: Sequence[int] | Sequence[Sequence[int]]) -> list[list[int]]:
    """Channels per stage and branch, from one number per branch or one sequence per stage."""
    entries = _entries("channels", channels)
    flat = [entry for entry in entries if isinstance(entry, int)]
    nested = [entry for entry in entries if not isinstance(entry, int)]
    if len(flat) == STAGES + 1 and not nested:
        return [flat[: stage + 2] for stage in range(STAGES)]
    if flat or len(nested) != STAGES:
        raise NetworkConfigError(
            f"channels needs {STAGES + 1} numbers, one per branch, or {STAGES} sequences, one per stage; "
            f"got {channels!r}."
        )
    return nested


def _stage_blocks(num_blocks: Sequence[int] | Sequence[Sequence[int]]) -> list[int | list[int]]:
    """Blocks per stage; whether a sequence has as many entries as the stage has branches is checked by its modules."""
    entries = _entries("num_blocks", num_blocks)
    if len(entries) != STAGES:
        raise NetworkConfigError(
            f"num_blocks needs {STAGES} entries, one per stage, got {len(entries)}: {num_blocks!r}."
        )
    return entries


def _stage_modules(num_modules: Sequence[int]) -> list[int]:
    if len(num_modules) != STAGES or min(num_modules) < 1:
        raise NetworkConfigError(f"num_modules needs {STAGES} positive numbers, one per stage, got {num_modules!r}.")
    return list(num_modules)
