# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""A chain from file to file keeps everything but what the network changed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from monai.data.dataloader import DataLoader
from monai.data.dataset import Dataset
from monai.data.meta_tensor import MetaTensor
from monai.data.utils import decollate_batch
from monai.transforms.compose import Compose
from monai.transforms.io.dictionary import LoadImaged
from monai.transforms.post.dictionary import Invertd
from monai.transforms.utility.dictionary import EnsureChannelFirstd

from monai_stcnnt.data.formats.registry import read_series
from monai_stcnnt.data.listing import series_datalist
from monai_stcnnt.data.reader import SeriesReader
from monai_stcnnt.data.writer import SaveSeries, record_from_metatensor
from monai_stcnnt.data.writer_transform import SaveImageSeriesd
from monai_stcnnt.errors import LabelValueError, LayoutError, OptionError, OutputNotWritableError
from monai_stcnnt.transforms.frames import FileToFramesd

__all__: list[str] = []

# MONAI tells of a decoder that is not installed whenever a loader is made.
pytestmark = pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader")


def values_of(shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    """Values that all differ."""
    values = np.arange(np.prod(shape)).reshape(shape)
    return (values - 2j * values).astype(dtype) if "complex" in dtype else values.astype(dtype)


def load(path: Path) -> MetaTensor:
    """Image as a preprocessing chain starts with it."""
    chain = Compose([LoadImaged("image", reader=SeriesReader, dtype=None), EnsureChannelFirstd("image")])
    image = chain({"image": path})["image"]
    assert isinstance(image, MetaTensor)
    return image


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3), (5, 4, 3, 7), (5, 4, 3, 1)])
@pytest.mark.parametrize("dtype", ["int16", "float32", "complex64"])
def test_file_to_frames_to_file_is_exact(make_nifti: Callable[..., Path], tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:  # fmt: skip  # noqa: E501
    root = make_nifti("in/sub/a.nii.gz", values_of(shape, dtype), units=("mm", "msec"), frame_time=33).parents[1]
    pre = Compose([LoadImaged("image", reader=SeriesReader, dtype=None), EnsureChannelFirstd("image"), FileToFramesd("image")])  # fmt: skip  # noqa: E501
    post = Compose(
        [Invertd("pred", transform=pre, orig_keys="image"), SaveImageSeriesd("pred", tmp_path / "out", input_root=root)]
    )
    for batch in DataLoader(Dataset(series_datalist(root), pre), batch_size=1):
        assert batch["image"].ndim == 6
        for item in decollate_batch({**batch, "pred": batch["image"].clone()}):
            post(item)
    out = tmp_path / "out" / "sub" / "a_denoised.nii.gz"
    before, after = nib.load(root / "sub" / "a.nii.gz"), nib.load(out)
    assert isinstance(before, nib.Nifti1Image)
    assert isinstance(after, nib.Nifti1Image)
    np.testing.assert_array_equal(np.asarray(after.dataobj), np.asarray(before.dataobj))
    np.testing.assert_array_equal(after.affine, before.affine)
    assert after.shape == before.shape
    assert after.header.get_xyzt_units() == ("mm", "msec")
    np.testing.assert_array_equal(after.header["pixdim"], before.header["pixdim"])


def test_sample_scans_survive_the_chain(shared_data: Path, tmp_path: Path) -> None:
    pre = Compose([LoadImaged("image", reader=SeriesReader, dtype=None), EnsureChannelFirstd("image"), FileToFramesd("image")])  # fmt: skip  # noqa: E501
    post = Compose([Invertd("image", transform=pre), SaveImageSeriesd("image", tmp_path, input_root=shared_data)])
    small = [path for path in sorted(shared_data.rglob("*.nii.gz")) if path.stat().st_size < 1 << 20]
    assert small
    for path in small:
        saved = Path(post(pre({"image": path}))["image"].meta["saved_to"])
        before, after = read_series(path), read_series(saved)
        np.testing.assert_array_equal(after.array, before.array)
        np.testing.assert_array_equal(after.affine, before.affine)
        np.testing.assert_array_equal(after.frame_times, before.frame_times)
        saved.unlink()


@pytest.mark.parametrize(
    ("dtype", "pred", "kind"),
    [
        ("complex64", torch.complex64, "complex"),
        ("complex64", torch.float32, "magnitude"),
        ("float32", torch.float16, "magnitude"),
        ("float32", torch.uint8, "magnitude"),
    ],
)
def test_kind_of_what_is_saved(make_nifti: Callable[..., Path], tmp_path: Path, dtype: str, pred: Any, kind: str) -> None:  # fmt: skip  # noqa: ANN401, E501
    image = load(make_nifti("a.nii", values_of((5, 4, 3), dtype)))
    image = MetaTensor((image if pred.is_complex else image.abs()).to(pred), meta=image.meta)
    saved = SaveSeries(tmp_path / "out")(image)
    record = read_series(saved.meta["saved_to"])
    assert record.kind == kind
    np.testing.assert_array_equal(record.to_spatial(), image.as_tensor().to(torch.complex64 if kind == "complex" else torch.float32)[0])  # fmt: skip  # noqa: E501


def test_two_channels_of_a_complex_image(make_nifti: Callable[..., Path], tmp_path: Path) -> None:
    image = load(make_nifti("a.nii", values_of((5, 4, 3), "complex64")))
    parts = torch.cat([image.real, image.imag])
    assert isinstance(parts, MetaTensor)
    record = read_series(SaveSeries(tmp_path / "out")(parts).meta["saved_to"])
    np.testing.assert_array_equal(record.to_spatial(), values_of((5, 4, 3), "complex64"))


def test_path_is_logged(make_nifti: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "monai_stcnnt"):
        SaveSeries(tmp_path / "out", suffix="x")(load(make_nifti("a.nii", values_of((5, 4, 3)))))
    assert str(tmp_path / "out" / "a_x.nii") in caplog.text


def test_output_type(make_nifti: Callable[..., Path], tmp_path: Path) -> None:
    image = load(make_nifti("a.nii", values_of((5, 4, 3))))
    saved = SaveImageSeriesd("pred", tmp_path / "out", dtype="int16")({"pred": image})["pred"].meta["saved_to"]
    assert nib.load(saved).get_data_dtype() == np.int16  # type: ignore[attr-defined]


def test_several_keys_go_to_several_files(make_nifti: Callable[..., Path], tmp_path: Path) -> None:
    image = load(make_nifti("a.nii", values_of((5, 4, 3))))
    SaveImageSeriesd(["pred", "mask"], tmp_path / "out", suffix=["d", "m"])({"pred": image, "mask": image.clone()})
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a_d.nii", "a_m.nii"]
    with pytest.raises(OptionError, match="suffixes"):
        SaveImageSeriesd(["pred", "mask"], tmp_path / "out")
    with pytest.raises(KeyError):
        SaveImageSeriesd("pred", tmp_path / "out")({"image": image})
    assert "image" in SaveImageSeriesd("pred", tmp_path / "out", allow_missing_keys=True)({"image": image})


def test_wrong_options_fail_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputNotWritableError, match="file"):
        SaveSeries(tmp_path / "file" / "out")
    with pytest.raises(OptionError, match="int7"):
        SaveSeries(tmp_path / "out", dtype="int7")  # type: ignore[arg-type]


