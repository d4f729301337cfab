# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Cross-validation by patient: who is left out is not trained on, and only what was drawn counts."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from benchmarks import heart_folds, heart_training
from benchmarks.heart_folds import (
    PatientScore,
    agreement_plot,
    class_dice,
    hold_slices,
    load_patients,
    main,
    parser,
    score_patient,
    table,
    without_vanishing,
)
from benchmarks.heart_training import FrameByFrame, build_network, taught_sets, train


@pytest.fixture
def hearts(tmp_path: Path) -> Path:
    """Two patients with a beating ring; of the second only the cavity of one slice was drawn at systole."""
    y, x = np.mgrid[-20:20, -20:20] * 3.0
    radius = np.hypot(y, x)
    for number, name in enumerate(("patient001", "patient002")):
        folder = tmp_path / "hearts" / name
        folder.mkdir(parents=True)
        inner = np.array([24.0, 20.0, 15.0, 20.0])
        labels = np.zeros((40, 40, 3, 4), np.uint8)
        for t in range(4):
            ring = np.where(radius < inner[t], 3, np.where(radius < inner[t] + 9, 2, 0))
            labels[:, :, 1:, t] = ring[:, :, None]
        affine = np.diag([3.0, 3.0, 8.0, 1.0])
        image = np.where(labels == 3, 1.0, np.where(labels == 2, 0.3, 0.1)).astype(np.float32)
        nib.save(nib.Nifti1Image(image, affine), folder / f"{name}_4d.nii.gz")
        for t in (0, 2):
            mask = labels[..., t].copy()
            if number == 1 and t == 2:
                mask[mask != 3], mask[:, :, 2] = 0, 0
            nib.save(nib.Nifti1Image(mask, affine), folder / f"{name}_frame{t + 1:02d}_gt.nii.gz")
        frames = {
            "frame01": (0, [1, 2], [1, 2], [0]),
            "frame03": (2, [1], [], []),
        }
        keys = ("index0", "endocardial_slices", "epicardial_slices", "slices_with_nothing_drawn")
        drawn = {name: dict(zip(keys, values, strict=True)) for name, values in frames.items()}
        if number == 1:
            (folder / "labelled.json").write_text(json.dumps({"frames": drawn}), encoding="utf-8")
    return tmp_path / "hearts"


def test_scores_of_the_truth_are_perfect(hearts: Path) -> None:
    patients = load_patients(hearts)
    assert list(patients) == ["patient001", "patient002"]
    partly = patients["patient002"]
    assert partly["drawn"][2] == {"cavity": [1], "wall": [], "nothing": []}
    masks = partly["truth"].clip(min=0)
    masks[2] = 1
    score = score_patient(masks.astype(np.uint8), partly)
    assert len(score.cavity_slices) == 3
    assert score.cavity_slices[0] == score.cavity_slices[2] == 1
    assert score.cavity_slices[1] == 0, "slice 2 was drawn at diastole and is wrong there"
    assert np.isnan(score.right)


def test_ejection_fractions(hearts: Path) -> None:
    patient = load_patients(hearts)["patient001"]
    masks = np.repeat(patient["truth"][:, [0]], 4, 1).astype(np.uint8)
    score = score_patient(masks, patient)
    assert score.ef_true == pytest.approx(100 * (1 - 15**2 / 24**2), abs=4)
    assert score.ef_found == score.ef_drawn == 0
    row = table({"net": {"patient001": score}}).splitlines()[-1].split(" | ")
    assert row[1] == "patient001"
    assert row[-1] == f"{-score.ef_true:+.1f} |"


def test_the_patient_who_is_tested_is_not_trained_on(
    hearts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[tuple[int, ...]]] = []
    original = heart_training.train

    def train(name: str, patients: list[dict[str, object]], options: object) -> torch.nn.Module:
        seen.append([tuple(p["drawn"]) for p in patients])  # type: ignore[arg-type]
        return original(name, patients, options)  # type: ignore[arg-type]

    monkeypatch.setattr(heart_folds, "train", train)
    for module in (heart_folds, heart_training):
        monkeypatch.setattr(module, "build_network", lambda _: FrameByFrame(torch.nn.Conv2d(1, 4, 1)))
    options = ["--data", str(hearts), "--output", str(tmp_path / "out"), "--networks", "any", "--steps", "2",
               "--batch_size", "2", "--size", "32", "--pixel", "3"]  # fmt: skip
    results = main(options)
    assert [len(patients) for patients in seen] == [1, 1]
    assert set(results["any"]) == {"patient001", "patient002"}
    assert set(json.loads((tmp_path / "out" / "scores.json").read_text())["any"]) == set(results["any"])
    main(options)
    assert len(seen) == 2, "weights that are there are not trained again"
    with pytest.raises(SystemExit, match="no patient nobody"):
        main([*options, "--patients", "nobody"])


