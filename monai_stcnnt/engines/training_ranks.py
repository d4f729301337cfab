# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Training in several processes that ``torchrun`` starts and starts again: what the configs ask about them."""

from __future__ import annotations

import logging
import os

import ignite.distributed as idist
import torch
import torch.distributed as dist

from monai_stcnnt.engines.ranks import launched_store, rank_device
from monai_stcnnt.errors import LaunchError

__all__ = ["is_first_rank", "join_ranks", "leave_ranks", "rank_device", "was_restarted", "world_size"]


def is_first_rank() -> bool:
    """Whether this process is the one that writes files and reports: the first of all, or the only one."""
    joined = dist.is_available() and dist.is_initialized()
    return (dist.get_rank() if joined else int(os.environ.get("RANK", "0"))) == 0


def world_size() -> int:
    """Number of processes that train together."""
    joined = dist.is_available() and dist.is_initialized()
    return dist.get_world_size() if joined else int(os.environ.get("WORLD_SIZE", "1"))


def was_restarted() -> bool:
    """Whether ``torchrun`` has started the processes again after one of them failed."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def join_ranks(device: torch.device) -> None:
    """Join the processes that ``torchrun`` started, through NCCL between GPUs and through gloo between CPUs.

    Processes but the first log warnings only.

    Args:
        device: the device of this process.

    Raises:
        LaunchError: when ``torchrun`` did not start this process.
    """
    missing = [name for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise LaunchError(
            f"multi_gpu_train.json is for processes that torchrun starts, but {', '.join(missing)} is not set. "
            "Use: torchrun --nproc-per-node 2 -m monai.bundle run ..., or leave the config out to train in one process."
        )
    store, rank, size = launched_store()
    if device.type == "cuda":
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", store=store, rank=rank, world_size=size, device_id=device)
    else:
        dist.init_process_group("gloo", store=store, rank=rank, world_size=size)
    idist.sync()  # makes a group, which all processes have to do at the same time, and not when one of them first asks
    if not is_first_rank():
        logging.disable(logging.INFO)


def leave_ranks() -> None:
    """Part from the other processes when all are done; pytorch-ignite then no longer counts on them."""
    dist.barrier()
    dist.destroy_process_group()
    idist.sync()
