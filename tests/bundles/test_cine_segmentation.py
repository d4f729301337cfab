# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The segmentation bundle: configs that build, train on labelled folders, resume, evaluate and run; plain weights."""

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
from monai_stcnnt.errors import LabelShapeError, LabelValueError, MissingFileError, StcnntError
from monai_stcnnt.mri.hearts import drawn_heart, heart_scale
from monai_stcnnt.mri.phantom import cine_phantom
from monai_stcnnt.networks.nets import build_variant
from tests.bundles.causes import cause_of

# MONAI's own use of an argument that it has deprecated, and what it says of classes that are absent.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning"),
    pytest.mark.filterwarnings("ignore:the (prediction|ground truth) of class .* is all 0:UserWarning"),
]

BUNDLE = bundle_folder("cine_segmentation")
CONFIGS = BUNDLE / "configs"
TINY: dict[str, Any] = {
    "architecture": "hrnetv2",
    "epochs": 2,
    "iterations": 2,
    "val_interval": 1,
    "clip_size": [1, 32, 32],
    "batch_size": 2,
}
BRAIN: dict[str, Any] = {**TINY, "clip_size": [2, 16, 16], "roi_size": [2, 32, 32]}


def write_patient(root: Path, name: str = "patient001", top: int = 3) -> Path:
    """A patient in the layout of ACDC with the classes 0 to ``top``, labelled in frames 1 and 3 of 4."""
    folder = root / name
    folder.mkdir(parents=True)
    y, x = np.mgrid[-1:1:24j, -1:1:20j]
    mask = np.zeros((24, 20, 2), np.uint8)
    for n in range(1, top + 1):
        mask[np.hypot(x, y) < 0.9 - 0.2 * n] = n
    image = np.repeat((50.0 * mask + 10.0 + np.arange(20.0)[:, None])[..., None], 4, -1)
    image = (image + np.random.default_rng(0).random(image.shape)).astype(np.float32)  # one value an area is no image
    nib.save(nib.Nifti1Image(image, np.eye(4)), folder / f"{name}_4d.nii.gz")
    for frame in (1, 3):
        nib.save(nib.Nifti1Image(mask, np.eye(4)), folder / f"{name}_frame{frame:02d}_gt.nii.gz")
    (folder / "Info.cfg").write_text("ED: 1\nES: 3\n")
    return root


def run(configs: list[str], kind: str, **overrides: Any) -> ConfigWorkflow:  # noqa: ANN401
    with expected_remarks():
        workflow = ConfigWorkflow(
            config_file=[str(CONFIGS / name) for name in configs],
            meta_file=str(CONFIGS / "metadata.json"),
            logging_file=False,
            workflow_type=kind,
            bundle_root=str(BUNDLE),
            **overrides,
        )
        workflow.initialize()
        workflow.run()
        workflow.finalize()
    return workflow


def test_a_folder_of_acdc_trains_keeps_weights_goes_on_and_is_evaluated(tmp_path: Path) -> None:
    data = write_patient(write_patient(tmp_path / "data"), "patient002")
    options = {**TINY, "dataset_dir": str(data), "ckpt_dir": str(tmp_path / "kept")}
    first = run(["train.json"], "train", **options)
    assert first.check_properties() == []
    assert 0 <= first.evaluator.state.metrics["mean_dice"] <= 1
    for name in ("model_hrnetv2.pt", "last_model_hrnetv2.pt"):
        state = torch.load(tmp_path / "kept" / name, weights_only=True)
        build_variant("hrnetv2_segmenter").load_state_dict(state)
    more = run(["train.json"], "train", **{**options, "epochs": 3}, resume=True)
    assert (more.trainer.state.epoch, more.trainer.state.iteration) == (3, 6)
    checkpoint = str(tmp_path / "kept" / "model_hrnetv2.pt")
    done = run(["train.json", "evaluate.json"], "train", **options, checkpoint=checkpoint)
    assert set(done.evaluator.state.metrics) == {"mean_dice", "hausdorff_95"}


def test_training_starts_from_given_weights(tmp_path: Path) -> None:
    data = write_patient(tmp_path / "data")
    torch.manual_seed(7)  # another one than the training's, whose own first weights are not to be taken for these
    start = build_variant("hrnetv2_segmenter")
    torch.save(start.state_dict(), tmp_path / "start.pt")
    options = {**TINY, "epochs": 1, "learning_rate": 1e-9, "pretrained": str(tmp_path / "start.pt")}
    run(["train.json"], "train", **options, dataset_dir=str(data), ckpt_dir=str(tmp_path / "kept"))
    after = torch.load(tmp_path / "kept" / "last_model_hrnetv2.pt", weights_only=True)
    for name, value in start.named_parameters():
        torch.testing.assert_close(after[name], value.detach(), atol=1e-6, rtol=0)


def test_masks_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    def refused(data: Path) -> StcnntError:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - the cause below it is compared
            run(["train.json"], "train", **TINY, dataset_dir=str(data), ckpt_dir=str(tmp_path / "kept"))
        return cause_of(caught.value)

    assert isinstance(refused(write_patient(tmp_path / "values", top=4)), LabelValueError)
    data = write_patient(tmp_path / "shape")
    mask = data / "patient001" / "patient001_frame03_gt.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((24, 18, 2), np.uint8), np.eye(4)), mask)
    error = refused(data)
    assert isinstance(error, LabelShapeError)
    assert mask.name in str(error)
    mask.unlink()
    assert isinstance(refused(data), MissingFileError)


