# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The training that a GPU runs unattended, in a few steps on the processor."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from monai_stcnnt.checkpoints import load_weights
from monai_stcnnt.data.training.clip_pool import SHARES
from monai_stcnnt.mri.rician import rician_mean
from monai_stcnnt.networks.nets import STCNNTGuidedDenoiser, build_variant
from tools import train_on_gpu

__all__: list[str] = []


@pytest.mark.parametrize("mode", ["complex", "magnitude", "real"])
def test_a_rehearsal_leaves_weights_and_figures(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Weights that fit the variant, moved by the training, and the error beside that of the estimates."""
    disc = np.rint(200 * np.exp(-3 * np.add.outer(*[np.linspace(-1, 1, 20) ** 2] * 2))).astype(np.uint8)
    clips = tmp_path / "clips.npz"
    np.savez(clips, **{f"{part}/time/a_0": np.broadcast_to(disc, (4, 20, 20)) for part in ("train", "validation")})  # type: ignore[arg-type]
    monkeypatch.setattr(train_on_gpu, "SIZES", {(2, 16, 16): 0.5, (1, 16, 20): 0.5})
    monkeypatch.setattr(train_on_gpu, "VALIDATION_SIZES", ((2, 16, 16),))
    options = [str(clips), str(tmp_path / "out"), "--mode", mode, "--steps", "4", "--pixels", "600", "--device", "cpu"]
    with caplog.at_level("INFO"):
        train_on_gpu.main([*options, "--every", "0"])
    name = f"light_{mode}"
    assert f"{name}: " in caplog.text
    figures = json.loads((tmp_path / "out" / f"{name}.json").read_text(encoding="utf-8"))
    assert figures["steps"] == 4
    assert set(figures["validation"]["SNR 5, (2, 16, 16)"]) == {"network", "estimates"}
    network = build_variant("stcnnt_light" + train_on_gpu.SUFFIXES[mode])
    assert isinstance(network, STCNNTGuidedDenoiser)
    load_weights(network, tmp_path / "out" / f"{name}.pt")
    assert any(part.detach().any() for part in network.head.parameters())


def test_shares_of_label_maps_and_of_errors_reach_the_clips(tmp_path: Path) -> None:
    """Label maps beside real images by ``--labels``; the level is told exactly, and the noise white, without errors."""
    names = [f"{part}/{kind}/a_0" for part in ("train", "validation") for kind in ("time", "labels")]
    np.savez(tmp_path / "clips.npz", **dict.fromkeys(names, np.ones((4, 9, 9), np.uint8)))  # type: ignore[arg-type]
    options = [str(tmp_path / "clips.npz"), str(tmp_path), "--device", "cpu", "--labels", "0.45", "--errors", "0"]
    training = train_on_gpu.Training(train_on_gpu.parsed(options))
    shares = dict(zip(training.pool.kinds, training.pool.shares, strict=True))
    assert shares["labels"] == pytest.approx(0.45 / (0.45 + 0.55 * SHARES["time"] / (1 - SHARES["labels"])))
    assert training.clips.level_error == training.clips.kspace_prob == 0


def test_the_error_of_filtered_images_is_that_of_mean_and_signal() -> None:
    """None where the result is the mean, whose signal is the label; its slope is finite where there is no signal."""
    signal = torch.cat([torch.zeros(1, 1, 2, 8, 8), torch.full((1, 1, 2, 8, 8), 6.0)], 4)
    mean = torch.from_numpy(rician_mean(signal.numpy())).float()
    label, gmap = torch.cat([2 * mean, 2 * signal, torch.ones_like(mean)], 1), torch.full_like(mean, 2.0)
    assert float(train_on_gpu.filtered_loss(2 * mean, label, gmap)) < -29
    off = (2 * mean + 0.5).requires_grad_()
    loss = train_on_gpu.filtered_loss(off, label, gmap)
    loss.backward()
    assert -10 < float(loss.detach()) < 0
    assert off.grad is not None
    assert bool(torch.isfinite(off.grad).all())


def test_prepared_batches_are_what_the_network_works_on() -> None:
    """Guess, differences, errors, map and label give the network's own result and error."""
    torch.manual_seed(0)
    network = build_variant("stcnnt_light").eval()
    assert isinstance(network, STCNNTGuidedDenoiser)
    for part in network.head.parameters():
        torch.nn.init.normal_(part, std=0.01)
    image = torch.cat([3 * torch.randn(1, 2, 4, 16, 16), 1 + torch.rand(1, 1, 4, 16, 16)], 1)
    label = torch.randn(1, 2, 4, 16, 16)
    guess, differences, errors, gmap, target = train_on_gpu.prepared(network, image, label)
    with torch.no_grad():
        result = network.blended(guess, differences, network.answer(guess, differences, errors, gmap)) * gmap
        direct = network(image)
    assert float((result - target).square().mean()) == pytest.approx(float((direct - label).square().mean()), rel=1e-4)
