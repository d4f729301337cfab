# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Measure what is read, split, skipped, refused and written: sample scans, files of installed packages, odd files.

    python -m benchmarks.file_support --data DATA --cases CASES                        print the table
    python -m benchmarks.file_support --data DATA --cases CASES --file docs/files.md   put it between the marks there

Every image is read, multiplied by 0.9 so that its values are no whole numbers, written as the same kind, and read
again. A row tells the largest difference, in steps of the 16 bits that DICOM has, and whether geometry and times came
back.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import pydicom
from pydicom.data import get_testdata_file

from benchmarks.page_parts import write_part
from monai_stcnnt.apps import describe
from monai_stcnnt.apps.info import SeriesSummary
from monai_stcnnt.data import SeriesRecord, read_series, write_dicom_series, write_nifti
from monai_stcnnt.data.formats.dicom.headers import is_dicom, syntax_of
from monai_stcnnt.data.paths import files_below
from monai_stcnnt.errors import StcnntError

__all__ = ["Row", "main", "measure", "sources", "table"]

_PYDICOM = (
    "MR_small.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm", "examples_overlay.dcm", "examples_rgb_color.dcm",
)  # fmt: skip
_NIBABEL = ("nicom/tests/data/philips_mprage.dcm.gz", "nicom/tests/data/siemens_dwi_1000.dcm.gz")
_EXACT = "NIfTI, exact"
_MOST_KEYS = 5
_GAIN = np.float32(0.9)


@dataclass(frozen=True)
class Row:
    """One line of the table; texts in markdown."""

    vendor: str
    kind: str
    file: str
    read: str = ""
    split: str = ""
    skipped: str = ""
    refused: str = ""
    written: str = ""


def sources(data: Path | None, cases: Path | None, scratch: Path) -> Iterator[tuple[str, Path]]:
    """List what to measure.

    Args:
        data: folder of the sample scans, or None for what comes with pydicom and nibabel only.
        cases: folder of folders with odd files, each in its own folder ``data``, or None.
        scratch: folder to unpack compressed DICOM files to.

    Yields:
        A name for the table, and a file or folder.
    """
    if data is not None:
        for folder in sorted(path for path in data.iterdir() if path.is_dir()):
            for packed in folder.rglob("*.dcm.gz"):
                yield packed.relative_to(data).as_posix(), _unpacked(packed, scratch)
            try:
                found = dict.fromkeys(Path(summary.path) for summary in describe(folder))
            except StcnntError:
                found = dict.fromkeys(sorted(folder.glob("*.npy")))
            for path in found:
                yield path.relative_to(data).as_posix(), path
    if cases is not None:
        yield from _odd(cases)
    for name in _PYDICOM:
        file = get_testdata_file(name, download=False)
        if isinstance(file, str):
            yield f"pydicom: {name}", Path(file)
    for name in _NIBABEL:
        yield f"nibabel: {Path(name).name}", _unpacked(Path(str(files("nibabel"))) / name, scratch)


def _odd(cases: Path) -> Iterator[tuple[str, Path]]:
    """Images in the folders of odd files."""
    for folder in sorted(path for path in cases.iterdir() if path.is_dir()):
        for path in dict.fromkeys(Path(summary.path) for summary in describe(folder)):
            inner = path.relative_to(folder / "data").as_posix()
            yield f"case {folder.name}" + ("" if inner == "." else f": {inner}"), path


def _unpacked(packed: Path, scratch: Path) -> Path:
    target = scratch / packed.name.removesuffix(".gz")
    with gzip.open(packed) as source, open(target, "wb") as file:
        shutil.copyfileobj(source, file)
    return target


def measure(name: str, path: Path, scratch: Path) -> Row:
    """Read and write every image of a file or folder.

    Args:
        name: what to call it.
        path: the file or folder.
        scratch: folder for what is written.

    Returns:
        Its row.
    """
    try:
        found = describe(path)
    except StcnntError as error:
        return Row("", "", f"`{name}`", refused=_sentence(str(error), path))
    found = [summary for summary in found if not summary.members]
    read: Counter[str] = Counter()
    written: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for summary in found:
        try:
            record = read_series(summary.path, series=summary.series or None)
        except StcnntError as error:
            refused[_sentence(str(error), Path(summary.path))] += 1
            continue
        sizes = " x ".join(map(str, record.array.shape[:0:-1]))
        step = "" if np.isnan(record.frame_time) else f", {record.frame_time:.4g} ms"
        read[f"{record.kind}, {sizes}{step}"] += 1
        try:
            written[_written(record, scratch)] += 1
        except StcnntError as error:
            written[f"not read again: {_sentence(str(error), scratch)}"] += 1
    keys = [summary.series for summary in found if summary.series]
    shown = keys if len(keys) <= _MOST_KEYS else [keys[0], keys[1], "...", keys[-1]]
    skipped = f"{found[0].skipped} files" if found[0].skipped else ""
    cells = [_counted(one) for one in (read, refused, written)]
    first = found[0]
    return Row(first.vendor or "-", _kind(first), f"`{name}`", cells[0], ", ".join(shown), skipped, cells[1], cells[2])


