# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The processes that ``torchrun`` starts: which one this is, and plain values from one to all of them.

Values travel as JSON in tensors, not as pickles. A process that ``torchrun`` did not start is alone, and nothing here
opens a connection.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from monai_stcnnt.engines.training_ranks import rank_device

__all__ = ["Ranks", "launched_store", "open_ranks", "rank_device"]

_PATIENCE = timedelta(days=7)
"""How long a process that is ready waits for the others, which may be busy with large series."""


@dataclass(frozen=True)
class Ranks:
    """The processes of a run.

    Attributes:
        rank: number of this process.
        size: number of processes.
        group: what they talk through; None for a process that is alone.
    """

    rank: int = 0
    size: int = 1
    group: Any = None

    def share(self, value: Any) -> Any:  # noqa: ANN401 - any JSON
        """Give the value of process 0 to all.

        Args:
            value: anything that JSON holds; other processes' values are not looked at.

        Returns:
            The value of process 0.
        """
        if self.group is None:
            return value
        data = _to_bytes(value) if self.rank == 0 else torch.empty(0, dtype=torch.uint8)
        length = torch.tensor([len(data)])
        dist.broadcast(length, 0, group=self.group)
        data = data if self.rank == 0 else torch.empty(int(length), dtype=torch.uint8)
        dist.broadcast(data, 0, group=self.group)
        return _from_bytes(data)

    def gather(self, value: Any) -> list[Any]:  # noqa: ANN401 - any JSON
        """Give the values of all processes to all.

        Args:
            value: anything that JSON holds.

        Returns:
            The values in the order of the processes.
        """
        if self.group is None:
            return [value]
        data = _to_bytes(value)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(lengths, torch.tensor([len(data)]), group=self.group)
        longest = max(int(length) for length in lengths)
        padded = torch.cat([data, torch.zeros(longest - len(data), dtype=torch.uint8)])
        parts = [torch.empty(longest, dtype=torch.uint8) for _ in range(self.size)]
        dist.all_gather(parts, padded, group=self.group)
        return [_from_bytes(part[: int(length)]) for part, length in zip(parts, lengths, strict=True)]


def launched_store() -> tuple[Store, int, int]:
    """What the processes that ``torchrun`` started meet in, the number of this process, and how many there are.

    ``torchrun`` keeps one store over all restarts, in which addresses of dead processes would be found; every start
    has a part of its own.
    """
    store, rank, size = next(rendezvous("env://"))
    return PrefixStore(f"start_{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store), rank, size


@contextmanager
def open_ranks() -> Iterator[Ranks]:
    """Join the processes that ``torchrun`` started, with NCCL on GPUs and gloo on CPUs.

    A process group that is open already is used and left open.

    Yields:
        The processes; a single one where ``torchrun`` started none.
    """
    if dist.is_initialized():
        yield Ranks(dist.get_rank(), dist.get_world_size(), dist.new_group(backend="gloo", timeout=_PATIENCE))
        return
    if not dist.is_torchelastic_launched() and int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield Ranks()
        return
    has_nccl = torch.cuda.is_available() and dist.is_nccl_available()
    store, rank, size = launched_store()
    backend = "cpu:gloo,cuda:nccl" if has_nccl else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_PATIENCE)
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), dist.group.WORLD)
    finally:
        dist.destroy_process_group()


def _to_bytes(value: Any) -> torch.Tensor:  # noqa: ANN401 - any JSON
    return torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)


def _from_bytes(data: torch.Tensor) -> Any:  # noqa: ANN401 - any JSON
    return json.loads(bytes(data.tolist()))