LABELS = np.random.default_rng(0).integers(0, 4, (5, 4, 3, 7)).astype(np.uint8)
NAMES = {"1": "RV", "2": "MYO", "3": "LV"}


def test_masks_keep_their_values_as_bytes(make_nifti: Callable[..., Path], tmp_path: Path) -> None:
    image = load(make_nifti("a.nii", values_of((5, 4, 3, 7), "int16"), slope=(2.0, 5.0)))
    mask = MetaTensor(torch.as_tensor(LABELS[None]), meta=image.meta)
    saved = SaveImageSeriesd("pred", tmp_path / "out", suffix="seg", class_names=NAMES)({"pred": mask})["pred"]
    file = nib.Nifti1Image.from_filename(saved.meta["saved_to"])
    assert file.get_data_dtype() == np.uint8
    assert file.header.get_slope_inter() in ((None, None), (1, 0))
    np.testing.assert_array_equal(np.asarray(file.dataobj), LABELS)
    np.testing.assert_array_equal(file.affine, image.meta["original_affine"])


def test_masks_of_dicom_become_segmentations(make_dicom: Callable[..., Path], tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    image = load(make_dicom("in", LABELS.transpose(3, 2, 1, 0) * 10))
    mask = MetaTensor(image.as_tensor() / 10, meta=image.meta)
    for output_format, count in (("same", 1), ("dicom_seg", 1), ("dicom_seg_per_frame", 7)):
        saver = SaveSeries(
            tmp_path / output_format, suffix="seg", output_format=output_format,  # type: ignore[arg-type]
            uid_seed="a", class_names=NAMES, algorithm_version="1.2",
        )  # fmt: skip
        folder = Path(saver(mask).meta["saved_to"])
        assert folder.name == "in_seg"
        files = sorted(folder.iterdir())
        assert len(files) == count
        dataset = pydicom.dcmread(files[count // 2])
        assert dataset.SOPClassUID == pydicom.uid.SegmentationStorage
        assert dataset.SoftwareVersions == "1.2"
        assert int(dataset.pixel_array.sum()) == np.count_nonzero(LABELS if count == 1 else LABELS[..., 3])
    one, two = (pydicom.dcmread(tmp_path / f / "in_seg" / "SEG00001.dcm") for f in ("same", "dicom_seg"))
    assert one.SOPInstanceUID == two.SOPInstanceUID
    nifti = SaveSeries(tmp_path / "n", suffix="seg", output_format="nifti", class_names=NAMES)(mask).meta["saved_to"]
    np.testing.assert_array_equal(np.asarray(nib.Nifti1Image.from_filename(nifti).dataobj), LABELS)


def test_masks_that_cannot_be_saved(make_nifti: Callable[..., Path], tmp_path: Path) -> None:
    mask = MetaTensor(torch.as_tensor(LABELS[None]), meta=load(make_nifti("a.nii", LABELS)).meta)
    with pytest.raises(LabelValueError, match=r"without a class name: 3\. Named are 0, 1, 2"):
        SaveSeries(tmp_path / "out", class_names={"1": "RV", "2": "MYO"})(mask)
    with pytest.raises(OutputNotWritableError, match="DICOM files"):
        SaveSeries(tmp_path / "out", output_format="dicom_seg", class_names=NAMES)(mask)
    with pytest.raises(OptionError, match="class_names"):
        SaveSeries(tmp_path / "out", output_format="dicom_seg")
    with pytest.raises(LabelValueError, match="whole numbers"):
        SaveSeries(tmp_path / "out", class_names={"one": "RV"})
    assert list((tmp_path / "out").iterdir()) == []


def test_other_images_are_refused(make_nifti: Callable[..., Path], tmp_path: Path) -> None:
    image = load(make_nifti("a.nii", values_of((5, 4, 3, 7))))
    with pytest.raises(LayoutError, match="without metadata"):
        record_from_metatensor(torch.zeros(1, 5, 4))  # type: ignore[arg-type]
    with pytest.raises(LayoutError, match="one channel"):
        record_from_metatensor(torch.cat([image, image]))  # type: ignore[arg-type]
    with pytest.raises(LayoutError, match="3 frames, but 7"):
        record_from_metatensor(MetaTensor(image[..., :3]))
    with pytest.raises(LayoutError, match="'source'"):
        SaveSeries(tmp_path / "out")(MetaTensor(torch.zeros(1, 5, 4)))
    assert list((tmp_path / "out").iterdir()) == []
