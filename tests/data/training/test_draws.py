# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of numbered samples."""

from __future__ import annotations

import logging
from typing import Any, cast

import numpy as np
import pytest
import torch
from monai.data import CacheDataset, DataLoader
from monai.transforms import Compose, RandGaussianNoised
from torch.utils.data import TensorDataset

from monai_stcnnt.data import Draw, NumberedDataset, NumberedSampler, PrepareClips, draw_seed

ITEMS = [{"image": torch.full((1, 2, 4), float(n))} for n in range(5)]


def plain() -> CacheDataset:
    return CacheDataset(ITEMS, Compose([RandGaussianNoised("image", prob=1.0)]), progress=False)


def draws(epoch: int, ranks: int, rank: int, batch_size: int = 4) -> list[Draw]:
    sampler = NumberedSampler(plain(), 3, batch_size, seed=1, num_replicas=ranks, rank=rank)
    sampler.set_epoch(epoch)
    assert len(sampler) == 3 * sampler.rank_batch_size
    return list(sampler)


def test_every_item_comes_once_before_any_comes_again() -> None:
    order = [draw.index for epoch in (1, 2, 3, 4, 5) for draw in draws(epoch, 1, 0)]
    assert len(order) == 60
    turns = [order[i : i + 5] for i in range(0, 60, 5)]
    assert all(sorted(turn) == list(range(5)) for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 3


def test_samples_are_numbered_on_from_epoch_to_epoch() -> None:
    assert [draw.number for epoch in (1, 2) for draw in draws(epoch, 1, 0)] == list(range(24))
    assert [draw.batch for draw in draws(2, 1, 0)] == [3] * 4 + [4] * 4 + [5] * 4


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_share_the_batches_that_one_process_has(ranks: int) -> None:
    parts = [draws(2, ranks, rank) for rank in range(ranks)]
    together = [draw for part in parts for draw in part]
    assert sorted(together, key=lambda draw: draw.number) == draws(2, 1, 0)
    batches = [[draw.batch for draw in part] for part in parts]
    assert all(part == batches[0] for part in batches)


def test_a_batch_that_cannot_be_shared_grows_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        sampler = NumberedSampler(plain(), 3, 4, num_replicas=3, rank=0)
    assert sampler.rank_batch_size == 2
    assert "6 samples instead" in caplog.text


def test_a_sample_depends_on_seed_and_number_alone() -> None:
    first, second = NumberedDataset(plain(), seed=3), NumberedDataset(plain(), seed=3)
    later = [second[Draw(n % 5, n, 0)]["image"] for n in (7, 6)]
    assert torch.equal(first[Draw(1, 6, 0)]["image"], later[1])
    assert torch.equal(first[Draw(2, 7, 0)]["image"], later[0])
    assert not torch.equal(first[Draw(2, 12, 0)]["image"], later[0])
    assert not torch.equal(NumberedDataset(plain(), seed=4)[Draw(2, 7, 0)]["image"], later[0])


@pytest.mark.slow
def test_workers_that_load_data_change_nothing() -> None:
    def load(workers: int) -> list[torch.Tensor]:
        data, sampler = NumberedDataset(plain()), NumberedSampler(plain(), 2, 3)
        return [batch["image"] for batch in DataLoader(data, workers, batch_size=3, sampler=sampler)]

    for alone, helped in zip(load(0), load(2), strict=True):
        assert torch.equal(alone, helped)


def test_a_dataset_without_a_random_state_is_refused() -> None:
    with pytest.raises(ValueError, match="random state"):
        NumberedDataset(cast(Any, TensorDataset(torch.zeros(3))))


def test_numbered_batches_have_a_length_of_their_own() -> None:
    batch = {"image": torch.rand(2, 2, 12, 4, 4), "label": torch.rand(2, 1, 12, 4, 4)}

    def length(prepare: PrepareClips, number: int) -> int:
        return prepare({**batch, "batch_number": torch.tensor([number, number])}, "cpu")[0].shape[2]

    first, second = PrepareClips((1, 5, 12), seed=2), PrepareClips((1, 5, 12), seed=2)
    backward = [length(second, n) for n in reversed(range(20))]
    assert [length(first, n) for n in range(20)] == backward[::-1]
    assert set(backward) == {1, 5, 12}


def test_seeds_of_neighbors_are_unrelated() -> None:
    seeds = [draw_seed(a, b) for a in range(20) for b in range(20)]
    assert len(set(seeds)) == 400
    assert draw_seed(1, 2) != draw_seed(2, 1)
    assert 0.3 < np.mean(seeds) / 2**32 < 0.7
