# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The command line: results on the input's grid, and one plain sentence for whatever is wrong with the input."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_stcnnt import __version__
from monai_stcnnt.apps.bundles import bundle_folder
from monai_stcnnt.apps.cli.app import main
from monai_stcnnt.networks.nets import build_variant

Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    def call(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["stcnnt", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0)

    return call


def phantom(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape[:2]), indexing="ij")
    disc = 100.0 * (grid[0] ** 2 + grid[1] ** 2 < 0.5)
    image = np.broadcast_to(disc.reshape(*shape[:2], *[1] * (len(shape) - 2)), shape)
    noise = rng.normal(size=(2, *shape)) * 10.0
    return np.hypot(image + noise[0], noise[1]).astype(np.float32)


def save(path: Path, array: np.ndarray) -> Path:
    image = nib.Nifti1Image(array, np.diag([2.0, 3.0, 4.0, 1.0]))
    image.header.set_xyzt_units("mm", "msec")
    if array.ndim == 4:
        image.header["pixdim"][4] = 33.0
    nib.save(image, path)
    return path


@pytest.mark.parametrize("shape", [(20, 24), (20, 24, 3), (20, 24, 2, 5)])
def test_a_result_lies_on_the_grid_of_its_input(tmp_path: Path, run: Run, shape: tuple[int, ...]) -> None:
    source = save(tmp_path / "scan.nii.gz", phantom(shape))
    target, report = tmp_path / "out" / "result.nii.gz", tmp_path / "report.png"
    assert run("denoise", source, target, "--noise-sigma", 10, "--report", report, "--quiet") == 0
    before, after = nib.Nifti1Image.from_filename(source), nib.Nifti1Image.from_filename(target)
    assert after.shape == shape
    np.testing.assert_allclose(after.affine, before.affine)
    assert after.header.get_zooms() == before.header.get_zooms()
    assert after.header.get_xyzt_units() == before.header.get_xyzt_units()
    corner = (slice(0, 4), slice(0, 4))
    assert after.get_fdata()[corner].std() < 0.7 * before.get_fdata()[corner].std()
    assert report.read_bytes()[:4] == b"\x89PNG"
    assert sorted(p.name for p in target.parent.iterdir()) == ["manifest.jsonl", "result.json", "result.nii.gz"]


def test_a_complex_image_stays_complex(tmp_path: Path, run: Run) -> None:
    rng = np.random.default_rng(0)
    array = (50 + rng.normal(size=(16, 20, 2)) + 1j * rng.normal(size=(16, 20, 2))).astype(np.complex64)
    source = save(tmp_path / "scan.nii", array)
    assert run("denoise", source, tmp_path / "out", "--quiet") == 0
    after = np.asarray(nib.Nifti1Image.from_filename(tmp_path / "out" / "scan_denoised.nii").dataobj)
    assert np.iscomplexobj(after)
    assert 0 < np.abs(after - array).std() < 3
    assert after.imag.std() < array.imag.std()


def test_a_folder_is_denoised_file_by_file_with_a_map(tmp_path: Path, run: Run) -> None:
    scans = tmp_path / "scans" / "sub"
    scans.mkdir(parents=True)
    for n in range(2):
        save(scans / f"scan{n}.nii.gz", phantom((16, 16, 2), n))
    gmap = save(tmp_path / "gmap.nii.gz", np.full((16, 16, 2), 1.5, np.float32))
    assert run("denoise", tmp_path / "scans", tmp_path / "out", "--gmap", gmap, "-q") == 0
    assert sorted(p.name for p in (tmp_path / "out" / "sub").glob("*.nii.gz")) == [
        "scan0_denoised.nii.gz",
        "scan1_denoised.nii.gz",
    ]


