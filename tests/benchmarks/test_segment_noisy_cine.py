# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The comparison of masks with and without denoising counts what is labelled, image by image."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import segment_noisy_cine as benchmark
from monai_stcnnt.data import SeriesRecord

__all__: list[str] = []


def test_dice_image_by_image() -> None:
    truth = np.zeros((1, 3, 4, 4), int)
    truth[0, 0, :2], truth[0, 1, 0] = 3, 2
    mask = np.zeros_like(truth)
    mask[0, 0, 1:3], mask[0, 1, 1] = 3, 1
    mask[0, 2] = 1  # not labelled
    scores = benchmark.frame_dice(mask, truth)
    np.testing.assert_array_equal(scores, [[np.nan, np.nan, 0.5], [0, 0, np.nan]])
    np.testing.assert_array_equal(benchmark.frame_dice(truth, truth), [[np.nan, np.nan, 1], [np.nan, 1, np.nan]])


def test_part_around_the_labels_keeps_its_place() -> None:
    truth = np.zeros((3, 2, 20, 30), int)
    truth[:, :, 12:14, 3:5] = 1
    affine = np.diag([2.0, 3, 8, 1])
    record = SeriesRecord(truth[None], affine, np.arange(3.0))
    part = benchmark.crop_to_labels(record, truth, 8, 2, [1])
    assert part.array.shape == (1, 2, 1, 8, 8)
    assert part.array.sum() == 2 * 4
    y, x = np.argwhere(part.array[0, 0, 0])[0]
    np.testing.assert_array_equal((part.affine @ [x, y, 0, 1])[:2], (affine @ [3, 12, 0, 1])[:2])


def test_gain_is_that_of_the_same_images() -> None:
    scores: benchmark.Scores = {
        "clean": [[1.0, 1.0, 1.0]],
        "noisy": [[0.5, None, 0.2], [0.7, 0.5, 0.4]],
        "denoised": [[0.6, None, 0.4], [0.9, 0.5, 0.2]],
    }
    rows = benchmark.table(scores).splitlines()
    assert rows[-1] == "| denoised minus noisy | +0.150 | +0.000 | +0.000 |"
    assert rows[3].startswith("| noisy | 0.600 ± 0.100 | 0.500 ± 0.000 |")


def test_needs_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        benchmark.main([])
    assert "--data" in capsys.readouterr().err
