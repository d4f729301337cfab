# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Measure how fast the networks are and what memory they take, next to what the processor can do.

    python -m benchmarks.network_speed                 everything, on the CPU
    python -m benchmarks.network_speed --quick         smaller inputs and fewer repetitions
    python -m benchmarks.network_speed --device cuda   the same on a GPU, and its own comparison

The limit is a plain stack of convolutions: 3x3, zero padded, `channels_last`, with bias, as many channels in as out,
one for every level with its channels and its size. All of them have equally many operations. The rate of the stack is
its operations over its time; the share of a network is its own rate over that one. Operations are those of convolutions
and matrix products (two for a multiply-add) in the plain form of the network: what a faster form needs in
addition counts as time only. Network and limit take turns in one process, and medians are taken over the turns.

With `--clock processor` times are those that the processor spent on this process, so that other programs on the machine
disturb less; it is meant for one thread.

The process keeps the memory that it frees, as the commands and the engines do (`monai_stcnnt.memory`), unless
`--memory system` leaves it to the system. `--parts shares` runs every network in fresh processes of both kinds and of a
third one, with the settings of docs/performance.md, and gives the median and the range of its shares.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets import AttentionUnet, DynUNet, SegResNet, SwinUNETR
from monai.networks.nets.restormer import Restormer
from torch import nn

from benchmarks.network_cost import LivingTensors, plain_form
from benchmarks.network_shares import measure_shares
from benchmarks.speed_steps import (
    GIGA,
    MEGA,
    NETWORKS,
    Bench,
    Step,
    build,
    inference,
    limit_stack,
    median_ratio,
    operations,
    training,
)
from monai_stcnnt.memory import keep_freed_memory

__all__ = ["exponent", "main", "peak_memory"]

PARTS = ("limit", "shares", "variants", "memory", "neighbors", "scaling", "gpu")


def measure_limit(bench: Bench) -> Iterator[dict[str, Any]]:
    """Every network and its own limit, and how far it is from its plain form."""
    for name in NETWORKS:
        net = build(name, bench.clip).to(bench.device).eval()
        for parameter in net.parameters():
            if not parameter.any():  # such as a head, behind which no difference would be seen
                torch.nn.init.normal_(parameter, std=0.02)
        x = bench.image(3)
        with torch.inference_mode():
            result = net(x)
            with plain_form():
                difference = float((result - net(x)).abs().max())
        stack, stack_work = limit_stack(bench, net.channels)
        work = operations(net, x)
        times = bench.turns({"network": inference(net, x), "limit": stack})
        yield {
            "network": name,
            "GFLOP": work / GIGA,
            "seconds": statistics.median(times["network"]),
            "GFLOP/s": work / statistics.median(times["network"]) / GIGA,
            "limit GFLOP/s": stack_work / statistics.median(times["limit"]) / GIGA,
            "share": work / stack_work * median_ratio(times["limit"], times["network"]),
            "largest difference from plain form": difference,
        }


def measure_variants(bench: Bench) -> Iterator[dict[str, Any]]:
    """Forward and forward with backward by data type and compilation, and plain convolutions by memory order."""
    for name in NETWORKS:
        net = build(name, bench.clip).to(bench.device)
        channels = net.channels
        x = bench.image(3)
        half = torch.autocast(bench.device.type, dtype=torch.bfloat16)
        compiled: Any = torch.compile(net, backend="inductor" if bench.device.type == "cuda" else "eager")
        steps = {
            "forward, float32": inference(net, x),
            "forward, bfloat16 autocast": inference(net, x, half),
            "forward, float32, torch.compile": inference(compiled, x),
            "forward and backward, float32": training(net, x),
            "convolutions, channels_last": limit_stack(bench, channels)[0],
            "convolutions, contiguous": limit_stack(bench, channels, channels_last=False)[0],
            "convolutions, bfloat16": limit_stack(bench, channels, dtype=torch.bfloat16)[0],
        }
        times = bench.turns(steps)
        for step, spent in times.items():
            base = "forward, float32" if "forward" in step else "convolutions, channels_last"
            yield {
                "network": name,
                "step": step,
                "seconds": statistics.median(spent),
                "of the first of its kind": median_ratio(spent, times[base]),
            }


def resident(peak: bool) -> float:
    """Megabytes of this process in memory, now or at most since the last :func:`forget_peak`."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    key = "VmHWM:" if peak else "VmRSS:"
    return float(next(line.split()[1] for line in text.splitlines() if line.startswith(key))) * 1024 / MEGA


def forget_peak() -> None:
    """Start the peak of :func:`resident` again."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory(name: str, mode: str, clip: tuple[int, int, int]) -> dict[str, Any]:
    """Peak of this process over one step; to be called in a fresh process (Linux)."""
    torch.nn.functional.conv2d(torch.randn(1, 8, 8, 8), torch.randn(8, 8, 3, 3))
    before = resident(False)
    net = build(name, clip, checkpointing=mode == "training, checkpointing")
    weights = resident(False) - before
    x = torch.randn(1, 3, *clip)
    forget_peak()
    (inference(net, x) if mode == "inference" else training(net, x))()
    peak = resident(True) - before
    return {"network": name, "step": mode, "weights MB": weights, "peak MB": peak, "above weights MB": peak - weights}


