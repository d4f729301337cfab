# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Small series, batches of them, and what such a batch leaves behind."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from monai_stcnnt.apps.batch.manifest import MANIFEST
from monai_stcnnt.apps.batch.run import RunResult
from monai_stcnnt.apps.denoising import DenoiseOptions, run_denoising
from tests.apps.dicom_files import moving_disc

__all__ = ["files_of", "run", "write_nifti"]


def write_nifti(path: Path, seed: int = 0, frames: int = 2) -> Path:
    """Write a cine of a moving disc."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(moving_disc(frames, 1, 16, seed).transpose(3, 2, 1, 0).astype(np.float32), np.eye(4))
    image.header.set_xyzt_units("mm", "msec")
    nib.save(image, path)
    return path


def run(scans: Path, output: Path, **options: Any) -> RunResult:  # noqa: ANN401
    """Denoise a file or folder, at a noise level that need not be estimated."""
    chosen = {"noise_sigma": 20.0, "progress": False, **options}
    return run_denoising(DenoiseOptions(input=scans, output=output, **chosen))


def files_of(output: Path) -> dict[str, str]:
    """SHA-256 of every file but the manifest, hidden ones included."""
    files = [file for file in output.rglob("*") if file.is_file() and file.name != MANIFEST]
    return {f.relative_to(output).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
