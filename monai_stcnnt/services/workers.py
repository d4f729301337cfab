# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Who does the work of a service: a thread of its own process, processes beside it, or workers of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

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
        The executor. At the end no new work begins.

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
    with ExitStack() as stack:
        if scheduler is None:
            local_cluster = needed("monai_stcnnt.apps.batch.workers", "cluster").local_cluster
            client = stack.enter_context(distributed.Client(stack.enter_context(local_cluster(workers))))
        else:
            client = stack.enter_context(distributed.Client(scheduler))
        yield client.get_executor(pure=False)
