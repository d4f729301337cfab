# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Shares of the rate of plain convolutions that networks reach, over several processes.

    python -m benchmarks.network_speed --parts shares --clock processor

See `benchmarks/network_speed.py` for what a share is. Every process measures inference and a training step (forward and
backward, on a quarter of the frames), each after one turn that does not count. Memory is `kept` (what commands and
engines do), left to the `system`, or with the `settings` of docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from benchmarks.speed_steps import (
    NETWORKS,
    Bench,
    build,
    inference,
    limit_stack,
    median_ratio,
    operations,
    training,
)
from monai_stcnnt.memory import keep_freed_memory

__all__ = ["SETTINGS", "measure_shares", "shares"]

SETTINGS = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "20000000000",
    "MALLOC_TOP_PAD_": "500000000",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
"""Variables of docs/performance.md."""
MEMORY: dict[str, dict[str, str]] = {"kept": {}, "system": {}, "settings": SETTINGS}


def shares(name: str, bench: Bench) -> dict[str, float]:
    """Share of the limit's rate that a network reaches in inference, and in training on a quarter of the frames."""
    net = build(name, bench.clip).to(bench.device)
    found: dict[str, float] = {}
    few = replace(bench, clip=(max(bench.clip[0] // 4, 1), *bench.clip[1:]))
    for kind, part in (("inference", bench), ("training step", few)):
        backward = kind != "inference"
        x = part.image(3)
        stack, stack_work = limit_stack(part, net.channels, backward=backward)
        work = operations(net, x) * (3 if backward else 1)
        times = part.turns({"network": training(net, x) if backward else inference(net, x), "limit": stack})
        found[kind] = work / stack_work * median_ratio(times["limit"], times["network"])
    return found


def run(name: str, memory: str, bench: Bench) -> dict[str, float]:
    """Measure in a fresh process."""
    plain = {key: value for key, value in os.environ.items() if key not in SETTINGS}
    command = [sys.executable, "-m", "benchmarks.network_shares", name, memory, *map(str, bench.clip)]
    command += ["--rounds", str(bench.rounds), *(["--processor"] if bench.processor else [])]
    environment = {**plain, **MEMORY[memory]}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)  # nosec B603
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def measure_shares(bench: Bench, runs: int = 5) -> Iterator[dict[str, Any]]:
    """Medians and ranges over processes, which take turns; every result goes to the log as it comes."""
    few = replace(bench, rounds=1)
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for _ in range(runs):
        for name in NETWORKS:
            for memory in MEMORY:
                found.setdefault((name, memory), []).append(run(name, memory, few))
                sys.stderr.write(f"{name}, memory {memory}: {found[name, memory][-1]}\n")
    for (name, memory), results in found.items():
        row: dict[str, Any] = {"network": name, "memory": memory, "runs": runs}
        for kind in results[0]:
            values = sorted(result[kind] for result in results)
            row[kind] = f"{statistics.median(values):.2f} ({values[0]:.2f} to {values[-1]:.2f})"
        yield row


def main() -> None:
    """Measure one network in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("name", choices=NETWORKS)
    parser.add_argument("memory", choices=list(MEMORY))
    parser.add_argument("clip", type=int, nargs=3)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--processor", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    if arguments.memory == "kept":
        keep_freed_memory(None)
    clip = (arguments.clip[0], arguments.clip[1], arguments.clip[2])
    bench = Bench(torch.device("cpu"), arguments.rounds, clip, arguments.processor)
    sys.stdout.write(json.dumps(shares(arguments.name, bench)) + "\n")


if __name__ == "__main__":
    main()
