# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Measure denoising from file to file: time by step, peak memory, and what the overlap of windows does.

    python benchmarks/end_to_end.py CINE.nii.gz --json end_to_end.json
    python benchmarks/end_to_end.py --large 50 200 --windows 4
    python benchmarks/end_to_end.py CINE.nii.gz --seams

The first denoises one slice of a 4-D file and the whole of it, the second uncompressed float32 series of
256 x 256 x 12 with so many frames. With ``--windows`` the first windows go through the network and the others pass as
they are, which needs the same memory in less time. Every series
is denoised in a process of its own: peak memory is that of the process, with Python, PyTorch and the network. Time that
one step spends inside another counts for the inner one. The third compares overlaps of windows with a far larger one.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from monai_stcnnt.apps.bundles import bundle_folder, expected_remarks, open_inference
from monai_stcnnt.data import SeriesReader, open_series
from monai_stcnnt.data.formats.dicom.slabs import DicomSlabs
from monai_stcnnt.data.formats.nifti import NiftiSlabs
from monai_stcnnt.data.formats.nifti_writer import NiftiSink
from monai_stcnnt.data.sinks import RecordSink, SeriesSink
from monai_stcnnt.data.slabs import MemorySlabs
from monai_stcnnt.engines import streamed_denoising
from monai_stcnnt.inferers import FrameSlidingWindowInferer
from monai_stcnnt.mri.noise_level import estimate_noise_level

__all__ = ["Clock", "Passing", "by_step", "large_series", "main", "measure", "seams", "table"]

STEPS = ("reading", "noise level", "network", "stitching", "writing", "engine")
"""What the time goes to; ``engine`` is the rest of the run, such as MONAI's workflow."""

WRAPPED: list[tuple[Any, str, str]] = [
    (SeriesReader, "open", "reading"),
    (MemorySlabs, "read", "reading"),
    (NiftiSlabs, "read", "reading"),
    (DicomSlabs, "read", "reading"),
    (streamed_denoising, "estimate_series_noise", "noise level"),
    (streamed_denoising, "denoise_series", "stitching"),
    (NiftiSink, "write", "writing"),
    (RecordSink, "write", "writing"),
    (SeriesSink, "__enter__", "writing"),
    (SeriesSink, "__exit__", "writing"),
]
OVERLAPS = (0.0, 0.125, 0.25, 0.5)
FAR_OVERLAP = 0.75


