# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Random training samples that are numbered, so that the same number is the same sample everywhere.

What is random about a sample is drawn from the seed and the sample's number in the whole training alone. The order of
the samples and what is done to each therefore do not depend on the number of processes, of workers that load data, or
of interruptions: there is no random state to be kept.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import ignite.distributed as idist
import numpy as np
from monai.data import DataLoader, Dataset
from monai.data import DistributedSampler as ShareSampler
from monai.transforms import Randomizable
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data.distributed import DistributedSampler

__all__ = ["Draw", "NumberedDataset", "NumberedLoader", "NumberedSampler", "RankLoader", "draw_seed"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Draw:
    """One sample of a training.

    Attributes:
        index: the item of the dataset.
        number: counts the samples of the whole training, over all processes.
        batch: counts its batches; the processes of a training work on one batch together.
    """

    index: int
    number: int
    batch: int


def draw_seed(*numbers: int) -> int:
    """Seed, below 2**32, that mixes numbers which are not negative: others give unrelated seeds."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


class NumberedSampler(DistributedSampler[Any]):
    """Draw the samples of a training; every item comes once before any comes again.

    MONAI's engines tell the sampler the epoch, as they do with every sampler of this base class.

    Args:
        dataset: the items.
        iterations: batches in an epoch.
        batch_size: samples in a batch, over all processes; rounded up to a multiple of their number, and the log says
            so.
        seed: of the order.
        num_replicas: number of processes; default: those that train together.
        rank: number of this process; default: its own.

    Attributes:
        rank_batch_size: samples of each process in a batch.
    """

    def __init__(
        self,
        dataset: TorchDataset[Any],
        iterations: int,
        batch_size: int,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        replicas = num_replicas or idist.get_world_size()
        place = rank if rank is not None else idist.get_rank()
        super().__init__(dataset, num_replicas=replicas, rank=place, shuffle=True, seed=seed)
        self.items = len(cast(Any, dataset))
        self.iterations = iterations
        self.rank_batch_size = -(-batch_size // replicas)
        if batch_size % replicas and place == 0:
            logger.warning(
                "A batch of %d cannot be shared evenly by %d processes; it has %d samples instead.",
                *(batch_size, replicas, self.rank_batch_size * replicas),
            )
        self.num_samples = iterations * self.rank_batch_size
        self.total_size = self.num_samples * replicas

    def __iter__(self) -> Iterator[Draw]:
        """Yield this process's share of the samples of the epoch, batch by batch."""
        order = lru_cache(maxsize=2)(lambda turn: np.random.default_rng([self.seed, turn]).permutation(self.items))
        batch_size = self.rank_batch_size * self.num_replicas
        for iteration in range(self.iterations):
            batch = max(self.epoch - 1, 0) * self.iterations + iteration
            first = batch * batch_size + self.rank * self.rank_batch_size
            for number in range(first, first + self.rank_batch_size):
                yield Draw(int(order(number // self.items)[number % self.items]), number, batch)


class NumberedDataset(TorchDataset[dict[str, Any]]):
    """Take the samples that a :class:`NumberedSampler` drew from a MONAI dataset.

    Args:
        dataset: a dataset whose ``transform`` is one of MONAI's that have a random state, such as ``Compose``.
        seed: of the transform.
    """

    def __init__(self, dataset: Dataset, seed: int = 0) -> None:
        if not isinstance(getattr(dataset, "transform", None), Randomizable):
            raise ValueError(f"{type(dataset).__name__} has no transform with a random state; give one of MONAI's")
        self.dataset = dataset
        self.seed = seed

    def __len__(self) -> int:
        """Number of items."""
        return len(self.dataset)

    def __getitem__(self, draw: Draw) -> dict[str, Any]:
        """Give the sample, with its entry ``batch_number`` for :class:`monai_stcnnt.data.PrepareClips`."""
        self.dataset.transform.set_random_state(seed=draw_seed(self.seed, draw.number))
        return {**self.dataset[draw.index], "batch_number": draw.batch}


class NumberedLoader(DataLoader):
    """This process's share of the numbered samples of a training.

    Args:
        dataset: see :class:`NumberedDataset`.
        iterations: see :class:`NumberedSampler`.
        batch_size: see :class:`NumberedSampler`.
        seed: of the order and of the transform.
        num_workers: processes that load.
    """

    def __init__(self, dataset: Dataset, iterations: int, batch_size: int, seed: int = 0, num_workers: int = 0) -> None:
        sampler = NumberedSampler(dataset, iterations, batch_size, seed)
        samples = NumberedDataset(dataset, seed)
        super().__init__(samples, num_workers, batch_size=sampler.rank_batch_size, sampler=sampler)


class RankLoader(DataLoader):
    """This process's share of a dataset, item by item in its order, each item in one process alone.

    Args:
        dataset: at least as many items as there are processes.
    """

    def __init__(self, dataset: Dataset) -> None:
        size, rank = idist.get_world_size(), idist.get_rank()
        sampler = ShareSampler(dataset, even_divisible=False, num_replicas=size, rank=rank, shuffle=False)
        super().__init__(dataset, batch_size=1, sampler=sampler)
