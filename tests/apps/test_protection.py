# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What a user may get wrong loses nothing, and is said before the work."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_stcnnt.apps import denoise, segment
from monai_stcnnt.apps.bundles import bundle_folder
from monai_stcnnt.apps.cli.app import main
from monai_stcnnt.apps.denoising import Denoiser
from monai_stcnnt.apps.noise import find_noise
from monai_stcnnt.data import open_series, write_aside
from monai_stcnnt.engines.series_frames import axis_of_frames
from monai_stcnnt.errors import (
    MissingFileError,
    NetworkOutputError,
    NoiseLevelError,
    NotAnImageError,
    OptionError,
    OutputNotWritableError,
    ResultExistsError,
)
from tests.apps.batches import files_of, run, write_nifti
from tests.apps.dicom_files import moving_disc, write_series

__all__: list[str] = []

Work = Callable[..., Any]


def save(path: Path, array: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)
    return path


@pytest.mark.parametrize("name", ["the name", "a detour", "a link", "a hard link"])
@pytest.mark.parametrize("work", [denoise, segment])
def test_the_input_is_never_overwritten(tmp_path: Path, work: Work, name: str) -> None:
    scan = write_nifti(tmp_path / "scan.nii")
    before = scan.read_bytes()
    target = {"the name": scan, "a detour": tmp_path / "x" / ".." / "scan.nii"}.get(name, tmp_path / "other.nii")
    (tmp_path / "x").mkdir()
    if name == "a link":
        target.symlink_to(scan)
    if name == "a hard link":
        os.link(scan, target)
    with pytest.raises(OutputNotWritableError, match="input"):
        work(scan, target, redo=True, progress=False)
    assert scan.read_bytes() == before == target.read_bytes()


