# %% [markdown]
# # Denoise a scan
#
# From a file to a picture in one command, and the same in Python. Then the more important part: how to tell whether a
# denoised image can be trusted. At the end, a DICOM series goes in and a DICOM series comes out.
#
# The scan is a brain EPI that comes with nibabel, 128 x 96 x 24 voxels and two volumes. Nothing is downloaded.
#
# **Research use only.** No result is meant for diagnosis or treatment.

# %%
# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
import json
import shutil
import tempfile
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pydicom
from IPython.display import Image
from pictures import BLUE, GRAY, RED, panels, use_style
from pydicom.data import get_testdata_file
from scipy import ndimage

from monai_stcnnt.apps import denoise
from monai_stcnnt.apps.review.figures import limits
from monai_stcnnt.apps.review.quality import add_series_noise, image_quality, magnitude_record
from monai_stcnnt.apps.review.review import review_series
from monai_stcnnt.apps.review.views import plane_view, residual_signal
from monai_stcnnt.data import read_series, write_nifti

use_style()
work = Path(tempfile.mkdtemp())
with as_file(files("nibabel") / "tests" / "data" / "example4d.nii.gz") as path:
    shutil.copy(path, work / "scan.nii.gz")

# %% [markdown]
# ## One command
#
# `stcnnt denoise INPUT OUTPUT` takes a file, or a folder of NIfTI files or DICOM series. It estimates the noise level
# and prints it. `--report` shows what was done; the ending of its name decides how: `.png` for a picture, `.gif` for
# an animation, `.html` for a page with a slider, which opens offline.

# %%
# !cd {work} && stcnnt denoise scan.nii.gz denoised.nii.gz --report report.png --qc qc.json

# %%
Image(work / "report.png", width=1000)

# %% [markdown]
# Left and middle show the scan before and after. On the right is the residual, before minus after, in units of the noise
# level: it should look like noise, with no trace of anatomy except where the head is. Here it does.
#
# The command also measures the residual, and *flags* a result that breaks a limit. A flag is not a verdict; it says where
# to look. One figure, `whiteness`, tells how little neighbors in the residual resemble each other; in lost detail they do:

# %%
for name, value in json.loads((work / "qc.json").read_text())["series"][0].items():
    if name not in ("source", "series", "result", "report"):
        print(f"{name:<20} {value}")

residual = residual_signal(read_series(work / "scan.nii.gz"), read_series(work / "denoised.nii.gz"))
for axis, name in ((0, "volumes"), (2, "rows"), (3, "columns")):
    one, other = np.moveaxis(residual, axis, 0)[1:], np.moveaxis(residual, axis, 0)[:-1]
    print(f"correlation of neighboring {name:<8} {np.corrcoef(one.ravel(), other.ravel())[0, 1]:+.2f}")

# %% [markdown]
# Neighboring pixels are hardly correlated. The two volumes are, with a negative sign: the network blends them, so what
# it takes from one it gives to the other. With only two volumes that is expected, so the figure compares neighbors in
# time only where there are four frames or more.

# %% [markdown]
# ## The same in Python, where the truth is known
#
# To measure how much denoising helps, the scan is now taken as the truth, and noise is added so that its SNR falls to 4.
# Eight slices are enough.

# %%
scan = read_series(work / "scan.nii.gz")
scan = replace(scan, array=scan.array[:, :, 8:16])
added = add_series_noise(scan, snr=4, seed=0)
truth, noisy = magnitude_record(added.clean), magnitude_record(added.noisy)

write_nifti(noisy, work / "noisy.nii.gz")
[result] = denoise(work / "noisy.nii.gz", work / "noisy_denoised.nii.gz", progress=False)
denoised = read_series(result)

smooth = noisy.with_array(ndimage.gaussian_filter(noisy.array, (0, 0, 0, 1.4, 1.4)))
for name, series in (("noisy", noisy), ("Gaussian smoothing", smooth), ("monai_stcnnt", denoised)):
    quality = image_quality(truth, series)
    print(f"{name:<20} PSNR {quality.psnr:5.2f} dB   SSIM {quality.ssim:.3f}")

# %% [markdown]
# The figures are those of whole images including air, where the network also removes the bias that noise gives to
# magnitudes ([notebook 3](03_snr_units_and_noise.ipynb)); smoothing does not.

# %%
view = plane_view(scan.affine)


def plane(series, frame=0, slice_=3):
    """One slice as radiologists look at it."""
    return view.apply(series.array[0, frame, slice_])


