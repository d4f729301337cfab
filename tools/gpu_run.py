# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What is to be done when a GPU is at hand, unattended, in at most ten minutes: ``make gpu CLIPS=clips.npz``.

Three parts, each of which leaves its results in the output folder even where a later one fails: 1. how fast networks
are, and denoising from file to file; 2. training of both networks of the variants, at the same time, with the clips on
the GPU; 3. the new weights in a copy of the bundle, measured on nibabel's scan beside the estimates that they start
from. ``--rehearse`` does the same on the processor, a few steps of everything.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np

__all__ = ["main", "plan"]

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = ROOT / "bundles" / "mri_denoising"
MODES = {"complex": "model_complex.pt", "magnitude": "model.pt"}
SPEED, END_TO_END, EVALUATION = 60, 60, 60
"""Seconds that the other parts may take."""

Command = tuple[str, list[str], float]
"""Name of the log, arguments for Python, largest time in seconds."""


def plan(options: argparse.Namespace) -> list[list[Command]]:
    """The commands of every part; those of one list run at the same time."""
    out, rehearse, device = options.output, options.rehearse, "cpu" if options.rehearse else "cuda"
    clip = ["--quick", "--clip", "2", "16", "16"] if rehearse else ["--rounds", "3"]
    speed = ["-m", "benchmarks.network_speed", "--device", device, "--parts", "gpu", *clip]
    small = (
        ["--steps", "3", "--pixels", "4e3", "--limit", "4", "32", "32"]
        if rehearse
        else ["--seconds", str(options.seconds)]
    )
    training = [
        ["tools/train_on_gpu.py", str(options.clips), str(out / "weights"), "--device", device, *small,
         *start_from(options.weights, f"{variant}_{mode}.pt"), "--variant", variant, "--mode", mode]
        for variant in options.variants for mode in MODES
    ]  # fmt: skip
    quality = [
        "-m", "benchmarks.denoising_quality", "--quick", "--methods", "noisy", "untrained", "bundle", "--snr", "5",
        "--bundle", str(out / "bundle"), "--device", device, "--output", str(out / "denoising_quality.json"),
    ]  # fmt: skip
    patience = 10.0 if rehearse else 1.0
    return [
        [("network_speed", [*speed, "--output", str(out / "network_speed.json")], SPEED * patience)],
        [("end_to_end", ["benchmarks/end_to_end.py", str(out / "cine.nii.gz"), "--json", str(out / "end_to_end.json")],
          END_TO_END * patience)],
        [(f"train_{arguments[-3]}_{arguments[-1]}", arguments, (options.seconds + 60.0) * patience)
         for arguments in training],
        [("denoising_quality", quality, EVALUATION * patience)],
    ]  # fmt: skip


def start_from(folder: Path | None, name: str) -> list[str]:
    """Options for weights to start from, where there are some."""
    return [] if folder is None or not (folder / name).exists() else ["--weights", str(folder.resolve() / name)]


def run(commands: list[Command], out: Path) -> dict[str, str]:
    """Run commands at the same time; what each printed is in a log. Tells how each ended."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    started = []
    for name, arguments, seconds in commands:
        with (out / f"{name}.log").open("w", encoding="utf-8") as log:
            process = subprocess.Popen(  # nosec B603 - commands of this file
                [sys.executable, *arguments], cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        started.append((name, process, time.monotonic() + seconds))
    ends = {}
    for name, process, deadline in started:
        try:
            code = process.wait(max(deadline - time.monotonic(), 1))
            ends[name] = "done" if code == 0 else f"failed with {code}"
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            ends[name] = "stopped, since its time was over"
    return ends


def write_cine(clips: Path, target: Path, *, small: bool) -> None:
    """A cine of the packed clips as a file, for the time from file to file."""
    with np.load(clips, allow_pickle=False) as packed:
        names = [name for name in packed.files if name.startswith("train/time/")]
        longest = packed[max(names, key=lambda name: len(packed[name]))]
    values = (longest[:2, :24, :24] if small else longest).astype(np.float32) ** 2
    noise = 300 * np.random.default_rng(0).standard_normal((2, *values.shape), dtype=np.float32)
    image = np.hypot(values + noise[0], noise[1]).transpose(2, 1, 0)[:, :, None]
    nib.save(nib.Nifti1Image(image, np.diag([1.5, 1.5, 8.0, 1.0])), target)


def copy_bundle(out: Path) -> None:
    """The bundle with the new weights, where there are some."""
    shutil.copytree(BUNDLE, out / "bundle", dirs_exist_ok=True)
    for mode, name in MODES.items():
        weights = out / "weights" / f"light_{mode}.pt"
        if weights.exists():
            shutil.copy(weights, out / "bundle" / "models" / name)


def main(arguments: list[str] | None = None) -> dict[str, str]:
    """Run the parts; returns how each command ended, which is in ``summary.json`` as well."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=Path, required=True, help="file of tools/pack_clips.py")
    parser.add_argument("--output", type=Path, default=Path("gpu_output"))
    parser.add_argument("--variants", nargs="+", default=["light", "base"], choices=["light", "base"])
    parser.add_argument("--seconds", type=float, default=330.0, help="of training")
    parser.add_argument("--weights", type=Path, help="folder of weights to start from, such as light_complex.pt")
    parser.add_argument("--rehearse", action="store_true", help="a few steps of everything, on the processor")
    options = parser.parse_args(arguments)
    options.output, options.clips = options.output.resolve(), options.clips.resolve()
    options.output.mkdir(parents=True, exist_ok=True)
    write_cine(options.clips, options.output / "cine.nii.gz", small=options.rehearse)
    ends: dict[str, str] = {}
    for commands in plan(options):
        if commands[0][0] == "denoising_quality":
            copy_bundle(options.output)
        ends |= run(commands, options.output)
        (options.output / "summary.json").write_text(json.dumps(ends, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write("".join(f"{name}: {end}\n" for name, end in ends.items()))
    return ends


if __name__ == "__main__":
    sys.exit(any(end != "done" for end in main().values()))
