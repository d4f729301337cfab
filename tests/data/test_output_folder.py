# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""No result leaves the output folder, whatever the inputs, headers and links are called."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from monai.data.meta_tensor import MetaTensor
from monai.transforms import EnsureChannelFirst, LoadImage

from monai_stcnnt.data import SaveSeries, SeriesReader, output_path
from monai_stcnnt.errors import OutputNotWritableError

__all__: list[str] = []


@pytest.mark.parametrize("item", ["../scan.nii", "sub/../../scan.nii", "/etc/scan.nii", "in/../../../scan.nii"])
def test_an_image_outside_of_the_input_folder_has_no_place(tmp_path: Path, item: str) -> None:
    root = tmp_path / "in"
    with pytest.raises(OutputNotWritableError, match="is not below"):
        output_path(root / item, root, tmp_path / "out")


def test_dots_that_stay_inside_are_no_harm(tmp_path: Path) -> None:
    root = tmp_path / "in"
    assert output_path(root / "a" / ".." / "b" / "scan.nii", root, tmp_path / "out") == (
        tmp_path / "out" / "b" / "scan_denoised.nii"
    )


@pytest.mark.parametrize("name", ["..nii", "...nii.gz", "~.nii", "$HOME.nii", "a;b `c`.nii", "-rf.nii", "<b>.nii"])
def test_odd_names_stay_names(tmp_path: Path, name: str) -> None:
    target = output_path(tmp_path / "in" / name, tmp_path / "in", tmp_path / "out")
    assert target.parent == tmp_path / "out"
    assert target.name not in ("", ".", "..")


@pytest.mark.parametrize("options", [{"suffix": "../x"}, {"suffix": "a\\b"}, {"extension": "/../../x.nii"}])
def test_suffixes_are_no_paths(tmp_path: Path, options: dict[str, str]) -> None:
    with pytest.raises(OutputNotWritableError, match="cannot be part of a file name"):
        output_path(tmp_path / "in" / "scan.nii", tmp_path / "in", tmp_path / "out", **options)


def test_a_link_in_the_output_folder_is_not_followed_out_of_it(tmp_path: Path) -> None:
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "out"
    elsewhere.mkdir()
    (out / "inside").mkdir(parents=True)
    (out / "a").symlink_to(elsewhere)
    (out / "b").symlink_to(out / "inside")
    root = tmp_path / "in"
    with pytest.raises(OutputNotWritableError, match="leads out of"):
        output_path(root / "a" / "scan.nii", root, out)
    assert output_path(root / "b" / "scan.nii", root, out) == out / "b" / "scan_denoised.nii"
    linked = tmp_path / "linked"
    linked.symlink_to(out)
    assert output_path(root / "c" / "scan.nii", root, linked) == linked / "c" / "scan_denoised.nii"


def test_text_of_a_dicom_header_names_no_file(make_dicom: Callable[..., Path], tmp_path: Path) -> None:
    evil = "../../evil/<script>"

    def change(_time: int, _slice: int, dataset: object) -> None:
        for keyword in ("SeriesDescription", "StudyDescription", "ProtocolName", "StudyID", "SequenceName"):
            setattr(dataset, keyword, evil[:16])
        dataset.PatientName = evil  # type: ignore[attr-defined]

    folder = make_dicom("work/scan", np.arange(40).reshape(1, 2, 5, 4), change=change)
    out = tmp_path / "work" / "out"
    image = EnsureChannelFirst(channel_dim="no_channel")(LoadImage(SeriesReader())(folder))
    assert isinstance(image, MetaTensor)
    SaveSeries(out, output_format="nifti")(image)
    SaveSeries(out, suffix="derived")(image)
    found = [os.path.relpath(path, tmp_path) for path in tmp_path.rglob("*") if not path.is_relative_to(folder)]
    assert sorted(name for name in found if not name.endswith(".dcm")) == [
        "work", "work/out", "work/out/scan_denoised.nii.gz", "work/out/scan_derived",
    ]  # fmt: skip
    assert not [name for name in found if "evil" in name or "script" in name]