class Clock:
    """Adds up seconds by step; a step inside another stops the outer one.

    Attributes:
        seconds: by step.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._running: list[str] = []
        self._since = 0.0

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count what happens inside for a step."""
        self._charge()
        self._running.append(name)
        try:
            yield
        finally:
            self._charge()
            self._running.pop()

    def wrap(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """Make a function whose calls count for a step."""

        def timed(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever the function takes
            with self.step(name):
                return function(*args, **kwargs)

        return timed

    def _charge(self) -> None:
        now = time.perf_counter()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now


class Passing(torch.nn.Module):
    """A network for the first windows; the others pass as they are.

    Args:
        network: the network.
        windows: how many windows go through it; None for all.
    """

    def __init__(self, network: torch.nn.Module, windows: int | None) -> None:
        super().__init__()
        self.network = network
        self.left = sys.maxsize if windows is None else windows

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the network on (n, C, T, H, W), or give back the image without the g-factor map."""
        if self.left <= 0:
            return x[:, :-1]
        self.left -= len(x)
        out: torch.Tensor = self.network(x)
        return out


def by_step(source: Path, windows: int | None = None, **overrides: Any) -> dict[str, Any]:  # noqa: ANN401
    """Denoise a series in this process with the bundle.

    Args:
        source: the series.
        windows: how many windows go through the network; None for all.
        **overrides: entries of the bundle's inference config.

    Returns:
        Seconds by step and in all, the share outside of the network, and peak memory in MiB before and after.
    """
    clock = Clock()
    kept = [(owner, name, getattr(owner, name)) for owner, name, _ in WRAPPED]
    for (owner, name, function), (*_, step) in zip(kept, WRAPPED, strict=True):
        setattr(owner, name, clock.wrap(function, step))
    try:
        with tempfile.TemporaryDirectory(dir=source.parent) as folder, expected_remarks():
            workflow = open_inference(
                bundle_folder("mri_denoising"), input_file=str(source), output_dir=folder, progress=False, **overrides
            )
            engine = workflow.parser.get_parsed_content("streamed")
            network = Passing(engine.network, windows)
            network.forward = clock.wrap(network.forward, "network")  # type: ignore[method-assign]
            engine.network = network
            before = peak_memory()
            with clock.step("engine"):
                workflow.run()
            workflow.finalize()
    finally:
        for owner, name, function in kept:
            setattr(owner, name, function)
    seconds = {step: clock.seconds[step] for step in STEPS}
    total = sum(seconds.values())
    outside = 1 - seconds["network"] / total
    return {"seconds": seconds, "total": total, "outside": outside, "before": before, "peak": peak_memory()}


def peak_memory() -> float:
    """Largest resident memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(source: Path, windows: int | None = None, repeats: int = 1) -> dict[str, Any]:
    """Denoise a series in processes of their own.

    Args:
        source: the series.
        windows: see :func:`by_step`.
        repeats: how often.

    Returns:
        The run with the median share outside of the network, with the series' shape.
    """
    runs = []
    for _ in range(repeats):
        command = [sys.executable, "-W", "ignore", __file__, "--child", str(source)]
        command += [] if windows is None else ["--windows", str(windows)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # nosec B603
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    run: dict[str, Any] = sorted(runs, key=lambda one: one["outside"])[len(runs) // 2]
    with open_series(source, memory=0, check=False) as series:
        shape = [int(n) for n in series.meta["file_shape"]]
    return {"series": source.name, "shape": shape, "repeats": repeats, "windows": windows, **run}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Lay rows of :func:`measure` out in Markdown: shares of the time, and memory."""
    names = ["series", "voxels", "seconds", *STEPS, "outside of the network", "peak memory (MiB)"]
    lines = [f"| {' | '.join(names)} |", f"|{'|'.join('---' for _ in names)}|"]
    for row in rows:
        shares = [f"{100 * row['seconds'][step] / row['total']:.2f}%" for step in STEPS]
        cells = [
            row["series"],
            " x ".join(map(str, row["shape"])),
            f"{row['total']:.1f}",
            *shares,
            f"{100 * row['outside']:.2f}%",
            f"{row['peak']:.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def large_series(path: Path, frames: int, size: tuple[int, int, int] = (256, 256, 12)) -> Path:
    """Write an uncompressed float32 series, volume by volume.

    Args:
        path: the file.
        frames: number of frames.
        size: columns, rows, slices.

    Returns:
        The path.
    """
    header = nib.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape((*size, frames))
    header.set_sform(np.diag([1.5, 1.5, 8, 1]), 1)
    header["vox_offset"] = 352
    y, x = np.mgrid[-1 : 1 : size[1] * 1j, -1 : 1 : size[0] * 1j]
    noise = np.random.default_rng(0).normal(0, 10, (2, size[2], *x.shape)).astype(np.float32)
    with open(path, "wb") as file:
        header.write_to(file)
        file.seek(352)
        for frame in range(frames):
            disc = np.float32(200.0) * (x**2 + (y - 0.2 * np.sin(frame / 4)) ** 2 < 0.4)
            shifted = np.roll(noise, frame, (-2, -1))
            file.write(np.hypot(disc + shifted[0], shifted[1]).tobytes())
    return path


def seams(source: Path, size: tuple[int, int, int] = (25, 128, 128)) -> list[dict[str, Any]]:
    """Compare overlaps of windows with a far larger one.

    Args:
        source: a 4-D file; the middle of its first slice is used.
        size: frames, rows and columns to use.

    Returns:
        For every overlap: its number of windows, seconds, and the difference in noise levels: root mean square, and the
        largest of 99.9% of the pixels.
    """
    with open_series(source) as series:
        values = torch.from_numpy(series.read(slice(0, size[0]), slice(0, 1)))[:, :, 0]
    sigma = estimate_noise_level(values).sigma
    rows, columns = ((n - m) // 2 for n, m in zip(values.shape[-2:], size[1:], strict=True))
    image = values[None, :, :, rows : rows + size[1], columns : columns + size[2]] / sigma
    with expected_remarks(), tempfile.TemporaryDirectory() as folder:
        workflow = open_inference(bundle_folder("mri_denoising"), input_file=str(source), output_dir=folder)
        network, window = workflow.evaluator.network.eval(), workflow.evaluator.inferer.window
    image = torch.cat([image, torch.ones_like(image[:, :1])], dim=1)
    results, found = {}, []
    for overlap in (FAR_OVERLAP, *OVERLAPS):
        inferer = FrameSlidingWindowInferer(window, overlap=overlap, shrink_to_image=True)
        start = time.perf_counter()
        with torch.no_grad():
            results[overlap] = inferer(image, network)
        seconds = time.perf_counter() - start
        error = (results[overlap] - results[FAR_OVERLAP]).abs()
        found.append(
            {
                "overlap": overlap,
                "windows": inferer.count_windows(image.shape[2:]),
                "windows of a large image": (1 - overlap) ** -3,
                "seconds": seconds,
                "rms": float(error.square().mean().sqrt()),
                "largest": float(np.quantile(error.numpy(), 0.999)),
            }
        )
    return found


def seam_table(found: Sequence[dict[str, Any]]) -> str:
    """Lay rows of :func:`seams` out in Markdown."""
    names = ["overlap", "windows", "windows of a large image", "seconds", "rms difference", "99.9% are below"]
    lines = [f"| {' | '.join(names)} |", f"|{'|'.join('---:' for _ in names)}|"]
    for row in found:
        times, error = f"{row['windows of a large image']:.1f} times", f"{row['rms']:.4f} | {row['largest']:.3f}"
        lines.append(f"| {row['overlap']:g} | {row['windows']} | {times} | {row['seconds']:.0f} | {error} |")
    return "\n".join(lines)


def slices_of(source: Path, folder: Path) -> list[Path]:
    """Write one slice of a 4-D file and the whole of it, as the user would have them."""
    image = nib.load(source)
    assert isinstance(image, nib.Nifti1Image)
    one, stack = folder / "one_slice.nii.gz", folder / "stack.nii.gz"
    middle = image.shape[2] // 2
    nib.save(image.slicer[:, :, middle : middle + 1], one)
    nib.save(image, stack)
    return [one, stack]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, nargs="?", help="4-D NIfTI file")
    parser.add_argument("--large", type=int, nargs="+", metavar="FRAMES", help="denoise large series of so many frames")
    parser.add_argument("--seams", action="store_true", help="compare overlaps of windows")
    parser.add_argument("--windows", type=int, help="how many windows go through the network; default: all")
    parser.add_argument("--repeats", type=int, default=1, help="processes for every series; the median counts")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        sys.stdout.write(json.dumps(by_step(options.source, options.windows)) + "\n")
        return
    rows: list[dict[str, Any]]
    with tempfile.TemporaryDirectory(dir=options.json.parent if options.json else None) as folder:
        if options.seams:
            rows = seams(options.source)
            sys.stdout.write(seam_table(rows) + "\n")
        else:
            place = Path(folder)
            rows = []
            if options.source is not None:
                rows = [measure(p, options.windows, options.repeats) for p in slices_of(options.source, place)]
            for frames in options.large or []:
                path = large_series(place / f"{frames}_frames.nii", frames)
                rows.append(measure(path, options.windows, options.repeats))
                path.unlink()
            sys.stdout.write(table(rows) + "\n")
    if options.json is not None:
        figures = {"threads": torch.get_num_threads(), "torch": torch.__version__, "rows": rows}
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
