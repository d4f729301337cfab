# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Do batches give the same files on any number of processes, and after being killed?

``python benchmarks/batch_reliability.py DATA`` cuts 24 small series, NIfTI and DICOM, out of the sample data, and
denoises them

- with ``torchrun`` and the bundle's ``multi_gpu_inference.json`` on 1, 2 and 4 processes (``--ranks``), one thread
  each;
- on 2 processes that are killed with SIGKILL at a random moment, all of them or one, and run again, 20 times
  (``--kills``). These processes are forked from this program, which has loaded the bundle, so that a moment falls into
  the work and not into its start.

All results are compared by their SHA-256. During the second part a watching process looks at the results over and over:
a file that can be seen has to have its final content from the first look on, and a DICOM folder all of its files.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import logging
import multiprocessing
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import torch

from monai_stcnnt.apps.batch.manifest import read_manifest
from monai_stcnnt.apps.batch.run import BatchInference
from monai_stcnnt.apps.bundles import bundle_folder, expected_remarks, open_inference

__all__ = ["cut_series", "digests_of", "kill_and_rerun", "watch"]

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
RANKS_KILLED = 2
FORK = multiprocessing.get_context("fork")
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
        if name.parts[0] != "manifest" and not any(part.startswith(".") for part in name.parts)
    }


def run_torchrun(source: Path, output: Path, ranks: int) -> float:
    """Denoise with the bundle under torchrun; return the seconds that it took.

    Args:
        source: folder of the series.
        output: folder of the results.
        ranks: number of processes.
    """
    bundle = bundle_folder("mri_denoising")
    configs = [str(bundle / "configs" / name) for name in ("inference.json", "multi_gpu_inference.json")]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks),
        "-m", "monai.bundle", "run", "--config_file", str(configs), "--bundle_root", str(bundle),
        "--dataset_dir", str(source), "--output_dir", str(output),
    ]  # fmt: skip
    start = time.perf_counter()
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)  # nosec B603
    return time.perf_counter() - start


def start_ranks(source: Path, output: Path, ranks: int) -> list[ForkProcess]:
    """Fork the processes of a batch, which find each other as those of torchrun do.

    Args:
        source: folder of the series.
        output: folder of the results.
        ranks: number of processes.
    """
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    inference = open_batch(source, output)
    processes = []
    for rank in range(ranks):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        process = FORK.Process(target=_rank, args=(inference, {name: str(value) for name, value in place.items()}))
        process.start()
        processes.append(process)
    return processes


def open_batch(source: Path, output: Path) -> BatchInference:
    """Open the bundle as ``torchrun -m monai.bundle run`` does; nothing is computed."""
    bundle = bundle_folder("mri_denoising")
    with expected_remarks():
        workflow = open_inference(
            bundle,
            bundle / "configs" / "multi_gpu_inference.json",
            dataset_dir=str(source),
            output_dir=str(output),
            device=torch.device("cpu"),
        )
        inference: BatchInference = workflow.parser.get_parsed_content("batch")
    return inference


