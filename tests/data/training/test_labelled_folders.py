# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Lists of images with masks in the layouts of ACDC, M&Ms and plain folders; what is missing is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_stcnnt.data import MNMS_TO_ACDC, acdc_datalist, labelled_datalist, mnms_datalist, paired_datalist
from monai_stcnnt.errors import EmptyImageError, MissingFileError, SeriesMismatchError, UnreadableFileError


def save(path: Path, shape: tuple[int, ...]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape) % 4
    nib.save(nib.Nifti1Image(array.astype(np.uint8), np.eye(4)), path)
    return path


def acdc(root: Path, name: str = "patient001", frames: tuple[int, ...] = (1, 3)) -> Path:
    save(root / name / f"{name}_4d.nii.gz", (4, 3, 2, 5))
    for frame in frames:
        save(root / name / f"{name}_frame{frame:02d}.nii.gz", (4, 3, 2))
        save(root / name / f"{name}_frame{frame:02d}_gt.nii.gz", (4, 3, 2))
    (root / name / "Info.cfg").write_text("ED: 1\nES: 3\nGroup: NOR\nHeight: 170.0\n")
    return root


def mnms(root: Path, table: str = "Index,External code,ED,ES\n0,A1B2,0,3\n") -> Path:
    save(root / "Labeled" / "A1B2" / "A1B2_sa.nii.gz", (4, 3, 2, 5))
    save(root / "Labeled" / "A1B2" / "A1B2_sa_gt.nii.gz", (4, 3, 2, 5))
    (root / "dataset_information.csv").write_text(table)
    return root


def test_acdc_names_the_labelled_frames_from_zero(tmp_path: Path) -> None:
    acdc(acdc(tmp_path, "patient002"), "patient001", (1, 2, 3))
    first, second = labelled_datalist(tmp_path)
    assert first["image"].endswith("patient001_4d.nii.gz")
    assert first["frames"] == [0, 1, 2]
    assert second["frames"] == [0, 2]
    assert [Path(p).name for p in second["label"]] == ["patient002_frame01_gt.nii.gz", "patient002_frame03_gt.nii.gz"]
    assert first["label_values"] == {0: 0, 1: 1, 2: 2, 3: 3}


def test_acdc_without_info_takes_the_masks_there_are(tmp_path: Path) -> None:
    acdc(tmp_path, frames=(2,))
    (tmp_path / "patient001" / "Info.cfg").unlink()
    assert acdc_datalist(tmp_path)[0]["frames"] == [1]


def test_acdc_refuses_a_missing_mask_by_name(tmp_path: Path) -> None:
    acdc(tmp_path, frames=(1,))
    with pytest.raises(MissingFileError, match=r"patient001_frame03_gt.nii.gz, which Info.cfg asks for"):
        acdc_datalist(tmp_path)
    acdc(tmp_path / "other", "patient009", ())
    (tmp_path / "other" / "patient009" / "Info.cfg").unlink()
    with pytest.raises(MissingFileError, match=r"has no mask patient009_frame01_gt"):
        acdc_datalist(tmp_path / "other")
    with pytest.raises(EmptyImageError, match="ACDC"):
        acdc_datalist(_empty(tmp_path / "none"))


def _empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_acdc_refuses_an_info_without_frames(tmp_path: Path) -> None:
    acdc(tmp_path)
    (tmp_path / "patient001" / "Info.cfg").write_text("Group: NOR\n")
    with pytest.raises(UnreadableFileError, match="names no frames"):
        acdc_datalist(tmp_path)


def test_mnms_takes_phases_from_the_table_and_turns_the_labels(tmp_path: Path) -> None:
    (item,) = labelled_datalist(mnms(tmp_path))
    assert item["frames"] == [0, 3]
    assert item["label_values"] == MNMS_TO_ACDC == {0: 0, 1: 3, 2: 2, 3: 1}
    assert mnms_datalist(tmp_path / "Labeled") == [item]
    assert labelled_datalist(tmp_path, label_values={7: 1})[0]["label_values"] == {7: 1}


def test_mnms_refuses_what_is_missing_by_name(tmp_path: Path) -> None:
    mnms(tmp_path)
    (tmp_path / "second.csv").write_text("")
    with pytest.raises(MissingFileError, match="2 CSV files"):
        mnms_datalist(tmp_path)
    (tmp_path / "second.csv").unlink()
    save(tmp_path / "Labeled" / "C3D4" / "C3D4_sa.nii.gz", (4, 3, 2, 5))
    with pytest.raises(MissingFileError, match="no row for C3D4"):
        mnms_datalist(tmp_path)
    mnms(tmp_path, "External code,ED,ES\nA1B2,0,3\nC3D4,0,1\n")
    with pytest.raises(MissingFileError, match=r"no mask C3D4_sa_gt"):
        mnms_datalist(tmp_path)
    mnms(tmp_path, "External code,ED\nA1B2,0\n")
    with pytest.raises(UnreadableFileError, match="External code, ED and ES"):
        mnms_datalist(tmp_path)
    with pytest.raises(EmptyImageError, match="M&Ms"):
        mnms_datalist(_empty(tmp_path / "none"))


