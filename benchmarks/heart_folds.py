# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Train and test networks for hearts by patient: each patient is segmented by a network that never saw him.

``python -m benchmarks.heart_folds --data hearts --networks hrnetv2 --output folds`` takes a folder of patients in the
layout of ACDC (``tools/prepare_segmentation_data.py SAMPLE_DATA work`` writes ``work/hearts``), trains a network for
every patient on all the others, and measures it on this one, through the inference that users have: the heart is
found, cropped, segmented and cleaned up. Only what an expert drew counts. Weights that are there already are measured
and not trained again, so that an interrupted run continues with the next patient; ``--patients none`` trains on all.

It also draws how ejection fractions agree with the experts' (Bland and Altman) as ``NETWORK_agreement.png``.

``unet`` and ``dynunet`` are MONAI's, with the same data, clips and number of steps. ``--pretrained`` starts all folds
from weights; train these with ``--patients none --drawn 1``, on drawn hearts alone, and no patient is in them.
``--teacher`` also learns from frames that nobody drew. ``--held_slices bivme 1 3`` trains on all patients without these
slices of one, and measures them.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from monai.data import MetaTensor
from monai.transforms import Compose, LoadImaged
from torch import Tensor, nn

from benchmarks.heart_training import build_network, train
from monai_stcnnt.data import LoadFrameLabelsd, SeriesReader, labelled_datalist, write_aside
from monai_stcnnt.inferers.heart import HeartInferer
from monai_stcnnt.metrics import bland_altman
from monai_stcnnt.mri.hearts import class_bits
from monai_stcnnt.transforms import FileToFramesd
from monai_stcnnt.transforms.hearts.clip import heart_places
from monai_stcnnt.transforms.hearts.drawn import LabelSetsd
from monai_stcnnt.transforms.hearts.masks import heart_masks

__all__ = [
    "PatientScore",
    "agreement_plot",
    "class_dice",
    "hold_slices",
    "load_patients",
    "main",
    "parser",
    "score_patient",
    "segment_patient",
    "table",
    "without_vanishing",
]

logger = logging.getLogger("heart_folds")

WALL, CAVITY = 2, 3


def load_patients(folder: Path) -> dict[str, dict[str, Any]]:
    """Images, sets of classes and what was drawn, by the name of the patient's folder."""
    load = Compose(
        [
            LoadImaged("image", reader=SeriesReader, dtype=None, ensure_channel_first=True),
            LoadFrameLabelsd("label"),
            FileToFramesd(("image", "label"), "time", source_key="image"),
        ]
    )
    patients = {}
    for row in labelled_datalist(folder):
        item = load(row)
        drawn = row.get("drawn") or _all_drawn(item["label"])
        affine = np.asarray(item["image"].affine)
        truth = item["label"].as_tensor()[:, 0].numpy()
        sets = LabelSetsd("label")({**item})
        patients[Path(row["image"]).parent.name] = {
            "image": item["image"], "label": sets["label"], "spacing": sets["spacing"], "places": sets["places"],
            "drawn": drawn, "truth": truth, "distance": float(np.linalg.norm(affine[:3, 2])),
        }  # fmt: skip
    return patients


