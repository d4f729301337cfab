# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Do runs give the same files over any number of workers, and after processes were killed?

``python benchmarks/batch_reliability.py DATA`` cuts 24 small series, NIfTI and DICOM, out of the sample data, and
denoises them

- over 1, 2 and 4 workers (``--workers``) of one thread each, which have their network already when the time starts;
  told are the time on the clock, the processor time of the busiest worker, which other work on the machine stretches
  less, both against those of the first number of workers, and the load of the machine;
- over 2 workers, one of which is killed with SIGKILL at a random moment, 20 times (``--kills``);
- over 2 workers, while the process that submits the series is killed with SIGKILL at a random moment and started again,
  20 times.

All results are compared by their SHA-256 with those of one process. During the kills a watching process looks at the
results over and over: a file that can be seen has to have its final content from the first look on, and a DICOM folder
all of its files.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import torch
from distributed import Client, LocalCluster

from monai_stcnnt.apps.batch.manifest import MANIFEST, read_manifest
from monai_stcnnt.apps.batch.run import RunResult
from monai_stcnnt.apps.batch.workers import local_cluster
from monai_stcnnt.apps.denoising import DenoiseOptions, run_denoising

__all__ = ["cut_series", "digests_of", "watch"]

NIFTI = {
    "cine": "cine_sax_bivme/cine_sax.nii.gz",
    "flair": "brain_flair_torchio/fernando_t2flair.nii.gz",
    "t1": "brain_t1_studyforrest",
    "t1_prisma": "brain_t1_siemens_xa30_enhanced/ref_nonorm.nii.gz",
    "asl": "asl_philips_enhanced/ref.nii.gz",
    "abdomen": "abdomen_mr_totalseg/mr.nii.gz",
    "bold": "fmri_studyforrest/bold_vol1-16.nii.gz",
    "ge": "dicom_ge_fmri_repeats/ref_run4.nii.gz",
    "dwi": "dwi_canon_classic/own_conversion.nii.gz",
    "phantom": "phantom_philips_cs",
}
DICOM = {"cine_dicom": "cine_sax_bivme/dicom_one_slice_Se2", "ge_dicom": "dicom_ge_fmri_repeats/dicom_run4_first6vols"}
SERIES = 24
PIXELS = 24
WORKERS_KILLED = 2
SERVER = multiprocessing.get_context("forkserver")
Digests = dict[str, str]


def cut_series(data: Path, folder: Path) -> int:
    """Cut 24 series of different lengths out of the sample data.

    Args:
        data: the folder of sample data.
        folder: where to write them.

    Returns:
        Their number.
    """
    made = 0
    for name, scan in DICOM.items():
        for part in range(2):
            cut_dicom(data / scan, folder / "scanner" / f"{name}_{part}", first=4 * part, frames=3 + part)
            made += 1
    sources = [file for entry in NIFTI.values() for file in _images(data / entry)]
    while made < SERIES:
        source, turn = sources[made % len(sources)], made // len(sources)
        cut_nifti(source, folder / f"group{turn}" / f"{made:02d}_{source.name}", frames=3 + made % 5, shift=4 * turn)
        made += 1
    return made


def _images(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.glob("*.nii*"))[:1]


