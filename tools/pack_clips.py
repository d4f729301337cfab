# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Pack what the denoiser learns from into one file that fits on a GPU: ``python tools/pack_clips.py DATA clips.npz``.

DATA is the folder of sample data. Real images become bytes on a square-root scale, which is far below their noise;
those that a scanner interpolated are brought back to their acquired band first. Label maps of whole heads, from which
images of any contrast are drawn, keep their classes. The subjects of the evaluation are not among them.
"""

from __future__ import annotations

import argparse
import json
from importlib.resources import files
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from monai_stcnnt.mri.axis_spectrum import AxisSpectrum
from monai_stcnnt.mri.noise_model import to_acquired

VOLUMES = {
    "t1_stripped": ("brain_t1_voxelmorph_aseg/t1.nii.gz", 1.0),
    "t1_prisma": ("brain_t1_siemens_xa30_enhanced/ref_nonorm.nii.gz", 1.0),
    "fieldmap_e1": ("complex_siemens_xa30_fieldmap/ref_mag_e1.nii.gz", 1.0),
    "flair": ("brain_flair_torchio/fernando_t2flair.nii.gz", 0.6),
    "phantom_1": ("phantom_philips_cs/201_T1W_TSE_Sno_CSno_CSAIno.nii.gz", 0.69),
    "phantom_2": ("phantom_philips_cs/501_T1W_TSE_Sno_CSno_CSAI2.nii.gz", 0.69),
    **{
        f"ms_{patient}_{kind}": (f"ms_lesions_train/patient{patient}/{kind}.nii.gz", 0.64)
        for patient, kinds in (("01", ("flair", "t1w", "t2w")), ("04", ("flair", "t1w", "t2w")), ("09", ("flair",)))
        for kind in kinds
    },
}
"""Name -> path and share of k-space that is kept, (X, Y, slices)."""

SERIES = {
    "cine": ("cine_sax_bivme/cine_sax.nii.gz", 1.0),
    "cine_sunnybrook_1": ("cine_sunnybrook_train/patient001/patient001_4d.nii.gz", 0.8),
    "cine_sunnybrook_4": ("cine_sunnybrook_train/patient004/patient004_4d.nii.gz", 0.8),
    "asl": ("asl_philips_enhanced/ref.nii.gz", 1.0),
    "epi_mosaic": ("dicom_siemens_mosaic_fmri/ref.nii.gz", 1.0),
}
"""Name -> path and share, (X, Y, slices, T): every slice is a clip over time."""

CUBIC = ("t1_stripped", "t1_prisma", "fieldmap_e1", "template")
"""Volumes whose voxels are nearly cubic: cut along any axis."""

VALIDATION = {"abdomen": "abdomen_mr_totalseg/mr.nii.gz"}
VALIDATION_SLICE = ("cine", 2)
VALIDATION_LABELS = ("seg_15",)
NILEARN_T1 = "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"


def reduced(frames: np.ndarray, share: float) -> np.ndarray:
    """Keep a share of k-space of the rows and columns of frames (T, Y, X)."""
    if share == 1.0:
        return frames
    axes = [AxisSpectrum.of_matrix(n, 2 * round(n * share / 2)) for n in frames.shape[1:]]
    return to_acquired(torch.from_numpy(frames).to(torch.complex64), axes).abs().numpy()


def as_bytes(frames: np.ndarray) -> np.ndarray:
    """Bytes on a square-root scale; the brightest 0.02% are cut off."""
    top = max(float(np.quantile(frames, 0.9998)), 1e-12)
    return np.rint(255 * np.sqrt(np.clip(frames / top, 0, 1))).astype(np.uint8)


def load(path: Path) -> np.ndarray:
    """Values (X, Y, Z) or (X, Y, Z, T)."""
    return np.asarray(nib.Nifti1Image.from_filename(path).dataobj, dtype=np.float32)


def images(data: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Clips (frames, Y, X) as bytes, for training and for validation; names begin with the kind."""
    train: dict[str, np.ndarray] = {}
    validation: dict[str, np.ndarray] = {}
    volumes = {name: (load(data / path), share) for name, (path, share) in VOLUMES.items()}
    volumes["template"] = (load(Path(str(files("nilearn"))) / NILEARN_T1), 1.0)
    for name, (values, share) in volumes.items():
        prefix = "cubic" if name in CUBIC else "depth"
        train[f"{prefix}/{name}_all"] = as_bytes(reduced(np.ascontiguousarray(values.transpose(2, 1, 0)), share))
    for name, (path, share) in SERIES.items():
        values = load(data / path)
        for z in range(values.shape[2]):
            clip = as_bytes(reduced(np.ascontiguousarray(values[:, :, z].transpose(2, 1, 0)), share))
            target = validation if (name, z) == VALIDATION_SLICE else train
            target[f"time/{name}_{z}"] = clip
        if "cine" not in name:
            train[f"depth/{name}_all"] = as_bytes(np.ascontiguousarray(values[..., 0].transpose(2, 1, 0)))
    for name, path in VALIDATION.items():
        validation[f"depth/{name}_all"] = as_bytes(np.ascontiguousarray(load(data / path).transpose(2, 1, 0)))
    return train, validation


def labels(data: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Label maps (Z, Y, X) of heads, classes counted from 0 (background)."""
    folder = data / "synthseg_labels_train"
    values = np.array(json.loads((folder / "labels.json").read_text(encoding="utf-8"))["values"])
    maps = {
        path.name.split(".")[0]: np.searchsorted(values, load(path).astype(int)).astype(np.uint8).transpose(2, 1, 0)
        for path in sorted(folder.glob("seg_*.nii.gz"))
    }
    train = {f"labels/{name}": found for name, found in maps.items() if name not in VALIDATION_LABELS}
    return train, {f"labels/{name}": maps[name] for name in VALIDATION_LABELS}


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    parts = [found for pair in (images(options.data), labels(options.data)) for found in pair]
    train, validation = {**parts[0], **parts[2]}, {**parts[1], **parts[3]}
    arrays = {f"train/{k}": v for k, v in train.items()} | {f"validation/{k}": v for k, v in validation.items()}
    np.savez_compressed(options.output, **arrays)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