def hold_slices(patient: dict[str, Any], slices: Sequence[int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A patient without what was drawn in some slices, and one with nothing else."""
    kept = [z for z in range(len(patient["label"])) if z not in slices]
    sets = patient["label"][kept]
    rest = {**patient, "image": patient["image"][kept], "label": sets, "places": heart_places(sets, patient["spacing"])}
    drawn = {
        t: {name: [z for z in zs if z in slices] for name, zs in structures.items()}
        for t, structures in patient["drawn"].items()
    }
    return rest, {**patient, "drawn": drawn}


def without_vanishing(patient: dict[str, Any]) -> dict[str, Any]:
    """A patient without automatic labels of the base while it leaves the plane.

    Where the cavity of a slice vanishes for a part of the beat, nothing is known about this slice in the frames in
    which its area is below half of its median: experts draw it there, or not, by other rules.
    """
    areas = (patient["truth"] == CAVITY).sum((2, 3)).astype(float)
    vanishes = (areas == 0).any(1) & (areas > 0).any(1)
    usual = np.array([np.median(row[row > 0]) if (row > 0).any() else 0.0 for row in areas])
    sets = patient["label"].clone()
    for z, t in np.argwhere(vanishes[:, None] & (areas < usual[:, None] / 2)):
        sets[z, :, t] = class_bits(*range(CAVITY + 1))
    return {**patient, "label": sets, "places": heart_places(sets, patient["spacing"])}


def _all_drawn(labels: Tensor) -> dict[int, dict[str, list[int]]]:
    """What was drawn in masks (Z, 1, T, H, W) of all structures: what is there."""
    drawn = {}
    for t in (labels[:, 0] >= 0).flatten(2).all(-1).any(0).nonzero()[:, 0].tolist():
        has = {name: (labels[:, 0, t] == value).flatten(1).any(1) for name, value in (("cavity", CAVITY), ("wall", 2))}
        drawn[t] = {name: found.nonzero()[:, 0].tolist() for name, found in has.items()}
        drawn[t]["nothing"] = (~has["cavity"]).nonzero()[:, 0].tolist()
    return drawn


@dataclass(frozen=True)
class PatientScore:
    """How well one patient was segmented; Dice of what an expert drew.

    Attributes:
        cavity: Dice of the cavity, pooled over all drawn slices.
        cavity_slices: Dice of every drawn slice.
        areas: of the drawn cavities, in square cm.
        epicardium: pooled Dice of cavity and wall together, where the wall was drawn.
        right: pooled Dice of the right ventricle; NaN where it was not drawn.
        ef_true: ejection fraction of the expert's masks, in percent.
        ef_drawn: of the masks, in the slices and frames that the expert drew.
        ef_found: of the masks, all slices, frames of the largest and the smallest volume.
    """

    cavity: float
    cavity_slices: list[float]
    areas: list[float]
    epicardium: float
    right: float
    ef_true: float
    ef_drawn: float
    ef_found: float


def score_patient(masks: np.ndarray, patient: dict[str, Any]) -> PatientScore:
    """Compare masks (Z, T, H, W) with what an expert drew."""
    truth, drawn = patient["truth"], patient["drawn"]
    pooled: dict[str, list[np.ndarray]] = {"cavity": [], "epicardium": [], "right": []}
    slices, areas, volumes = [], [], {}
    for t, structures in drawn.items():
        for z in structures["cavity"]:
            pair = _pair(masks[z, t] == CAVITY, truth[z, t] == CAVITY)
            pooled["cavity"].append(pair)
            slices.append(_dice(pair))
            areas.append(float((truth[z, t] == CAVITY).sum() * np.prod(patient["spacing"]) / 100))
        pooled["epicardium"] += [_pair(masks[z, t] >= WALL, truth[z, t] >= WALL) for z in structures["wall"]]
        zs = [*structures["cavity"], *structures["nothing"]]
        if (truth[zs, t] == 1).any():
            pooled["right"].append(_pair(masks[zs, t] == 1, truth[zs, t] == 1))
        zs = structures["cavity"]
        volumes[t] = ((truth[zs, t] == CAVITY).sum(), (masks[zs, t] == CAVITY).sum())
    true, found = np.array(list(volumes.values()), float).T
    ed, es = int(true.argmax()), int(true.argmin())
    whole = (masks == CAVITY).sum((0, 2, 3))
    scores = {name: _dice(np.sum(pairs, axis=0)) if pairs else float("nan") for name, pairs in pooled.items()}
    return PatientScore(
        cavity_slices=slices, areas=areas, ef_true=_ef(true[ed], true[es]), ef_drawn=_ef(found[ed], found[es]),
        ef_found=_ef(whole.max(), whole.min()), **scores,
    )  # fmt: skip


def class_dice(masks: np.ndarray, patient: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of Dice over the slices and frames in which a class is, or is found."""
    found = {}
    for value, name in ((1, "right ventricle"), (WALL, "myocardium"), (CAVITY, "left ventricle")):
        pairs = [
            _pair(masks[z, t] == value, patient["truth"][z, t] == value)
            for t, structures in patient["drawn"].items()
            for z in (*structures["cavity"], *structures["nothing"])
        ]
        dice = [_dice(pair) for pair in pairs if pair[1]]
        if dice:
            found[name] = float(np.mean(dice)), float(np.std(dice))
    return found


def _pair(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.array([2 * (a & b).sum(), a.sum() + b.sum()], float)


def _dice(pair: np.ndarray) -> float:
    return float(pair[0] / pair[1]) if pair[1] else float("nan")


def _ef(diastole: float, systole: float) -> float:
    return float(100 * (diastole - systole) / diastole) if diastole else float("nan")


def segment_patient(network: nn.Module, patient: dict[str, Any], options: argparse.Namespace) -> np.ndarray:
    """Masks (Z, T, H, W)."""
    inferer = HeartInferer((options.size, options.size), options.pixel, options.views, given_share=options.given_share)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=options.amp):
        logits = inferer(patient["image"], network)
    assert isinstance(logits, MetaTensor)
    masks, _ = heart_masks(logits.as_tensor().softmax(1), patient["spacing"], options.smoothing)
    return masks[:, 0].numpy()


def _fold(name: str, out: str, patients: dict[str, Any], options: argparse.Namespace) -> nn.Module:
    """A network that never saw one patient, trained if it is not there."""
    weights = options.output / f"{name}_without_{out}.pt"
    if not weights.is_file():
        seen = set(options.train_on or patients) - {out}
        chosen = [{**patient, "odds": 1 + (key in options.twice)} for key, patient in patients.items() if key in seen]
        trained = train(name, chosen, options)
        torch.save(trained.state_dict(), weights)
    network = build_network(name)
    network.load_state_dict(torch.load(weights, weights_only=True))
    return network.eval()


def table(results: dict[str, dict[str, PatientScore]]) -> str:
    """Markdown table: a row per network and patient."""
    lines = [
        "| network | patient | LV cavity Dice | slices: mean, lowest | slices of 3 cm² and more below 0.5 | epicardium "
        "Dice | RV Dice | EF of the expert (%) | error, drawn slices | error, found |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for network, patients in results.items():
        for name, s in patients.items():
            low = sum(d < 0.5 and a >= 3 for d, a in zip(s.cavity_slices, s.areas, strict=True))
            lines.append(
                f"| {network} | {name} | {s.cavity:.3f} | {np.mean(s.cavity_slices):.3f}, {min(s.cavity_slices):.2f} | "
                f"{low} of {sum(a >= 3 for a in s.areas)} | {s.epicardium:.3f} | {s.right:.3f} | {s.ef_true:.1f} | "
                f"{s.ef_drawn - s.ef_true:+.1f} | {s.ef_found - s.ef_true:+.1f} |"
            )
    return "\n".join(lines) + "\n"


def agreement_plot(scores: dict[str, PatientScore], path: Path) -> Path:
    """Draw differences of ejection fractions against their means, with bias and limits of agreement.

    Args:
        scores: by patient, two at least.
        path: the picture to write, ``.png``.
    """
    true, found = (np.array([getattr(s, name) for s in scores.values()]) for name in ("ef_true", "ef_found"))
    agreement = bland_altman(found, true)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, mean, difference in zip(scores, (true + found) / 2, found - true, strict=True):
        axes.plot(mean, difference, "o", color="#e66100")
        axes.annotate(name, (mean, difference), textcoords="offset points", xytext=(7, 4), fontsize=9)
    for value, style in ((agreement.bias, "-"), *((limit, "--") for limit in agreement.limits)):
        axes.axhline(value, linestyle=style, color="#59616b")
        axes.annotate(f"{value:+.1f}", (1, value), xycoords=("axes fraction", "data"), va="center", fontsize=9)
    axes.margins(x=0.15)
    axes.set_xlabel("mean of network and labels: ejection fraction (%)")
    axes.set_ylabel("network minus labels (points)")
    axes.set_title("Bias and limits of agreement (95 %)", loc="left", fontsize=11)
    figure.savefig(path, dpi=110)
    return path


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--data", type=Path, required=True, help="folder of patients in the layout of ACDC")
    options.add_argument("--networks", nargs="+", default=["hrnetv2"])
    options.add_argument("--patients", nargs="*", help="the ones to leave out in turn; none trains on all")
    options.add_argument("--output", type=Path, default=Path("heart_folds"), help="folder of weights and scores")
    options.add_argument("--train_on", nargs="+", help="patients to train on, the tested one never; by default all")
    options.add_argument("--pretrained", type=Path, help="weights to start from")
    options.add_argument("--automatic", nargs="+", default=[], help="patients whose labels nobody drew by hand")
    options.add_argument("--twice", nargs="+", default=[], help="patients with twice as many clips")
    options.add_argument("--steps", type=int, default=2000)
    options.add_argument("--batch_size", type=int, default=8)
    options.add_argument("--frames", type=int, default=1)
    options.add_argument("--size", type=int, default=96, help="rows and columns of a clip")
    options.add_argument("--pixel", type=float, default=1.75, help="size of its pixels in mm")
    options.add_argument("--drawn", type=float, default=0.3, help="share of drawn hearts")
    options.add_argument("--empty_share", type=float, default=0.12, help="share of slices beyond base and apex")
    options.add_argument("--contrast_prob", type=float, default=1.0, help="share of clips with another contrast")
    options.add_argument("--learning_rate", type=float, default=2e-3)
    options.add_argument("--weight_decay", type=float, default=1e-2)
    options.add_argument("--ema_decay", type=float, default=0.995)
    options.add_argument("--views", type=int, default=1, help="turned and mirrored images in the test")
    options.add_argument("--given_share", type=float, default=0.0, help="in the test; see HeartInferer")
    options.add_argument("--teacher", type=float, default=0.0, help="weight of the loss on frames that nobody drew")
    options.add_argument("--held_slices", nargs="+", metavar=("PATIENT", "SLICE"), help="slices to hold out, from 0")
    options.add_argument("--smoothing", type=float, default=0.0, help="over neighboring frames in the test")
    options.add_argument("--amp", action=argparse.BooleanOptionalAction, default=True, help="bfloat16")
    options.add_argument("--seed", type=int, default=0)
    return options


def main(arguments: Sequence[str] | None = None) -> dict[str, dict[str, PatientScore]]:
    """Train what is missing, measure, print the table, and write all scores as JSON.

    Args:
        arguments: command-line options; those of the process by default.

    Returns:
        Scores by network and patient.
    """
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    patients = load_patients(options.data)
    left_out = list(patients) if options.patients is None else options.patients
    unknown = sorted(set(left_out) - {*patients, "none"})
    if unknown:
        raise SystemExit(f"There is no patient {unknown[0]} in {options.data}, but {', '.join(patients)}.")
    tested = dict(patients)
    patients = {key: without_vanishing(one) if key in options.automatic else one for key, one in patients.items()}
    if options.held_slices:
        held, numbers = options.held_slices[0], [int(z) for z in options.held_slices[1:]]
        left_out = [f"{held}_slices"]
        patients[held], tested[left_out[0]] = hold_slices(patients[held], numbers)
    options.output.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict[str, PatientScore]] = {name: {} for name in options.networks}
    for name in options.networks:
        for out in left_out:
            network = _fold(name, out, patients, options)
            if out in tested:
                masks = segment_patient(network, tested[out], options)
                results[name][out] = score_patient(masks, tested[out])
                logger.info("%s", table({name: {out: results[name][out]}}).splitlines()[-1])
                for label, dice in class_dice(masks, tested[out]).items() if options.held_slices else ():
                    logger.info("%s %s: Dice %.3f ± %.3f", out, label, *dice)
    for name, scores in results.items():
        known = {key: s for key, s in scores.items() if np.isfinite(s.ef_found)}
        if len(known) > 1:
            agreement_plot(known, options.output / f"{name}_agreement.png")
    with write_aside(options.output / "scores.json") as aside:
        content = {name: {key: asdict(s) for key, s in scores.items()} for name, scores in results.items()}
        aside.write_text(json.dumps(content), encoding="utf-8")
    sys.stdout.write(table(results))
    return results


if __name__ == "__main__":
    main()
