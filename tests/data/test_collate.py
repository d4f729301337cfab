# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Items that were joined come apart as they were, with all that belongs to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data.dataloader import DataLoader
from monai.data.dataset import Dataset
from monai.data.meta_tensor import MetaTensor

from monai_stcnnt.data.collate import series_collate, series_decollate
from monai_stcnnt.errors import LayoutError

__all__: list[str] = []


def item(slices: int, name: str, frames: int = 6) -> dict[Any, Any]:
    """Item as the transforms make it."""
    image = torch.arange(slices * 2 * frames * 4 * 5.0).reshape(slices, 2, frames, 4, 5)
    meta = {"source": name, "frame_times": np.arange(frames) * 33.0}
    affine = torch.eye(4, dtype=torch.float64) * slices
    return {
        "image": MetaTensor(image, affine=affine, meta=meta, applied_operations=[{"class": name}]),
        "sigma": torch.full((slices, 1, 1, 1, 1), 2.0),
        "name": name,
        "scale": 1.0 * slices,
    }


def test_one_item_is_its_own_batch() -> None:
    one = item(3, "a")
    batch = series_collate([one])
    assert all(batch[key] is one[key] for key in one)
    assert series_decollate(batch)[0]["image"] is one["image"]


def test_items_are_joined_along_the_slices_and_split_again() -> None:
    items = [item(3, "a"), item(1, "b"), item(2, "c")]
    batch = series_collate(items)
    assert batch["image"].shape == (6, 2, 6, 4, 5)
    assert batch["name"] == ["a", "b", "c"]
    torch.testing.assert_close(batch["image"][3:4].as_tensor(), items[1]["image"].as_tensor())
    batch["pred"] = batch["image"] * 2
    batch["plain"] = batch["image"].as_tensor() + 1
    batch["common"] = "for all"
    for before, after in zip(items, series_decollate(batch), strict=True):
        assert after["name"] == before["name"]
        assert after["scale"] == before["scale"]
        assert after["common"] == "for all"
        torch.testing.assert_close(after["image"].as_tensor(), before["image"].as_tensor(), rtol=0, atol=0)
        torch.testing.assert_close(after["sigma"], before["sigma"])
        torch.testing.assert_close(after["pred"].as_tensor(), before["image"].as_tensor() * 2)
        torch.testing.assert_close(after["plain"], before["image"].as_tensor() + 1)
        for key in ("image", "pred"):
            assert after[key].meta["source"] == before["name"]
            assert after[key].applied_operations == before["image"].applied_operations
            torch.testing.assert_close(after[key].affine, before["image"].affine)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_in_a_data_loader(batch_size: int) -> None:
    items = [item(3, "a"), item(1, "b")]
    loader = DataLoader(Dataset(items), batch_size=batch_size, collate_fn=series_collate)
    out = [one for batch in loader for one in series_decollate(batch)]
    assert [one["image"].meta["source"] for one in out] == ["a", "b"]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "no item"),
        ([item(3, "a"), item(3, "b", frames=5)], "batch size of 1"),
        ([item(3, "a"), {"image": torch.zeros(1, 2, 6, 4, 5)}], "different keys"),
    ],
)
def test_items_that_do_not_fit_are_refused(items: list[dict[Any, Any]], message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        series_collate(items)
