# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Masks lie on the grid of their images, as files of the same kind, and what is wrong is one sentence."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest

from monai_stcnnt import __version__
from monai_stcnnt.apps import segment
from monai_stcnnt.apps.bundles import bundle_folder
from monai_stcnnt.apps.cli.app import main
from monai_stcnnt.apps.segmenting import SegmentOptions, run_segmentation
from monai_stcnnt.data import read_series
from monai_stcnnt.errors import (
    FailedSeriesError,
    LabelValueError,
    LayoutError,
    MissingFileError,
    OptionError,
    OutputNotWritableError,
)
from tests.apps.dicom_files import write_series
from tests.apps.fake_segmenter import BRIGHTNESS, beating_heart, fake_bundle

__all__: list[str] = []

AFFINE = np.array([[-1.4, 0.2, 0, 30], [0.2, 1.4, 0, -20], [0, 0, 9, 5], [0, 0, 0, 1.0]])
Run = Callable[..., int]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_bundle(tmp_path_factory.mktemp("bundle") / "cine_segmentation")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    def call(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["stcnnt", "segment", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0)

    return call


def grainy(labels: np.ndarray) -> np.ndarray:
    """Images of classes with a little noise, since areas of one value each are a label map."""
    values: np.ndarray = BRIGHTNESS[labels] + np.random.default_rng(0).integers(0, 9, labels.shape)
    return values


def save_cine(path: Path, labels: np.ndarray) -> Path:
    image = nib.Nifti1Image(BRIGHTNESS[labels].transpose(3, 2, 1, 0).astype(np.float32), AFFINE)
    image.header.set_xyzt_units("mm", "msec")
    image.header["pixdim"][4] = 40
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def test_masks_table_plot_and_report_of_a_cine(
    tmp_path: Path, bundle: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = beating_heart()
    labels[1, 0, 0, 0] = 3  # a speck, which is to go
    source = save_cine(tmp_path / "heart.nii.gz", labels)
    out, table, report = tmp_path / "out", tmp_path / "v.csv", tmp_path / "v.png"
    assert run(source, out, "--csv", table, "--report", report, "--bundle", bundle) == 0
    before, after = nib.Nifti1Image.from_filename(source), nib.Nifti1Image.from_filename(out / "heart_seg.nii.gz")
    labels[1, 0, 0, 0] = 0
    np.testing.assert_array_equal(np.asarray(after.dataobj).transpose(3, 2, 1, 0), labels)
    assert after.get_data_dtype() == np.uint8
    np.testing.assert_allclose(after.affine, before.affine)
    assert after.header.get_zooms() == before.header.get_zooms()
    for picture in (report, tmp_path / "v_plot.png"):
        assert picture.read_bytes()[:4] == b"\x89PNG"
    volumes = [row for row in table.read_text().splitlines() if ",left ventricle,volume," in row]
    assert np.argmin([float(row.split(",")[5]) for row in volumes]) == 3
    said = capsys.readouterr()
    assert said.out.split() == [str(out / "heart_seg.nii.gz")]
    assert "heart.nii.gz: left ventricle: " in said.err
    assert "ejection fraction" in said.err


def test_one_slice_of_dicom_becomes_segmentations_and_a_sentence(
    tmp_path: Path, bundle: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("highdicom")
    labels = beating_heart(4, 1)
    source = write_series(tmp_path / "scan", grainy(labels))
    assert run(source, tmp_path / "out", "--bundle", bundle, "--quiet", "--seg-per-frame") == 0
    files = sorted((tmp_path / "out" / "scan_seg").iterdir())
    assert [file.name for file in files] == [f"SEG{n:05d}.dcm" for n in (1, 2, 3, 4)]
    times = {file: file.stat().st_mtime_ns for file in files}
    images = {pydicom.dcmread(file).SOPInstanceUID: file for file in source.iterdir()}
    for file, mask in zip(files, labels, strict=True):
        dataset = pydicom.dcmread(file)
        names = [segment.SegmentLabel for segment in dataset.SegmentSequence]
        assert names == ["right ventricle", "myocardium", "left ventricle"]
        assert dataset.SegmentSequence[2].SegmentAlgorithmName == "monai_stcnnt"
        assert dataset.SoftwareVersions == __version__
        assert {item.ReferencedSOPInstanceUID for item in dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence} <= set(images)  # fmt: skip  # noqa: E501
        expected = [int((mask == value).sum()) for value in (1, 2, 3) if (mask == value).any()]
        assert [int(plane.sum()) for plane in np.atleast_3d(dataset.pixel_array.T).T] == expected
    assert capsys.readouterr().err == ""
    assert run(source, tmp_path / "one", "--bundle", bundle, "--nifti") == 0
    said = capsys.readouterr()
    assert "One slice gives no ejection fraction" in said.err
    after = read_series(tmp_path / "one" / "scan_seg.nii.gz", check=False)
    np.testing.assert_array_equal(after.array[0], labels)
    np.testing.assert_allclose(after.affine, read_series(source).affine, atol=1e-4)
    assert (
        run(source, tmp_path / "out", "--bundle", bundle, "--quiet", "--seg-per-frame") == 0
    )  # it is done, and left as it is
    assert {file: file.stat().st_mtime_ns for file in files} == times


def test_folder_with_several_series(tmp_path: Path, bundle: Path) -> None:
    pytest.importorskip("highdicom")
    scans = tmp_path / "scans"
    save_cine(scans / "a" / "heart.nii", beating_heart(3))
    for number, component in ((8, "M"), (9, "M"), (10, "P")):
        write_series(scans / "b", grainy(beating_heart(2, 1)), number, component)
    done = segment(
        scans, tmp_path / "out", bundle=bundle, csv=tmp_path / "t.csv", report=tmp_path / "r.png", progress=False
    )
    names = [one.saved.relative_to(tmp_path / "out").as_posix() for one in done]
    assert names == ["a/heart_seg.nii", "b_8_seg", "b_9_seg"]
    made = sorted(path.name for path in tmp_path.glob("*.png"))
    plots = [f"{n}_{s}.png" for n in ("r", "t_plot") for s in ("heart_seg", "b_8_seg", "b_9_seg")]
    assert made == sorted([*plots, "t_bulls_eye_heart_seg.png"])
    with (tmp_path / "t.csv").open(newline="") as file:
        assert {row["scan"] for row in csv.DictReader(file)} == {"a/heart.nii", "b, series 8", "b, series 9"}
    [one] = segment(scans / "b", tmp_path / "nine", series="9", bundle=bundle, progress=False)
    assert one.saved == tmp_path / "nine" / "b_9_seg"
    with pytest.raises(OutputNotWritableError, match="one file"):
        segment(scans, tmp_path / "one.nii.gz", bundle=bundle, progress=False)


def test_a_bad_series_does_not_stop_the_others(
    tmp_path: Path, bundle: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    scans, table = tmp_path / "scans", tmp_path / "t.csv"
    save_cine(scans / "a.nii", np.zeros((2, 2, 8, 8), int))  # without contrast
    save_cine(scans / "heart.nii", beating_heart(3))
    (scans / "text.nii").write_text("no image")
    assert run(scans, tmp_path / "out", "--csv", table, "--bundle", bundle) == 3
    said = capsys.readouterr()
    assert said.out.split() == [str(tmp_path / "out" / "heart_seg.nii")]
    lines = [line.split()[:2] for line in said.err.splitlines()]
    places = [lines.index(line) for line in (["a.nii", "failed"], ["heart.nii", "done"], ["text.nii", "failed"])]
    assert places == list(range(places[0], places[0] + 3))
    assert "failed: text.nii: " in said.err
    with table.open(newline="") as file:
        assert {row["scan"] for row in csv.DictReader(file)} == {"heart.nii"}
    assert run(scans, tmp_path / "json", "--json", "--quiet", "--bundle", bundle) == 3
    entries = json.loads(capsys.readouterr().out)["series"]
    assert [entry["status"] for entry in entries] == ["failed", "done", "failed"]
    assert entries[1]["functions"]["left ventricle"]["ejection_fraction"] > 20
    with pytest.raises(FailedSeriesError, match=r"(?s)2 failed.*failed: a\.nii: .*failed: text\.nii: "):
        segment(scans, tmp_path / "raised", csv=tmp_path / "u.csv", bundle=bundle, progress=False)
    assert (tmp_path / "u.csv").read_text() == table.read_text()


def test_a_folder_that_cannot_be_looked_into_is_a_failed_series(tmp_path: Path, bundle: Path) -> None:
    save_cine(tmp_path / "scans" / "heart.nii", beating_heart(3))
    broken = tmp_path / "scans" / "z"
    broken.mkdir()
    (broken / "1.dcm").write_bytes(bytes(128) + b"DICM" + bytes(40))
    options = SegmentOptions(input=tmp_path / "scans", output=tmp_path / "out", bundle=bundle, progress=False)
    result = run_segmentation(options)
    assert [path.name for path in result.saved] == ["heart_seg.nii"]
    assert [(row.input, row.series) for row in result.failed] == [("z", "")]


def test_a_table_of_several_series_with_relative_paths(
    tmp_path: Path, bundle: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        save_cine(tmp_path / "in" / f"{name}.nii", beating_heart(3))
    monkeypatch.chdir(tmp_path)
    assert run("in", "out", "--csv", "vol.csv", "--bundle", bundle) == 0
    expected = [f"vol_{kind}_{name}_seg.png" for kind in ("bulls_eye", "plot") for name in "ab"]
    assert sorted(path.name for path in tmp_path.glob("*.png")) == expected
    with (tmp_path / "vol_summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["scan"] for row in rows] == ["a.nii", "b.nii"]
    assert float(rows[0]["left ventricle EDV (ml)"]) > float(rows[0]["left ventricle ESV (ml)"]) > 0
    assert float(rows[0]["myocardial mass (g)"]) > 0


def test_segmentation_resumes(tmp_path: Path, bundle: Path) -> None:
    for name in ("a", "b"):
        save_cine(tmp_path / "in" / f"{name}.nii", beating_heart(3))
    table, reports = tmp_path / "t.csv", tmp_path / "r.png"
    options: dict[str, Any] = {"bundle": bundle, "csv": table, "report": reports, "progress": False}
    first = segment(tmp_path / "in", tmp_path / "out", **options)
    text, times = table.read_text(), [one.saved.stat().st_mtime_ns for one in first]
    (tmp_path / "r_b_seg.png").unlink()
    again = segment(tmp_path / "in", tmp_path / "out", **options)
    assert [one.saved.stat().st_mtime_ns for one in again] == times
    assert table.read_text() == text
    assert (tmp_path / "r_b_seg.png").is_file()
    save_cine(tmp_path / "in" / "b.nii", beating_heart(4))
    changed = segment(tmp_path / "in", tmp_path / "out", **options)
    assert [one.saved.stat().st_mtime_ns == time for one, time in zip(changed, times, strict=True)] == [True, False]
    assert len(changed[1].measures.times) == 4


@pytest.mark.slow
def test_denoised_images_give_masks_of_the_images(tmp_path: Path, bundle: Path) -> None:
    pytest.importorskip("highdicom")
    labels = beating_heart(4, 1)
    rng = np.random.default_rng(0)
    noisy = np.hypot(BRIGHTNESS[labels] + rng.normal(size=labels.shape) * 60, rng.normal(size=labels.shape) * 60)
    source = write_series(tmp_path / "scan", noisy)
    errors = {}
    for denoise in (False, True):
        folder = tmp_path / str(denoise)
        [one] = segment(source, folder / "x.nii", denoise=denoise, bundle=bundle, progress=False)
        assert sorted(path.name for path in folder.iterdir()) == ["manifest.jsonl", "x.json", "x.nii"]
        errors[denoise] = np.mean(read_series(one.saved, check=False).array[0] != labels)
    assert errors[True] < 0.8 * errors[False]
    [one] = segment(source, tmp_path / "seg", denoise=True, bundle=bundle, progress=False)
    dataset = pydicom.dcmread(one.saved / "SEG00001.dcm")
    assert dataset.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3.8"


def test_what_cannot_be_written_is_refused_before_the_work(tmp_path: Path, bundle: Path) -> None:
    source = save_cine(tmp_path / "heart.nii.gz", beating_heart(2))
    with pytest.raises(OutputNotWritableError, match="not DICOM"):
        segment(source, tmp_path / "out", output_format="dicom_seg", bundle=bundle)
    with pytest.raises(OptionError, match="Give a folder"):
        segment(source, tmp_path / "out.nii", output_format="dicom_seg", bundle=bundle)
    with pytest.raises(OutputNotWritableError, match=r"\.csv"):
        segment(source, tmp_path / "out", csv=tmp_path / "a.txt", bundle=bundle)
    with pytest.raises(OutputNotWritableError, match=r"\.png"):
        segment(source, tmp_path / "out", report=tmp_path / "a.jpg", bundle=bundle)
    with pytest.raises(MissingFileError, match="is not a bundle"):
        segment(source, tmp_path / "out", bundle=tmp_path)


@pytest.mark.parametrize("what", ["missing", "text", "empty", "constant"])
def test_bad_input_is_one_sentence(tmp_path: Path, bundle: Path, run: Run, what: str, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip  # noqa: E501
    path = tmp_path / f"{what}.nii.gz"
    if what == "text":
        path.write_text("no image")
    elif what != "missing":
        array = np.zeros((0, 4, 2) if what == "empty" else (4, 4, 2, 3), np.float32)
        nib.save(nib.Nifti1Image(array, AFFINE), path)
    assert run(path, tmp_path / "out", "--bundle", bundle, "-q") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("stcnnt: ")
    assert str(path) in said.err
    assert len(said.err.splitlines()) == 1


def changed(bundle: Path, folder: Path, **entries: object) -> Path:
    """Copy of the bundle with other entries in its config."""
    fake_bundle(folder)
    file = folder / "configs" / "inference.json"
    file.write_text(json.dumps({**json.loads((bundle / "configs" / "inference.json").read_text()), **entries}))
    return folder


def test_bundles_that_do_not_fit(tmp_path: Path, bundle: Path) -> None:
    source = save_cine(tmp_path / "heart.nii.gz", beating_heart(2))
    short = changed(bundle, tmp_path / "short", class_names={"1": "RV"})
    with pytest.raises(LabelValueError, match="without a class name"):
        segment(source, tmp_path / "out", bundle=short, progress=False)
    cut = {"_target_": "Compose", "transforms": [
        {"_target_": "AsDiscreted", "keys": "pred", "argmax": True, "dim": 1},
        {"_target_": "Invertd", "keys": "pred", "orig_keys": "image", "transform": "@preprocessing"},
        {"_target_": "CenterSpatialCropd", "keys": "pred", "roi_size": [8, 8, -1, -1]},
    ]}  # fmt: skip
    with pytest.raises(LayoutError, match="masks of the shape"):
        segment(source, tmp_path / "out", bundle=changed(bundle, tmp_path / "cut", postprocessing=cut), progress=False)


def test_names_of_the_bundle_are_those_of_its_metadata() -> None:
    configs = bundle_folder("cine_segmentation") / "configs"
    names = json.loads((configs / "inference.json").read_text())["class_names"]
    metadata = json.loads((configs / "metadata.json").read_text())
    channels = metadata["network_data_format"]["outputs"]["pred"]["channel_def"]
    assert {"0": "background", **names} == channels
