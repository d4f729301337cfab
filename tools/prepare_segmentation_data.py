# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Lay out the training and test images of the segmentation bundle.

``python tools/prepare_segmentation_data.py DATA OUT`` takes the folder of sample data and writes folders in the
layout of ACDC:

- ``OUT/train``: slices 0, 2, 4 and 5 of the cine, one patient each, with its automatic labels, and simulated hearts;
- ``OUT/transfer``: simulated hearts, and for the same slices label maps with synthetic images: no real image;
- ``OUT/val``: further simulated hearts;
- ``OUT/test``: slices 1 and 3 of the cine.

All slices are of one heart: the neighbors of the test slices are in the training. Training and cross-validation by
patient take another folder:

- ``OUT/hearts``: that cine as one patient, ``bivme``, and the partly labelled patients of ``cine_sunnybrook_train``
  with their ``labelled.json``.

With ``--brain MNI``, the folder ``nilearn/datasets/data`` of an installed nilearn, it also writes folders of images and
labels of brain tissue (1 cerebrospinal fluid, 2 gray matter, 3 white matter): ``OUT/brain_train``, the MNI template
there with its tissue maps, and ``OUT/brain_test``, a T1w scan of one person with tissues from its automatic FreeSurfer
labels.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from monai_stcnnt.data import MNMS_TO_ACDC
from monai_stcnnt.mri.phantom import cine_phantom
from monai_stcnnt.transforms import image_from_labels

__all__ = ["main", "phantom_arrays", "write_patient"]

CINE = "cine_sax_bivme/cine_sax.nii.gz"
CINE_LABELS = "cine_sax_bivme/cine_sax_label.nii.gz"
EXPERTS = "cine_sunnybrook_train"
TEST_SLICES = (1, 3)
PHANTOM_SIZE = (12, 176, 176)
"""The phantom's label values are those of M&Ms."""
ASEG_TISSUES = {
    1: (4, 5, 14, 15, 24, 43, 44, 72),
    2: (3, 8, 10, 11, 12, 13, 17, 18, 26, 42, 47, 49, 50, 51, 52, 53, 54, 58),
    3: (2, 7, 16, 28, 41, 46, 60, 77, 85, 251, 252, 253, 254, 255),
}
"""Ventricles; cortex and deep nuclei; white matter, brain stem and ventral diencephalon."""


def write_patient(folder: Path, image: nib.Nifti1Image, labels: np.ndarray) -> None:
    """Write one patient in the layout of ACDC.

    Args:
        folder: named after the patient; made where it is missing.
        image: (X, Y, Z, T).
        labels: classes of ACDC, of the same shape; every frame becomes a file. The first frame is end diastole, the one
            with the smallest left ventricle end systole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    nib.save(image, folder / f"{folder.name}_4d.nii.gz")
    for frame in range(labels.shape[3]):
        mask = nib.Nifti1Image(labels[..., frame].astype(np.uint8), image.affine)
        nib.save(mask, folder / f"{folder.name}_frame{frame + 1:02d}_gt.nii.gz")
    systole = int(np.argmin((labels == 3).sum((0, 1, 2)))) + 1
    (folder / "Info.cfg").write_text(f"ED: 1\nES: {systole}\nNbFrame: {labels.shape[3]}\n", encoding="utf-8")


def phantom_arrays(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Image and labels (X, Y, 1, T) of a simulated heart."""
    phantom = cine_phantom(PHANTOM_SIZE, np.random.RandomState(seed))
    image = phantom.image.abs().numpy().astype(np.float32).T[:, :, None]
    labels = np.vectorize(MNMS_TO_ACDC.__getitem__, otypes=[np.uint8])(phantom.labels.numpy()).T[:, :, None]
    return image, labels


def synthetic_image(labels: np.ndarray, seed: int) -> np.ndarray:
    """Image (X, Y, 1, T) from labels of that shape."""
    rng = np.random.RandomState(seed)
    frames = torch.from_numpy(labels[:, :, 0].T.astype(np.float32))
    return image_from_labels(rng, frames, ((0.4, 1.0), (0.05, 0.5), (0.4, 1.0))).numpy().T[:, :, None]


