# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Lay out the training and validation images of the denoising bundle.

``python tools/prepare_denoising_data.py DATA OUT`` takes the folder of sample data and writes ``OUT/train`` and
``OUT/val`` with one NIfTI file per series; the cine is written slice by slice, so that its moving frames weigh more,
and volumes with nearly cubic voxels once along each axis. The template that nilearn carries is added.
The subjects that the evaluation uses (studyforrest, the GE repeats, the spine, the Canon diffusion scan) are not among
them.
"""

from __future__ import annotations

import argparse
import shutil
from importlib.resources import files
from pathlib import Path

import nibabel as nib
import numpy as np

TRAIN = {
    "flair": "brain_flair_torchio/fernando_t2flair.nii.gz",
    "asl": "asl_philips_enhanced/ref.nii.gz",
    "phantom": "phantom_philips_cs",
    "epi_mosaic": "dicom_siemens_mosaic_fmri",
}
VOLUMES = {
    "t1_stripped": "brain_t1_voxelmorph_aseg/t1.nii.gz",
    "t1_prisma": "brain_t1_siemens_xa30_enhanced/ref_nonorm.nii.gz",
    "fieldmap_e1": "complex_siemens_xa30_fieldmap/ref_mag_e1.nii.gz",
}
VALIDATION = {"abdomen": "abdomen_mr_totalseg/mr.nii.gz"}
CINE = "cine_sax_bivme/cine_sax.nii.gz"
NILEARN_T1 = "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
"""The average of 152 heads that nilearn carries (BSD-3)."""

VALIDATION_SLICES = (2,)


def copy_images(source: Path, target: Path) -> None:
    """Copy a NIfTI file, or every NIfTI file of a folder under a numbered name."""
    if source.is_file():
        shutil.copy(source, target.with_name(target.name + ".nii.gz"))
        return
    for n, file in enumerate(sorted(source.glob("*.nii*"))):
        nib.save(nib.load(file), target.with_name(f"{target.name}_{n}.nii.gz"))


def write_views(source: Path, target: Path) -> None:
    """Write a volume of nearly cubic voxels three times, each time with another axis last, which becomes the frames."""
    image = nib.Nifti1Image.from_filename(source)
    for view, order in enumerate(((0, 1, 2), (0, 2, 1), (1, 2, 0))):
        data = np.asarray(image.dataobj).transpose(order)
        affine = image.affine[:, [*order, 3]]
        nib.save(nib.Nifti1Image(data, affine), target.with_name(f"{target.name}_{view}.nii.gz"))


def write_cine(source: Path, out: Path) -> None:
    """One file per slice of a 4-D cine."""
    image = nib.Nifti1Image.from_filename(source)
    data = np.asarray(image.dataobj)
    for z in range(data.shape[2]):
        folder = out / ("val" if z in VALIDATION_SLICES else "train")
        nib.save(nib.Nifti1Image(data[:, :, z : z + 1], image.affine, image.header), folder / f"cine_{z}.nii.gz")


def main() -> None:
    """Write the two folders."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    for name, table in (("train", TRAIN), ("val", VALIDATION)):
        (args.out / name).mkdir(parents=True, exist_ok=True)
        for stem, source in table.items():
            copy_images(args.data / source, args.out / name / stem)
    for stem, source in VOLUMES.items():
        write_views(args.data / source, args.out / "train" / stem)
    write_views(Path(str(files("nilearn"))) / NILEARN_T1, args.out / "train" / "template")
    write_cine(args.data / CINE, args.out)


if __name__ == "__main__":
    main()
