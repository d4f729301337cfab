# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Both bundles in other hands: copied and changed, loaded without data, and run on arrays in memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, create_workflow, load
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose
from monai.transforms.io.dictionary import LoadImaged, SaveImaged

from monai_stcnnt.apps.bundles import bundle_folder, bundle_root, expected_remarks
from monai_stcnnt.errors import (
    CheckpointMismatchError,
    MissingFileError,
    NetworkOutputError,
    NonFiniteValuesError,
    NotAnImageError,
)
from tests.bundles.causes import cause_of, run

__all__: list[str] = []

BUNDLES = ["mri_denoising", "cine_segmentation"]
CHOICES: dict[str, dict[str, Any]] = {
    "mri_denoising": {"roi_size": [4, 16, 16]},
    "cine_segmentation": {},
}

pytestmark = pytest.mark.filterwarnings("ignore:parsing config_file:UserWarning")


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    values = 100 + np.random.default_rng(0).normal(0, 10, (24, 20, 1, 4)).astype(np.float32)
    path = tmp_path / "scan.nii"
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)
    return path


@pytest.fixture
def copied(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of a bundle."""
    return Path(shutil.copytree(bundle_folder(request.param), tmp_path / "elsewhere" / request.param))


@pytest.mark.parametrize("copied", BUNDLES, indirect=True)
@pytest.mark.parametrize("inside", [False, True])
def test_a_copied_bundle_runs_its_own_weights_from_any_folder(
    copied: Path, inside: bool, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(copied if inside else tmp_path)
    weights = copied / "models" / "model.pt"
    torch.save({"of": torch.zeros(1), "another network": torch.zeros(1)}, weights)
    folder = Path() if inside else copied
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the cause below it is compared
        run(folder, input_file=str(scan), output_dir=str(tmp_path / "out"), **CHOICES[copied.name])
    error = cause_of(caught.value)
    assert isinstance(error, CheckpointMismatchError)
    assert str(weights) in str(error)


@pytest.mark.parametrize("copied", ["mri_denoising"], indirect=True)
def test_a_network_that_gives_nan_writes_nothing(copied: Path, scan: Path, tmp_path: Path) -> None:
    weights = copied / "models" / "model.pt"
    state = torch.load(weights, weights_only=True)
    torch.save({name: torch.full_like(value, torch.nan) for name, value in state.items()}, weights)
    for engine in ("streamed", "evaluator"):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - the cause below it is compared
            run(copied, input_file=str(scan), output_dir=str(tmp_path / "out"), run=[f"$@{engine}.run()"])
        assert isinstance(cause_of(caught.value), NetworkOutputError)
        assert os.listdir(tmp_path / "out") == []


@pytest.mark.parametrize("name", BUNDLES)
def test_results_go_below_the_current_folder_by_default(
    name: str, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    run(bundle_folder(name), input_file=str(scan), **CHOICES[name])
    assert len(list((tmp_path / "work" / "eval").glob("*.nii"))) == 1
    for kind in ("inference", "train"):
        config = json.loads((bundle_folder(name) / "configs" / f"{kind}.json").read_text())
        assert config["output_dir" if kind == "inference" else "ckpt_dir"].startswith("./")


def test_a_config_that_nobody_runs_has_no_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingFileError, match="bundle_root"):
        bundle_root()


@pytest.mark.parametrize("kind", ["train", "inference"])
@pytest.mark.parametrize("name", BUNDLES)
def test_bundles_load_without_data(name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with expected_remarks():
        network: Any = load(name, bundle_dir=bundle_folder(name).parent, workflow_type=kind, device="cpu")
        workflow = create_workflow(
            config_file=str(bundle_folder(name) / "configs" / f"{kind}.json"), workflow_type=kind
        )
    state = torch.load(bundle_folder(name) / "models" / "model.pt", weights_only=True)
    for key, value in network.state_dict().items():
        assert torch.equal(value, state[key])
    assert isinstance(workflow.network_def, torch.nn.Module)
    assert Path(workflow.bundle_root) == bundle_folder(name)


@pytest.mark.parametrize("shape", [(24, 20, 5), (24, 20, 1, 4)])
@pytest.mark.parametrize("name", BUNDLES)
def test_arrays_in_memory_give_what_the_run_gives(
    name: str, shape: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As MONAI Label and the Deploy SDK's bundle operator do it: no loading, ``inputs[None]``, no saving."""
    monkeypatch.chdir(tmp_path)
    values = 100 + np.random.default_rng(0).normal(0, 10, shape).astype(np.float32)
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "scan.nii")
    done = run(bundle_folder(name), input_file=str(tmp_path / "scan.nii"), **CHOICES[name])
    [saved] = (tmp_path / "eval").glob("*.nii")
    parser = ConfigParser()
    parser.read_config(str(bundle_folder(name) / "configs" / "inference.json"))
    parser.update({"bundle_root": str(bundle_folder(name)), "progress": False, **CHOICES[name]})
    before, inferer, after = (parser.get_parsed_content(k) for k in ("preprocessing", "inferer", "postprocessing"))
    image = MetaTensor(values, affine=torch.eye(4, dtype=torch.float64))
    kept = {"LoadImage": LoadImaged, "SaveImage": SaveImaged}
    for compose in (before, after):
        for prefix, base in kept.items():
            assert [isinstance(t, base) for t in compose.transforms] == [
                type(t).__name__.startswith(prefix) for t in compose.transforms
            ]
    loads, saves = tuple(kept.values())
    inputs = Compose([t for t in before.transforms if not isinstance(t, loads)])({"image": image})
    with torch.no_grad():
        output = inferer(inputs["image"][None], done.parser.get_parsed_content("network").eval())[0]
    data = Compose([t for t in after.transforms if not isinstance(t, saves)])({"pred": output, **inputs})
    expected = np.asarray(nib.nifti1.load(saved).dataobj)
    np.testing.assert_allclose(np.asarray(data["pred"])[0], expected, rtol=1e-5)
    assert tuple(data["pred"].shape) == (1, *shape)


