# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of batches of clips."""

from __future__ import annotations

import logging

import pytest
import torch

from monai_stcnnt.data import PrepareClips, split_datalist


@pytest.mark.parametrize(("count", "fraction", "held_out"), [(10, 0.2, 2), (2, 0.01, 1), (3, 0.99, 2)])
def test_a_split_keeps_every_series_once(count: int, fraction: float, held_out: int) -> None:
    items = [{"image": str(i)} for i in range(count)]
    train, val = split_datalist(items, fraction, seed=1)
    assert len(val) == held_out
    assert sorted(item["image"] for item in train + val) == sorted(item["image"] for item in items)
    assert split_datalist(items, fraction, seed=1) == (train, val)


def test_one_series_serves_for_both_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        train, val = split_datalist([{"image": "a"}])
    assert train == val == [{"image": "a"}]
    assert "one series only" in caplog.text


def test_batches_have_any_of_the_lengths() -> None:
    batch = {"image": torch.rand(2, 3, 12, 4, 4), "label": torch.rand(2, 2, 12, 4, 4)}
    prepare = PrepareClips((1, 5, 30), seed=0)
    lengths = set()
    for _ in range(30):
        image, label = prepare(batch, "cpu")
        assert image.shape[2] == label.shape[2]
        assert torch.equal(image, batch["image"][:, :, : image.shape[2]])
        lengths.add(image.shape[2])
    assert lengths == {1, 5, 12}
