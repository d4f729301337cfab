# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Train a network of the denoising bundle for so many seconds, with clips that are drawn on the GPU.

    python tools/train_on_gpu.py clips.npz OUT --variant light --mode complex --seconds 240

``tools/pack_clips.py`` makes the clips. OUT gets the averaged weights (``NAME.pt``, every minute and at the end), how
fast clips were made and learned from, and the error on validation clips beside that of the estimates that the network
starts from (``NAME.json``). The learning rate rises and falls once, by time. With ``--steps`` it ends after so many
steps, for a rehearsal without a GPU.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from monai_stcnnt.checkpoints import load_weights
from monai_stcnnt.data.training.clip_noise import NoisyClips
from monai_stcnnt.data.training.clip_pool import SHARES, ClipPool
from monai_stcnnt.data.training.filtered_clips import FilteredClips
from monai_stcnnt.losses import LogMSELoss
from monai_stcnnt.mri.fft import fftc, ifftc
from monai_stcnnt.networks.filters.estimates import ShrinkageEstimates
from monai_stcnnt.networks.filters.phase import turned
from monai_stcnnt.networks.nets import STCNNTGuidedDenoiser, build_variant
from monai_stcnnt.networks.nets.guided_denoiser import power_of_mean

logger = logging.getLogger("train_on_gpu")

SIZES = {
    (16, 64, 64): 0.3, (12, 96, 96): 0.15, (8, 64, 64): 0.12, (4, 96, 96): 0.1, (2, 64, 64): 0.08, (1, 96, 96): 0.1,
    (1, 64, 64): 0.05, (16, 128, 128): 0.1,
}  # fmt: skip
"""Size of a clip (T, H, W) -> how often."""

VALIDATION_SIZES = ((16, 64, 64), (4, 64, 64), (1, 96, 96))
VALIDATION_SNRS = (2.0, 5.0, 10.0)
WARMUP = 0.04
DRAWN_AT_ONCE = 1e6
"""Pixels whose estimates are computed together."""
SUFFIXES = {"complex": "", "magnitude": "_magnitude", "real": "_real"}
"""What images a network is for -> end of its name."""

PLANE = (-2, -1)
NEAR_ZERO = 0.01  # of the signal's square, so that its slope is finite
LEAST_ERROR = 1e-3
COARSE_SHARE = 0.25
"""Batches with the estimates on a coarser grid of blocks, so that the same weights serve both."""