def foreign(kind: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    if kind == "negative":
        return rng.normal(size=(24, 24, 2)).astype(np.float32) * 300 - 200
    if kind == "labels":
        return np.kron(rng.integers(0, 5, (4, 4, 1)), np.ones((8, 8, 2))).astype(np.uint8)
    return rng.uniform(0, 4095, (24, 24, 2)).astype(np.int16)


@pytest.mark.parametrize(("kind", "said"), [("negative", "negative"), ("labels", "label maps"), ("phase", "phase")])
@pytest.mark.parametrize("work", [denoise, segment])
def test_what_is_no_magnitude_is_refused_or_marked(tmp_path: Path, work: Work, kind: str, said: str) -> None:
    scan = save(tmp_path / "scan.nii.gz", foreign(kind))
    with pytest.raises(NotAnImageError, match=said):
        work(scan, tmp_path / "out", progress=False)
    assert files_of(tmp_path / "out") == {}
    if work is denoise:
        denoise(scan, tmp_path / "out", noise_sigma=3.0, force=True, progress=False)
        assert '"force": true' in (tmp_path / "out" / "scan_denoised.json").read_text()


def broken_bundle(folder: Path, name: str) -> Path:
    """A copy of a bundle whose weights are NaN."""
    shutil.copytree(bundle_folder(name), folder)
    for file in folder.glob("models/*.pt"):
        state = torch.load(file, weights_only=True)
        torch.save({key: value * float("nan") if value.is_floating_point() else value for key, value in state.items()},
                   file)  # fmt: skip
    return folder


@pytest.mark.parametrize(("work", "name"), [(denoise, "mri_denoising"), (segment, "cine_segmentation")])
def test_a_network_that_gives_nan_writes_nothing(tmp_path: Path, work: Work, name: str) -> None:
    scan = write_nifti(tmp_path / "scan.nii")
    with pytest.raises(NetworkOutputError, match="NaN"):
        work(scan, tmp_path / "out", bundle=broken_bundle(tmp_path / "bundle", name), progress=False)
    assert files_of(tmp_path / "out") == {}


def test_magnitudes_never_come_out_negative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = write_nifti(tmp_path / "scan.nii")
    monkeypatch.setattr("monai_stcnnt.networks.nets.FlipEnsemble.forward", lambda _, x: -x[:, :1])
    [saved] = denoise(scan, tmp_path / "out", noise_sigma=20.0, progress=False)
    assert nib.Nifti1Image.from_filename(saved).get_fdata().min() == 0


def test_own_results_are_not_denoised_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_nifti(tmp_path / "scans" / "a.nii")
    write_series(tmp_path / "scans" / "dicom", moving_disc(2, 1, 16))
    run(tmp_path / "scans", tmp_path / "scans" / "results")
    with caplog.at_level("INFO", "monai_stcnnt"):
        again = run(tmp_path / "scans", tmp_path / "other")
    assert [row.input for row in again.rows] == ["a.nii", "dicom"]
    assert caplog.text.count("is skipped: it was denoised") == 2
    for name in ("a_denoised.nii", "dicom_denoised"):
        with pytest.raises(NotAnImageError, match="nothing but results"):
            run(tmp_path / "scans" / "results" / name, tmp_path / "twice")
    assert len(run(tmp_path / "scans" / "results" / "a_denoised.nii", tmp_path / "twice", force=True).done) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_report_that_cannot_be_written_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = write_nifti(tmp_path / "scan.nii")
    (tmp_path / "locked").mkdir(mode=0o500)
    monkeypatch.setattr(Denoiser, "run", lambda *_: pytest.fail("the work has started"))
    with pytest.raises(OutputNotWritableError, match="locked"):
        denoise(scan, tmp_path / "out", report=tmp_path / "locked" / "r.html", progress=False)


@pytest.mark.parametrize("option", ["report", "qc"])
def test_a_report_below_a_file_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    scan = write_nifti(tmp_path / "scan.nii")
    (tmp_path / "file").write_text("a file")
    monkeypatch.setattr(Denoiser, "run", lambda *_: pytest.fail("the work has started"))
    name = {"report": "r.html", "qc": "qc.json"}[option]
    with pytest.raises(OutputNotWritableError, match="is a file"):
        denoise(scan, tmp_path / "out", **{option: tmp_path / "file" / name}, progress=False)
    assert files_of(tmp_path / "out") == {}


def fail_as_pydicom_does(path: Path) -> None:
    with write_aside(path):
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise OSError("With tag (7fe0,0010) got exception: Traceback (most recent call last): ...") from error


def test_a_full_disk_is_said_without_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(OutputNotWritableError, match=r"cannot be written: No space left on device\. ") as caught:
        fail_as_pydicom_does(tmp_path / "a")
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("device", ["gpu", "cuda:9", "nonsense", "mps"])
def test_a_device_that_is_not_there_is_one_sentence(
    tmp_path: Path, device: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if device == "mps" and torch.backends.mps.is_available():
        pytest.skip("there is one")
    scan = write_nifti(tmp_path / "scan.nii")
    for command in ("denoise", "segment"):
        monkeypatch.setattr(sys, "argv", ["stcnnt", command, str(scan), str(tmp_path / "out"), "--device", device])
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 2
        said = capsys.readouterr().err
        assert said.startswith(f"stcnnt: There is no device '{device}'. Give auto, or one of cpu")
        assert len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "axis"), [("0 0 0", "time"), ("0 5 1000", "slice"), ("0 1000", "time"), ("none", "time")]
)
def test_frames_of_several_b_values_are_no_neighbors_in_time(tmp_path: Path, text: str, axis: str) -> None:
    for name in ("dwi.nii.gz", "other.nii.gz"):
        save(tmp_path / name, np.random.default_rng(0).uniform(1, 2, (6, 6, 2, 3)).astype("f4"))
    (tmp_path / "dwi.bval").write_text(text)
    assert axis_of_frames(open_series(tmp_path / "dwi.nii.gz").outline) == axis
    assert axis_of_frames(open_series(tmp_path / "other.nii.gz").outline) == "time"