def _counted(texts: Counter[str]) -> str:
    return "; ".join(text if number == 1 else f"{number}: {text}" for text, number in texts.items())


def _kind(summary: SeriesSummary) -> str:
    """Format, and for DICOM how frames are stored."""
    if summary.file_format != "dicom":
        return {"nifti": "NIfTI", "numpy": "NumPy"}.get(summary.file_format, "other")
    path = Path(summary.path)
    first = path if path.is_file() else next(file for file in files_below(path) if is_dicom(file))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = pydicom.dcmread(first, stop_before_pixels=True, force=True)
    image_type = [str(token) for token in header.get("ImageType") or []]
    is_mosaic = bool({"MOSAIC", "VFRAME"}.intersection(image_type))
    storage = "enhanced" if "NumberOfFrames" in header else "mosaic" if is_mosaic else "classic"
    native = ("Explicit VR Little Endian", "Implicit VR Little Endian", "")
    syntax = syntax_of(header).name
    return f"DICOM {storage}" + ("" if syntax in native else f", {syntax}")


def _sentence(text: str, path: Path) -> str:
    """What an error says, without folders."""
    return text.replace(f"{path}/", "").replace(f"{path.parent}/", "").replace("|", "/")


def _written(record: SeriesRecord, scratch: Path) -> str:
    """Write a record with other values as the same kind, and compare."""
    changed = record.with_array(record.array * _GAIN)
    if record.metadata["file_format"] == "dicom" and record.kind == "magnitude":
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            series = write_dicom_series(changed, Path(folder) / "out")
            again = read_series(series, check=False)
            step = float(pydicom.dcmread(next(series.iterdir())).RescaleSlope)
        error = float(np.abs(again.array - changed.array).max()) / step
        text = f"derived series, {error:.2f} steps"
    else:
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            again = read_series(write_nifti(changed, Path(folder) / "out.nii"), check=False)
        error = float(np.nanmax(np.abs(again.array - changed.array)))
        text = _EXACT if error == 0 else f"NIfTI, differences up to {error:.2g}"
    is_placed = np.allclose(again.affine, record.affine, atol=1e-3)
    is_timed = np.allclose(again.frame_times, record.frame_times, atol=1e-2, equal_nan=True)
    lost = [what for what, kept in (("geometry", is_placed), ("times", is_timed)) if not kept]
    return text + (f"; {' and '.join(lost)} differ" if lost else "")


def table(rows: list[Row]) -> str:
    """Write rows as a markdown table.

    Args:
        rows: the rows; files of one vendor and kind stand together, and NIfTI files that come back exactly in one row.

    Returns:
        The table.
    """
    exact = [row for row in rows if row.written == _EXACT and row.kind == "NIfTI"]
    if exact:
        rows = [row for row in rows if row not in exact]
        name = f"{len(exact)} files, 3D and 4D"
        rows.append(Row("-", "NIfTI", name, "values, geometry and times", written=_EXACT))
    ordered = sorted(rows, key=lambda row: (not row.kind.startswith("DICOM"), row.vendor.lower(), row.kind, row.file))
    lines = [
        "| vendor | kind | measured on | read | split into | skipped | refused | written |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [f"| {' | '.join(astuple(row))} |" for row in ordered]
    return "\n".join(lines)


def main() -> None:
    """Measure everything and print the table, or put it into a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, help="folder of the sample scans")
    parser.add_argument("--cases", type=Path, help="folder of folders with odd files")
    parser.add_argument("--file", type=Path, help="markdown file with the marks <!-- files --> and <!-- /files -->")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        rows = [measure(name, path, scratch) for name, path in sources(args.data, args.cases, scratch)]
    if args.file is None:
        sys.stdout.write(table(rows) + "\n")
        return
    write_part(args.file, "files", table(rows))


if __name__ == "__main__":
    main()