Tensors = tuple[torch.Tensor, ...] | list[torch.Tensor]
LossOf = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Of a result, its label and its map, all (B, C, T, H, W)."""
Prepared = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
"""Guess, differences, errors, map and label of a batch, whose frames all have (..., H, W) last."""


class Training:
    """One network and what trains it.

    Args:
        options: of the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.device = options, torch.device(options.device)
        self.name = f"{options.variant}_{options.mode}"
        network = build_variant(f"stcnnt_{options.variant}{SUFFIXES[options.mode]}")
        assert isinstance(network, STCNNTGuidedDenoiser)
        if options.weights is not None:
            load_weights(network, options.weights)
        self.network = network.to(self.device).train()
        self.grids = [ShrinkageEstimates(stride).to(self.device) for stride in (2, 4)]
        self.average = AveragedModel(self.network, multi_avg_fn=_moving_average, use_buffers=False)
        images = (1 - options.labels) / (1 - SHARES["labels"])
        kinds = {kind: share * images for kind, share in SHARES.items()} | {"labels": options.labels}
        self.pool = ClipPool(options.clips, self.device, "train", options.seed, kinds)
        self.pool.leave_out(options.without)
        if options.mode == "real":
            self.clips: NoisyClips = FilteredClips(self.pool, seed=options.seed + 1)
            self.loss_of: LossOf = filtered_loss
        else:
            self.clips = NoisyClips(
                self.pool, options.mode, level_error=0.03 * options.errors, kspace_prob=options.errors,
                seed=options.seed + 1,
            )  # fmt: skip
            self.loss_of = white_loss
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=options.learning_rate, weight_decay=0.0, fused=self.device.type == "cuda"
        )
        self.rng = np.random.default_rng(options.seed + 2)
        self.batches: list[Prepared] = []
        self.figures: dict[str, Any] = {
            "name": self.name,
            "parameters": sum(p.numel() for p in self.network.parameters()),
        }

    def run(self) -> None:
        """Train until the time is over, and write what came of it."""
        start = last = time.monotonic()
        losses: deque[torch.Tensor] = deque(maxlen=200)
        pixels = clips = step = 0
        while (share := self._share(step, time.monotonic() - start)) < 1:
            batch = self._batch(step)
            losses.append(self._step(share, batch))
            step, clips, pixels = step + 1, clips + len(batch[0]), pixels + batch[3].numel()
            if time.monotonic() - last > self.options.every:
                mean = float(torch.stack(list(losses)).mean())
                last = time.monotonic()
                rate = pixels / (last - start) / 1e6
                logger.info(
                    "%s: %.0f s, step %d, %d clips, %.2f Mpixel/s, loss %.4f",
                    self.name, last - start, step, clips, rate, mean,
                )  # fmt: skip
                self.save()
        seconds = time.monotonic() - start
        self.figures |= {
            "steps": step, "clips": clips, "seconds": seconds, "megapixels_per_second": pixels / seconds / 1e6,
            "clips_per_second": clips / seconds, "drawing": self.drawing(), "validation": self.validated(),
        }  # fmt: skip
        self.save()

    def _share(self, step: int, seconds: float) -> float:
        """How much of the training is over."""
        return step / self.options.steps if self.options.steps else seconds / self.options.seconds

    def _size(self) -> tuple[tuple[int, int, int], int]:
        """Size and number of the clips of a step."""
        size = self._limited(list(SIZES)[int(self.rng.choice(len(SIZES), p=list(SIZES.values())))])
        return size, self._count(size)

    def _limited(self, size: tuple[int, int, int]) -> tuple[int, int, int]:
        """A size as far as the options allow."""
        t, h, w = (min(pair) for pair in zip(size, self.options.limit, strict=True))
        return t, h, w

    def _count(self, size: tuple[int, int, int]) -> int:
        """Number of clips of a size that a step takes."""
        return int(np.clip(self.options.pixels // math.prod(size), 1, 64))

    def _batch(self, step: int) -> Prepared:
        """A new batch, or one of the last ones, whose noise and estimates are as good mirrored."""
        if step % self.options.replays == 0:
            size, count = self._size()
            self.network.estimates = self.grids[int(self.rng.random() < COARSE_SHARE)]
            self.batches = [*self.batches[1 - self.options.kept :], self._drawn(count, size)]
            return self.batches[-1]
        batch = self.batches[int(self.rng.integers(len(self.batches)))]
        flips = [axis for axis in (-2, -1) if self.rng.random() < 0.5]
        if self.rng.random() < 0.5:
            batch = tuple(part.transpose(-2, -1) for part in batch)  # type: ignore[assignment]
        return tuple(part.flip(flips) for part in batch)  # type: ignore[return-value]

    def _drawn(self, count: int, size: tuple[int, int, int]) -> Prepared:
        """New clips with their estimates, a part of the batch at a time, since estimates take most of the memory."""
        most = max(int(DRAWN_AT_ONCE // math.prod(size)), 1)
        parts = [
            prepared(self.network, *self.clips.draw(min(most, count - start), size)) for start in range(0, count, most)
        ]
        return tuple(torch.cat(part) for part in zip(*parts, strict=True))  # type: ignore[return-value]

    def _step(self, share: float, batch: Prepared) -> torch.Tensor:
        rate = share / WARMUP if share < WARMUP else 0.5 * (1 + math.cos(math.pi * (share - WARMUP) / (1 - WARMUP)))
        self.optimizer.param_groups[0]["lr"] = self.options.learning_rate * max(rate, 0.01)
        guess, differences, errors, gmap, label = batch
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            y = self.network.answer(guess, differences, errors, gmap)
        result = self.network.blended(guess, differences, y.float()) * gmap
        loss = self.loss_of(*(part.transpose(1, 2) for part in (result, label, gmap)))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        if bool(torch.isfinite(norm)):
            self.optimizer.step()
            self.average.update_parameters(self.network)
        return loss.detach()

    def drawing(self) -> float:
        """Megapixels per second that are drawn without a network, of the first size."""
        size = self._limited(next(iter(SIZES)))
        count = self._count(size)
        start = time.monotonic()
        for _ in range(3):
            float(self.clips.draw(count, size)[0].sum())
        return 3 * count * math.prod(size) / (time.monotonic() - start) / 1e6

    def averaged(self) -> STCNNTGuidedDenoiser:
        """The network with averaged weights, on its own grid of blocks."""
        network = self.average.module.eval()
        assert isinstance(network, STCNNTGuidedDenoiser)
        return network

    @torch.no_grad()
    def validated(self) -> dict[str, dict[str, float]]:
        """Mean squared error in dB of network and estimates on validation clips, by SNR and size."""
        pool = ClipPool(self.options.clips, self.device, "validation", 1)
        network, found = self.averaged(), {}
        for snr in VALIDATION_SNRS:
            if self.options.mode == "real":
                clips: NoisyClips = FilteredClips(pool, (snr, snr), 0.0, 0.0, 0.0, seed=int(snr))
            else:
                clips = NoisyClips(pool, self.options.mode, (snr, snr), 0.0, 0.0, 0.0, seed=int(snr))
            for size in dict.fromkeys(map(self._limited, VALIDATION_SIZES)):
                batch = prepared(network, *clips.draw(4 if self.options.steps else 24, size))
                guess, differences, errors, gmap, label = batch
                y = network.answer(guess, differences, errors, gmap)
                results = [network.blended(guess, differences, y) * gmap, guess * gmap]
                if self.options.mode == "real":
                    target, unit = label.transpose(1, 2), gmap.transpose(1, 2)
                    decibels = [filtered_loss(r.transpose(1, 2), target, unit) for r in results]
                else:
                    decibels = [10 * (r - label).square().mean((1, 2, 3, 4)).log10().mean() for r in results]
                found[f"SNR {snr:g}, {size}"] = {"network": float(decibels[0]), "estimates": float(decibels[1])}
        return found

    def save(self) -> None:
        """Write the averaged weights and the figures."""
        state = {k: v.detach().float().cpu() for k, v in self.average.module.state_dict().items()}
        torch.save(state, self.options.output / f"{self.name}.pt")
        text = json.dumps(self.figures, indent=2)
        (self.options.output / f"{self.name}.json").write_text(text, encoding="utf-8")


def white_loss(result: torch.Tensor, label: torch.Tensor, _gmap: torch.Tensor) -> torch.Tensor:
    """Logarithm of the mean squared error (B, C, T, H, W)."""
    loss: torch.Tensor = LogMSELoss()(result, label)
    return loss


def filtered_loss(result: torch.Tensor, label: torch.Tensor, gmap: torch.Tensor) -> torch.Tensor:
    """Logarithms of the mean squared errors of the mean of magnitudes and of the signal behind it, in dB, averaged.

    Args:
        result: real images with white noise taken off, (B, 1, T, H, W).
        label: see :meth:`~monai_stcnnt.data.training.filtered_clips.FilteredClips.draw`.
        gmap: the map, (B, 1, T, H, W).
    """
    mean = ifftc(fftc(result, PLANE) * label[:, 2:], PLANE).real
    powers = power_of_mean(mean / gmap), (label[:, 1:2] / gmap).square()
    signals = [(power + NEAR_ZERO).sqrt() * gmap for power in powers]
    errors = (mean - label[:, :1], signals[0] - signals[1])
    decibels = [10 * (error.square().mean((1, 2, 3, 4)) + LEAST_ERROR).log10().mean() for error in errors]
    return torch.stack(decibels).mean()


@torch.no_grad()
def prepared(network: STCNNTGuidedDenoiser, image: torch.Tensor, label: torch.Tensor) -> Prepared:
    """What a network's weights do not change: its estimates of a batch, and the label without its smooth phase."""
    frames, target = network.to_frames(image), label.transpose(1, 2)
    channels = network.out_channels
    gmap = frames[:, :, channels:]
    noisy = frames[:, :, :channels] / gmap
    if channels == 2:
        phase = network.phase(noisy)
        noisy, target = turned(noisy, phase), turned(target, phase)
    return *network.guided(noisy), gmap, target


@torch.no_grad()
def _moving_average(averages: Tensors, values: Tensors, count: torch.Tensor | int) -> None:
    """Average over about the last 1,000 steps, over fewer at the beginning."""
    decay = min(0.999, (1 + int(count)) / (10 + int(count)))
    torch._foreach_lerp_(averages, values, 1 - decay)


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clips", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--variant", default="light", choices=("light", "base"))
    parser.add_argument("--mode", default="magnitude", choices=tuple(SUFFIXES))
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--weights", type=Path, help="to start from")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--pixels", type=float, default=2.5e6, help="pixels of a step")
    parser.add_argument("--limit", type=int, nargs=3, default=[16, 128, 128], help="largest clip, for a rehearsal")
    parser.add_argument("--replays", type=int, default=8, help="steps for every batch that is drawn")
    parser.add_argument("--kept", type=int, default=60, help="batches to draw again from")
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    parser.add_argument(
        "--labels", type=float, default=SHARES["labels"], help="share of the clips that come from label maps"
    )
    parser.add_argument(
        "--errors", type=float, default=1.0, help="of the noise model: 1 as found, 0 an exact level and white noise"
    )
    parser.add_argument("--without", nargs="*", default=[], help="beginnings of names of series to leave out")
    parser.add_argument("--threads", type=int, help="of the processor")
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Train."""
    options = parsed(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.manual_seed(options.seed)
    torch.set_float32_matmul_precision("high")
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    options.output.mkdir(parents=True, exist_ok=True)
    training = Training(options)
    training.run()
    logger.info("%s", json.dumps(training.figures))


if __name__ == "__main__":
    main()
