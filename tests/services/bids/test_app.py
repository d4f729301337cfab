# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The BIDS app on small datasets: what it finds, what it writes, and that a rerun does nothing."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
from importlib.metadata import files
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from monai_stcnnt.errors import EmptyImageError, MissingFileError
from monai_stcnnt.services.bids import participant
from monai_stcnnt.services.bids.app import run
from monai_stcnnt.services.bids.items import list_items
from tests.apps.dicom_files import moving_disc
from tests.services.mrd.clients import Halver

__all__: list[str] = []


def write_image(path: Path, values: np.ndarray, sidecar: dict[str, Any] | None = None, frame_time: float = 2.0) -> Path:
    """Write ``(T, Z, Y, X)`` as NIfTI, with a sidecar."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = values.transpose(3, 2, 1, 0).astype(np.float32)
    image = nib.Nifti1Image(array if len(values) > 1 else array[..., 0], np.diag([2.0, 2.0, 3.0, 1.0]))
    image.header.set_xyzt_units("mm", "sec")
    if len(values) > 1:
        image.header.set_zooms((2, 2, 3, frame_time))
    nib.save(image, path)
    if sidecar is not None:
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(sidecar))
    return path


def dataset(root: Path, subjects: tuple[str, ...] = ("01", "02")) -> Path:
    """Write a dataset with functional, diffusion and anatomical images, the first with its phase."""
    root.mkdir()
    (root / "dataset_description.json").write_text('{"Name": "small", "BIDSVersion": "1.9.0"}')
    (root / "README").write_text("A dataset for tests, which holds moving discs instead of people.\n" * 3)
    (root / "task-rest_bold.json").write_text('{"TaskName": "rest", "RepetitionTime": 2.0}')
    for subject in subjects:
        folder, name = root / f"sub-{subject}", f"sub-{subject}"
        bold = moving_disc(4, 2, 16, int(subject))
        write_image(folder / "func" / f"{name}_task-rest_part-mag_bold.nii.gz", bold)
        phase = np.random.default_rng(1).uniform(-np.pi, np.pi, bold.shape)
        write_image(folder / "func" / f"{name}_task-rest_part-phase_bold.nii.gz", phase, {"Units": "rad"})
        write_image(folder / "dwi" / f"{name}_dwi.nii.gz", moving_disc(3, 2, 16), {"EchoTime": 0.08})
        (folder / "dwi" / f"{name}_dwi.bval").write_text("0 1000 1000\n")
        (folder / "dwi" / f"{name}_dwi.bvec").write_text("0 1 0\n0 0 1\n0 0 0\n")
        write_image(folder / "anat" / f"{name}_T1w.nii.gz", moving_disc(1, 4, 16), {"EchoTime": 0.003})
    return root


def image_of(path: Path) -> nib.Nifti1Image:
    """Open an image by its name without the ending."""
    return nib.Nifti1Image.from_filename(f"{path}.nii.gz")


def broken(path: Path) -> None:
    """Cut a compressed file short."""
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:400]))


def rows_of(output: Path) -> list[dict[str, str]]:
    with open(output / "group_denoising.tsv", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture
def halved(monkeypatch: pytest.MonkeyPatch) -> list[Halver]:
    """A stand-in for the network."""
    networks: list[Halver] = []

    def make(options: Any) -> Halver:  # noqa: ANN401 - as the engine takes them
        networks.append(Halver(options))
        return networks[-1]

    monkeypatch.setattr(participant, "_denoiser", make)
    return networks


def test_images_are_found_with_their_parts_and_inherited_metadata(tmp_path: Path) -> None:
    items = list_items(dataset(tmp_path / "raw"), ["sub-02"])
    assert [item.path for item in items] == [
        "sub-02/anat/sub-02_T1w.nii.gz", "sub-02/dwi/sub-02_dwi.nii.gz",
        "sub-02/func/sub-02_task-rest_part-mag_bold.nii.gz",
    ]  # fmt: skip
    assert items[2].phase == "sub-02/func/sub-02_task-rest_part-phase_bold.nii.gz"
    assert items[2].metadata["RepetitionTime"] == 2.0
    assert items[1].beside == ("sub-02/dwi/sub-02_dwi.bval", "sub-02/dwi/sub-02_dwi.bvec")


def test_derivatives_have_their_names_values_and_sidecars(tmp_path: Path, halved: list[Halver]) -> None:
    root, out = dataset(tmp_path / "raw", ("01",)), tmp_path / "out"
    assert run([str(root), str(out), "participant"]) == 0
    names = {path.relative_to(out).as_posix() for path in out.rglob("*.nii.gz")}
    func, stem = "sub-01/func/", "sub-01_task-rest_part-"
    assert names == {
        "sub-01/anat/sub-01_desc-denoised_T1w.nii.gz", "sub-01/anat/sub-01_desc-noise_T1w.nii.gz",
        "sub-01/dwi/sub-01_desc-denoised_dwi.nii.gz", "sub-01/dwi/sub-01_desc-noise_dwi.nii.gz",
        f"{func}{stem}mag_desc-denoised_bold.nii.gz", f"{func}{stem}phase_desc-denoised_bold.nii.gz",
        f"{func}{stem}mag_desc-noise_bold.nii.gz",
    }  # fmt: skip
    before, after = image_of(root / f"{func}{stem}mag_bold"), image_of(out / f"{func}{stem}mag_desc-denoised_bold")
    np.testing.assert_allclose(after.get_fdata(), before.get_fdata() / 2, rtol=1e-4)
    np.testing.assert_array_equal(after.affine, before.affine)
    assert after.header.get_zooms() == before.header.get_zooms()
    start, end = image_of(root / f"{func}{stem}phase_bold"), image_of(out / f"{func}{stem}phase_desc-denoised_bold")
    np.testing.assert_allclose(end.get_fdata(), start.get_fdata(), atol=1e-4)
    said = json.loads((out / func / f"{stem}mag_desc-denoised_bold.json").read_text())
    assert said["RepetitionTime"] == 2.0
    assert said["Sources"] == [f"bids:raw:{func}{stem}{part}_bold.nii.gz" for part in ("mag", "phase")]
    assert (out / "sub-01/dwi/sub-01_dwi.bval").read_text() == "0 1000 1000\n"
    assert [network.records[0].kind for network in halved] == ["magnitude", "magnitude", "complex"]


def test_a_rerun_does_nothing_and_other_options_do_it_again(tmp_path: Path, halved: list[Halver]) -> None:
    root, out = dataset(tmp_path / "raw", ("01",)), tmp_path / "out"
    run([str(root), str(out), "participant"])
    made = {path: path.stat().st_mtime_ns for path in out.rglob("*.nii.gz")}
    count = len(halved)
    assert run([str(root), str(out), "participant"]) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.nii.gz")} == made
    assert len(halved) == count
    run([str(root), str(out), "participant", "--strength", "0.5"])
    assert len(halved) == 2 * count


def test_standard_errors_come_where_they_are_asked_for(tmp_path: Path, halved: list[Halver]) -> None:
    root, out = dataset(tmp_path / "raw", ("01",)), tmp_path / "out"
    run([str(root), str(out), "participant"])
    assert not list(out.rglob("*uncertainty*.nii.gz"))
    assert run([str(root), str(out), "participant", "--save-uncertainty"]) == 0
    folder, stem = out / "sub-01/func", "sub-01_task-rest_part-mag_desc-uncertainty_bold"
    assert image_of(folder / stem).shape == image_of(root / "sub-01/func/sub-01_task-rest_part-mag_bold").shape
    assert (image_of(folder / stem).get_fdata() == 0.5).all()
    said = json.loads((folder / f"{stem}.json").read_text())
    assert said["RepetitionTime"] == 2.0
    assert "Standard error" in said["Description"]
    count = len(halved)
    (out / "sub-01/anat/sub-01_desc-uncertainty_T1w.nii.gz").unlink()
    run([str(root), str(out), "participant", "--save-uncertainty"])
    assert len(halved) == count + 1


def test_a_broken_participant_is_reported_and_others_go_on(
    tmp_path: Path, halved: list[Halver], capsys: pytest.CaptureFixture[str]
) -> None:
    del halved
    root, out = dataset(tmp_path / "raw"), tmp_path / "out"
    broken(root / "sub-01/anat/sub-01_T1w.nii.gz")
    assert run([str(root), str(out), "participant"]) == 3
    assert "failed: sub-01/anat/sub-01_T1w.nii.gz: " in capsys.readouterr().err
    assert run([str(out), str(out), "group"]) == 0
    rows = rows_of(out)
    assert [row["status"] for row in rows] == ["failed", *["done"] * 5]
    assert rows[0]["error"].startswith("UnreadableFileError")
    assert rows[1]["noise_sigma"] == "3"
    page = (out / "group_denoising.html").read_text()
    assert "6 images of 2 participants; 1 failed" in page
    (root / "sub-01/anat/sub-01_T1w.nii.gz").unlink()
    write_image(root / "sub-01/anat/sub-01_T1w.nii.gz", moving_disc(1, 4, 16))
    assert run([str(root), str(out), "participant", "--participant_label", "01"]) == 0


def test_a_phase_alone_and_parts_that_differ_are_refused(tmp_path: Path, halved: list[Halver]) -> None:
    del halved
    root = dataset(tmp_path / "raw")
    (root / "sub-01/func/sub-01_task-rest_part-mag_bold.nii.gz").unlink()
    write_image(root / "sub-02/func/sub-02_task-rest_part-mag_bold.nii.gz", moving_disc(3, 2, 16))
    assert run([str(root), str(tmp_path / "out"), "participant", "-q"]) == 3
    run([str(root), str(tmp_path / "out"), "group"])
    errors = [row["error"] for row in rows_of(tmp_path / "out") if row["status"] == "failed"]
    assert "without its magnitude" in errors[0]
    assert "differ in size" in errors[1]


def test_what_is_no_dataset_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="dataset_description"):
        list_items(tmp_path)
    with pytest.raises(MissingFileError, match="no participant 07"):
        list_items(dataset(tmp_path / "raw"), ["07"])
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/dataset_description.json").write_text('{"Name": "empty", "BIDSVersion": "1.9.0"}')
    with pytest.raises(EmptyImageError, match="T1w"):
        list_items(tmp_path / "empty")
    with pytest.raises(MissingFileError, match="participant"):
        run([str(tmp_path / "empty"), str(tmp_path / "empty"), "group"])


def validated(folder: Path) -> dict[str, Any]:
    """What bids-validator says about a dataset, offline."""
    installed = files("bids-validator-deno") or []
    program = next(str(file.locate()) for file in installed if file.name.startswith("bids-validator-deno"))
    done = subprocess.run([program, "--json", str(folder)], capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_derivatives_pass_the_validator(tmp_path: Path, halved: list[Halver]) -> None:
    del halved
    root, out = dataset(tmp_path / "raw"), tmp_path / "out"
    run([str(root), str(out), "participant"])
    run([str(root), str(out), "group"])
    issues = validated(out)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []
