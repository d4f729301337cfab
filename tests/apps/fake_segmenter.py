# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""A segmentation bundle whose network cuts gray values into classes, and images that it segments without error."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from torch import nn

from monai_stcnnt.apps.bundles import bundle_folder

__all__ = ["BRIGHTNESS", "GrayBands", "beating_heart", "fake_bundle"]

BRIGHTNESS = np.array([0.0, 400.0, 200.0, 600.0])
"""Of background, right ventricle, myocardium, left ventricle."""


class GrayBands(nn.Module):
    """Logits (B, 4, T, H, W) of magnitudes (B, 1, T, H, W) that are 1 where they are brightest."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compare with the brightness of every class."""
        centers = x.new_tensor(BRIGHTNESS / BRIGHTNESS.max()).view(1, -1, 1, 1, 1)
        return -(x - centers).abs()


def fake_bundle(folder: Path) -> Path:
    """Copy the segmentation bundle's inference, with this network, which is right as it is, in place of its own.

    Windows, and the largest part of each class, as for brain tissue: the network knows no hearts to look for.
    """
    shutil.copytree(bundle_folder("cine_segmentation") / "configs", folder / "configs")
    file = folder / "configs" / "inference.json"
    config = json.loads(file.read_text())
    plain = json.loads((folder / "configs" / "inference_brain.json").read_text())
    config.update({name: plain[name] for name in ("inferer", "postprocessing")}, roi_size=[8, 256, 256])
    config["network"] = {"_target_": "tests.apps.fake_segmenter.GrayBands"}
    file.write_text(json.dumps(config))
    return folder


def beating_heart(frames: int = 6, slices: int = 3, size: int = 32) -> np.ndarray:
    """Classes ``(T, Z, size, size)``: a ring with its cavity, smallest in the middle frame, and a disc beside it."""
    y, x = np.mgrid[0:size, 0:size] - size / 2 + 0.5
    phase = np.abs(np.arange(frames) - frames // 2) / max(frames // 2, 1)
    radius = (4 + 3 * phase).reshape(-1, 1, 1, 1) * np.ones((1, slices, 1, 1))
    left = np.hypot(y, x - 3)
    labels = np.where(left < radius, 3, np.where(left < radius + 2.5, 2, 0))
    right = np.hypot(y, x + 9) < radius - 1
    return np.asarray(np.where((labels == 0) & right, 1, labels))
