# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Networks for the folds of :mod:`benchmarks.heart_folds`, and their training on clips of patients and drawn hearts.

With a teacher, the average of the network's weights, the network also learns from frames that nobody drew: the teacher
segments a clip as it is, and the network, which sees it in another contrast and with noise, learns the classes of which
the teacher is sure (Tarvainen and Valpola, "Mean teachers are better role models", 2017,
https://arxiv.org/abs/1703.01780).
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.networks.nets import DynUNet, UNet
from monai.transforms import Compose
from torch import Tensor, nn

from monai_stcnnt.checkpoints import load_fitting
from monai_stcnnt.engines.training import OneCycle, averaged_network, limit_gradients
from monai_stcnnt.losses.partial_labels import PartialLabelLoss
from monai_stcnnt.mri.hearts import class_bits, heart_scale
from monai_stcnnt.networks.blocks import CellBlock
from monai_stcnnt.networks.nets import build_variant
from monai_stcnnt.networks.nets.packed_unet import PackedUNet
from monai_stcnnt.transforms.hearts.clip import RandHeartClipd
from monai_stcnnt.transforms.hearts.contrast import RandDrawnHeartd, RandHeartContrastd

__all__ = ["FrameByFrame", "TimeUNet", "build_network", "taught_sets", "train"]

logger = logging.getLogger("heart_folds")

KEYS = ("image", "label")
SURE = 0.8
"""Probability from which on the teacher's class counts."""


class FrameByFrame(nn.Module):
    """Apply a network for images (N, C, H, W) to every frame of (B, C, T, H, W)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Segment a clip."""
        out = self.network(x.transpose(1, 2).flatten(0, 1))
        return torch.as_tensor(out).unflatten(0, [x.shape[0], x.shape[2]]).transpose(1, 2)


class TimeUNet(PackedUNet):
    """The packed U-Net with a cell of attention over time at its third level, which begins as the identity."""

    def __init__(self) -> None:
        super().__init__(1, 4)
        width = 64
        self.time = CellBlock("T1", width, width, (8, 12, 12), num_heads=4, norm="batch2d", mixer_ratio=1.0)
        for name, parameter in self.time.named_parameters():
            if "output_proj" in name or "mixer.conv2" in name:
                nn.init.zeros_(parameter)
        self.frames = 1
        self.unet.down_2.register_forward_hook(self.attend)

    def attend(self, module: nn.Module, inputs: object, out: Tensor) -> Tensor:  # noqa: ARG002 - torch's hook
        """Let frames attend to each other."""
        attended: Tensor = self.time(out.unflatten(0, (-1, self.frames)))
        return attended.flatten(0, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Segment clips."""
        self.frames = x.shape[2]
        return super().forward(x)


def build_network(name: str) -> nn.Module:
    """MONAI's ``unet`` and ``dynunet``, ``time_unet``, or a variant ``NAME_segmenter`` of this package."""
    if name == "time_unet":
        return TimeUNet()
    if name == "unet":
        return FrameByFrame(UNet(2, 1, 4, (16, 32, 64, 128), (2, 2, 2), num_res_units=2, norm="batch"))
    if name == "dynunet":
        return FrameByFrame(DynUNet(2, 1, 4, [3] * 4, [1, 2, 2, 2], [2, 2, 2], filters=[16, 32, 64, 128]))
    return build_variant(f"{name}_segmenter")


def train(name: str, patients: Sequence[dict[str, Any]], options: argparse.Namespace) -> nn.Module:
    """Train a network; the averaged weights come back."""
    torch.manual_seed(options.seed)
    network = build_network(name)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch lists it, its stubs do not
    if options.pretrained:
        load_fitting(network, options.pretrained)
    optimizer = torch.optim.AdamW(network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    averaged = averaged_network(network, optimizer, options.ema_decay)
    limit_gradients(optimizer, 1.0)
    schedule = OneCycle(optimizer, round(0.05 * options.steps), options.steps, warmup_multiplier=0.01)
    loss_function, draw = PartialLabelLoss(), _Clips(patients, options)
    losses, start = [], time.monotonic()
    for step in range(options.steps):
        image, label = draw.batch(options.batch_size)
        network.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=options.amp):
            logits = network(image)
            taught = _taught(network, averaged.module, draw, step / options.steps, options)
        loss = loss_function(logits.float(), label) + taught
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if (step + 1) % 200 == 0:
            logger.info(
                "%s step %d loss %.3f, %.0f s", name, step + 1, np.mean(losses[-200:]), time.monotonic() - start
            )
    return averaged.module.eval()


def taught_sets(logits: Tensor) -> Tensor:
    """Sets of classes that a teacher tells: its class where it is sure, any class elsewhere.

    Args:
        logits: of the teacher, (B, K, *spatial).

    Returns:
        Sets (B, 1, *spatial), see :mod:`monai_stcnnt.mri.hearts`.
    """
    probability, chosen = logits.float().softmax(1).max(1, keepdim=True)
    unknown = class_bits(*range(logits.shape[1]))
    return torch.where(probability >= SURE, 2**chosen, unknown)


def _taught(
    network: nn.Module, teacher: nn.Module, draw: _Clips, progress: float, options: argparse.Namespace
) -> Tensor:
    """The loss on frames that nobody drew; from a fifth of the training on, with its full weight at two fifths."""
    weight = options.teacher * min(max(5 * progress - 1, 0.0), 1.0)
    if weight == 0:
        return torch.zeros(())
    plain, changed = draw.unlabelled(max(options.batch_size // 2, 1))
    with torch.no_grad():
        told = taught_sets(teacher.eval()(plain))
    loss: Tensor = PartialLabelLoss()(network(changed), told)
    return weight * loss


class _Clips:
    """Random clips of patients, each as likely as the others, and of drawn hearts."""

    def __init__(self, patients: Sequence[dict[str, Any]], options: argparse.Namespace) -> None:
        self.patients, self.rng = patients, np.random.RandomState(options.seed)
        odds = np.array([patient.get("odds", 1.0) for patient in patients])
        self.odds = odds / max(odds.sum(), 1.0)
        self.size = (options.frames, options.size, options.size)
        self.only_drawn = options.drawn >= 1
        self.clip = RandHeartClipd(KEYS, clip_size=self.size, pixel=options.pixel, empty_share=options.empty_share)
        self.change = Compose(
            [
                RandDrawnHeartd("image", "label", options.drawn, options.pixel),
                RandHeartContrastd("image", "label", options.contrast_prob),
            ]
        )
        self.free_clip = RandHeartClipd(KEYS, clip_size=self.size, pixel=options.pixel, empty_share=options.empty_share)
        self.free_contrast, self.free_rng = RandHeartContrastd("image"), np.random.RandomState(options.seed)
        for n, transform in enumerate((self.clip, self.change, self.free_clip, self.free_contrast)):
            transform.set_random_state(options.seed + n)

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """Images and sets (count, 1, T, h, w)."""
        clips = [self._one() for _ in range(count)]
        return torch.stack([c["image"] for c in clips]), torch.stack([c["label"] for c in clips])

    def unlabelled(self, count: int) -> tuple[Tensor, Tensor]:
        """Clips (count, 1, T, h, w) of other frames than the drawn ones, as they are and with changed contrast."""
        clips = [self._unlabelled() for _ in range(count)]
        return torch.stack([plain for plain, _ in clips]), torch.stack([changed for _, changed in clips])

    def _unlabelled(self) -> tuple[Tensor, Tensor]:
        patient = self.patients[self.free_rng.randint(len(self.patients))]
        image = patient["image"]
        shift = int(self.free_rng.randint(1, max(image.shape[2], 2)))
        moved: dict[Any, Any] = {
            **{key: patient[key] for key in (*KEYS, "spacing", "places")},
            "image": image.roll(shift, 2),
        }
        plain = self.free_clip(moved)["image"]
        unknown = torch.full_like(plain, class_bits(0, 1, 2, 3))
        return heart_scale(plain), self.free_contrast({"image": plain, "label": unknown})["image"]

    def _one(self) -> dict[Any, Any]:
        if self.only_drawn:
            return self.change({"image": torch.zeros(1, *self.size)})
        patient = self.patients[self.rng.choice(len(self.patients), p=self.odds)]
        return self.change(self.clip({key: patient[key] for key in (*KEYS, "spacing", "places")}))
