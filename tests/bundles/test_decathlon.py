# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Both bundles train on folders of the Medical Segmentation Decathlon and of nnU-Net, and on their ``dataset.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from monai.bundle import ConfigWorkflow

from monai_stcnnt.apps.bundles import bundle_folder, expected_remarks
from monai_stcnnt.data import training_images
from monai_stcnnt.errors import UnreadableFileError

__all__: list[str] = []

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning"),
    pytest.mark.filterwarnings("ignore:the (prediction|ground truth) of class .* is all 0:UserWarning"),
]

TINY: dict[str, dict[str, Any]] = {
    "mri_denoising": {
        "epochs": 1, "iterations": 2, "val_interval": 1, "val_clips": 1, "clip_size": [2, 16, 16],
        "clip_frames": [1, 2], "network_def#channels": 4,
    },
    "cine_segmentation": {"epochs": 1, "iterations": 2, "val_interval": 1, "clip_size": [1, 32, 32], "batch_size": 2},
}  # fmt: skip


def save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)


def decathlon(root: Path, *, is_listed: bool) -> Path:
    """Three cases with masks, as the Decathlon has them, or as nnU-Net has them: ``_0000``, and nothing is listed."""
    rng, ending = np.random.default_rng(0), "" if is_listed else "_0000"
    y, x = np.mgrid[-1:1:40j, -1:1:40j]
    mask = sum((np.hypot(x, y) < 0.8 - 0.2 * n).astype(np.uint8) for n in range(3))[..., None].repeat(3, -1)
    for case in ("la_003", "la_007", "la_010"):
        save(root / "imagesTr" / f"{case}{ending}.nii.gz", (100 * mask + rng.uniform(10, 30, mask.shape)).astype("f4"))
        save(root / "labelsTr" / f"{case}.nii.gz", mask)
    cases = [path.name for path in sorted((root / "labelsTr").iterdir())]
    listed = [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in cases]
    content = {"labels": {"0": "background", "1": "right", "2": "wall", "3": "left"}, "numTraining": 3}
    (root / "dataset.json").write_text(json.dumps({**content, **({"training": listed} if is_listed else {})}))
    return root


@pytest.mark.parametrize("is_listed", [True, False])
@pytest.mark.parametrize("name", ["mri_denoising", "cine_segmentation"])
def test_a_bundle_trains_on_it(name: str, is_listed: bool, tmp_path: Path) -> None:
    root = decathlon(tmp_path / "Task", is_listed=is_listed)
    for number, place in enumerate((root, root / "dataset.json")):
        with expected_remarks():
            workflow = ConfigWorkflow(
                str(bundle_folder(name) / "configs" / "train.json"), logging_file=False, workflow_type="train",
                dataset_dir=str(place), ckpt_dir=str(tmp_path / str(number)), **TINY[name],
            )  # fmt: skip
            workflow.initialize()
            workflow.run()
            workflow.finalize()
        assert (tmp_path / str(number) / "model.pt").is_file()


@pytest.mark.parametrize("is_listed", [True, False])
def test_a_denoiser_learns_from_images_alone(is_listed: bool, tmp_path: Path) -> None:
    root = decathlon(tmp_path / "Task", is_listed=is_listed)
    for place in (root, root / "dataset.json"):
        found = [Path(item["image"]) for item in training_images(place)]
        assert [path.parent.name for path in found] == ["imagesTr"] * 3
    save(tmp_path / "acdc" / "p_4d.nii.gz", np.ones((4, 4, 2, 3), np.float32))
    save(tmp_path / "acdc" / "p_frame01_gt.nii.gz", np.ones((4, 4, 2), np.uint8))
    assert [Path(item["image"]).name for item in training_images(tmp_path / "acdc")] == ["p_4d.nii.gz"]
    (tmp_path / "list.json").write_text('{"training": 3}')
    with pytest.raises(UnreadableFileError, match="not a list of images"):
        training_images(tmp_path / "list.json")
