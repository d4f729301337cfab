# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The denoising bundle: configs that build, train, resume, evaluate and run; weights that are plain and useful."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow

from monai_stcnnt.apps.bundles import bundle_folder, expected_remarks
from monai_stcnnt.errors import CheckpointMismatchError
from monai_stcnnt.mri.noise import complex_noise
from monai_stcnnt.networks.nets import STCNNTGuidedDenoiser, build_variant
from tests.bundles.causes import cause_of

BUNDLE = bundle_folder("mri_denoising")
CONFIGS = BUNDLE / "configs"
TINY: dict[str, Any] = {
    "epochs": 2,
    "iterations": 2,
    "val_interval": 1,
    "val_clips": 1,
    "clip_size": [3, 16, 16],
    "clip_frames": [1, 3],
    "network_def#channels": 4,
}


def write_scans(folder: Path, count: int = 2) -> Path:
    folder.mkdir()
    y, x = np.mgrid[-1:1:24j, -1:1:20j]
    for n in range(count):
        disc = (200.0 + 30 * x) * (x**2 + y**2 < 0.3 + 0.1 * n) + 20.0 + y
        image = np.broadcast_to(disc[..., None, None], (24, 20, 2, 4)).astype(np.float32)
        nib.save(nib.Nifti1Image(image + np.float32(n), np.eye(4)), folder / f"scan{n}.nii.gz")
    return folder


def run(configs: list[str], kind: str, root: Path, **overrides: Any) -> ConfigWorkflow:  # noqa: ANN401
    with expected_remarks():
        workflow = ConfigWorkflow(
            config_file=[str(CONFIGS / name) for name in configs],
            meta_file=str(CONFIGS / "metadata.json"),
            logging_file=False,
            workflow_type=kind,
            bundle_root=str(root),
            **({"ckpt_dir": str(root / "kept")} if kind == "train" else {}),
            **overrides,
        )
        workflow.initialize()
        workflow.run()
        workflow.finalize()
    return workflow


@pytest.mark.parametrize("mode", ["magnitude", "complex"])
def test_training_keeps_the_best_weights_and_goes_on_after_a_stop(tmp_path: Path, mode: str) -> None:
    scans = write_scans(tmp_path / "scans")
    first = run(["train.json"], "train", tmp_path, dataset_dir=str(scans), mode=mode, **TINY)
    assert first.check_properties() == []
    folder = tmp_path / "kept"
    weights = torch.load(folder / ("model.pt" if mode == "magnitude" else "model_complex.pt"), weights_only=True)
    name = "stcnnt_light_magnitude" if mode == "magnitude" else "stcnnt_light"
    build_variant(name, channels=4).load_state_dict(weights)
    more = run(
        ["train.json"], "train", tmp_path, dataset_dir=str(scans), mode=mode, **{**TINY, "epochs": 3}, resume=True
    )
    assert more.trainer.state.epoch == 3
    assert more.trainer.state.iteration == 6
    assert (folder / f"{mode}_state.pt").is_file()


def test_training_starts_from_given_weights(tmp_path: Path) -> None:
    scans = write_scans(tmp_path / "scans", 1)
    torch.manual_seed(7)  # another one than the training's, whose own first weights are not to be taken for these
    start = build_variant("stcnnt_light_magnitude", channels=4)
    torch.save(start.state_dict(), tmp_path / "start.pt")
    options = {**TINY, "epochs": 1, "learning_rate": 1e-9, "pretrained": str(tmp_path / "start.pt")}
    run(["train.json"], "train", tmp_path, dataset_dir=str(scans), **options)
    after = torch.load(tmp_path / "kept" / "model.pt", weights_only=True)
    for key, value in start.state_dict().items():
        torch.testing.assert_close(after[key], value, atol=1e-6, rtol=0)


def test_evaluation_says_how_much_noise_is_left(tmp_path: Path) -> None:
    scans = write_scans(tmp_path / "scans")
    options = {"dataset_dir": str(scans), "checkpoint": str(BUNDLE / "models" / "model.pt"), "val_clips": 2}
    done = run(["train.json", "evaluate.json"], "train", tmp_path, clip_size=[3, 16, 16], **options)
    assert 0 < done.evaluator.state.metrics["noise_left"] < 1


def test_the_inference_config_has_all_that_monai_asks_for(tmp_path: Path) -> None:
    scans = write_scans(tmp_path / "scans", 1)
    options = {"dataset_dir": str(scans), "output_dir": str(tmp_path / "out"), "progress": False}
    done = run(["inference.json"], "infer", BUNDLE, **options)
    assert done.check_properties() == []
    assert isinstance(done.network_def, STCNNTGuidedDenoiser)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "scan0_denoised.nii.gz", "scan0_denoised.json", "manifest.jsonl",
    }  # fmt: skip


def test_weights_of_another_network_are_refused_by_name(tmp_path: Path) -> None:
    scans = write_scans(tmp_path / "scans", 1)
    torch.save(build_variant("stcnnt_light_magnitude", channels=4).state_dict(), tmp_path / "other.pt")
    options = {"dataset_dir": str(scans), "output_dir": str(tmp_path / "out"), "checkpoint": str(tmp_path / "other.pt")}
    with pytest.raises(RuntimeError) as caught:
        run(["inference.json"], "infer", BUNDLE, **options)
    assert isinstance(cause_of(caught.value), CheckpointMismatchError)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("model.pt", "stcnnt_light_magnitude"),
        ("model_complex.pt", "stcnnt_light"),
        ("model_real.pt", "stcnnt_light_real"),
    ],
)
def test_the_weights_are_plain_tensors_and_reduce_noise(file: str, name: str) -> None:
    state = torch.load(BUNDLE / "models" / file, weights_only=True)
    assert all(type(value) is torch.Tensor for value in state.values())
    net = build_variant(name)
    net.load_state_dict(state)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 48), torch.linspace(-1, 1, 48), indexing="ij")
    clean = torch.polar(10.0 * (x**2 + y**2 < 0.5).float().expand(6, -1, -1), (x + y).expand(6, -1, -1))
    noisy = clean + complex_noise(clean.shape, torch.Generator().manual_seed(0))
    if name.endswith("magnitude"):
        image, truth = noisy.abs()[None], clean.abs()[None]
    elif name.endswith("real"):
        image, truth = noisy.real[None], clean.real[None]
    else:
        image, truth = torch.view_as_real(noisy).movedim(-1, 0), torch.view_as_real(clean).movedim(-1, 0)
    with torch.inference_mode():
        result = net.eval()(torch.cat([image, torch.ones_like(image[:1])])[None])[0]
    assert (result - truth).square().mean() < 0.35 * (image - truth).square().mean()


def test_every_config_names_what_exists() -> None:
    for path in CONFIGS.glob("*.json"):
        assert json.loads(path.read_text())
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / "train.json"), str(CONFIGS / "evaluate.json")])
    metadata = json.loads((CONFIGS / "metadata.json").read_text())
    assert metadata["version"] in metadata["changelog"]