def test_held_slices_are_not_trained_on(hearts: Path) -> None:
    patient = load_patients(hearts)["patient001"]
    rest, held = hold_slices(patient, [1])
    assert rest["image"].shape[0] == rest["label"].shape[0] == 2
    torch.testing.assert_close(rest["label"], patient["label"][[0, 2]])
    assert {z for z, *_ in rest["places"].drawn} == {1}, "the third slice has become the second"
    assert held["drawn"][0] == {"cavity": [1], "wall": [1], "nothing": []}
    masks = patient["truth"].clip(min=0)
    masks[2] = 0
    assert score_patient(masks, held).cavity == 1, "other slices do not count"
    assert class_dice(masks, held)["left ventricle"] == (1, 0)


def test_a_base_that_leaves_the_plane_tells_nothing_while_it_does(hearts: Path) -> None:
    patient = load_patients(hearts)["patient001"]
    truth = np.repeat(patient["truth"][:, :1].clip(min=0), 4, 1)
    truth[1, 1:3][truth[1, 1:3] == 3] = 0
    truth[1, 2, 20, 20] = 3
    known = torch.full((3, 1, 4, 40, 40), 8, dtype=torch.uint8)
    rest = without_vanishing({**patient, "truth": truth, "label": known})
    unknown = (rest["label"] == 15).flatten(3).all(-1)[:, 0]
    assert unknown.nonzero().tolist() == [[1, 1], [1, 2]], "the first slice is empty throughout, which is known"
    assert all((z, t) not in ((1, 1), (1, 2)) for z, t, _ in rest["places"].drawn)


def test_a_patient_can_have_more_clips(hearts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patients = load_patients(hearts)
    options = parser().parse_args(["--data", "", "--drawn", "0", "--size", "32"])
    for n, patient in enumerate(patients.values()):
        patient.update(odds=1 + n, image=torch.full_like(patient["image"], n))
    clips = heart_training._Clips(list(patients.values()), options)
    monkeypatch.setattr(clips, "change", lambda clip: clip)
    images, _ = clips.batch(150)
    assert 0.55 < float(images.flatten(1).any(1).float().mean()) < 0.78


def test_a_teacher_tells_only_what_it_is_sure_of() -> None:
    logits = torch.tensor([[0.0, 9.0, 0.0, 0.0], [0.0, 0.1, 0.0, 0.0]]).T[None]
    assert taught_sets(logits).tolist() == [[[0b0010, 0b1111]]]


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_frames_that_nobody_drew_change_the_training_with_a_teacher_only(
    hearts: Path, weight: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heart_training, "SURE", 0.0)
    patients = load_patients(hearts)
    options = parser().parse_args(
        ["--data", "", "--steps", "6", "--batch_size", "4", "--size", "32", "--pixel", "3", "--teacher", str(weight)]
    )
    plain = list(train("packed_unet", list(patients.values()), options).parameters())
    for patient in patients.values():
        patient["image"][:, :, [1, 3]] *= torch.rand(3, 1, 2, 40, 40)
    changed = list(train("packed_unet", list(patients.values()), options).parameters())
    same = all(torch.equal(a, b) for a, b in zip(plain, changed, strict=True))
    assert same == (weight == 0)


@pytest.mark.parametrize("name", ["unet", "dynunet", "time_unet", "packed_unet"])
def test_networks_take_clips(name: str) -> None:
    net = build_network(name).eval()
    with torch.inference_mode():
        assert net(torch.zeros(1, 1, 2, 32, 32)).shape == (1, 4, 2, 32, 32)


def test_attention_over_time_begins_as_the_identity() -> None:
    plain, timed = build_network("packed_unet").eval(), build_network("time_unet").eval()
    timed.load_state_dict(plain.state_dict(), strict=False)
    x = torch.randn(1, 1, 3, 32, 32)
    torch.testing.assert_close(timed(x), plain(x))


def test_agreement_is_drawn(tmp_path: Path) -> None:
    scores = {
        name: PatientScore(0.9, [0.9], [4.0], 0.9, 0.8, 50.0, 48.0, found) for name, found in (("a", 47), ("b", 52))
    }
    assert agreement_plot(scores, tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
