# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The picture shows the frames that count, the masks in their colors, and nothing of another size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.image import imread

from monai_stcnnt.apps.review.segmentation import chosen_planes, segmentation_report
from monai_stcnnt.apps.review.volume_plot import class_colors
from monai_stcnnt.apps.volumes import measure_masks
from monai_stcnnt.data import SeriesRecord
from monai_stcnnt.errors import LayoutError, OutputNotWritableError
from tests.apps.fake_segmenter import BRIGHTNESS, beating_heart

__all__: list[str] = []

NAMES = {1: "RV", 2: "MYO", 3: "LV"}
AFFINE = np.diag([1.5, 1.5, 9, 1])


def heart(frames: int = 6, slices: int = 3) -> tuple[SeriesRecord, SeriesRecord]:
    labels = beating_heart(frames, slices)
    mask = SeriesRecord(labels[None], AFFINE, np.arange(frames) * 40.0, {"source": "heart"})
    return replace(mask, array=BRIGHTNESS[labels][None]), mask


def draw(images: SeriesRecord, mask: SeriesRecord, path: Path) -> np.ndarray:
    measures = measure_masks(mask, NAMES)
    return np.asarray(imread(segmentation_report(images, mask, measures, path, class_values=[1, 2, 3])))


def has_color(picture: np.ndarray, color: str) -> bool:
    wanted = np.array(mpl.colors.to_rgb(color))
    return bool((np.abs(picture[..., :3] - wanted).max(axis=-1) < 0.02).sum() > 20)


def test_stack_shows_slices_with_masks_at_both_ends_of_the_cycle() -> None:
    _, mask = heart(slices=12)
    array = mask.array.copy()
    array[:, :, :2] = 0
    mask = replace(mask, array=array)
    diastole, systole = chosen_planes(measure_masks(mask, NAMES), mask.array[0])
    assert [frame for frame, _ in diastole + systole] == [0] * 8 + [3] * 8
    assert [place for _, place in diastole] == [2, 3, 5, 6, 7, 8, 10, 11]


def test_one_slice_shows_frames_and_a_volume_its_slices() -> None:
    _, mask = heart(frames=20, slices=1)
    [planes] = chosen_planes(measure_masks(mask, NAMES), mask.array[0])
    assert [frame for frame, _ in planes] == [0, 3, 5, 8, 11, 14, 16, 19]
    _, mask = heart(frames=1)
    assert chosen_planes(measure_masks(mask, NAMES), mask.array[0]) == [[(0, 0), (0, 1), (0, 2)]]


@pytest.mark.parametrize(("frames", "slices"), [(6, 3), (6, 1), (1, 3), (2, 1)])
def test_masks_are_drawn_in_their_colors(tmp_path: Path, frames: int, slices: int) -> None:
    picture = draw(*heart(frames, slices), tmp_path / "a.png")
    assert all(has_color(picture, color) for color in class_colors(["RV", "MYO", "LV"]))


def test_empty_mask_and_complex_images(tmp_path: Path) -> None:
    images, mask = heart()
    images = replace(images, array=np.concatenate([images.array, images.array]))
    picture = draw(images, replace(mask, array=np.zeros_like(mask.array)), tmp_path / "a.png")
    assert picture.ndim == 3


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    images, mask = heart()
    with pytest.raises(LayoutError, match="one size"):
        draw(images, replace(mask, array=mask.array[..., 1:]), tmp_path / "a.png")
    with pytest.raises(OutputNotWritableError):
        draw(images, mask, tmp_path / "a.jpg")
