# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""A run over the workers of dask.distributed: balanced as it goes, and safe against workers that die.

A worker has one thread and gets one series at a time, the largest first. The series of a worker that dies is done by
another one; a series that two workers died of is given up.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any

import dask
import torch
from distributed import Client, KilledWorker, LocalCluster, as_completed, get_worker

from monai_stcnnt.apps.batch.publish import Order, Outcome, carry_out, failure
from monai_stcnnt.apps.batch.tasks import RunOptions, SeriesEngine
from monai_stcnnt.errors import LaunchError, LostWorkerError, MissingFileError, StcnntError

__all__ = ["SETTINGS", "local_cluster", "over_workers"]

SETTINGS = {
    "distributed.scheduler.allowed-failures": 1,  # workers that may die of a series
    "distributed.scheduler.worker-saturation": 1.0,  # a worker gets no series in advance, so that none waits for it
    "distributed.deploy.lost-worker-timeout": "365 days",  # a worker that died is replaced, however long that takes
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
}
"""What dask is told; a scheduler that was started elsewhere needs the first two, too.

A worker that starts has to import PyTorch, which takes longer than the 15 seconds of dask on a busy machine.
"""


def over_workers(orders: Sequence[Order], options: RunOptions) -> Iterator[Outcome]:
    """Do orders over the workers of a cluster.

    Args:
        orders: what to do, the largest first.
        options: with the number of workers of this machine, or the scheduler of a cluster.

    Yields:
        What became of each, in the order in which they end.

    Raises:
        MissingFileError: if the file of the scheduler does not exist.
        LaunchError: if the scheduler does not answer.
    """
    with ExitStack() as stack:
        try:
            client = stack.enter_context(Client(**_address(options, stack)))
        except StcnntError:
            raise
        except (OSError, TimeoutError) as error:
            raise LaunchError(f"The scheduler {options.scheduler} does not answer: {error}.") from error
        futures = {client.submit(_on_worker, order, pure=False): order for order in orders}
        for future in as_completed(futures):
            if future.status == "finished":
                yield future.result()
            elif not isinstance(future.exception(), KilledWorker):
                yield failure(futures[future], future.exception())
            else:
                lost = LostWorkerError("Two workers died while they worked on it. Is there enough memory for it?")
                yield failure(futures[future], lost)


@contextmanager
def local_cluster(workers: int) -> Iterator[LocalCluster]:
    """Start workers on this machine, which share its cores.

    Args:
        workers: their number. Each computes with its share of the cores, or with ``OMP_NUM_THREADS`` threads.

    Yields:
        The cluster.
    """
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
    environment = {"distributed.nanny.pre-spawn-environ": {"OMP_NUM_THREADS": threads}}
    with (
        dask.config.set({**SETTINGS, **environment}),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=0,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        yield cluster


def _address(options: RunOptions, stack: ExitStack) -> dict[str, Any]:
    """Where the scheduler is; a cluster of this machine is started where none is given."""
    if options.scheduler is None:
        return {"address": stack.enter_context(local_cluster(options.workers))}
    if "://" in options.scheduler:
        return {"address": options.scheduler}
    if not os.path.isfile(options.scheduler):
        raise MissingFileError(
            f"{options.scheduler} does not exist. Give a scheduler's address (tcp://HOST:PORT), or the file it wrote."
        )
    return {"scheduler_file": options.scheduler}


def _on_worker(order: Order) -> Outcome:
    """Do one order in a worker; errors that may not travel stay in its record."""
    try:
        engine = None if order.task.error else _engine_of(replace(order.options, device=_device_of(order.options)))
    except Exception as error:  # noqa: BLE001 - what is wrong with the network is wrong with every series
        return failure(order, error)
    outcome = carry_out(order, engine)
    return outcome if isinstance(outcome.error, StcnntError) else replace(outcome, error=None)


@lru_cache(maxsize=1)
def _engine_of(options: RunOptions) -> SeriesEngine:
    """The engine of this worker, whose network is made once."""
    return options.open_engine()


def _device_of(options: RunOptions) -> str:
    """A GPU for each worker of this machine; workers of another cluster have been given theirs."""
    name = get_worker().name
    if options.device != "auto" or options.scheduler or not torch.cuda.is_available() or not isinstance(name, int):
        return options.device
    return f"cuda:{name % torch.cuda.device_count()}"