def test_the_frame_axis_can_be_chosen(tmp_path: Path) -> None:
    scan = save(tmp_path / "scan.nii", np.abs(np.random.default_rng(0).normal(100, 10, (20, 20, 3, 3))).astype("f4"))
    results = [
        np.asarray(nib.Nifti1Image.from_filename(denoise(scan, tmp_path / axis, frame_axis=axis, noise_sigma=10.0,
                                                         progress=False)[0]).dataobj)
        for axis in ("time", "slice")
    ]  # fmt: skip
    assert np.abs(results[0] - results[1]).max() > 0.1
    with pytest.raises(OptionError, match="frame_axis"):
        denoise(scan, tmp_path / "none", frame_axis="x")


def test_the_map_of_the_noise_follows_the_chosen_axis(tmp_path: Path) -> None:
    """Of a series in time whose slices are the frames, with more noise from slice to slice."""
    rng, levels = np.random.default_rng(0), 4 + 8 * np.linspace(0, 1, 24)[:, None]
    y, x = np.mgrid[-1:1:48j, -1:1:48j]
    signal = 100 * np.exp(-2 * (y**2 + x**2))[..., None, None]
    noise = levels * rng.standard_normal((2, 48, 48, 24, 3))
    scan = save(tmp_path / "scan.nii", np.hypot(signal + noise[0], noise[1]).astype("f4"))
    denoise(scan, tmp_path / "out", frame_axis="slice", save_noise_map=True, progress=False)
    found = np.asarray(nib.Nifti1Image.from_filename(tmp_path / "out" / "scan_denoised_noise.nii.gz").dataobj)
    assert found.shape == (48, 48, 24)
    means = found.mean((0, 1))  # of blocks of some slices, so that the end is off by more
    assert means[1:] == pytest.approx(levels[1:, 0], rel=0.3)
    assert means == pytest.approx(levels[:, 0], rel=0.35)


@pytest.mark.parametrize("place", ["beside the file", "in a folder above"])
def test_results_may_lie_around_the_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    scan = write_nifti(tmp_path / "scans" / "a.nii")
    monkeypatch.chdir(tmp_path)
    given, output = {
        "beside the file": (scan, scan.parent), "in a folder above": (Path("scans"), Path()),
    }[place]  # fmt: skip
    [saved] = denoise(given, output, noise_sigma=20.0, progress=False)
    assert saved.resolve() == output.resolve() / "a_denoised.nii"