def write_phantoms(folder: Path, seeds: range) -> None:
    """Write simulated hearts, one patient per seed."""
    affine = np.diag([1.4, 1.4, 8.0, 1.0])
    for seed in seeds:
        image, labels = phantom_arrays(seed)
        write_patient(folder / f"patient{500 + seed}", nib.Nifti1Image(image, affine), labels)


def write_cine(data: Path, out: Path) -> None:
    """Write every slice of the cine as a patient of its own."""
    image = nib.Nifti1Image.from_filename(data / CINE)
    labels = np.asarray(nib.Nifti1Image.from_filename(data / CINE_LABELS).dataobj)
    for z in range(image.shape[2]):
        part, mask = image.slicer[:, :, z : z + 1], labels[:, :, z : z + 1]
        name = f"patient{z + 1:03d}"
        write_patient(out / ("test" if z in TEST_SLICES else "train") / name, part, mask)
        if z not in TEST_SLICES and mask.any():
            synthetic = nib.Nifti1Image(synthetic_image(mask, z), part.affine)
            write_patient(out / "transfer" / name, synthetic, mask)


def write_hearts(data: Path, folder: Path) -> None:
    """Write every patient as a whole stack: the cine with its automatic labels, and those that experts drew."""
    image = nib.Nifti1Image.from_filename(data / CINE)
    write_patient(folder / "bivme", image, np.asarray(nib.Nifti1Image.from_filename(data / CINE_LABELS).dataobj))
    for patient in sorted((data / EXPERTS).iterdir()):
        shutil.copytree(patient, folder / patient.name, dirs_exist_ok=True)


def tissue_of_aseg(labels: np.ndarray) -> np.ndarray:
    """Turn FreeSurfer's labels into 1 cerebrospinal fluid, 2 gray matter, 3 white matter; the rest is 0."""
    out = np.zeros(labels.shape, np.uint8)
    for tissue, values in ASEG_TISSUES.items():
        out[np.isin(labels, values)] = tissue
    return out


def write_brain(data: Path, template: Path, out: Path) -> None:
    """Write the two folders of brain tissue, all in the axes right, anterior, superior."""
    t1, gray, white = (
        nib.Nifti1Image.from_filename(template / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz")
        for name in ("t1", "gm", "wm")
    )
    head, g, w = (np.asarray(image.dataobj).astype(np.float32) for image in (t1, gray, white))
    tissues = np.where(g + w < 128, 1, np.where(g >= w, 2, 3)) * (head > 0)
    scan, aseg = (
        nib.Nifti1Image.from_filename(data / "brain_t1_voxelmorph_aseg" / f"{name}.nii.gz") for name in ("t1", "aseg")
    )
    pairs = {
        "brain_train/{}/mni.nii.gz": (t1, tissues),
        "brain_test/{}/voxelmorph.nii.gz": (scan, tissue_of_aseg(np.asarray(aseg.dataobj))),
    }
    for name, (image, labels) in pairs.items():
        mask = nib.Nifti1Image(labels.astype(np.uint8), image.affine)
        for kind, volume in (("images", image), ("labels", mask)):
            file = out / name.format(kind)
            file.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.as_closest_canonical(volume), file)


def main() -> None:
    """Write the folders."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--phantoms", type=int, default=4, help="simulated hearts in each training folder")
    parser.add_argument("--brain", type=Path, help="brain tissue as well: nilearn's folder of templates")
    args = parser.parse_args()
    write_cine(args.data, args.out)
    write_hearts(args.data, args.out / "hearts")
    for name in ("train", "transfer"):
        write_phantoms(args.out / name, range(args.phantoms))
    write_phantoms(args.out / "val", range(100, 102))
    if args.brain:
        write_brain(args.data, args.brain, args.out)
    sys.stdout.write(f"wrote {args.out}/train, transfer, val, test and hearts\n")


if __name__ == "__main__":
    main()
