# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Damage copies of scanner files and read them: an image with the right geometry, or a named error, and nothing else.

``python -m benchmarks.fuzz_files 10000 --data DATA --results fuzz.jsonl`` damages DICOM and NIfTI files of the sample
data (without ``--data``, those that come with pydicom and nibabel) at random, and also PAR/REC, MGH, ``.hdr`` and
``.img``, see :mod:`benchmarks.fuzz_sources` and :mod:`benchmarks.file_damage`. The copies carry a made-up name, number
and birth date of a patient. Each is read, at once or frame by frame, in another process, forked from one that has
imported everything, that may take 10 seconds of a processor and 2 GiB of memory for it. Every outcome is one of

- ``same geometry``: an image where the original's is,
- ``header's geometry``: another one, which is what the damaged header says, with as many voxels as the file holds,
- the name of an error of this package,
- ``WRONG``: a geometry that neither the original nor the header has; ``UNNAMED``: another exception; ``LEAK``: what
  tells the patient in the error, its causes, the log or the terminal; ``HANG``; ``CRASH``; ``MEMORY``. There must be
  none of these; the exit code says so.

Cases that stand in the file of results are not done again. ``--file docs/reliability.md`` puts the tally between the
marks in that file.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import h5py
import nibabel as nib
import numpy as np
import pydicom
from nibabel.openers import ImageOpener

from benchmarks.file_damage import KINDS, damage, prepare
from benchmarks.fuzz_sources import MARKS, find_sources, marked_copies, path_of
from benchmarks.page_parts import write_part
from monai_stcnnt.data import open_series, read_series
from monai_stcnnt.data.formats.dicom.headers import quiet_pydicom
from monai_stcnnt.errors import StcnntError

__all__ = ["BAD", "MARKS", "Outcome", "find_sources", "fuzz", "main", "marked_copies", "outcome_of", "path_of", "tally"]