def test_the_noise_level_is_estimated_and_said(tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    source = save(tmp_path / "scan.nii.gz", phantom((48, 48, 4)))
    assert run("denoise", source, tmp_path / "out") == 0
    said = capsys.readouterr()
    assert "noise: sigma = " in said.err
    assert said.out.split() == [str(tmp_path / "out" / "scan_denoised.nii.gz")]


def test_a_folder_goes_on_after_a_bad_series_and_where_it_stopped(
    tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    for name in ("a", "c"):
        save(scans / f"{name}.nii", phantom((16, 16, 2)))
    truncated(scans / "b.nii.gz")
    options = ("denoise", scans, tmp_path / "out", "--noise-sigma", 10, "--qc", tmp_path / "qc.json")
    assert run(*options) == 3
    said = capsys.readouterr()
    assert said.out.split() == [str(tmp_path / "out" / f"{name}_denoised.nii") for name in ("a", "c")]
    assert re.search(r"^series +status +noise level", said.err, re.MULTILINE)
    assert re.search(r"^b.nii.gz +failed", said.err, re.MULTILINE)
    assert "failed: b.nii.gz: " in said.err
    assert len(json.loads((tmp_path / "qc.json").read_text())["series"]) == 2
    times = [path.stat().st_mtime_ns for path in sorted((tmp_path / "out").glob("*.nii"))]
    save(scans / "b.nii.gz", phantom((16, 16, 2)))
    assert run(*options, "--json", "--quiet") == 0
    found = json.loads(capsys.readouterr().out)["series"]
    assert [Path(entry["source"]).name for entry in found] == ["a.nii", "b.nii.gz", "c.nii"]
    assert {entry["status"] for entry in found} == {"done"}
    assert all(entry["qc"]["sigma"] == 10 for entry in found)
    assert [path.stat().st_mtime_ns for path in sorted((tmp_path / "out").glob("*.nii"))] == times


def test_a_folder_says_what_is_flagged(tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "scans").mkdir()
    for name in ("a", "b"):
        save(tmp_path / "scans" / f"{name}.nii", phantom((32, 32, 2)))
    assert run("denoise", tmp_path / "scans", tmp_path / "out", "--noise-sigma", 10, "--strength", 6) == 0
    said = capsys.readouterr().err
    assert "a_denoised.nii is flagged: " in said
    assert re.search(r"^b.nii +done +10 .*residual_", said, re.MULTILINE)


def test_a_flagged_result_says_so(tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    source = save(tmp_path / "scan.nii.gz", phantom((48, 48, 3)))
    arguments = ("denoise", source, tmp_path / "out.nii", "--noise-sigma", 10, "--qc", tmp_path / "qc.json")
    assert run(*arguments, "--strength", 6) == 0
    assert "out.nii is flagged: " in capsys.readouterr().err
    assert run(*arguments, "--redo", "--json") == 0
    [entry] = json.loads(capsys.readouterr().out)["series"]
    assert entry["result"] == str(tmp_path / "out.nii")
    assert entry["qc"]["residual_std"] > 0.5


@pytest.mark.parametrize("command", ["denoise", "segment", "convert", "info"])
def test_help_has_examples_that_parse(command: str, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    said = capsys.readouterr().out
    assert "Examples:" in said
    assert f"stcnnt {command} " in said
    for option in ("--json", "--quiet", "--verbose"):
        assert option in said


def test_completion_is_offered(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    assert "--install-completion" in capsys.readouterr().out


def test_verbose_tells_where_an_error_came_from(tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("denoise", tmp_path / "none.nii", tmp_path / "out", "--verbose") == 2
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.splitlines()[-1].startswith("stcnnt: ")


def test_version_and_help(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert __version__ in capsys.readouterr().out
    assert run("denoise", "--help") == 0
    assert "--noise-sigma" in capsys.readouterr().out


def with_value(value: float) -> np.ndarray:
    array = phantom((8, 8, 2))
    array[1, 2, 0] = value
    return array


def bad_bundle(folder: Path) -> Path:
    """A bundle whose weights are those of another network."""
    shutil.copytree(bundle_folder("mri_denoising"), folder)
    net = build_variant("stcnnt_light_magnitude", channels=4)
    torch.save(net.state_dict(), folder / "models" / "model.pt")
    return folder


def write_text(path: Path) -> Path:
    path.write_text("not an image")
    return path


def truncated(path: Path) -> Path:
    save(path, phantom((32, 32, 8)))
    path.write_bytes(path.read_bytes()[:3000])
    return path


GOOD = phantom((8, 8, 2))
CASES: dict[str, tuple[Callable[[Path], list[object]], str]] = {
    "missing": (lambda p: [p / "none.nii", p / "out"], "none.nii"),
    "text": (lambda p: [write_text(p / "note.txt"), p / "out"], "note.txt"),
    "truncated": (lambda p: [truncated(p / "cut.nii.gz"), p / "out"], "cut.nii.gz"),
    "empty folder": (lambda p: [p, p / "out"], "image"),
    "no voxels": (lambda p: [save(p / "a.nii", np.zeros((0, 4, 4), np.float32)), p / "out"], "a.nii"),
    "nan": (lambda p: [save(p / "a.nii", with_value(np.nan)), p / "out"], "NaN"),
    "infinite": (lambda p: [save(p / "a.nii", with_value(np.inf)), p / "out"], "infinite"),
    "constant": (lambda p: [save(p / "a.nii", np.ones((8, 8, 2), np.float32)), p / "out"], "the value 1 everywhere"),
    "map of another shape": (
        lambda p: [save(p / "a.nii", GOOD), p / "out", "--gmap", save(p / "g.nii.gz", np.ones((8, 9, 2), np.float32))],
        "g.nii.gz",
    ),
    "map with zero": (
        lambda p: [save(p / "a.nii", GOOD), p / "out", "--gmap", save(p / "g.nii.gz", np.zeros((8, 8, 2), np.float32))],
        "not positive",
    ),
    "negative noise": (lambda p: [save(p / "a.nii", GOOD), p / "out", "--noise-sigma", -1], "noise_sigma is -1"),
    "other weights": (
        lambda p: [save(p / "a.nii", GOOD), p / "out", "--bundle", bad_bundle(p / "bundle")],
        "does not fit the network",
    ),
    "no bundle": (lambda p: [save(p / "a.nii", GOOD), p / "out", "--bundle", p], "is not a bundle"),
    "output under a file": (lambda p: [save(p / "a.nii", GOOD), p / "a.nii" / "out"], "a.nii"),
    "two series, one name": (
        lambda p: [save(p / "a.nii", GOOD).parent, save(p / "b.nii", GOOD).with_name("c.nii")],
        "2 series",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_said_in_a_sentence(
    case: str, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:

    arguments, wanted = CASES[case]
    given = arguments(tmp_path)
    before = sorted(p for p in tmp_path.rglob("*") if p.is_file())
    assert run("denoise", *given, "--quiet") == 2
    said = capsys.readouterr().err
    assert re.search(wanted, said), said
    assert said.startswith("stcnnt: ")
    assert "Traceback" not in said
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == before


def test_threads_spin_little_unless_the_user_says_something(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    run("--version")
    assert os.environ["GOMP_SPINCOUNT"] == "10000"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    run("--version")
    assert "GOMP_SPINCOUNT" not in os.environ
    # it is read when torch is loaded, which has to be later
    program = "import sys, monai_stcnnt.apps.cli.app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
