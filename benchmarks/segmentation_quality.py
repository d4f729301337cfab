# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Measure how well networks segment: Dice and the 95% Hausdorff distance of every class, frame by frame.

``python benchmarks/segmentation_quality.py --data DIR --networks stcnnt=model.pt hrnetv2=model_hrnetv2.pt`` takes a
folder in one of the layouts of :func:`monai_stcnnt.data.labelled_datalist` and prints a table: the mean over all
labelled frames of all slices and the standard deviation. A frame in which neither truth nor prediction has a class does
not count for it; one in which only one of them has it has a Dice of 0 and no distance. ``unet`` and ``dynunet`` are
MONAI's, as the files ``segmentation_*.json`` beside this script describe them; give the same files to the training.

Of every class the largest component of a frame is kept, as the bundle does; ``--raw`` leaves the masks as they are.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.inferers import Inferer
from monai.metrics import DiceMetric, HausdorffDistanceMetric
from monai.transforms import Compose, KeepLargestConnectedComponent
from torch import Tensor, nn

from monai_stcnnt.apps.bundles import bundle_folder
from monai_stcnnt.checkpoints import load_weights
from monai_stcnnt.data import labelled_datalist, write_aside
from monai_stcnnt.transforms import LabelledFramesd

__all__ = ["frame_scores", "largest_components", "main", "read_configs", "table", "test_items"]

logger = logging.getLogger("segmentation_quality")

COMPARED = ("unet", "dynunet")
Scores = dict[str, np.ndarray]


def read_configs(name: str, bundle: Path | None, overrides: Sequence[str] = ()) -> ConfigParser:
    """Training config of the bundle with the network of this name and further config files."""
    folder = bundle_folder("cine_segmentation", bundle)
    files = [str(folder / "configs" / "train.json"), *overrides]
    if name in COMPARED:
        files.append(str(Path(__file__).with_name(f"segmentation_{name}.json")))
    parser = ConfigParser()
    parser.read_config(files)
    if name not in COMPARED:
        parser["architecture"] = name
    return parser


def largest_components(masks: Tensor) -> Tensor:
    """Keep the largest component of every class in masks (N, classes, H, W) with zeros and ones."""
    keep = KeepLargestConnectedComponent(is_onehot=True, independent=True)
    kept = torch.stack([torch.as_tensor(keep(mask)) for mask in masks])
    kept[:, 0] = 1 - kept[:, 1:].amax(1)
    return kept


def frame_scores(
    network: nn.Module, data: Iterator[tuple[dict[str, Tensor], Sequence[float]]], inferer: Inferer, raw: bool = False
) -> Scores:
    """Scores of every labelled frame.

    Args:
        network: from (B, 1, T, H, W) to logits.
        data: image and label (Z, 1, T, H, W), and the size of a pixel (H, W) in mm.
        inferer: how the network is applied.
        raw: whether to leave masks with several components.

    Returns:
        ``dice`` and ``hd95`` (mm), (frames, classes without the background), NaN where there is none.
    """
    select = LabelledFramesd()
    rows: dict[str, list[np.ndarray]] = {"dice": [], "hd95": []}
    for item, spacing in data:
        with torch.inference_mode():
            logits = inferer(item["image"], network)
        batch = select({"pred": logits, "label": item["label"]})
        pred = batch["pred"] if raw else largest_components(batch["pred"])
        dice = DiceMetric(include_background=False, reduction="none")(pred, batch["label"])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the (prediction|ground truth) of class", UserWarning)
            distance = HausdorffDistanceMetric(include_background=False, percentile=95, reduction="none")(
                pred, batch["label"], spacing=list(spacing)
            )
        rows["dice"].append(torch.as_tensor(dice).numpy())
        rows["hd95"].append(torch.as_tensor(distance).numpy())
    scores = {name: np.concatenate(values) for name, values in rows.items()}
    scores["hd95"][~np.isfinite(scores["hd95"])] = np.nan
    return scores


def test_items(config: ConfigParser, folder: Path) -> Iterator[tuple[dict[str, Tensor], Sequence[float]]]:
    """Images and labels of a folder as the bundle's validation prepares them, with the size of a pixel."""
    prefix = Compose(config.get_parsed_content("prefix"))
    loading, rest = Compose(prefix.transforms[:1]), Compose(prefix.transforms[1:])
    for row in labelled_datalist(folder, "validation"):
        loaded = loading(row)
        zooms = np.linalg.norm(np.asarray(loaded["image"].affine)[:3, :2], axis=0)
        yield rest(loaded), (float(zooms[1]), float(zooms[0]))


def table(results: dict[str, Scores], classes: Sequence[str]) -> str:
    """Markdown table: a row per network, mean and standard deviation per class."""
    lines = [
        "| network | " + " | ".join(f"{name} Dice | {name} HD95 (mm)" for name in classes) + " |",
        "|---|" + "---|" * (2 * len(classes)),
    ]
    for network, scores in results.items():
        cells = []
        for n in range(len(classes)):
            dice, distance = scores["dice"][:, n], scores["hd95"][:, n]
            cells.append(f"{np.nanmean(dice):.3f} ± {np.nanstd(dice):.3f}")
            cells.append(f"{np.nanmean(distance):.1f} ± {np.nanstd(distance):.1f}")
        lines.append(f"| {network} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> dict[str, Scores]:
    """Measure, print the table, and write all scores as JSON.

    Args:
        arguments: command-line options; those of the process by default.

    Returns:
        Scores by network.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of images with masks")
    parser.add_argument("--networks", nargs="+", required=True, help="NAME=WEIGHTS, such as stcnnt=models/model.pt")
    parser.add_argument("--bundle", type=Path, help="another bundle than the package's")
    parser.add_argument("--overrides", nargs="*", default=[], help="config files on top of the bundle's train.json")
    parser.add_argument("--raw", action="store_true", help="do not reduce classes to their largest component")
    parser.add_argument("--output", type=Path, default=Path("segmentation_quality.json"), help="scores of every frame")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    results: dict[str, Scores] = {}
    classes: list[str] = []
    for entry in options.networks:
        name, _, weights = entry.partition("=")
        config = read_configs(name, options.bundle, options.overrides)
        classes = config.get_parsed_content("class_names")[1:]
        network = load_weights(config.get_parsed_content("network_def"), weights)
        inferer = config.get_parsed_content("validate#inferer")
        results[name] = frame_scores(network, test_items(config, options.data), inferer, options.raw)
    with write_aside(options.output) as aside:
        content = {network: {k: v.tolist() for k, v in scores.items()} for network, scores in results.items()}
        aside.write_text(json.dumps(content), encoding="utf-8")
    sys.stdout.write(table(results, classes))
    return results


if __name__ == "__main__":
    main()