def _rank(inference: BatchInference, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    logging.disable(logging.CRITICAL)
    sys.exit(inference.run().exit_code)


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
    """One batch that was killed and run again.

    Attributes:
        moment: seconds from the start to the kill.
        killed: which processes.
        codes: how they ended.
        done_before: number of series that the manifest said were done, before the second run.
        identical: whether the second run ended well, and the results are the expected ones.
        looks: how often the watcher looked.
        files_seen: number of files that it saw appear.
        faults: what it saw that was not whole.
        left_over: hidden files that are left.
    """

    moment: float
    killed: list[int]
    codes: list[int | None]
    done_before: int
    identical: bool
    looks: int
    files_seen: int
    faults: list[str]
    left_over: list[str]


def kill_and_rerun(source: Path, output: Path, expected: Digests, moment: float, victims: Sequence[int]) -> Trial:
    """Start a batch, kill processes of it after some seconds, run it again to its end, and compare.

    Args:
        source: folder of the series.
        output: folder of the results; it is removed before and after.
        expected: the checksums of an undisturbed run.
        moment: seconds from the start to the kill.
        victims: which of the processes to kill.

    Returns:
        What was found.
    """
    shutil.rmtree(output, ignore_errors=True)
    here, there = multiprocessing.Pipe()
    watcher = FORK.Process(target=watch, args=(output, expected, there))
    watcher.start()
    processes = start_ranks(source, output, RANKS_KILLED)
    time.sleep(moment)
    for index in victims:
        if processes[index].is_alive():
            os.kill(processes[index].pid or 0, signal.SIGKILL)
    for process in processes:
        process.join()
    codes = [process.exitcode for process in processes]
    before = sum(row.status == "done" for row in read_manifest(output).rows.values())
    again = start_ranks(source, output, RANKS_KILLED)
    for process in again:
        process.join()
    here.send("stop")
    looks, files, faults = here.recv()
    watcher.join()
    same = digests_of(output) == expected and all(process.exitcode == 0 for process in again)
    hidden = [path.name for path in output.iterdir() if path.name.startswith(".")]
    shutil.rmtree(output)
    return Trial(round(moment, 2), list(victims), codes, before, same, looks, files, faults[:5], hidden)


def compare_ranks(source: Path, work: Path, counts: Sequence[int], expected: Digests) -> dict[int, bool]:
    """Tell for which numbers of processes torchrun gives the expected files.

    Args:
        source: folder of the series.
        work: folder for the results.
        counts: numbers of processes.
        expected: the checksums.
    """
    same = {}
    for ranks in counts:
        seconds = run_torchrun(source, work / f"ranks{ranks}", ranks)
        same[ranks] = digests_of(work / f"ranks{ranks}") == expected
        _write({"ranks": ranks, "identical": same[ranks], "seconds": round(seconds, 1)})
    return same


def kill_often(source: Path, work: Path, expected: Digests, times: int, longest: float, seed: int) -> list[Trial]:
    """Kill all processes and one of them in turn, at moments that are spread evenly.

    Args:
        source: folder of the series.
        work: folder for the results.
        expected: the checksums.
        times: how often.
        longest: latest moment in seconds.
        seed: of the moments.
    """
    chance = random.Random(seed)  # nosec B311
    trials = []
    for number in range(times):
        moment, one = chance.uniform(0.0, longest), chance.randrange(RANKS_KILLED)
        victims = list(range(RANKS_KILLED)) if number % 2 == 0 else [one]
        trials.append(kill_and_rerun(source, work / "killed", expected, moment, victims))
        _write(dataclasses.asdict(trials[-1]))
    return trials


def _write(found: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Make the series, run, kill, compare, and write the findings as lines of JSON; the last has the sums."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the sample data")
    parser.add_argument("--ranks", type=int, nargs="*", default=[1, 2, 4], help="numbers of processes for torchrun")
    parser.add_argument("--kills", type=int, default=20, help="how often to kill and run again")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        source = work / "series"
        series = cut_series(options.data, source)
        start = time.perf_counter()
        for process in (undisturbed := start_ranks(source, work / "forked", RANKS_KILLED)):
            process.join()
        longest = time.perf_counter() - start
        expected = digests_of(work / "forked")
        trials = kill_often(source, work, expected, options.kills, longest, options.seed)
        same = compare_ranks(source, work, options.ranks, expected)
    report = {
        "series": series,
        "files": len(expected),
        "undisturbed": [process.exitcode for process in undisturbed],
        "identical_on": same,
        "kills": len(trials),
        "kills_identical": sum(trial.identical for trial in trials),
        "kills_before_the_end": sum(trial.done_before < series for trial in trials),
        "partial_files_seen": sum(len(trial.faults) for trial in trials),
        "looks": sum(trial.looks for trial in trials),
    }
    _write(report)
    is_good = all(same.values()) and all(trial.identical and not trial.faults for trial in trials)
    sys.exit(0 if is_good and not any(process.exitcode for process in undisturbed) else 1)


if __name__ == "__main__":
    main()
