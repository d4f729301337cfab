# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Choose the share that the wall gives to the background, for each network on the patients that it learned from.

``python -m benchmarks.heart_shares --data hearts --folds folds`` takes the patients and the weights of
``heart_folds.py``. Networks that learned with soft Dice draw walls too thick. For every fold this tries shares of the
wall's probability that count for the background (``given_share`` of ``HeartInferer``), and prints the Dice of cavity
and epicardium, as a mean of both over the patients that this network was trained on; the patient who was left out has
no say. The share in the bundle's inference config is that of the network that learned from all.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from torch import Tensor, nn

from benchmarks.heart_folds import WALL, load_patients, score_patient
from benchmarks.heart_training import build_network
from monai_stcnnt.checkpoints import load_weights
from monai_stcnnt.inferers import HeartInferer

__all__ = ["dice_by_share", "main"]

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)


def dice_by_share(probabilities: Sequence[Tensor], patients: Sequence[dict[str, Any]]) -> dict[float, float]:
    """Mean Dice of cavity and epicardium over patients, by the share that the wall gives to the background.

    Args:
        probabilities: of every patient, (Z, 4, T, H, W).
        patients: see :func:`benchmarks.heart_folds.load_patients`.

    Returns:
        The Dice of all :data:`SHARES`.
    """
    found = {}
    for share in SHARES:
        scores = []
        for one, patient in zip(probabilities, patients, strict=True):
            corrected = one.clone()
            corrected[:, 0] += share * one[:, WALL]
            corrected[:, WALL] -= share * one[:, WALL]
            score = score_patient(corrected.argmax(1).numpy(), patient)
            scores.append((score.cavity + score.epicardium) / 2)
        found[share] = float(np.mean(scores))
    return found


def _predict(network: nn.Module, patient: dict[str, Any]) -> Tensor:
    with torch.inference_mode():
        logits = HeartInferer(views=4)(patient["image"], network)
    assert isinstance(logits, MetaTensor)
    return logits.as_tensor().exp()


def main(arguments: Sequence[str] | None = None) -> dict[str, dict[float, float]]:
    """Print the Dice of every fold and share.

    Args:
        arguments: command-line options; those of the process by default.

    Returns:
        Dice by fold and share.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of patients, as for heart_folds.py")
    parser.add_argument("--folds", type=Path, required=True, help="folder of its weights")
    parser.add_argument("--network", default="packed_unet")
    options = parser.parse_args(arguments)
    patients, results = load_patients(options.data), {}
    for file in sorted(options.folds.glob(f"{options.network}_without_*.pt")):
        out = file.stem.removeprefix(f"{options.network}_without_")
        seen = [patient for name, patient in patients.items() if name != out]
        network = load_weights(build_network(options.network), file).eval()
        results[out] = dice_by_share([_predict(network, patient) for patient in seen], seen)
        line = ", ".join(f"{share:g}: {dice:.4f}" for share, dice in results[out].items())
        sys.stdout.write(f"without {out}: {line}\n")
        sys.stdout.flush()
    return results


if __name__ == "__main__":
    main()
