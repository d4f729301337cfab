# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Damage copies of scanner files and read them: an image with the right geometry, or a named error, and nothing else.

``python benchmarks/fuzz_files.py 2000 --data DATA`` damages DICOM and NIfTI files of the sample data (without
``--data``, those that come with pydicom and nibabel) at random: flipped bits, truncation, lost and swapped attributes,
huge sizes, wrong value representations, blocks lost or doubled. Each is read in another process that may take 10
seconds and 4 GiB. Every outcome is one of

- ``same geometry``: an image where the original's is,
- ``header's geometry``: another one, which is what the damaged header says, with as many voxels as the file holds,
- the name of an error of this package,
- ``WRONG``: a geometry that neither the original nor the header has; ``UNNAMED``: another exception; ``HANG``;
  ``CRASH``. There must be none of these; the exit code says so.
"""

from __future__ import annotations

import argparse
import gzip
import io
import logging
import multiprocessing
import os
import re
import resource
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
from nibabel.openers import ImageOpener
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from monai_stcnnt.data import read_series
from monai_stcnnt.data.dicom_frames import DECODE_FAILURES, quiet_pydicom
from monai_stcnnt.errors import StcnntError

__all__ = ["BAD", "Outcome", "find_sources", "fuzz", "main", "mutate", "outcome_of"]

SECONDS = 10.0
BYTES = 4 << 30
BAD = ("WRONG", "UNNAMED", "HANG", "CRASH")
"""Outcomes that must not be."""

_GEOMETRY = (
    "Rows", "Columns", "NumberOfFrames", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient",
    "SliceThickness", "SpacingBetweenSlices",
)  # fmt: skip
_SIZES = ("Rows", "Columns", "NumberOfFrames", "BitsAllocated", "BitsStored", "SamplesPerPixel", "InstanceNumber")
_PIP_DICOM = ("MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "examples_overlay.dcm")
_PIP_NIFTI = ("anatomical.nii", "functional.nii", "example_nifti2.nii.gz")
_SAMPLES = (
    "cine_sax_bivme/dicom_one_slice_Se2", "dicom_ge_fmri_repeats/dicom_run4_first6vols",
    "dicom_philips_classic_phantom/dicom", "dwi_canon_classic/dicom_first2vols", "fmri_studyforrest/dicom_first2vols",
    "dicom_siemens_mosaic_fmri/dicom", "dicom_siemens_xa30_fmri_enhanced/dicom",
    "brain_t1_siemens_xa30_enhanced/dicom_nonorm", "abdomen_mr_totalseg/mr.nii.gz", "spine_sct/t2.nii.gz",
    "spine_sct/dmri_7vol.nii.gz",
)  # fmt: skip
_MOST_FILES = 6


@dataclass(frozen=True)
class Outcome:
    """What came of reading one damaged copy.

    Args:
        case: number of the mutation.
        source: name of the original.
        mutation: what was done to it.
        verdict: see the module.
        detail: the message of the error, or the difference.
    """

    case: int
    source: str
    mutation: str
    verdict: str
    detail: str = ""


def find_sources(data: Path | None = None) -> list[list[Path]]:
    """List the originals, each one file or a few files of one series.

    Args:
        data: folder of the sample data; by default files that come with pydicom and nibabel.

    Returns:
        Lists of files that are read together.
    """
    if data is None:
        dicom = [Path(str(get_testdata_file(name, download=False))) for name in _PIP_DICOM]
        nifti = [Path(str(files("nibabel"))) / "tests" / "data" / name for name in _PIP_NIFTI]
        return [[file] for file in [*dicom, *nifti] if file.is_file()]
    sources = []
    for sample in _SAMPLES:
        path = data / sample
        listed = sorted(path.iterdir()) if path.is_dir() else [path]
        if listed[0].is_file():
            sources.append(listed[:1])
        if len(listed) > 1:
            sources.append(_readable_group(listed))
    return sources


def _readable_group(listed: Sequence[Path]) -> list[Path]:
    """Frames of one slice, at most six, so that they make an image without the others."""
    positions: dict[str, list[Path]] = {}
    for file in listed:
        header = pydicom.dcmread(file, stop_before_pixels=True)
        positions.setdefault(str(header.get("ImagePositionPatient")), []).append(file)
    return max(positions.values(), key=len)[:_MOST_FILES]


def mutate(content: bytes, is_dicom: bool, generator: np.random.Generator) -> tuple[bytes, str]:
    """Damage the content of a file.

    Args:
        content: the file; a NIfTI file must not be compressed.
        is_dicom: whether it is DICOM, else NIfTI.
        generator: draws the damage.

    Returns:
        The damaged content, and a name for what was done.
    """
    choices: list[Callable[[bytearray, np.random.Generator], bytes]] = [
        _flip_bits, _truncate, _set_huge, _lose_block, _double_block, _fill_block,
    ]  # fmt: skip
    if is_dicom:
        choices += [_delete_attribute, _swap_attributes, _set_size, _break_representation, _nonsense_value]
    chosen = choices[int(generator.integers(len(choices)))]
    return chosen(bytearray(content), generator), chosen.__name__.strip("_")


def _place(data: bytearray, generator: np.random.Generator) -> int:
    """A position, mostly in the header."""
    header = min(len(data), 4096 if data[128:132] == b"DICM" else 352)
    end = header if generator.random() < 0.7 else len(data)
    return int(generator.integers(end))


def _flip_bits(data: bytearray, generator: np.random.Generator) -> bytes:
    for _ in range(int(generator.integers(1, 9))):
        data[_place(data, generator)] ^= 1 << int(generator.integers(8))
    return bytes(data)


def _truncate(data: bytearray, generator: np.random.Generator) -> bytes:
    return bytes(data[: _place(data, generator)])


def _set_huge(data: bytearray, generator: np.random.Generator) -> bytes:
    place = _place(data, generator) // 2 * 2
    value = (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\xff\x7f", b"\0\0\0\0")[int(generator.integers(4))]
    data[place : place + len(value)] = value
    return bytes(data)


def _lose_block(data: bytearray, generator: np.random.Generator) -> bytes:
    place = _place(data, generator)
    del data[place : place + int(generator.integers(1, 200))]
    return bytes(data)


def _double_block(data: bytearray, generator: np.random.Generator) -> bytes:
    place, size = _place(data, generator), int(generator.integers(1, 200))
    data[place:place] = data[place : place + size]
    return bytes(data)


def _fill_block(data: bytearray, generator: np.random.Generator) -> bytes:
    place, size = _place(data, generator), int(generator.integers(1, 64))
    end = min(place + size, len(data))
    data[place:end] = generator.integers(0, 256, end - place, dtype=np.uint8).tobytes()
    return bytes(data)


def _parsed(data: bytearray) -> Dataset:
    with quiet_pydicom():
        return pydicom.dcmread(io.BytesIO(data))


def _written(dataset: Dataset, data: bytearray) -> bytes:
    """Content of a changed data set; what cannot be written stays as it was."""
    out = io.BytesIO()
    with quiet_pydicom():
        try:
            dataset.save_as(out)
        except DECODE_FAILURES:
            return bytes(data)
    return out.getvalue()


def _some_dataset(dataset: Dataset, generator: np.random.Generator) -> Dataset:
    """The data set itself, or an item somewhere in its sequences."""
    while generator.random() < 0.6:
        sequences = [element for element in dataset if element.VR == "SQ" and element.value]
        if not sequences:
            break
        value = sequences[int(generator.integers(len(sequences)))].value
        dataset = value[int(generator.integers(len(value)))]
    return dataset


def _delete_attribute(data: bytearray, generator: np.random.Generator) -> bytes:
    whole = _parsed(data)
    part = _some_dataset(whole, generator)
    tags = [tag for tag in part.keys() if not tag.is_private] or list(part.keys())  # noqa: SIM118 - not a dict
    if tags:
        del part[tags[int(generator.integers(len(tags)))]]
    return _written(whole, data)


def _swap_attributes(data: bytearray, generator: np.random.Generator) -> bytes:
    whole = _parsed(data)
    part = _some_dataset(whole, generator)
    elements = [element for element in part if element.VR not in ("SQ", "OW", "OB")]
    if len(elements) > 1:
        first, second = (elements[int(i)] for i in generator.choice(len(elements), 2, replace=False))
        with quiet_pydicom():
            try:
                first.value, second.value = second.value, first.value
            except (ValueError, TypeError, AttributeError, OverflowError):
                return bytes(data)
    return _written(whole, data)


def _set_size(data: bytearray, generator: np.random.Generator) -> bytes:
    whole = _parsed(data)
    names = [name for name in _SIZES if name in whole]
    name = names[int(generator.integers(len(names)))]
    setattr(whole, name, int(generator.choice([0, 1, 7, 255, 4096, 32767, 65535])))
    return _written(whole, data)


def _nonsense_value(data: bytearray, generator: np.random.Generator) -> bytes:
    whole = _parsed(data)
    part = _some_dataset(whole, generator)
    elements = [element for element in part if element.VR in ("DS", "IS", "FD", "FL", "TM", "CS", "UI")]
    if elements:
        element = elements[int(generator.integers(len(elements)))]
        texts = ["", "nan", "-1", "1e30", "\\\\", "99999999999"]
        value: Any = texts[int(generator.integers(len(texts)))]
        with quiet_pydicom():
            try:
                element.value = float(value) if element.VR in ("FD", "FL") else value
            except (ValueError, TypeError, AttributeError, OverflowError):
                return bytes(data)
    return _written(whole, data)


def _break_representation(data: bytearray, generator: np.random.Generator) -> bytes:
    places = [m.start(1) for m in re.finditer(rb"[\x08\x10\x18\x20\x28]\x00..([A-Z]{2})", data[:8192], re.DOTALL)]
    if places:
        place = places[int(generator.integers(len(places)))]
        known = (b"ZZ", b"SQ", b"OB", b"US", b"FD", b"UN", b"\0\0", b"DS")
        data[place : place + 2] = known[int(generator.integers(len(known)))]
    return bytes(data)


def outcome_of(case: int, source: Sequence[Path], seed: int, keep: Path | None = None) -> Outcome:
    """Damage a copy of a source and read it.

    Args:
        case: number of the mutation, which together with the seed determines it.
        source: the original files; one of them is damaged.
        seed: of all mutations.
        keep: folder for copies that were not read as they should.

    Returns:
        The outcome.
    """
    generator = np.random.default_rng([seed, case])
    with tempfile.TemporaryDirectory() as folder:
        damaged, mutation = _damaged_copy(source, Path(folder), generator)
        path = Path(folder) if len(source) > 1 else damaged
        verdict, detail = _verdict(path, damaged, source)
        if keep is not None and verdict in BAD:
            keep.mkdir(parents=True, exist_ok=True)
            shutil.copytree(folder, keep / f"case{case}", dirs_exist_ok=True)
    return Outcome(case, f"{source[0].parent.name}/{source[0].name}", mutation, verdict, detail[:300])


def _damaged_copy(source: Sequence[Path], folder: Path, generator: np.random.Generator) -> tuple[Path, str]:
    copies = [Path(shutil.copy(file, folder)) for file in source]
    victim = copies[int(generator.integers(len(copies)))]
    victim.chmod(0o600)
    content = victim.read_bytes()
    is_nifti = ".nii" in victim.name
    is_packed = victim.name.endswith(".gz") and generator.random() < 0.8
    if is_packed:
        content = gzip.decompress(content)
    changed, mutation = mutate(content, not is_nifti, generator)
    victim.write_bytes(gzip.compress(changed, 1) if is_packed else changed)
    return victim, mutation


def _verdict(path: Path, damaged: Path, source: Sequence[Path]) -> tuple[str, str]:
    try:
        record = read_series(path)
    except StcnntError as error:
        return type(error).__name__, str(error)
    except Exception as error:  # noqa: BLE001 - the finding
        return "UNNAMED", f"{type(error).__name__}: {error}"
    shape, affine = _original_geometry(tuple(source))
    if record.array.shape[1:] == shape and np.allclose(record.affine, affine, atol=1e-3):
        return "same geometry", ""
    found = f"{record.array.shape} instead of {shape}, {record.affine.round(3).tolist()}"
    if len(source) == 1 and _is_what_the_header_says(damaged, source[0], record.array.shape[1:], record.affine):
        return "header's geometry", found
    return "WRONG", found


@cache
def _original_geometry(source: tuple[Path, ...]) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape ``(T, Z, Y, X)`` and affine; several files lie in one place, one after the other."""
    record = read_series(source[0], check=False)
    times = len(source) if len(source) > 1 else record.array.shape[1]
    return (times, *record.array.shape[2:]), record.affine


