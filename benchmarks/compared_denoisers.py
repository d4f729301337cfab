# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""MONAI's networks as denoisers, so that they can be trained by the bundle's recipe and measured next to it.

The files ``denoising_*.json`` beside this one go on top of the bundle's ``train.json``; they need the repository's
folder on the Python path.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from monai.bundle import ConfigParser
from torch import nn

from monai_stcnnt.apps.bundles import bundle_folder
from monai_stcnnt.checkpoints import load_weights
from monai_stcnnt.inferers import FrameSlidingWindowInferer
from monai_stcnnt.networks.layers.frames import crop_frames, pad_frames

__all__ = ["COMPARED", "ResidualDenoiser", "compared_config", "compared_network", "inference_config", "window_inferer"]

COMPARED = {"segresnet": "SegResNet", "attentionunet": "AttentionUnet", "dynunet": "DynUNet"}
"""Names of the config files and of MONAI's classes."""


class ResidualDenoiser(nn.Module):
    """Let a network predict the noise of images in SNR units.

    Args:
        net: from (B, C + 1, T, H, W), the image and its g-factor map, to the noise (B, C, T, H, W).
        multiple: what frames, rows and columns must be multiples of; they are padded by reflection.

    Shapes: (B, C + 1, T, H, W) to (B, C, T, H, W).
    """

    def __init__(self, net: nn.Module, multiple: Sequence[int]) -> None:
        super().__init__()
        self.net = net
        self.multiple = tuple(multiple)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Take the predicted noise off the image."""
        size = x.shape[2:]
        t, h, w = (n + (-n) % m for n, m in zip(size, self.multiple, strict=True))
        padded = pad_frames(x.transpose(1, 2), (t, h, w)).transpose(1, 2)
        noise = crop_frames(self.net(padded).transpose(1, 2), (size[0], size[1], size[2])).transpose(1, 2)
        return x[:, :-1] - noise


def inference_config(*, fast: bool = False) -> ConfigParser:
    """The bundle's inference on the processor, a window at a time, without a bar."""
    folder = bundle_folder("mri_denoising")
    parser = ConfigParser()
    parser.read_config(str(folder / "configs" / "inference.json"))
    parser.update({"bundle_root": str(folder), "fast": fast, "sw_batch_size": 1, "progress": False})
    parser["device"] = torch.device("cpu")
    return parser


def window_inferer() -> FrameSlidingWindowInferer:
    """The windows of the bundle's inference."""
    inferer: FrameSlidingWindowInferer = inference_config().get_parsed_content("inferer")
    return inferer


def compared_config(name: str, mode: str) -> ConfigParser:
    """Training config of one of MONAI's networks.

    Args:
        name: key of :data:`COMPARED`.
        mode: ``complex`` or ``magnitude``.
    """
    parser = ConfigParser()
    folder = bundle_folder("mri_denoising") / "configs"
    parser.read_config([str(folder / "train.json"), str(Path(__file__).with_name(f"denoising_{name}.json"))])
    parser["mode"] = mode
    return parser


def compared_network(name: str, mode: str, weights: str) -> nn.Module:
    """One of MONAI's networks with the weights of a training.

    Args:
        name: key of :data:`COMPARED`.
        mode: ``complex`` or ``magnitude``.
        weights: file of a state dict.

    Returns:
        The network, in evaluation.
    """
    return load_weights(compared_config(name, mode).get_parsed_content("network_def"), weights).eval()