def cut_nifti(source: Path, target: Path, frames: int, shift: int) -> None:
    """Write the middle of some slices of a file, or of some frames of its middle slice."""
    image = nib.Nifti1Image.from_filename(source)
    x, y = ((size - PIXELS) // 2 + shift for size in image.shape[:2])
    z = image.shape[2] // 2 - (0 if image.ndim == 4 else frames // 2)
    depth = 1 if image.ndim == 4 else frames
    cut = image.slicer[max(x, 0) : x + PIXELS, max(y, 0) : y + PIXELS, z : z + depth]
    target.parent.mkdir(parents=True, exist_ok=True)
    nib.save(cut.slicer[..., :frames] if image.ndim == 4 else cut, target)


def cut_dicom(source: Path, folder: Path, first: int, frames: int) -> None:
    """Write the middle of some files of a classic series that are one volume or one slice over time."""
    folder.mkdir(parents=True)
    files = sorted(source.glob("*.dcm")) or sorted(file for file in source.iterdir() if file.is_file())
    headers = sorted((pydicom.dcmread(file) for file in files), key=lambda header: int(header.InstanceNumber))
    for header in headers[first : first + frames]:
        pixels = header.pixel_array
        row, column = ((size - PIXELS) // 2 for size in pixels.shape)
        along, down = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
        step = [float(value) for value in header.PixelSpacing]
        position = np.array(header.ImagePositionPatient, float) + along * column * step[1] + down * row * step[0]
        header.ImagePositionPatient = [f"{value:.6f}" for value in position]
        header.Rows = header.Columns = PIXELS
        header.PixelData = pixels[row : row + PIXELS, column : column + PIXELS].tobytes()
        header.save_as(folder / f"{int(header.InstanceNumber):04d}.dcm")


def digests_of(output: Path) -> Digests:
    """SHA-256 of every result that can be seen, by its relative path; the manifest is left out.

    Args:
        output: folder of the results.
    """
    files = [file for file in output.rglob("*") if file.is_file()]
    names = {file.relative_to(output): file for file in files}
    return {
        name.as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for name, file in sorted(names.items())
        if name.name != MANIFEST and not any(part.startswith(".") for part in name.parts)
    }


def denoise(source: Path, output: Path, scheduler: str | None = None) -> RunResult:
    """Denoise the series, over the workers of a scheduler or in this process."""
    return run_denoising(DenoiseOptions(input=source, output=output, scheduler=scheduler, device="cpu", progress=False))


def submit(source: Path, output: Path, scheduler: str) -> ForkServerProcess:
    """Start a process that submits the series; it ends with 1 where some could not be done."""
    process = SERVER.Process(target=_submit, args=(source, output, scheduler))
    process.start()
    return process


def _submit(source: Path, output: Path, scheduler: str) -> None:
    result = denoise(source, output, scheduler)
    sys.exit(bool(result.failed or result.missing))


def time_workers(source: Path, output: Path, workers: int) -> tuple[float, float]:
    """Denoise over workers that have their network already.

    Returns:
        The seconds that it took, and the processor time of the worker that had most to do.
    """
    with local_cluster(workers) as cluster, Client(cluster.scheduler_address) as client:
        address = cluster.scheduler_address
        denoise(source, output, address)  # every worker loads the network
        shutil.rmtree(output)
        before = client.run(time.process_time)
        start = time.perf_counter()
        denoise(source, output, address).check()
        seconds = time.perf_counter() - start
        return seconds, max(after - before[name] for name, after in client.run(time.process_time).items())


def watch(output: Path, expected: Digests, pipe: Connection) -> None:
    """Look at results until told to stop, and send the number of looks and what was wrong.

    Args:
        output: folder of the results.
        expected: what their checksums have to be.
        pipe: anything received on it stops the watching.
    """
    seen: set[tuple[str, int, int]] = set()
    faults: list[str] = []
    looks = 0
    folders = {str(Path(name).parent) for name in expected if name.endswith(".dcm")}
    while not pipe.poll(0.002):
        looks += 1
        for folder in folders:
            faults += _check_folder(output / folder, folder, expected)
        for name, digest in expected.items():
            faults += _check_file(output / name, name, digest, seen)
    pipe.send((looks, len(seen), faults))


def _check_folder(path: Path, name: str, expected: Digests) -> list[str]:
    try:
        found = {f"{name}/{file}" for file in os.listdir(path)}
    except FileNotFoundError:
        return []
    return [] if found == {key for key in expected if str(Path(key).parent) == name} else [f"{name} is in part"]


def _check_file(path: Path, name: str, digest: str, seen: set[tuple[str, int, int]]) -> list[str]:
    try:
        state = path.stat()
        key = (name, state.st_ino, state.st_mtime_ns)
        if key in seen:
            return []
        same = hashlib.sha256(path.read_bytes()).hexdigest() == digest
    except FileNotFoundError:
        return []
    seen.add(key)
    return [] if same else [f"{name} is in part"]


@dataclass(frozen=True)
class Trial:
    """One run of which a process was killed.

    Attributes:
        killed: ``worker`` or ``submitter``.
        moment: seconds from the start to the kill.
        done_before: number of series that the manifest said were done at the kill.
        identical: whether the run, or the one after it, ended well, and the results are the expected ones.
        looks: how often the watcher looked.
        faults: what it saw that was not whole.
        left_over: hidden files that are left.
    """

    killed: str
    moment: float
    done_before: int
    identical: bool
    looks: int
    faults: list[str]
    left_over: list[str]


@contextmanager
def _watched(output: Path, expected: Digests) -> Iterator[list[tuple[int, list[str]]]]:
    """Look at results while the block runs; the list then has the number of looks, and what was wrong."""
    here, there = SERVER.Pipe()
    watcher = SERVER.Process(target=watch, args=(output, expected, there), daemon=True)
    watcher.start()
    found: list[tuple[int, list[str]]] = []
    yield found
    here.send("stop")
    looks, _, faults = here.recv()
    found.append((looks, faults))
    watcher.join()


def kill_one(source: Path, output: Path, expected: Digests, cluster: LocalCluster, victim: str, moment: float) -> Trial:
    """Start a run over workers, kill a process of it after some seconds, let it come to an end, and compare.

    Args:
        source: folder of the series.
        output: folder of the results; it is removed before and after.
        expected: the checksums of an undisturbed run.
        cluster: the workers.
        victim: ``worker``; or ``submitter``, which is started again.
        moment: seconds from the start to the kill.
    """
    shutil.rmtree(output, ignore_errors=True)
    address = cluster.scheduler_address
    with Client(address) as client:
        workers = processes_of(client)
    with _watched(output, expected) as seen:
        process = submit(source, output, address)
        time.sleep(moment)
        before = sum(row.status == "done" for row in read_manifest(output).values())
        if victim == "worker":
            os.kill(workers[0], signal.SIGKILL)
        else:
            process.kill()
        process.join()
        if victim == "submitter":
            process = submit(source, output, address)
            process.join()
    [(looks, faults)] = seen
    hidden = [path.name for path in output.iterdir() if path.name.startswith(".")]
    same = process.exitcode == 0 and digests_of(output) == expected
    shutil.rmtree(output)
    return Trial(victim, round(moment, 2), before, same, looks, faults[:5], hidden)


def processes_of(client: Client) -> list[int]:
    """Numbers of the workers' processes, when as many answer as there have to be: what replaces one has to start."""
    found: list[int] = []
    while len(found) < WORKERS_KILLED:
        client.wait_for_workers(WORKERS_KILLED, timeout=600)
        answers = client.run(os.getpid, on_error="return").values()
        found = [answer for answer in answers if isinstance(answer, int)]
    return found


def kill_often(source: Path, work: Path, expected: Digests, times: int, seed: int) -> list[Trial]:
    """Kill workers and submitting processes, each some times, at random moments of an undisturbed run's length."""
    chance = random.Random(seed)  # nosec B311
    trials = []
    with local_cluster(WORKERS_KILLED) as cluster:
        for name in ("warm", "timed"):  # the workers load the network
            start = time.perf_counter()
            submit(source, work / name, cluster.scheduler_address).join()
            longest = time.perf_counter() - start
        for number in range(2 * times):
            victim, moment = ("worker", "submitter")[number % 2], chance.uniform(0.0, longest)
            trials.append(kill_one(source, work / "killed", expected, cluster, victim, moment))
            _write(dataclasses.asdict(trials[-1]))
    return trials


def _write(found: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Make the series, run, kill, compare, and write the findings as lines of JSON; the last has the sums."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the sample data")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4], help="numbers of workers")
    parser.add_argument("--kills", type=int, default=20, help="how often to kill a worker, and the submitting process")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    SERVER.set_forkserver_preload(["monai_stcnnt.apps.denoising", "monai_stcnnt.apps.batch.workers"])
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        source = work / "series"
        series = cut_series(options.data, source)
        torch.set_num_threads(1)
        denoise(source, work / "alone").check()
        expected = digests_of(work / "alone")
        times, same = {}, {}
        for workers in options.workers:
            output = work / f"workers{workers}"
            times[workers] = time_workers(source, output, workers)
            same[workers] = digests_of(output) == expected
            pairs = zip(times[workers], times[options.workers[0]], strict=True)
            clock, processor = (round(one / first, 2) for one, first in pairs)
            found = {"workers": workers, "identical": same[workers], "clock": clock, "processor": processor}
            _write({**found, "load": round(os.getloadavg()[1], 1)})
        trials = kill_often(source, work, expected, options.kills, options.seed) if options.kills else []
    report = {
        "series": series,
        "files": len(expected),
        "identical_over": same,
        "kills": len(trials),
        "kills_identical": sum(trial.identical for trial in trials),
        "kills_before_the_end": sum(trial.done_before < series for trial in trials),
        "partial_files_seen": sum(len(trial.faults) for trial in trials),
        "looks": sum(trial.looks for trial in trials),
        "left_over": sum(len(trial.left_over) for trial in trials),
    }
    _write(report)
    is_good = all(same.values()) and all(trial.identical and not trial.faults for trial in trials)
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