def _is_what_the_header_says(damaged: Path, original: Path, shape: tuple[int, ...], affine: np.ndarray) -> bool:
    """Whether the damaged file itself tells another geometry, by another way of reading it."""
    if ".nii" in damaged.name:
        image = nib.Nifti1Image.from_filename(damaged)
        scale = {1: 1e3, 3: 1e-3}.get(int(image.header["xyzt_units"]) % 8, 1.0)
        sizes = (*image.shape, 1, 1)[:4]
        with ImageOpener(str(damaged)) as file:
            size = len(file.read())
        offset = image.dataobj.offset  # type: ignore[attr-defined]
        surplus = size - offset - np.prod(sizes) * image.get_data_dtype().itemsize
        if abs(surplus) >= max(16, sizes[0] * image.get_data_dtype().itemsize):
            return False
        return shape == sizes[::-1] and bool(np.allclose(affine[:3], image.affine[:3] * scale, rtol=1e-3, atol=1e-3))
    with quiet_pydicom():
        dataset = pydicom.dcmread(damaged)
    count = int(dataset.get("NumberOfFrames") or 1) * dataset.Rows * dataset.Columns * dataset.BitsAllocated // 8
    is_packed = dataset.file_meta.TransferSyntaxUID.is_compressed
    return (is_packed or abs(len(dataset.PixelData) - count) < 2 * dataset.Columns) and (
        _geometry_attributes(damaged) != _geometry_attributes(original)
    )


