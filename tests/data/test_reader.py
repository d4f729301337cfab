# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The readers work behind MONAI's loading transforms, and bad files raise their own errors there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data.image_reader import ImageReader
from monai.data.meta_tensor import MetaTensor
from monai.transforms.io.array import LoadImage
from monai.transforms.io.dictionary import LoadImaged
from monai.transforms.utility.array import EnsureChannelFirst
from monai.transforms.utility.dictionary import EnsureChannelFirstd
from PIL import Image

from monai_stcnnt import errors
from monai_stcnnt.data.formats.registry import read_series
from monai_stcnnt.data.reader import SeriesReader

__all__: list[str] = []

# MONAI tells of a decoder that is not installed whenever a loader is made.
pytestmark = pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader")

SHAPES = [(5, 4), (5, 4, 3), (5, 4, 3, 7), (5, 4, 1, 7)]


def values_of(shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    """Values that all differ."""
    values = np.arange(np.prod(shape)).reshape(shape)
    return (values - 2j * values).astype(dtype) if "complex" in dtype else values.astype(dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["int16", "float32", "complex64"])
@pytest.mark.parametrize("channel_dim", ["no_channel", None])
def test_loading_keeps_axes_values_and_kind(
    make_nifti: Callable[..., Path], shape: tuple[int, ...], dtype: str, channel_dim: str | None
) -> None:
    path = make_nifti("in.nii.gz", values_of(shape, dtype))
    loaded = LoadImaged("image", reader=SeriesReader, dtype=None)({"image": path})
    image = EnsureChannelFirstd("image", channel_dim=channel_dim)(loaded)["image"]
    assert isinstance(image, MetaTensor)
    assert tuple(image.shape) == (1, *shape)
    assert image.dtype == (torch.complex64 if dtype == "complex64" else torch.float32)
    np.testing.assert_array_equal(image.numpy()[0], values_of(shape, dtype))


@pytest.mark.parametrize("shape", SHAPES)
def test_metadata(make_nifti: Callable[..., Path], shape: tuple[int, ...]) -> None:
    path = make_nifti("in.nii.gz", values_of(shape))
    record = read_series(path)
    image = LoadImage(reader=SeriesReader, dtype=None)(path)
    assert isinstance(image, MetaTensor)
    np.testing.assert_array_equal(image.affine, record.affine)
    np.testing.assert_array_equal(image.meta["frame_times"], record.frame_times)
    assert image.meta["kind"] == "magnitude"
    assert image.meta["filename_or_obj"] == str(path)
    assert image.meta["source"] == str(path)
    np.testing.assert_array_equal(image.meta["spatial_shape"], shape[:3])
    if len(shape) == 4:
        assert image.meta["frame_time"] == pytest.approx(40)


def test_dropping_the_imaginary_part_is_not_silent(make_nifti: Callable[..., Path]) -> None:
    path = make_nifti("in.nii", values_of((5, 4, 3), "complex64"))
    with pytest.warns(np.exceptions.ComplexWarning):
        image = LoadImage(reader=SeriesReader)(path)
    assert isinstance(image, MetaTensor)
    assert image.meta["kind"] == "complex"
    assert not image.is_complex()


def test_reader_by_its_dotted_name(make_nifti: Callable[..., Path]) -> None:
    load = LoadImaged("image", reader="monai_stcnnt.data.SeriesReader", dtype=None, check=False)
    image: Any = EnsureChannelFirst()(load({"image": make_nifti("in.nii", np.zeros((5, 4, 3), np.uint8))})["image"])
    assert image.meta["source"].endswith("in.nii")


def write_bad(folder: Path, case: str) -> Path:
    """Make a file that cannot be used, and one that other readers would take."""
    if case == "missing":
        return folder / "missing.nii"
    if case == "picture":
        Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(folder / "picture.png")
        return folder / "picture.png"
    if case == "text":
        (folder / "notes.txt").write_text("text")
        return folder / "notes.txt"
    (folder / "broken.nii").write_bytes(b"broken")
    return folder / "broken.nii"


@pytest.mark.parametrize(
    ("case", "error"),
    [
        ("missing", errors.MissingFileError),
        ("picture", errors.NotAnImageError),
        ("text", errors.NotAnImageError),
        ("broken", errors.UnreadableFileError),
    ],
)
def test_bad_files_raise_their_own_errors(tmp_path: Path, case: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=case if case != "text" else "notes"):
        LoadImage(reader=SeriesReader, dtype=None)(write_bad(tmp_path, case))


def test_values_are_checked_unless_told_otherwise(make_nifti: Callable[..., Path]) -> None:
    path = make_nifti("mask.nii", np.zeros((5, 4, 3), np.uint8))
    with pytest.raises(errors.ConstantImageError):
        LoadImage(reader=SeriesReader, dtype=None)(path)
    assert LoadImage(reader=SeriesReader(check=False), dtype=None)(path).max() == 0


def test_series_is_passed_on(make_nifti: Callable[..., Path]) -> None:
    with pytest.raises(errors.SeriesSelectionError):
        LoadImage(reader=SeriesReader(series=3), dtype=None)(make_nifti("in.nii", values_of((5, 4))))


def test_several_files_are_no_image(make_nifti: Callable[..., Path]) -> None:
    paths = [make_nifti(f"{i}.nii", values_of((5, 4))) for i in range(2)]
    with pytest.raises(errors.SeriesMismatchError, match="2 files"):
        LoadImage(reader=SeriesReader, dtype=None)(paths)


@pytest.mark.parametrize(
    ("name", "expected"), [("a.nii", True), (["a.nii", "b.nii.gz"], True), (["a.nii", "b.png"], False)]
)
def test_suffixes(name: Any, expected: bool) -> None:  # noqa: ANN401 - one name or several
    reader = SeriesReader()
    assert isinstance(reader, ImageReader)
    assert reader.verify_suffix(name) is expected
