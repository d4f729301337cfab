# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Results say how they came about, the same every time, and are known again as results."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from monai.data.meta_tensor import MetaTensor

from monai_stcnnt.data import SaveSeries, SeriesRecord, read_series, write_labels, write_nifti, write_series
from monai_stcnnt.data.formats.nifti_header import description_at
from monai_stcnnt.data.formats.registry import list_images
from monai_stcnnt.data.provenance import Provenance, sidecar_action, sidecar_path, write_sidecar
from monai_stcnnt.data.sinks import SeriesSink

__all__: list[str] = []

MADE = Provenance("denoised", "1.2", "mri_denoising", "0.5", "ab" * 32, {"strength": 1.5})
FACTS = {
    "Description": "Denoised by monai_stcnnt 1.2",
    "Sources": ["scan.nii"],
    "GeneratedBy": [
        {
            "Name": "monai_stcnnt", "Version": "1.2", "Bundle": "mri_denoising", "BundleVersion": "0.5",
            "BundleSHA256": "ab" * 32,
        }
    ],
    "NoiseSigma": 12.5,
    "Options": {"strength": 1.5},
}  # fmt: skip


def scan(folder: Path) -> SeriesRecord:
    values = np.random.default_rng(0).random((1, 2, 3, 4, 5)).astype(np.float32)
    path = write_nifti(SeriesRecord(values, np.eye(4), 40.0 * np.arange(2)), folder / "scan.nii")
    record = read_series(path)
    return SeriesRecord(record.array, record.affine, record.frame_times, {**record.metadata, "noise_sigma": 12.5})


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".npy"])
def test_a_file_has_its_facts_beside_it(tmp_path: Path, ending: str) -> None:
    path = write_series(scan(tmp_path), tmp_path / f"scan_denoised{ending}", provenance=MADE)
    assert json.loads((tmp_path / "scan_denoised.json").read_text()) == FACTS
    assert sidecar_path(path) == tmp_path / "scan_denoised.json"
    [summary] = list_images(path)
    assert summary.made == "denoised"


def test_a_file_that_comes_slab_by_slab_has_them_when_it_is_complete(tmp_path: Path) -> None:
    record = scan(tmp_path)

    def write(name: str, *, fail: bool) -> None:
        saver = SaveSeries(tmp_path / name, output_file=tmp_path / name / "out.nii", provenance=MADE)
        sink: SeriesSink
        with saver.open(record) as sink:
            sink.write(slice(0, 2), slice(0, 3), record.array)
            if fail:
                raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        write("bad", fail=True)
    assert list((tmp_path / "bad").iterdir()) == []
    write("good", fail=False)
    assert json.loads((tmp_path / "good" / "out.json").read_text()) == FACTS


def test_nifti_says_it_in_its_header_too(tmp_path: Path) -> None:
    path = write_series(scan(tmp_path), tmp_path / "a.nii.gz", provenance=MADE)
    sidecar_path(path).unlink()
    assert description_at(path) == "Denoised by monai_stcnnt 1.2"
    [summary] = list_images(path)
    assert summary.made == "denoised"
    [source] = list_images(tmp_path / "scan.nii")
    assert source.made == ""


def test_a_derived_dicom_series_says_it_in_its_headers(make_dicom: Callable[..., Path], tmp_path: Path) -> None:
    record = read_series(make_dicom("cine", np.random.default_rng(0).integers(0, 900, (2, 1, 6, 5)).astype(np.uint16)))
    folder = write_series(record, tmp_path / "out", uid_seed="seed", provenance=MADE)
    for file in folder.iterdir():
        dataset = pydicom.dcmread(file)
        assert dataset.DerivationDescription == (
            "Denoised by monai_stcnnt 1.2, with the bundle mri_denoising 0.5 (SHA-256 abababababababab); strength 1.5"
        )
        item = dataset.ContributingEquipmentSequence[-1]
        assert (item.Manufacturer, item.ManufacturerModelName) == ("monai_stcnnt", "mri_denoising 0.5")
        assert item.SoftwareVersions == "1.2"
        assert item.PurposeOfReferenceCodeSequence[0].CodeValue == "109103"
    assert [summary.made for summary in list_images(folder)] == ["denoised"]
    assert [summary.made for summary in list_images(tmp_path / "cine")] == [""]
    assert not list(tmp_path.glob("*.json"))


def test_masks_say_it_too(tmp_path: Path) -> None:
    record = scan(tmp_path)
    labels = record.with_array((record.array > 0.5).astype(np.float32))
    path = write_labels(labels, tmp_path / "m.nii", class_names={1: "LV"}, provenance=Provenance("segmented", "1.2"))
    assert sidecar_action(path) == "segmented"


def test_without_facts_nothing_is_written_beside(tmp_path: Path) -> None:
    saver = SaveSeries(tmp_path / "out")
    record = scan(tmp_path)
    saver(
        MetaTensor(
            record.to_spatial()[None],
            torch.from_numpy(record.affine),
            meta={**record.metadata, "frame_times": record.frame_times},
        )
    )
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["scan_denoised.nii"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"Description": "Denoised by hand"}', '{"Description": 5}'])
def test_other_files_beside_an_image_say_nothing(tmp_path: Path, text: str) -> None:
    sidecar_path(tmp_path / "a.nii.gz").write_text(text)
    assert sidecar_action(tmp_path / "a.nii.gz") == ""


def test_the_same_facts_make_the_same_file(tmp_path: Path) -> None:
    one, other = (write_sidecar(tmp_path / name, FACTS).read_bytes() for name in ("a.nii", "b.nii"))
    assert one == other
