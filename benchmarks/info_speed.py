# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""How long ``stcnnt info`` takes for a file of a large DICOM folder, beside pydicom's own reading of the header.

    python -m benchmarks.info_speed --files 7000 --series 11 --output build/info_speed.json

The folder is made of MR images with the header of a scanner file that comes with pydicom. Both are run in turn in one
process, by processor time, so that the ratio means something on any machine, whatever else runs on it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.uid import UID

from monai_stcnnt.apps.info import describe

__all__ = ["main", "make_folder", "measure"]

_SLICES = 20


def make_folder(folder: Path, files: int, series: int) -> None:
    """Write series of volumes of 20 slices, two seconds apart, all files in one folder.

    Args:
        folder: where to.
        files: how many.
        series: how many series they make.
    """
    dataset = pydicom.dcmread(str(get_testdata_file("MR_small.dcm", download=False)))
    values = np.random.default_rng(0).integers(0, 4096, dataset.Rows * dataset.Columns).astype("<u2")
    dataset.PixelData, dataset.PixelRepresentation = values.tobytes(), 0
    for number in range(files):
        index, place = divmod(number // series, _SLICES)
        dataset.SeriesNumber = number % series + 1
        dataset.SeriesInstanceUID = f"1.2.3.{dataset.SeriesNumber}"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID(f"1.2.3.4.{number}")
        dataset.ImagePositionPatient, dataset.InstanceNumber = [0, 0, 3 * place], number // series + 1
        dataset.AcquisitionTime = time.strftime("%H%M%S", time.gmtime(36000 + 2 * index))
        dataset.save_as(folder / f"IM{number:06d}")


def measure(folder: Path, repeats: int) -> dict[str, float]:
    """Time both readings in turn.

    Args:
        folder: of DICOM files.
        repeats: how often.

    Returns:
        Milliseconds for one file, median over the repeats, and their ratio.
    """
    paths = sorted(folder.iterdir())

    def headers() -> None:
        for path in paths:
            pydicom.dcmread(path, stop_before_pixels=True)

    def timed(function: Callable[[], object]) -> float:
        start = time.process_time()
        function()
        return 1000 * (time.process_time() - start) / len(paths)

    headers()
    pairs = [(timed(headers), timed(lambda: describe(folder))) for _ in range(repeats)]
    header, info = (statistics.median(times) for times in zip(*pairs, strict=True))
    return {
        "files": len(paths),
        "dcmread_ms": round(header, 3),
        "info_ms": round(info, 3),
        "ratio": round(info / header, 2),
    }


def main() -> None:
    """Make the folder, measure, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=7000)
    parser.add_argument("--series", type=int, default=11)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("build/info_speed.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        make_folder(Path(name), options.files, options.series)
        found = measure(Path(name), options.repeats)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