def test_inference_gives_a_mask_on_the_grid_of_the_image(tmp_path: Path) -> None:
    data = write_patient(tmp_path / "data")
    for mask in data.rglob("*_gt.nii.gz"):
        mask.unlink()
    options = {"dataset_dir": str(data), "output_dir": str(tmp_path / "out"), "progress": False}
    done = run(["inference.json"], "infer", **options)
    assert done.check_properties() == []
    result = nib.Nifti1Image.from_filename(next((tmp_path / "out").rglob("*_seg.nii.gz")))
    assert result.shape == (24, 20, 2, 4)
    assert set(np.unique(np.asarray(result.dataobj))) <= {0, 1, 2, 3}


def test_the_brain_config_trains_on_images_and_labels_in_any_orientation(tmp_path: Path) -> None:
    for kind in ("images", "labels"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    mask = np.zeros((20, 18, 9), np.uint8)
    mask[4:16, 4:14, 2:7], mask[6:14, 6:12, 3:6] = 2, 3
    affine = np.array([[-1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(mask, affine), tmp_path / "data" / "labels" / "a.nii.gz")
    nib.save(nib.Nifti1Image(mask * 30.0 + 5, affine), tmp_path / "data" / "images" / "a.nii.gz")
    options = {**BRAIN, "epochs": 1, "dataset_dir": str(tmp_path / "data"), "ckpt_dir": str(tmp_path / "kept")}
    done = run(["train.json", "train_brain.json"], "train", **options)
    assert np.isfinite(done.trainer.state.metrics["train_loss"])
    item = done.parser.get_parsed_content("validate#dataset")[0]
    assert item["label"].shape == (1, 1, 18, 9, 20)  # depth is inferior to superior
    assert (tmp_path / "kept" / "last_model_brain_hrnetv2.pt").is_file()


def test_the_weights_are_plain_tensors_of_the_network() -> None:
    state = torch.load(BUNDLE / "models" / "model.pt", weights_only=True)
    assert all(type(value) is torch.Tensor for value in state.values())
    build_variant("packed_unet_segmenter").load_state_dict(state)


def test_labels_of_a_part_train_and_are_judged_by_that_part(tmp_path: Path) -> None:
    data = write_patient(write_patient(tmp_path / "data"), "patient002")
    drawn = {"index0": 0, "endocardial_slices": [0], "epicardial_slices": [], "slices_with_nothing_drawn": []}
    listed = {"frames": {"frame01": drawn, "frame03": {**drawn, "index0": 2}}}
    for name in ("patient001", "patient002"):
        (data / name / "labelled.json").write_text(json.dumps(listed))
    done = run(["train.json"], "train", **TINY, dataset_dir=str(data), ckpt_dir=str(tmp_path / "kept"))
    item = done.parser.get_parsed_content("validate#dataset")[0]
    assert set(item) == {"image", "label"}
    assert set(item["label"][0].unique().tolist()) <= {3, 7, 8, 15}
    assert bool((item["label"][1] == 15).all())


def test_the_network_finds_hearts_that_were_drawn() -> None:
    net = build_variant("packed_unet_segmenter").eval()
    net.load_state_dict(torch.load(BUNDLE / "models" / "model.pt", weights_only=True))
    rng, scores = np.random.RandomState(77), []
    for _ in range(12):
        heart = drawn_heart(rng, (1, 96, 96), 1.75)
        truth = heart.labels[0] == 3
        if truth.sum() > 60:
            with torch.inference_mode():
                found = net(heart_scale(heart.image[None, None]))[0, :, 0].argmax(0) == 3
            scores.append(float(2 * (found & truth).sum() / (found.sum() + truth.sum())))
    assert np.median(scores) > 0.8


@pytest.mark.slow
def test_the_heart_of_the_phantom_is_found_and_measured(tmp_path: Path) -> None:
    phantom = cine_phantom((8, 160, 160), np.random.RandomState(77))
    image = phantom.image.abs().numpy().transpose(2, 1, 0)[:, :, None].repeat(4, 2)
    nib.save(nib.Nifti1Image(image, np.diag([1.5, 1.5, 8.0, 1.0])), tmp_path / "phantom.nii.gz")
    run(["inference.json"], "infer", dataset_dir=str(tmp_path), output_dir=str(tmp_path / "out"), progress=False)
    mask = np.asarray(nib.Nifti1Image.from_filename(next((tmp_path / "out").rglob("*_seg.nii.gz"))).dataobj)
    found, truth = mask[:, :, 1].transpose(2, 1, 0) == 3, phantom.labels.numpy() == 1
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.8


def test_every_config_names_what_exists() -> None:
    overlays = ["evaluate.json", "multi_gpu_train.json", "train_brain.json"]
    for base, overlay in [("train.json", o) for o in overlays] + [("inference.json", "inference_brain.json")]:
        parser = ConfigParser()
        parser.read_config([str(CONFIGS / base), str(CONFIGS / overlay)])
        known = ConfigParser.load_config_file(str(CONFIGS / base))
        text = (CONFIGS / overlay).read_text()
        fresh = {key.lstrip("+").split("#")[0] for key in ConfigParser.load_config_file(str(CONFIGS / overlay))}
        unknown = fresh - {*known, "checkpoint", "checkpoint_network", "finalize"}
        assert [key for key in unknown if f"@{key}" not in text] == []
    metadata = json.loads((CONFIGS / "metadata.json").read_text())
    assert metadata["version"] in metadata["changelog"]
