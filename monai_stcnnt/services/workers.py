# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Who does the work of a service: a thread of its own process, processes beside it, or workers of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager

from monai_stcnnt.errors import OptionError
from monai_stcnnt.services.extras import needed

__all__ = ["open_executor"]


@contextmanager
def open_executor(workers: int = 1, scheduler: str | None = None) -> Iterator[Executor]:
    """Open what works on series.

    Args:
        workers: series at once; more than one are processes of ``dask.distributed``, on this machine.
        scheduler: address of a scheduler of ``dask.distributed``; its workers, which have to see the same files, are
            used in their place.

    Yields:
        The executor. At the end no new work begins; what runs is not waited for.

    Raises:
        OptionError: if there are no workers.
    """
    if workers < 1:
        raise OptionError(f"{workers} workers do nothing. Give 1 or more.")
    if workers == 1 and scheduler is None:
        executor = ThreadPoolExecutor(1, "worker")
        try:
            yield executor
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
        return
    distributed = needed("distributed", "cluster")
    cluster = None
    if scheduler is None:
        cluster = distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
        )
    client = distributed.Client(scheduler or cluster)
    try:
        yield client.get_executor(pure=False)
    finally:
        client.close()
        if cluster is not None:
            cluster.close()