def _geometry_attributes(file: Path) -> list[str]:
    with quiet_pydicom():
        dataset = pydicom.dcmread(file, stop_before_pixels=True)
        return [f"{e.keyword}={e.value}" for e in dataset.iterall() if e.keyword in _GEOMETRY]


def _serve(connection: Connection, seed: int, keep: Path | None) -> None:
    """Work off cases in a process of its own."""
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    logging.disable()
    warnings.simplefilter("ignore")
    connection.send("ready")
    while True:
        message = connection.recv()
        if message is None:
            return
        case, source = message
        connection.send(outcome_of(case, source, seed, keep))


class _Worker:
    """A process that is replaced when it hangs or dies."""

    def __init__(self, seed: int, keep: Path | None) -> None:
        self.options = (seed, keep)
        self.process: Any = None

    def ask(self, case: int, source: list[Path]) -> Outcome:
        """Have one case worked off."""
        if self.process is None:
            context = multiprocessing.get_context("spawn")
            self.connection, child = context.Pipe()
            self.process = context.Process(target=_serve, args=(child, *self.options), daemon=True)
            self.process.start()
            child.close()
            self.connection.recv()  # it is ready
        try:
            self.connection.send((case, source))
            if self.connection.poll(SECONDS):
                answer: Outcome = self.connection.recv()
                return answer
            verdict = "HANG"
        except (EOFError, OSError):
            verdict = "CRASH"
        self.close(kill=True)
        return Outcome(case, str(source[0]), "", verdict)

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
    count: int, sources: Sequence[list[Path]], *, seed: int = 0, workers: int = 1, keep: Path | None = None
) -> list[Outcome]:
    """Damage and read copies of files.

    Args:
        count: number of mutations; they go round the sources.
        sources: originals, see :func:`find_sources`.
        seed: of the mutations.
        workers: number of processes.
        keep: folder for copies that were not read as they should.

    Returns:
        One outcome for each, in order.
    """

    def work(start: int) -> list[Outcome]:
        worker = _Worker(seed, keep)
        done = [worker.ask(case, sources[case % len(sources)]) for case in range(start, count, workers)]
        worker.close()
        return done

    with ThreadPoolExecutor(workers) as pool:
        return sorted((one for part in pool.map(work, range(workers)) for one in part), key=lambda one: one.case)


def _tally(outcomes: Iterable[Outcome]) -> str:
    by_kind = Counter((one.verdict, one.mutation) for one in outcomes)
    verdicts = Counter(one.verdict for one in outcomes)
    lines = [f"{len(list(outcomes))} mutations"]
    for verdict, number in verdicts.most_common():
        parts = ", ".join(f"{mutation} {n}" for (v, mutation), n in by_kind.most_common() if v == verdict)
        lines.append(f"{number:6d}  {verdict:<22}{parts}")
    return "\n".join(lines)


def main() -> int:
    """Print the tally, and every outcome that must not be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", type=int)
    parser.add_argument("--data", type=Path, help="folder of the sample data")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path, help="folder for copies that were not read as they should")
    args = parser.parse_args()
    outcomes = fuzz(args.count, find_sources(args.data), seed=args.seed, workers=args.workers, keep=args.keep)
    bad = [one for one in outcomes if one.verdict in BAD]
    found = [f"{one.verdict}: case {one.case}, {one.mutation} of {one.source}: {one.detail}" for one in bad]
    sys.stdout.write("\n".join([_tally(outcomes), *found]) + "\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
