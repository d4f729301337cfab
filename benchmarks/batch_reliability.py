# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Do batches give the same files on any number of processes, and after being killed?

``python benchmarks/batch_reliability.py DATA`` cuts 24 small series, NIfTI and DICOM, out of the sample data, and
denoises them

- with ``torchrun`` and the bundle's ``multi_gpu_inference.json`` on 1, 2 and 4 processes (``--ranks``), one thread
  each;
- on 2 processes that are killed with SIGKILL at a random moment, all of them or one, and run again, 20 times
  (``--kills``). These processes are forked from this program, which has loaded all modules, so that a moment falls
  into the work and not into its start.

All results are compared by their SHA-256. During the second part a watching process looks at the results over and over:
a file that can be seen has to have its final content from the first look on, and a DICOM folder all of its files.
"""

from __future__ import annotations

import argparse
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
from multiprocessing.connection import Connection
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom

from monai_stcnnt.apps.batch import denoise_many
from monai_stcnnt.apps.bundles import bundle_folder
from monai_stcnnt.apps.manifest import read_manifest

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
PIXELS = 40
RANKS_KILLED = 2
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
    for name, source in DICOM.items():
        for part in range(2):
            cut_dicom(data / source, folder / "scanner" / f"{name}_{part}", first=4 * part, frames=3 + part)
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
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def start_ranks(source: Path, output: Path, ranks: int) -> list[multiprocessing.Process]:
    """Fork the processes of a batch, which find each other as those of torchrun do.

    Args:
        source: folder of the series.
        output: folder of the results.
        ranks: number of processes.
    """
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    fork = multiprocessing.get_context("fork")
    processes = []
    for rank in range(ranks):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environment = {name: str(value) for name, value in place.items()}
        process = fork.Process(target=_rank, args=(source, output, environment))
        process.start()
        processes.append(process)
    return processes  # type: ignore[return-value]


def _rank(source: Path, output: Path, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    logging.disable(logging.CRITICAL)
    sys.exit(denoise_many(source, output, device="cpu").exit_code)


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
    while not pipe.poll(0.0005):
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
        with path.open("rb") as content:
            state = os.fstat(content.fileno())
            key = (name, state.st_ino, state.st_mtime_ns)
            if key in seen:
                return []
            same = hashlib.file_digest(content, "sha256").hexdigest() == digest
    except FileNotFoundError:
        return []
    seen.add(key)
    return [] if same else [f"{name} is in part"]


def kill_and_rerun(
    source: Path, output: Path, expected: Digests, moment: float, victims: Sequence[int]
) -> dict[str, object]:
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
    watcher = multiprocessing.get_context("fork").Process(target=watch, args=(output, expected, there))
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
    return {
        "moment": round(moment, 2),
        "killed": list(victims),
        "codes": codes,
        "done_before": before,
        "identical": same,
        "looks": looks,
        "files_seen": files,
        "faults": faults[:5],
        "left_over": hidden,
    }


def main() -> None:
    """Make the series, run, kill, compare, and print the findings as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--ranks", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--work", type=Path, default=None, help="folder for the files, kept; by default a temporary one"
    )
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        source = work / "series"
        count = SERIES if source.exists() else cut_series(args.data, source)
        report: dict[str, object] = {"series": count}
        found: dict[int, Digests] = {}
        for ranks in args.ranks:
            seconds = run_torchrun(source, work / f"ranks{ranks}", ranks)
            found[ranks] = digests_of(work / f"ranks{ranks}")
            print(json.dumps({"ranks": ranks, "files": len(found[ranks]), "seconds": round(seconds, 1)}), flush=True)  # noqa: T201
        for process in (undisturbed := start_ranks(source, work / "forked", RANKS_KILLED)):
            process.join()
        expected = digests_of(work / "forked")
        rows = read_manifest(work / "forked").rows.values()
        duration = sum(row.seconds for row in rows) / RANKS_KILLED + 1.0
        report["files"] = len(expected)
        report["identical_on"] = {ranks: digests == expected for ranks, digests in found.items()}
        report["undisturbed"] = [process.exitcode for process in undisturbed]
        chance = random.Random(args.seed)
        trials = []
        for trial in range(args.kills):
            moment = chance.uniform(0.0, duration)
            one = chance.randrange(RANKS_KILLED)
            victims = list(range(RANKS_KILLED)) if trial % 2 == 0 else [one]
            trials.append(kill_and_rerun(source, work / "killed", expected, moment, victims))
            print(json.dumps(trials[-1]), flush=True)  # noqa: T201
        report["kills"] = len(trials)
        report["kills_identical"] = sum(bool(trial["identical"]) for trial in trials)
        report["partial_files_seen"] = sum(len(list(trial["faults"])) for trial in trials)  # type: ignore[call-overload]
        report["looks"] = sum(int(str(trial["looks"])) for trial in trials)
        print(json.dumps(report, indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
