# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Measure what is read, written and refused: one row for every series of the sample scans and of installed packages.

    python benchmarks/file_support.py --data DATA                        print the table
    python benchmarks/file_support.py --data DATA --file docs/files.md   put it between the marks in that file

Every series is read, multiplied by 0.9 so that its values are no whole numbers, written as the same kind, and read
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
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import pydicom
from pydicom.data import get_testdata_file

from monai_stcnnt.apps import describe
from monai_stcnnt.apps.info import SeriesSummary
from monai_stcnnt.data import SeriesRecord, read_series, write_dicom_series, write_nifti
from monai_stcnnt.errors import StcnntError

__all__ = ["Row", "main", "measure", "sources", "table"]

_PYDICOM = (
    "MR_small.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm", "examples_overlay.dcm", "examples_rgb_color.dcm",
)  # fmt: skip
_NIBABEL = ("nicom/tests/data/philips_mprage.dcm.gz", "nicom/tests/data/siemens_dwi_1000.dcm.gz")
_EXACT = "NIfTI, exact"
_GAIN = np.float32(0.9)


@dataclass(frozen=True)
class Row:
    """One line of the table; texts in markdown."""

    vendor: str
    kind: str
    file: str
    read: str
    written: str


def sources(data: Path | None, scratch: Path) -> Iterator[tuple[str, Path]]:
    """List what to measure.

    Args:
        data: folder of the sample scans, or None for what comes with pydicom and nibabel only.
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
    for name in _PYDICOM:
        file = get_testdata_file(name, download=False)
        if isinstance(file, str):
            yield f"pydicom: {name}", Path(file)
    for name in _NIBABEL:
        yield f"nibabel: {Path(name).name}", _unpacked(Path(str(files("nibabel"))) / name, scratch)


def _unpacked(packed: Path, scratch: Path) -> Path:
    target = scratch / packed.name.removesuffix(".gz")
    with gzip.open(packed) as source, open(target, "wb") as file:
        shutil.copyfileobj(source, file)
    return target


def measure(name: str, path: Path, scratch: Path) -> list[Row]:
    """Read and write every series of a file or folder.

    Args:
        name: what to call it.
        path: the file or folder.
        scratch: folder for what is written.

    Returns:
        One row for each series.
    """
    try:
        found = describe(path)
    except StcnntError as error:
        return [Row("", "", f"`{name}`", _refusal(error, path), "")]
    return [_row(summary, name, scratch) for summary in found]


def _row(summary: SeriesSummary, name: str, scratch: Path) -> Row:
    title = f"`{name}`" + (f", series {summary.series}" if summary.series else "")
    kind = _kind(summary)
    try:
        record = read_series(summary.path, series=summary.series or None)
    except StcnntError as error:
        return Row(summary.vendor or "-", kind, title, _refusal(error, Path(summary.path)), "")
    sizes = " x ".join(map(str, record.array.shape[:0:-1]))
    step = "" if np.isnan(record.frame_time) else f", {record.frame_time:.4g} ms"
    return Row(summary.vendor or "-", kind, title, f"{record.kind}, {sizes}{step}", _written(record, scratch))


def _kind(summary: SeriesSummary) -> str:
    """Format, and for DICOM how frames are stored."""
    if summary.file_format != "dicom":
        return {"nifti": "NIfTI", "numpy": "NumPy"}.get(summary.file_format, "other")
    path = Path(summary.path)
    first = path if path.is_file() else next(file for file in sorted(path.iterdir()) if file.is_file())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = pydicom.dcmread(first, stop_before_pixels=True)
    image_type = [str(token) for token in header.get("ImageType") or []]
    storage = "enhanced" if "NumberOfFrames" in header else "mosaic" if "MOSAIC" in image_type else "classic"
    native = ("Explicit VR Little Endian", "Implicit VR Little Endian", "")
    syntax = header.file_meta.TransferSyntaxUID.name
    return f"DICOM {storage}" + ("" if syntax in native else f", {syntax}")


def _refusal(error: StcnntError, path: Path) -> str:
    """The sentence without folders."""
    text = str(error).replace(f"{path}/", "").replace(f"{path.parent}/", "")
    return f"refused: {text}".replace("|", "/")


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
        error = float(np.abs(again.array - changed.array).max())
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
        rows.append(Row("-", "NIfTI", f"{len(exact)} files, 3D and 4D", "values, geometry and times", _EXACT))
    ordered = sorted(rows, key=lambda row: (not row.kind.startswith("DICOM"), row.vendor.lower(), row.kind, row.file))
    lines = ["| vendor | kind | measured on | read | written |", "|---|---|---|---|---|"]
    lines += [f"| {r.vendor} | {r.kind} | {r.file} | {r.read} | {r.written} |" for r in ordered]
    return "\n".join(lines)


def main() -> None:
    """Measure everything and print the table, or put it into a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, help="folder of the sample scans")
    parser.add_argument("--file", type=Path, help="markdown file with the marks <!-- files --> and <!-- /files -->")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        rows = [row for name, path in sources(args.data, scratch) for row in measure(name, path, scratch)]
    if args.file is None:
        sys.stdout.write(table(rows) + "\n")
        return
    text = args.file.read_text(encoding="utf-8")
    before, rest = text.split("<!-- files -->\n")
    after = rest.split("<!-- /files -->")[1]
    args.file.write_text(f"{before}<!-- files -->\n{table(rows)}\n<!-- /files -->{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