window = (0, float(np.percentile(truth.array, 99.7)))
panels(
    [plane(series) for series in (truth, noisy, smooth, denoised)],
    ["truth", "noise added, SNR 4", "Gaussian smoothing", "monai_stcnnt"],
    window=window,
    height=3.9,
)
plt.show()

# %% [markdown]
# ## The residual
#
# Without the truth there is one thing to look at: the difference between before and after. Smoothing removes noise too,
# but the outline of every structure shows in its residual. That is anatomy that is now missing.

# %%
sigma = added.sigma
residuals = [residual_signal(noisy, series) for series in (truth, smooth, denoised)]
panels(
    [view.apply(values[0, 3]) / sigma for values in residuals],
    ["the noise that was added", "residual of smoothing", "residual of monai_stcnnt"],
    window=(-4, 4),
    bar="noise levels",
    height=4.2,
)
plt.show()

# %% [markdown]
# ## Reading the quality report
#
# `--qc` puts this comparison in numbers, again without the truth. Each figure has a limit, set by experiment
# (`benchmarks/qc_calibration.py`), and a result that breaks one is *flagged*: the command says so, and the result
# should be looked at.

# %%
good, bad = (review_series(noisy, series, sigma=sigma) for series in (denoised, smooth))
rows = [
    ("residual_std", "residual, in noise levels", "noise alone: below 1"),
    ("residual_mean", "change of brightness", "noise alone: near 0"),
    ("edge_ratio", "edges over flat regions", "noise alone: 1"),
    ("whiteness", "whiteness", "white noise: 1"),
    ("changed_percent", "% changed by more than 5 σ", "noise alone: near 0"),
]
figure, axes = plt.subplots(1, len(rows), figsize=(14, 3.6))
for one, (name, label, note) in zip(axes, rows, strict=True):
    values = [abs(review.values[name]) for review in (good, bad)]
    limit = limits()[name]
    one.bar(["monai_stcnnt", "smoothing"], values, color=[BLUE, RED], width=0.55)
    one.axhline(limit, color=GRAY, linestyle="--", linewidth=1.6)
    one.set_ylim(0, 1.25 * max(*values, limit))
    one.set_title(label, fontsize=12)
    one.set_xlabel(note, fontsize=11, color="#555555")
    one.tick_params(labelsize=11)
plt.show()
for name, review in (("monai_stcnnt", good), ("smoothing", bad)):
    print(f"{name}: {len(review.flags)} flagged")
    for flag in review.flags:
        print(f"    {flag.message}")

# %% [markdown]
# The dashed line is the limit; whiteness is flagged below it, the others above it. Smoothing is caught: its residual is
# too strong along edges.
#
# A result that passes can still be wrong, because a change smaller than the noise cannot be told from it. Look at the
# page (`--report report.html`), not only at the numbers.
#
# ## DICOM in, DICOM out
#
# A folder of DICOM files becomes a derived series: same geometry, same study, new identifiers, and an honest note in the
# header of what was done. This one comes with pydicom.

# %%
(work / "dicom").mkdir()
shutil.copy(get_testdata_file("MR_small.dcm"), work / "dicom" / "slice.dcm")
[folder] = denoise(work / "dicom", work / "results", progress=False)
[file] = folder.glob("*.dcm")
before, after = pydicom.dcmread(work / "dicom" / "slice.dcm"), pydicom.dcmread(file)
for keyword in ("ImageType", "SeriesDescription", "DerivationDescription", "PatientID", "PixelSpacing"):
    print(f"{keyword:<22} {before.get(keyword)!s:<34.34} {after.get(keyword)!s:.60}")

# %%
pixels = [read_series(path).array[0, 0, 0] for path in (work / "dicom", folder)]
panels(
    [*pixels, pixels[0] - pixels[1]],
    ["slice.dcm", "derived series", "what was removed"],
    window=[(pixels[0].min(), pixels[0].max())] * 2 + [None],
    height=3.4,
)
plt.show()
shutil.rmtree(work)

# %% [markdown]
# ## Where to go from here
#
# - `stcnnt denoise --help`: strength, g-factor maps, GPU, whole folders that go on where they stopped.
# - As a MONAI bundle: `python -m monai.bundle run --config_file bundles/mri_denoising/configs/inference.json
#   --dataset_dir scans --output_dir denoised`.
# - [What SNR units and g-factor maps are](03_snr_units_and_noise.ipynb), which the network is told.
# - [Training on your own data](05_train_on_your_data.ipynb).
