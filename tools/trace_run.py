# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Count the files of the package that a call of ``stcnnt`` runs, and the moves from file to file.

``python tools/trace_run.py`` denoises one small NIfTI file, and folders of two and of three with a report, and writes
the counts as JSON. With ``--list`` the path through the files is written as well.

A file counts when a function of it is called; importing it is not counted, so each call is made twice and the second
one is counted. A move is a call in another file than the call before it. Inside of the networks, where a call moves
between layers for every window, moves are not counted, but the files are.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from itertools import groupby, pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import nibabel as nib
import numpy as np

import monai_stcnnt
from monai_stcnnt.apps.cli.app import main as stcnnt

__all__ = ["calls_of", "counts", "main"]

PACKAGE = Path(monai_stcnnt.__file__).parent
NETWORKS = "networks/"


def calls_of(call: Callable[[], object]) -> list[tuple[str, str]]:
    """Note the calls of functions of the package in the order in which they happen.

    Args:
        call: what to trace.

    Returns:
        File relative to the package, and name of the function.
    """
    found: list[tuple[str, str]] = []
    prefix = f"{PACKAGE}/"

    def note(frame: FrameType, event: str, _: Any) -> None:  # noqa: ANN401 - as Python calls it
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(prefix):
            found.append((code.co_filename.removeprefix(prefix), code.co_name))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return found


def counts(calls: list[tuple[str, str]]) -> dict[str, int]:
    """Count files and moves of :func:`calls_of`."""
    files = [file for file, _ in calls]
    outside = [file for file in files if not file.startswith(NETWORKS)]
    return {
        "files": len(set(files)),
        "outside_of_networks": len(set(outside)),
        "moves": sum(one != other for one, other in pairwise(outside)),
    }


def path_of(calls: list[tuple[str, str]]) -> Iterator[str]:
    """Name each file on the way, with the functions that are called in it."""
    outside = ((file, name) for file, name in calls if not file.startswith(NETWORKS))
    for file, names in groupby(outside, key=lambda one: one[0]):
        yield f"{file}: {' '.join(dict.fromkeys(name for _, name in names))}"


def _write_scan(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    disc = 100.0 * (np.hypot(*np.mgrid[-1:1:24j, -1:1:24j]) < 0.6)[..., None, None]
    noise = rng.normal(size=(2, 24, 24, 1, 2)) * 5
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.hypot(disc + noise[0], noise[1]).astype(np.float32), np.eye(4)), path)


def _run(*arguments: object) -> list[tuple[str, str]]:
    def call() -> None:
        sys.argv = ["stcnnt", *map(str, arguments)]
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                stcnnt()
        except SystemExit as stop:
            if stop.code:
                raise

    return calls_of(call)


def main() -> None:
    """Trace the three runs, and write what was counted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="write the path through the files as well")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        for count in (1, 2, 3):
            for number in range(count):
                _write_scan(work / f"scans{count}" / f"{number}.nii.gz", number)
        found = {}
        for turn in ("first", "second"):
            place = work / turn
            found["one file"] = _run("denoise", work / "scans1" / "0.nii.gz", place / "one", "--quiet")
            for count, name in ((2, "two"), (3, "three")):
                report = place / f"{name}.html"
                found[f"folder of {name}, with a report"] = _run(
                    "denoise", work / f"scans{count}", place / name, "--report", report, "--quiet"
                )
    result = {name: counts(calls) for name, calls in found.items()}
    moves = [one["moves"] for one in result.values()]
    result["a further series"] = {"moves": moves[2] - moves[1]}
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    if options.list:
        for name, calls in found.items():
            sys.stdout.write("\n".join(["", f"{name}:", *path_of(calls), ""]))


if __name__ == "__main__":
    main()
