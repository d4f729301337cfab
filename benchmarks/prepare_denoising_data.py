# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Lay out the training and validation images of the denoising bundle.

``python benchmarks/prepare_denoising_data.py DATA OUT`` takes the folder of sample data and writes ``OUT/train`` and
``OUT/val`` with one NIfTI file per series; the cine is written slice by slice, so that its moving frames weigh more.
The subjects that the evaluation uses (studyforrest, the GE repeats, the spine, the Canon diffusion scan) are not among
them.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np

TRAIN = {
    "flair": "brain_flair_torchio/fernando_t2flair.nii.gz",
    "t1_stripped": "brain_t1_voxelmorph_aseg/t1.nii.gz",
    "t1_prisma": "brain_t1_siemens_xa30_enhanced/ref_nonorm.nii.gz",
    "asl": "asl_philips_enhanced/ref.nii.gz",
    "phantom": "phantom_philips_cs",
    "fieldmap_e1": "complex_siemens_xa30_fieldmap/ref_mag_e1.nii.gz",
    "epi_mosaic": "dicom_siemens_mosaic_fmri",
}
VALIDATION = {"abdomen": "abdomen_mr_totalseg/mr.nii.gz"}
CINE = "cine_sax_bivme/cine_sax.nii.gz"
VALIDATION_SLICES = (2,)


def copy_images(source: Path, target: Path) -> None:
    """Copy a NIfTI file, or every NIfTI file of a folder under a numbered name."""
    if source.is_file():
        shutil.copy(source, target.with_name(target.name + ".nii.gz"))
        return
    files = sorted(source.glob("*.nii*"))
    for n, file in enumerate(files):
        nib.save(nib.load(file), target.with_name(f"{target.name}_{n}.nii.gz"))


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
    write_cine(args.data / CINE, args.out)


if __name__ == "__main__":
    main()