@pytest.mark.parametrize("name", ["out.dcm", "out.png", "out.mgz", "out.h5", "out.PAR", "out.gz"])
def test_what_is_no_name_of_a_result_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    scan = write_nifti(tmp_path / "scan.nii")
    monkeypatch.setattr(Denoiser, "run", lambda *_: pytest.fail("the work has started"))
    for work in (denoise, segment):
        with pytest.raises(OutputNotWritableError, match=r"is not a valid name for a result.*\.nii\.gz"):
            work(scan, tmp_path / name, progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scan.nii"]
    (tmp_path / "study.2.dcm").mkdir()
    monkeypatch.undo()
    assert denoise(scan, tmp_path / "study.2.dcm", noise_sigma=20.0, progress=False)[0].is_file()


@pytest.mark.parametrize("sigma", [1e30, 5000.0, 1e-30])
def test_a_noise_level_in_other_units_is_refused(tmp_path: Path, sigma: float) -> None:
    scan = write_nifti(tmp_path / "scan.nii")
    with pytest.raises(NoiseLevelError, match=r"values of the image go up to 1\d\d\d"):
        denoise(scan, tmp_path / "out", noise_sigma=sigma, progress=False)
    assert files_of(tmp_path / "out") == {}


def test_files_that_tell_the_noise_are_looked_for_before_the_work_and_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = write_nifti(tmp_path / "scan.nii")
    with monkeypatch.context() as patched:
        patched.setattr(Denoiser, "run", lambda *_: pytest.fail("the work has started"))
        for option in ("noise_map", "noise_spectrum"):
            with pytest.raises(MissingFileError, match="absent"):
                denoise(scan, tmp_path / "out", progress=False, **{option: str(tmp_path / "absent")})
    level = save(tmp_path / "level.nii", np.full((16, 16, 1), 20, np.float32))
    denoise(scan, tmp_path / "out", noise_map=level, progress=False)
    save(level, np.full((16, 16, 1), 30, np.float32))
    with pytest.raises(ResultExistsError, match="another noise_map"):
        denoise(scan, tmp_path / "out", noise_map=level, progress=False)
    assert str(tmp_path) not in (tmp_path / "out" / "scan_denoised.json").read_text()


def test_noise_maps_beside_results_replace_nothing(tmp_path: Path) -> None:
    scans = [write_nifti(tmp_path / "scans" / f"a.{n}.nii", n) for n in (1, 2)]
    run(tmp_path / "scans", tmp_path / "out", save_noise_map=True)
    for scan in scans:
        assert (tmp_path / "out" / f"{scan.stem}_denoised_noise.nii.gz").is_file()
    foreign = tmp_path / "other" / "a.1_denoised_noise.json"
    foreign.parent.mkdir()
    foreign.write_text("mine")
    with pytest.raises(ResultExistsError, match="would be replaced"):
        denoise(scans[0], foreign.parent, noise_sigma=20.0, save_noise_map=True, progress=False)
    assert files_of(foreign.parent).keys() == {foreign.name}
    assert foreign.read_text() == "mine"


def test_the_noise_of_a_folder_is_told_although_one_file_is_broken(tmp_path: Path) -> None:
    for name in ("one/a.nii", "two/a.nii"):
        write_nifti(tmp_path / "scans" / name, frames=4)
    (tmp_path / "scans" / "broken.nii").write_bytes(b"bad")
    failed: list[Path] = []
    found = find_noise(tmp_path / "scans", tmp_path / "out", on_failure=lambda path, _: failed.append(path))
    assert [path.name for path in failed] == ["broken.nii"]
    assert [one.map for one in found] == [tmp_path / "out" / name / "a_noise.nii.gz" for name in ("one", "two")]
    with pytest.raises(NotAnImageError, match="negative"):
        find_noise(save(tmp_path / "ct.nii.gz", foreign("negative")))
    (tmp_path / "file").write_text("a file")
    with pytest.raises(OutputNotWritableError, match="is a file"):
        find_noise(tmp_path / "scans", tmp_path / "file")


def test_a_network_without_weights_is_said_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"no weights of 'hrnetv2'. It has packed_unet"):
        segment(write_nifti(tmp_path / "scan.nii"), tmp_path / "out", architecture="hrnetv2", progress=False)
    assert not (tmp_path / "out").exists()


def test_what_is_no_heart_is_said_and_flagged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    cross = 40.0 + 200 * (abs(x) < 0.2) + 200 * (abs(y) < 0.15)
    noise = np.random.default_rng(0).normal(0, 10, (64, 64, 3))
    scan = tmp_path / "cross.nii.gz"
    nib.save(nib.Nifti1Image(np.abs(cross[..., None] + noise).astype("f4"), np.diag([3.0, 3.0, 8.0, 1.0])), scan)
    command = ["stcnnt", "segment", str(scan), str(tmp_path / "out"), "--report", str(tmp_path / "report.html")]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code in (0, None)
    said = capsys.readouterr().err
    assert "The network learned from: Short-axis cines" in said
    assert re.search(r"cross\.nii\.gz: No left ventricle was found", said)
    page = (tmp_path / "report.html").read_text()
    assert "Short-axis cines" in page
    assert "No left ventricle was found" in page