ENGINES = [("mri_denoising", "streamed"), ("mri_denoising", "evaluator"), ("cine_segmentation", "evaluator")]


@pytest.mark.parametrize(("name", "engine"), ENGINES)
def test_results_say_how_they_came_about_and_are_not_taken_for_images(
    name: str, engine: str, scan: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images, results = tmp_path / "images", tmp_path / "images" / "results"
    images.mkdir()
    scan = scan.rename(images / "scan.nii")
    for _ in range(2):
        with caplog.at_level("INFO", "monai_stcnnt"):
            run(bundle_folder(name), dataset_dir=str(images), output_dir=str(results), run=[f"$@{engine}.run()"],
                redo=True, **CHOICES[name])  # fmt: skip
        [saved] = results.glob("*.nii")
        [made] = json.loads(saved.with_suffix(".json").read_text())["GeneratedBy"]
        assert (made["Bundle"], len(made["BundleSHA256"])) == (name, 64)
        saved.with_suffix(".json").unlink()  # the header alone tells as well
    assert "results/scan_" in caplog.text.replace(os.sep, "/")
    assert "is skipped: it was" in caplog.text


@pytest.mark.parametrize(("name", "engine"), ENGINES)
def test_what_is_no_mr_image_is_refused_also_in_memory(
    name: str, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    noise = rng.normal(100, 10, (24, 24, 2)).astype(np.float32)
    cases = {
        "negative": (noise - 100) * 30,
        "label maps": np.kron(rng.integers(0, 5, (3, 3, 1)), np.ones((8, 8, 2))).astype(np.float32),
        "a phase": rng.uniform(0, 4095, (24, 24, 2)).astype(np.float32),
        "NaN": np.where(np.arange(noise.size).reshape(noise.shape) == 600, np.nan, noise).astype(np.float32),
    }
    parser = ConfigParser()
    parser.read_config(str(bundle_folder(name) / "configs" / "inference.json"))
    parser.update({"bundle_root": str(bundle_folder(name)), "progress": False})
    steps = Compose(parser.get_parsed_content("preprocessing").transforms[2 if name == "mri_denoising" else 1 :])
    for said, values in cases.items():
        nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "scan.nii")
        with pytest.raises(Exception) as caught:  # noqa: PT011 - the cause below it is compared
            run(bundle_folder(name), input_file="scan.nii", run=[f"$@{engine}.run()"], **CHOICES[name])
        assert isinstance(cause_of(caught.value), (NotAnImageError, NonFiniteValuesError))
        assert said in str(cause_of(caught.value))
        with pytest.raises(Exception) as caught:  # noqa: PT011
            steps({"image": MetaTensor(values)})
        assert said in str(cause_of(caught.value))
    assert os.listdir(tmp_path / "eval") == []


@pytest.mark.parametrize("engine", ["streamed", "evaluator"])
def test_magnitudes_that_were_interpolated_below_zero_come_out_positive(
    engine: str, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    values = np.asarray(nib.nifti1.load(scan).dataobj).copy()
    values[2, 2:6] = -3
    nib.save(nib.Nifti1Image(values, np.eye(4)), scan)
    run(bundle_folder("mri_denoising"), input_file=str(scan), run=[f"$@{engine}.run()"], **CHOICES["mri_denoising"])
    assert np.asarray(nib.nifti1.load("eval/scan_denoised.nii").dataobj).min() >= 0


@pytest.mark.parametrize("name", BUNDLES)
def test_an_error_in_a_run_shows_its_cause(name: str, tmp_path: Path) -> None:
    config = bundle_folder(name) / "configs" / "inference.json"
    done = subprocess.run(
        [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(config), "--dataset_dir", "nowhere"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("monai_stcnnt.errors.MissingFileError: ")
    assert "nowhere" in last
    assert "During handling" not in done.stderr
    assert "direct cause" not in done.stderr