def measure_memory(bench: Bench) -> Iterator[dict[str, Any]]:
    """Peak memory of every network and step, each in a process of its own."""
    for name in NETWORKS:
        for mode in ("inference", "training", "training, checkpointing"):
            arguments = ["--worker", name, mode, "--clip", *map(str, bench.clip)]
            command = [sys.executable, "-m", "benchmarks.network_speed", *arguments]
            done = subprocess.run(command, check=True, capture_output=True, text=True)  # nosec B603
            yield json.loads(done.stdout.splitlines()[-1])


def neighbors() -> dict[str, nn.Module]:
    """Networks of MONAI at small sizes, all in 3D on the same clip but Restormer, which takes the frames one by one."""
    return {
        "stcnnt_light": build("stcnnt_light", (16, 64, 64)),
        "SegResNet": SegResNet(spatial_dims=3, in_channels=3, out_channels=2, init_filters=16),
        "DynUNet": DynUNet(3, 3, 2, [3, 3, 3], [1, 2, 2], [2, 2], filters=[16, 32, 64]),
        "AttentionUnet": AttentionUnet(3, 3, 2, channels=(16, 32, 64), strides=(2, 2)),
        "SwinUNETR": SwinUNETR(in_channels=3, out_channels=2, feature_size=12, spatial_dims=3),
        "Restormer": Restormer(
            spatial_dims=2, in_channels=3, out_channels=2, dim=16, num_blocks=(1, 1, 1, 1), heads=(1, 1, 2, 4),
            num_refinement_blocks=1,
        ),
    }  # fmt: skip


def measure_neighbors(bench: Bench) -> Iterator[dict[str, Any]]:
    """Networks of MONAI and ours on one clip: their rate, as a share of one plain stack of 16 and 32 channels."""
    volume = (max(bench.clip[0], 32), max(bench.clip[1], 32), max(bench.clip[2], 32))  # SwinUNETR takes multiples of 32
    stack, stack_work = limit_stack(bench, 16)
    steps: dict[str, Step] = {"limit": stack}
    work: dict[str, float] = {}
    parameters: dict[str, float] = {}
    for name, net in neighbors().items():
        x = bench.image(3, volume if name != "stcnnt_light" else bench.clip)
        x = x[0].transpose(0, 1).contiguous() if name == "Restormer" else x
        net.to(bench.device)
        steps[name], work[name] = inference(net, x), operations(net, x)
        parameters[name] = sum(p.numel() for p in net.parameters())
    times = bench.turns(steps)
    for name, amount in work.items():
        yield {
            "network": name,
            "parameters (M)": parameters[name] / MEGA,
            "GMAC": amount / 2 / GIGA,
            "GFLOP/s": amount / statistics.median(times[name]) / GIGA,
            "share": amount / stack_work * median_ratio(times["limit"], times[name]),
        }