SECONDS = 10  # of a processor, so that other work on the machine does not count
WAIT = 120.0  # seconds by the clock, after which it does not even work
BYTES = 2 << 30
CASES_EACH = 200  # until a new process is forked
HEADROOM = 4 << 30  # of address space beyond that of the parent, so that the machine outlives a failure
BAD = ("WRONG", "UNNAMED", "LEAK", "HANG", "CRASH", "MEMORY")
"""Outcomes that must not be."""
_GEOMETRY = (
    "Rows", "Columns", "NumberOfFrames", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient",
    "SliceThickness", "SpacingBetweenSlices",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What came of reading one damaged copy.

    Args:
        case: number of the mutation.
        source: name of the original.
        mutation: what was done to it.
        verdict: see the module.
        detail: the message of the error, or the difference.
        seconds: processor time to read it.
        mebibytes: largest resident memory of its process, with that of the imports.
    """

    case: int
    source: str
    mutation: str
    verdict: str
    detail: str = ""
    seconds: float = 0.0
    mebibytes: float = 0.0


def outcome_of(case: int, source: Sequence[Path], seed: int, keep: Path | None = None, ready: Any = None) -> Outcome:  # noqa: ANN401
    """Damage a copy of a source and read it.

    Args:
        case: number of the mutation, which together with the seed determines it.
        source: the original files; one of them is damaged.
        seed: of all mutations.
        keep: folder for copies that were not read as they should.
        ready: called without arguments when the copy is damaged, before it is read.

    Returns:
        The outcome.
    """
    generator = np.random.default_rng([seed, case])
    with tempfile.TemporaryDirectory() as folder:
        copies, damaged, mutation = _damaged_copy(source, Path(folder), generator)
        if keep is not None:
            shutil.copytree(folder, keep / f"case{case}", dirs_exist_ok=True)
        if ready is not None:
            ready(mutation)
        start = time.process_time()
        by_slab = bool(generator.random() < 0.5)
        verdict, detail = _verdict(path_of(copies), damaged, source, by_slab)
        seconds = time.process_time() - start
    if keep is not None and verdict not in BAD:
        shutil.rmtree(keep / f"case{case}")
    return Outcome(case, _name(source), mutation, verdict, detail[:300], round(seconds, 3))


def _name(source: Sequence[Path]) -> str:
    return f"{source[0].parent.name}/{source[0].name}" + (f" and {len(source) - 1} more" if len(source) > 1 else "")


def _damaged_copy(source: Sequence[Path], folder: Path, generator: np.random.Generator) -> tuple[list[Path], Path, str]:
    copies = [Path(shutil.copy(file, folder)) for file in source]
    victim = copies[int(generator.integers(len(copies)))]
    victim.chmod(0o600)
    changed, mutation = damage(victim.read_bytes(), victim.name, generator)
    victim.write_bytes(changed)
    return copies, victim, mutation


class _Log(logging.Handler):
    """Keep what is logged or warned of."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message with the error that is logged with it."""
        self.text += self.format(record) + "\n"


def _verdict(path: Path, damaged: Path, source: Sequence[Path], by_slab: bool) -> tuple[str, str]:
    root, log = logging.getLogger(), _Log()
    root.addHandler(log)
    logging.captureWarnings(True)
    try:
        verdict, detail, said = _read(path, damaged, source, by_slab)
    finally:
        root.removeHandler(log)
        logging.captureWarnings(False)
    told = [mark for mark in MARKS if mark in said + log.text]
    return ("LEAK", f"{told}: {said}{log.text}"[-300:]) if told else (verdict, detail)


def _read(path: Path, damaged: Path, source: Sequence[Path], by_slab: bool) -> tuple[str, str, str]:
    """Verdict, its detail, and all that an error said, its causes included."""
    try:
        found_shape, found_affine = _geometry_read(path, by_slab)
    except StcnntError as error:
        return type(error).__name__, str(error), "".join(traceback.format_exception(error))
    except Exception as error:  # noqa: BLE001 - the finding
        return "UNNAMED", "".join(traceback.format_exception(error))[-300:], ""
    shape, affine = _original_geometry(tuple(source))
    if found_shape == shape and np.allclose(found_affine, affine, atol=1e-3):
        return "same geometry", "", ""
    found = f"{found_shape} instead of {shape}, {found_affine.round(3).tolist()}"
    is_alone = len(source) == 1 or path_of(source) in source
    if is_alone and _is_what_the_header_says(damaged, source, found_shape, found_affine):
        return "header's geometry", found, ""
    return "WRONG", found, ""


def _geometry_read(path: Path, by_slab: bool) -> tuple[tuple[int, ...], np.ndarray]:
    """Read all voxels, at once or frame by frame, and tell shape ``(T, Z, Y, X)`` and affine."""
    if not by_slab:
        record = read_series(path)
        return record.array.shape[1:], record.affine
    with open_series(path, memory=0) as slabs:
        for frame in range(slabs.shape[1]):
            slabs.read(slice(frame, frame + 1), slice(0, slabs.shape[2]))
        return slabs.shape[1:], slabs.outline.affine


@cache
def _original_geometry(source: tuple[Path, ...]) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape ``(T, Z, Y, X)`` and affine; several files lie in one place, one after the other."""
    record = read_series(path_of(source) if path_of(source) in source else source[0], check=False)
    times = record.array.shape[1] if path_of(source) in source else len(source)
    return (times, *record.array.shape[2:]), record.affine


def _is_what_the_header_says(damaged: Path, source: Sequence[Path], shape: tuple[int, ...], affine: np.ndarray) -> bool:
    """Whether the damaged file itself tells another geometry, by another way of reading it."""
    if path_of(source).suffix.lower() in (".par", ".hdr", ".mgh", ".mgz"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            other: Any = nib.load(damaged.parent / path_of(source).name)
        told = [other.affine] + (
            [*_qform_of(other), _of_voxel_sizes(other)] if damaged.suffix in (".hdr", ".img") else []
        )
        is_told = any(np.allclose(affine[:3], one[:3], rtol=1e-3, atol=1e-3) for one in told)
        return shape == (*other.shape, 1, 1)[3::-1] and is_told
    if damaged.suffix in (".nrrd", ".h5"):
        return _other_header(damaged) != _other_header(source[0])
    if ".nii" in damaged.name:
        image: Any = nib.load(damaged)
        scale = {1: 1e3, 3: 1e-3}.get(int(image.header["xyzt_units"]) % 8, 1.0)
        sizes = (*image.shape, 1, 1)[:4]
        with ImageOpener(str(damaged)) as file:
            size = len(file.read())
        offset = image.dataobj.offset
        surplus = size - offset - np.prod(image.shape) * image.get_data_dtype().itemsize
        if abs(surplus) >= max(16, sizes[0] * image.get_data_dtype().itemsize):
            return False
        told = [image.affine, *_qform_of(image), _of_voxel_sizes(image)]
        return shape == sizes[::-1] and any(np.allclose(affine[:3], a[:3] * scale, rtol=1e-3, atol=1e-3) for a in told)
    with quiet_pydicom():
        dataset = pydicom.dcmread(damaged)
    count = int(dataset.get("NumberOfFrames") or 1) * dataset.Rows * dataset.Columns * dataset.BitsAllocated // 8
    is_packed = dataset.file_meta.TransferSyntaxUID.is_compressed
    fits = is_packed or abs(len(dataset.PixelData) - count) < 2 * dataset.Columns
    is_padded = len(dataset.PixelData) > count and not any(dataset.PixelData[count:])
    return (fits or is_padded) and _geometry_attributes(damaged) != _geometry_attributes(source[0])


def _other_header(file: Path) -> bytes:
    """The text at the beginning of an NRRD file; the tables of headers of an MRD file."""
    if file.suffix == ".nrrd":
        return file.read_bytes().partition(b"\n\n")[0]
    with h5py.File(file) as content:
        return b"".join(np.asarray(table["header"]).tobytes() for group in content.values() for table in group.values()
                        if "header" in table)  # fmt: skip


def _qform_of(image: Any) -> list[np.ndarray]:  # noqa: ANN401 - nibabel's
    """The qform, if nibabel takes it."""
    try:
        return [image.header.get_qform()]
    except ValueError:
        return []


def _of_voxel_sizes(image: Any) -> np.ndarray:  # noqa: ANN401 - nibabel's
    """The affine with the voxel sizes that the header states apart from it, and which count where they differ."""
    affine = np.array(image.affine, np.float64)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    affine[:3, :3] *= np.abs(image.header["pixdim"][1:4]) / np.where(lengths > 0, lengths, 1.0)
    return affine


def _geometry_attributes(file: Path) -> list[str]:
    with quiet_pydicom():
        dataset = pydicom.dcmread(file, stop_before_pixels=True)
        return [f"{e.keyword}={e.value}" for e in dataset.iterall() if e.keyword in _GEOMETRY]


def _serve(connection: Connection, seed: int, keep: Path | None) -> None:
    """Work off cases from a process that has imported everything, each in a child that dies with it."""
    logging.getLogger().setLevel(logging.DEBUG)
    prepare()
    gc.collect()
    gc.freeze()  # so that children share the memory of what is imported
    connection.send("ready")
    child: _Child | None = None
    while (message := connection.recv()) is not None:
        case, source = message
        _original_geometry(tuple(source))  # kept for all cases to come
        child = child or _Child(seed, keep)
        outcome = child.ask(case, source)
        connection.send(outcome)
        if outcome.verdict in BAD or child.done >= CASES_EACH:
            child.end()
            child = None
    if child is not None:
        child.end()


class _Child:
    """A forked process that works off cases until one goes wrong.

    Args:
        seed: of the mutations.
        keep: folder for copies that were not read as they should.
    """

    def __init__(self, seed: int, keep: Path | None) -> None:
        self.done = 0
        self.terminal = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end()
        self.connection, its = multiprocessing.Pipe()
        self.process = os.fork()
        if self.process == 0:
            self.connection.close()
            _be_child(its, self.terminal.fileno(), seed, keep)
        its.close()

    def ask(self, case: int, source: list[Path]) -> Outcome:
        """Have one case worked off, and look through what it writes to the terminal for the patient."""
        self.done += 1
        self.connection.send((case, source))
        mutation, answer, is_late = "", None, False
        try:
            mutation = self.connection.recv()
            is_late = not self.connection.poll(WAIT)
            answer = None if is_late else self.connection.recv()
        except EOFError:
            answer = None  # it died; the status says of what
        said = self._said()
        if answer is None:
            is_late |= self._killed_by() == signal.SIGXCPU
            answer = Outcome(case, _name(source), mutation, "HANG" if is_late else "CRASH", said[-300:])
        if any(mark in said for mark in MARKS):
            answer = replace(answer, verdict="LEAK", detail=said[-300:])
        if answer.mebibytes * (1 << 20) > BYTES:
            answer = replace(answer, verdict="MEMORY")
        return answer

    def _said(self) -> str:
        """What was written to the terminal since the last time; the child goes on at the beginning of the file."""
        self.terminal.seek(0)
        said = self.terminal.read().decode(errors="replace")
        self.terminal.seek(0)
        self.terminal.truncate()
        return said

    def _killed_by(self) -> int:
        """End it, and tell the signal that had ended it before."""
        os.kill(self.process, signal.SIGKILL)
        _, status = os.waitpid(self.process, 0)
        self.process = 0
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0

    def end(self) -> None:
        """End it."""
        if self.process:
            self._killed_by()
        self.connection.close()
        self.terminal.close()


def _be_child(connection: Connection, terminal: int, seed: int, keep: Path | None) -> None:
    """Work off what comes, with little address space more than the parent, and never return."""
    warnings.simplefilter("always")  # they are looked through as well
    for descriptor in (1, 2):
        os.dup2(terminal, descriptor)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + HEADROOM
    resource.setrlimit(resource.RLIMIT_AS, (most, most))

    def ready(mutation: str) -> None:
        end = int(time.process_time()) + 1 + SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (end, resource.RLIM_INFINITY))
        Path("/proc/self/clear_refs").write_text("5")  # forget the largest memory up to now
        connection.send(mutation)

    try:
        while True:
            case, source = connection.recv()
            outcome = outcome_of(case, source, seed, keep, ready)
            connection.send(replace(outcome, mebibytes=_peak_mebibytes()))
    except BaseException:  # noqa: BLE001 - printed where the parent looks, and no answer is a crash
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(0)


def _peak_mebibytes() -> float:
    status = Path("/proc/self/status").read_text()
    return round(int(status.split("VmHWM:")[1].split()[0]) / 1024, 1)


class _Worker:
    """A process that forks one for each case, and is replaced when it dies itself."""

    def __init__(self, seed: int, keep: Path | None, start: str) -> None:
        self.options, self.start = (seed, keep), start
        self.process: Any = None

    def ask(self, case: int, source: list[Path]) -> Outcome:
        """Have one case worked off."""
        if self.process is None:
            context: Any = multiprocessing.get_context(self.start)
            self.connection, child = context.Pipe()
            self.process = context.Process(target=_serve, args=(child, *self.options), daemon=True)
            self.process.start()
            child.close()
            self.connection.recv()  # it is ready
        try:
            self.connection.send((case, source))
            answer: Outcome = self.connection.recv()
        except (EOFError, OSError):
            self.close(kill=True)
            return Outcome(case, _name(source), "", "CRASH", "the parent of all cases died")
        return answer

    def close(self, *, kill: bool = False) -> None:
        """End the process."""
        if self.process is not None:
            if kill:
                self.process.kill()
            else:
                self.connection.send(None)
            self.process.join()
            self.connection.close()
            self.process = None


def fuzz(
    count: int,
    sources: Sequence[list[Path]],
    *,
    seed: int = 0,
    workers: int = 1,
    keep: Path | None = None,
    results: Path | None = None,
    start: str = "spawn",
    first: int = 0,
) -> list[Outcome]:
    """Damage and read copies of files.

    Args:
        count: number of mutations, counted from 0; they go round the sources.
        sources: originals, see :func:`find_sources`.
        seed: of the mutations.
        workers: number of processes.
        keep: folder for copies that were not read as they should.
        results: JSON lines of what was done; cases of the same seed that stand in it are not done again.
        start: how processes are started; ``"fork"`` saves the imports where this process has no threads.
        first: the first mutation to do; those before are another run's.

    Returns:
        One outcome for each, in order.
    """
    known = {one.case: one for one in _stored(results, seed) if one.case < count}
    todo = [case for case in range(first, count) if case not in known]
    lock = threading.Lock()

    def work(number: int) -> list[Outcome]:
        worker = _Worker(seed, keep, start)
        done = []
        for case in todo[number::workers]:
            done.append(worker.ask(case, sources[case % len(sources)]))
            if results is not None:
                with lock, results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"seed": seed, **asdict(done[-1])}) + "\n")
        worker.close()
        return done

    with ThreadPoolExecutor(workers) as pool:
        new = [one for part in pool.map(work, range(workers)) for one in part]
    return sorted([*known.values(), *new], key=lambda one: one.case)


def _stored(results: Path | None, seed: int) -> list[Outcome]:
    if results is None or not results.is_file():
        return []
    lines = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    return [Outcome(**{k: v for k, v in line.items() if k != "seed"}) for line in lines if line["seed"] == seed]


def tally(outcomes: Iterable[Outcome]) -> str:
    """Count the outcomes.

    Args:
        outcomes: of :func:`fuzz`.

    Returns:
        Tables in markdown: by verdict, and by kind of damage; and the longest time and largest memory.
    """
    done = list(outcomes)
    verdicts = Counter(one.verdict for one in done)
    lines = ["| outcome | files |", "|---|---|"]
    lines += [f"| {verdict} | {number:,} |" for verdict, number in verdicts.most_common()]
    lines += [f"| {', '.join(BAD)} | {sum(verdicts[bad] for bad in BAD)} |", f"| all | {len(done):,} |", ""]
    lines += ["| damage | files | an image | a named error | neither |", "|---|---|---|---|---|"]
    for kind in sorted({*KINDS} & {one.mutation for one in done}):
        of_kind = [one.verdict for one in done if one.mutation == kind]
        images, bad = sum("geometry" in one for one in of_kind), sum(one in BAD for one in of_kind)
        named = len(of_kind) - images - bad
        lines.append(f"| {kind.replace('_', ' ')} | {len(of_kind):,} | {images:,} | {named:,} | {bad} |")
    slowest, largest = max(one.seconds for one in done), max(one.mebibytes for one in done)
    return "\n".join([*lines, "", f"The slowest took {slowest:.1f} s, the largest {largest / 1024:.2f} GiB."])


def main() -> int:
    """Print the tally, and every outcome that must not be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", type=int)
    parser.add_argument("--data", type=Path, help="folder of the sample data")
    parser.add_argument("--cases", type=Path, help="folder of difficult files, for the mosaics in it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutation, to share them among runs")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path, help="folder for copies that were not read as they should")
    parser.add_argument("--results", type=Path, help="JSON lines to write, and to go on from")
    parser.add_argument("--file", type=Path, help="markdown file with the marks <!-- fuzz --> and <!-- /fuzz -->")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sources = marked_copies(find_sources(args.data, args.cases), Path(folder))
        outcomes = fuzz(
            args.count, sources, seed=args.seed, workers=args.workers, keep=args.keep, results=args.results,
            start="fork", first=args.first,
        )  # fmt: skip
    bad = [one for one in outcomes if one.verdict in BAD]
    found = [f"{one.verdict}: case {one.case}, {one.mutation} of {one.source}: {one.detail}" for one in bad]
    sys.stdout.write("\n".join([tally(outcomes), *found]) + "\n")
    if args.file is not None:
        write_part(args.file, "fuzz", tally(outcomes))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