def test_mnms_needs_a_table(tmp_path: Path) -> None:
    mnms(tmp_path / "a" / "b" / "c")
    (tmp_path / "a" / "b" / "c" / "dataset_information.csv").unlink()
    with pytest.raises(MissingFileError, match="No CSV file"):
        mnms_datalist(tmp_path / "a" / "b" / "c")


def test_folders_of_images_and_labels_pair_by_name(tmp_path: Path) -> None:
    save(tmp_path / "images" / "x.nii.gz", (4, 3, 2))
    save(tmp_path / "labels" / "x.nii", (4, 3, 2))
    (item,) = labelled_datalist(tmp_path)
    assert Path(item["label"][0]).name == "x.nii"
    assert item["frames"] is None
    save(tmp_path / "images" / "y.nii.gz", (4, 3, 2))
    with pytest.raises(MissingFileError, match=r"y.nii.gz has no mask"):
        paired_datalist(tmp_path / "images", tmp_path / "labels")


def decathlon(root: Path, listed: bool) -> Path:
    """A folder as the Decathlon has it, or as nnU-Net has it: ``_0000`` for the channel, and nothing is listed."""
    ending = "" if listed else "_0000"
    for case in ("la_007", "la_003"):
        save(root / "imagesTr" / f"{case}{ending}.nii.gz", (5, 4, 3))
        save(root / "labelsTr" / f"{case}.nii.gz", (5, 4, 3))
    save(root / "imagesTs" / f"la_001{ending}.nii.gz", (5, 4, 3))
    rows = [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in ("la_003", "la_007")]
    content = {"labels": {"background": 0, "atrium": 1}, "numTraining": 2, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps({**content, "training": rows} if listed else content))
    return root


@pytest.mark.parametrize("listed", [True, False])
def test_folders_of_the_decathlon_and_of_nnunet_train(tmp_path: Path, listed: bool) -> None:
    root = decathlon(tmp_path / "data", listed)
    for path in (root, root / "dataset.json"):
        items = labelled_datalist(path)
        assert [Path(item["label"][0]).name for item in items] == ["la_003.nii.gz", "la_007.nii.gz"]
        assert all(Path(item["image"]).name.startswith(Path(item["label"][0]).name[:6]) for item in items)
        assert all(Path(item["image"]).parent.name == "imagesTr" for item in items)


def test_images_of_several_channels_are_refused(tmp_path: Path) -> None:
    root = decathlon(tmp_path / "data", False)
    save(root / "imagesTr" / "la_003_0001.nii.gz", (5, 4, 3))
    with pytest.raises(SeriesMismatchError, match=r"la_003_0001\.nii\.gz"):
        labelled_datalist(root)


def test_list_files_may_name_frames(tmp_path: Path) -> None:
    save(tmp_path / "a.nii.gz", (4, 3, 2, 5))
    save(tmp_path / "a_gt.nii.gz", (4, 3, 2, 5))
    rows = [{"image": "a.nii.gz", "label": "a_gt.nii.gz", "frames": [0, 2], "label_values": {"1": 3, "0": 0}}]
    (tmp_path / "list.json").write_text(json.dumps({"training": rows}))
    (item,) = labelled_datalist(tmp_path / "list.json")
    assert item["image"] == str(tmp_path / "a.nii.gz")
    assert item["label"] == [str(tmp_path / "a_gt.nii.gz")]
    assert (item["frames"], item["label_values"]) == ([0, 2], {1: 3, 0: 0})
    with pytest.raises(UnreadableFileError, match="validation"):
        labelled_datalist(tmp_path / "list.json", "validation")
    (tmp_path / "list.json").write_text(json.dumps({"training": [{"image": "a.nii.gz", "label": "b.nii.gz"}]}))
    with pytest.raises(MissingFileError, match=r"b.nii.gz"):
        labelled_datalist(tmp_path / "list.json")
    (tmp_path / "list.json").write_text(json.dumps({"training": [{"image": "a.nii.gz"}]}))
    with pytest.raises(UnreadableFileError, match="needs an image and a label"):
        labelled_datalist(tmp_path / "list.json")


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EmptyImageError, match="none of the layouts"):
        labelled_datalist(tmp_path)
