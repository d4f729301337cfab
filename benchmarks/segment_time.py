# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Time the segmentation of a short-axis stack as a user runs it, on two cores.

``python -m benchmarks.segment_time`` writes a stack of drawn hearts, 12 slices of 20 frames of 192 x 192 pixels by
default, as NIfTI, runs ``stcnnt segment`` with table and report in a process of its own that may use two cores, and
prints seconds by the clock, seconds of processor time, and the machine. On a busy machine the clock tells more than the
segmentation; half of the processor time is the least that two free cores need.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from monai_stcnnt.data import SeriesRecord, write_nifti
from monai_stcnnt.mri.hearts import drawn_heart

__all__ = ["drawn_stack", "main", "processor"]

PIXEL, DISTANCE, INTERVAL = 1.5, 8.0, 40.0
CORES = 2


def drawn_stack(slices: int, frames: int, size: int, seed: int = 0) -> SeriesRecord:
    """Magnitudes of different drawn hearts, one a slice, in 12 bits as scanners write them."""
    rng = np.random.RandomState(seed)
    hearts = [drawn_heart(rng, (frames, size, size), PIXEL).image.numpy() for _ in range(slices)]
    array = np.round(np.stack(hearts, 1) * 1000).clip(0, 4095).astype(np.int16)[None]
    affine = np.diag([PIXEL, PIXEL, DISTANCE, 1.0])
    return SeriesRecord(array, affine, np.arange(frames) * INTERVAL, {"kind": "magnitude"})


def processor() -> str:
    """Name of the processor, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main(arguments: Sequence[str] | None = None) -> tuple[float, float]:
    """Measure and print.

    Args:
        arguments: command-line options; those of the process by default.

    Returns:
        Seconds by the clock, and of processor time.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--slices", type=int, default=12)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--size", type=int, default=192)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        image = write_nifti(drawn_stack(options.slices, options.frames, options.size), Path(folder, "stack.nii.gz"))
        command = [sys.executable, "-m", "monai_stcnnt", "segment", str(image), str(Path(folder, "masks"))]
        command += ["--csv", str(Path(folder, "volumes.csv")), "--report", str(Path(folder, "report.html"))]
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, sorted(allowed)[:CORES])
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        try:
            subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": str(CORES)})  # nosec B603
        finally:
            os.sched_setaffinity(0, allowed)
        after, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - start
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    stack = f"{options.slices} slices, {options.frames} frames, {options.size} x {options.size} pixels"
    machine = f"{min(CORES, len(allowed))} cores of {processor()}, load {os.getloadavg()[0]:.1f}"
    sys.stdout.write(f"{stack}: {clock:.0f} s by the clock, {used:.0f} s of processor time, on {machine}\n")
    return clock, used


if __name__ == "__main__":
    main()
