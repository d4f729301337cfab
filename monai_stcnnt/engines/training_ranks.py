# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Training in several processes that ``torchrun`` starts and restarts.

Which process this is and how many there are tells ``ignite.distributed``.
"""

from __future__ import annotations

import logging
import os

import ignite.distributed as idist
import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from monai_stcnnt.errors import LaunchError

__all__ = ["join_ranks", "leave_ranks", "rank_device", "was_restarted"]


def rank_device() -> torch.device:
    """Choose the device of this process: a GPU for each process of a machine, else the CPU.

    Returns:
        ``cuda:N`` for the N-th process of a machine, counted again where there are more processes than GPUs.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


def was_restarted() -> bool:
    """Whether ``torchrun`` has started the processes again after one of them failed."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def join_ranks(device: torch.device) -> None:
    """Join the processes that ``torchrun`` started, through NCCL between GPUs and through gloo between CPUs.

    ``ignite.distributed.initialize`` would find the addresses of dead processes after a restart: ``torchrun`` keeps one
    store over all restarts, and here every start has a part of its own. Processes but the first log warnings only.

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
    store, rank, size = next(rendezvous("env://"))
    store = PrefixStore(f"start_{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", store=store, rank=rank, world_size=size, device_id=device)
    else:
        dist.init_process_group("gloo", store=store, rank=rank, world_size=size)
    idist.sync()  # makes a group, which all processes have to do at the same time, and not when one of them first asks
    if idist.get_rank() > 0:
        logging.disable(logging.INFO)


def leave_ranks() -> None:
    """Part from the other processes when all are done; pytorch-ignite then no longer counts on them."""
    dist.barrier()
    dist.destroy_process_group()
    idist.sync()
