# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Choose the weights of the classes for networks of hearts, each on the patients that it learned from.

``python -m benchmarks.heart_weights --data hearts --folds folds`` takes the patients and the weights of
``heart_folds.py``. Networks that learned with soft Dice draw walls too thick. For every fold this tries factors of the
probabilities of wall and cavity, and prints those with the highest Dice of cavity and epicardium, as a mean of both
over the patients that this network was trained on; the patient who was left out has no say. ``class_weights`` of the
bundle's inference config are those of the network that learned from all.
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

from benchmarks.heart_folds import CAVITY, WALL, load_patients, score_patient
from benchmarks.heart_training import build_network
from monai_stcnnt.checkpoints import load_weights
from monai_stcnnt.inferers import HeartInferer

__all__ = ["choose_weights", "main"]

FACTORS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.18)
Weights = tuple[float, float]


def choose_weights(probabilities: Sequence[Tensor], patients: Sequence[dict[str, Any]]) -> dict[Weights, float]:
    """Mean Dice of cavity and epicardium over patients, by the factors of wall and cavity.

    Args:
        probabilities: of every patient, (Z, 4, T, H, W).
        patients: see :func:`benchmarks.heart_folds.load_patients`.

    Returns:
        The Dice, the best first. The wall has no larger factor than the cavity.
    """
    found = {}
    for wall, cavity in ((w, c) for c in FACTORS for w in FACTORS if w <= c):
        factors = torch.ones(4)
        factors[WALL], factors[CAVITY] = wall, cavity
        scores = []
        for one, patient in zip(probabilities, patients, strict=True):
            masks = (one * factors.view(1, 4, 1, 1, 1)).argmax(1).numpy()
            score = score_patient(masks, patient)
            scores.append((score.cavity + score.epicardium) / 2)
        found[wall, cavity] = float(np.mean(scores))
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _predict(network: nn.Module, patient: dict[str, Any]) -> Tensor:
    with torch.inference_mode():
        logits = HeartInferer(views=4)(patient["image"], network)
    assert isinstance(logits, MetaTensor)
    return logits.as_tensor().exp()


def main(arguments: Sequence[str] | None = None) -> dict[str, dict[Weights, float]]:
    """Print the best weights of every fold, and the Dice without weights.

    Args:
        arguments: command-line options; those of the process by default.

    Returns:
        Dice by fold and weights.
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
        results[out] = choose_weights([_predict(network, patient) for patient in seen], seen)
        best = list(results[out].items())[:3]
        sys.stdout.write(f"without {out}: {results[out][1.0, 1.0]:.4f} without weights\n")
        sys.stdout.writelines(f"    wall {wall:g}, cavity {cavity:g}: {dice:.4f}\n" for (wall, cavity), dice in best)
        sys.stdout.flush()
    return results


if __name__ == "__main__":
    main()
