# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Processor time and PSNR of the denoising bundle, as it is and with ``fast``, beside classical filters, in one run.

``python -m benchmarks.denoiser_speed SCAN.nii.gz [SCAN ...] --snr 2 5 10`` adds noise of a known level to magnitudes of
each scan and takes turns. Times are those of one thread, in units of non-local means (dipy); files are not counted.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.classical_denoisers import block_matching, non_local_means
from benchmarks.compared_denoisers import inference_config
from benchmarks.held_out import crop_series
from benchmarks.quality_cases import Case, from_stacks, make_case, to_stacks
from monai_stcnnt.apps.review.quality import image_quality
from monai_stcnnt.data import read_series
from monai_stcnnt.networks.nets.guided_denoiser import signal_of_mean

__all__ = ["main", "measure"]

Filter = Callable[[np.ndarray], np.ndarray]


def bundle_filter(*, fast: bool, strength: float = 1.0, amp: bool | None = None) -> Filter:
    """The magnitude network of the bundle in its windows, for stacks (N, 1, frames, Y, X)."""
    config = inference_config(fast=fast)
    if amp is not None:
        config["amp"] = amp
    network, inferer = config.get_parsed_content("network").eval(), config.get_parsed_content("inferer")

    def denoise(stacks: np.ndarray) -> np.ndarray:
        images = torch.from_numpy(stacks) / strength
        with torch.inference_mode():
            result: torch.Tensor = inferer(torch.cat([images, torch.ones_like(images)], 1), network)
        return strength * result.numpy()

    return denoise


def neighborhood_filter(stacks: np.ndarray) -> np.ndarray:
    """Non-local means, told the level of the noise and that it is Rician."""
    return np.stack([non_local_means(stack[0], 1.0, rician=True)[None] for stack in stacks])


def blocks_filter(stacks: np.ndarray) -> np.ndarray:
    """BM4D, told the level of the noise; the bias of Rician noise is taken off its result."""
    means = np.stack([block_matching(stack[0], 1.0)[None] for stack in stacks])
    signals: np.ndarray = signal_of_mean(torch.from_numpy(means)).numpy()
    return signals


def measure(case: Case, filters: dict[str, Filter], turns: int) -> dict[str, tuple[float, float]]:
    """Least processor time in seconds, and PSNR in dB, of every filter."""
    stacks = to_stacks(case.noisy.array)
    spent: dict[str, list[float]] = {name: [] for name in filters}
    quality: dict[str, float] = {}
    for _ in range(turns):
        for name, denoise in filters.items():
            start = time.process_time()
            result = denoise(stacks)
            spent[name].append(time.process_time() - start)
            record = case.noisy.with_array(from_stacks(result, case.noisy.array.shape))
            quality[name] = image_quality(case.truth, record).psnr
    return {name: (min(spent[name]), quality[name]) for name in filters}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scans", type=Path, nargs="+")
    parser.add_argument("--snr", type=float, nargs="+", default=[2.0, 5.0, 10.0])
    parser.add_argument("--size", type=int, nargs=4, default=[32, 192, 192, 1], help="frames, rows, columns, slices")
    parser.add_argument("--turns", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    filters: dict[str, Filter] = {
        "light": bundle_filter(fast=False), "light, bfloat16": bundle_filter(fast=False, amp=True),
        "fast": bundle_filter(fast=True), "non-local means": neighborhood_filter, "BM4D": blocks_filter,
    }  # fmt: skip
    sys.stdout.write("| scan | SNR | method | time | PSNR (dB) |\n|---|--:|---|--:|--:|\n")
    for path in options.scans:
        series = crop_series(read_series(path), options.size)
        for snr in options.snr:
            found = measure(make_case(path.name, series, snr, 0, "magnitude"), filters, options.turns)
            unit = found["non-local means"][0]
            for name, (seconds, psnr) in found.items():
                sys.stdout.write(f"| {path.name} | {snr:g} | {name} | {seconds / unit:.2f} | {psnr:.2f} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