def exponent(sizes: list[float], values: list[float]) -> float:
    """Slope of a straight line through the logarithms."""
    x, y = torch.tensor(sizes, dtype=torch.float64).log(), torch.tensor(values, dtype=torch.float64).log()
    return float(((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum())


def measure_scaling(bench: Bench) -> Iterator[dict[str, Any]]:
    """Fitted exponents of time and of the peak of living tensors against frames, pixels and batch."""
    t, h, w = bench.clip
    net = build("stcnnt_light", bench.clip).to(bench.device).eval()
    series: dict[str, list[tuple[float, torch.Tensor]]] = {
        "frames": [(t * k, bench.image(3, (t * k, h, w))) for k in (1, 2, 4)],
        "pixels": [(h * w * k**2, bench.image(3, (t, h * k, w * k))) for k in (1, 2, 3)],
        "batch": [(k, bench.image(3, batch=k)) for k in (1, 2, 4)],
    }
    for axis, inputs in series.items():
        times = bench.turns({str(size): inference(net, x) for size, x in inputs})
        peaks = []
        for _, x in inputs:
            with LivingTensors() as memory, torch.no_grad():
                net(x)
            peaks.append(float(memory.peak))
        sizes = [float(size) for size, _ in inputs]
        medians = [statistics.median(spent) for spent in times.values()]
        yield {"against": axis, "sizes": sizes, "seconds": medians, "exponent of time": exponent(sizes, medians),
               "exponent of memory": exponent(sizes, peaks)}  # fmt: skip


def measure_gpu(bench: Bench) -> Iterator[dict[str, Any]]:
    """Bandwidth, matrix rates, and every network in float32 and bfloat16, then compiled and with CUDA graphs.

    On a CPU the same code runs at a small size, without compiler: a rehearsal whose figures mean nothing.
    """
    real = bench.device.type == "cuda"
    size = 8192 if real else 256
    buffer = torch.randn(size * size, device=bench.device)
    target = torch.empty_like(buffer)
    steps: dict[str, Step] = {"copy": lambda: target.copy_(buffer)}
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.randn(size, size, device=bench.device, dtype=dtype)
        steps[f"matrix {dtype}"] = partial(torch.matmul, a, a)
    times = {name: statistics.median(spent) for name, spent in bench.turns(steps).items()}
    matrix = 2.0 * size**3 / times["matrix torch.bfloat16"]
    yield {"what": "copy", "GB/s": 2 * buffer.numel() * 4 / times["copy"] / GIGA}
    yield {"what": "matrix product, float32", "GFLOP/s": 2.0 * size**3 / times["matrix torch.float32"] / GIGA}
    yield {"what": "matrix product, bfloat16", "GFLOP/s": matrix / GIGA}
    half = torch.autocast(bench.device.type, dtype=torch.bfloat16)
    options: dict[str, Any] = {} if real else {"channels": 8, "num_heads": 8}
    networks = {name: build(name, bench.clip, **options).to(bench.device).eval() for name in NETWORKS}
    x = bench.image(3)
    for name, net in networks.items():
        yield from against_float32(bench, net, name, x, matrix, {"bfloat16": inference(net, x, half)})
    cine = bench.image(3, (30, 256, 256) if real else (4, 32, 32))
    net = build("stcnnt_light", bench.clip).to(bench.device)
    seconds = bench.turns({"cine": inference(net, cine, half)})["cine"]
    yield {"what": "stcnnt_light, bfloat16, 256x256 cine", "frames/s": cine.shape[2] / statistics.median(seconds)}
    for name, net in networks.items():  # last, since compiling takes minutes
        compiled: Any = torch.compile(net) if real else torch.compile(net, backend="eager")
        graphs: Any = torch.compile(net, mode="reduce-overhead") if real else torch.compile(net, backend="eager")
        steps = {
            "bfloat16, compiled": inference(compiled, x, half),
            "bfloat16, CUDA graphs": inference(graphs, x, half),
        }
        yield from against_float32(bench, net, name, x, matrix, steps)


def against_float32(
    bench: Bench, net: nn.Module, name: str, x: torch.Tensor, matrix: float, steps: dict[str, Step]
) -> Iterator[dict[str, Any]]:
    """Rates of steps of one network that take turns with the network in float32.

    Args:
        bench: how to measure.
        net: the network.
        name: what the rows call it.
        x: its input.
        matrix: operations per second of matrix products in bfloat16.
        steps: what to measure beside float32.
    """
    spent = bench.turns({"float32": inference(net, x), **steps})
    work = operations(net, x)
    for kind, seconds in spent.items():
        yield {
            "what": f"{name}, {kind}",
            "GFLOP/s": work / statistics.median(seconds) / GIGA,
            "times as fast as float32": median_ratio(spent["float32"], seconds),
            "share of the matrix rate": work / statistics.median(seconds) / matrix,
        }


MEASURES: dict[str, Callable[[Bench], Iterator[dict[str, Any]]]] = {
    "limit": measure_limit,
    "shares": measure_shares,
    "variants": measure_variants,
    "memory": measure_memory,
    "neighbors": measure_neighbors,
    "scaling": measure_scaling,
    "gpu": measure_gpu,
}


def as_table(rows: list[dict[str, Any]]) -> str:
    """Markdown of rows; a column may be missing in some."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for row in rows:
        cells = (row.get(column, "") for column in columns)
        lines.append("| " + " | ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in cells) + " |")
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a clip of 4x32x32, three rounds")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=None, help="5, or 3 with --quick")
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall")
    parser.add_argument("--memory", choices=("kept", "system"), default="kept", help="what happens to freed memory")
    parser.add_argument("--clip", type=int, nargs=3, default=None, metavar=("T", "H", "W"))
    parser.add_argument("--output", type=Path, default=Path("network_speed.json"))
    parser.add_argument("--worker", nargs=2, default=None, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure, print tables and write everything as JSON."""
    arguments = parse()
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    if arguments.memory == "kept":
        keep_freed_memory(None)
    clip = tuple(arguments.clip or ((4, 32, 32) if arguments.quick else (16, 64, 64)))
    if arguments.worker:
        sys.stdout.write(json.dumps(peak_memory(arguments.worker[0], arguments.worker[1], clip)) + "\n")
        return
    rounds = arguments.rounds or (3 if arguments.quick else 5)
    bench = Bench(torch.device(arguments.device), rounds, clip, arguments.clock == "processor")
    results: dict[str, Any] = {"torch": torch.__version__, "threads": arguments.threads, "clip": clip, "rounds": rounds,
                               "clock": arguments.clock, "device": arguments.device,
                               "memory": arguments.memory}  # fmt: skip
    for part in arguments.parts:
        results[part] = []
        for row in MEASURES[part](bench):
            results[part].append(row)
            arguments.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        sys.stdout.write(f"\n## {part}\n\n{as_table(results[part])}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
